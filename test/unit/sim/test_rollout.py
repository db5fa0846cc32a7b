"""Rollouts in physics: what reaches, what fails and why, and what the ceiling is."""

from dataclasses import dataclass, replace

import imageio_ffmpeg
import numpy as np
import pytest

from action_images_ros.errors import SimError
from action_images_ros.sim.cameras import AZIMUTH_DEG, WORKSPACE_CENTRE_M
from action_images_ros.sim.evaluation import Column, EvalConfig, evaluate, misinstructed, setting
from action_images_ros.sim.rollout import ExpertPolicy, ReplayPolicy, RolloutConfig, RolloutMode, rollout
from action_images_ros.sim.split import Split
from action_images_ros.sim.tasks import Outcome
from action_images_ros.sim.video import VideoObserver
from action_images_ros.types import ActionChunk


class StayPolicy:
    """Answers with the current pose and keeps what it was shown."""

    def __init__(self):
        self.seen = []

    def infer(self, frames, base_T_tcp, openness, instruction, *, seed=0):
        self.seen.append((frames, instruction, seed))
        return ActionChunk.from_poses(np.stack([base_T_tcp] * 9), np.full(9, openness), frames.stamp_ns, 0.4)


@dataclass(frozen=True)
class Model:
    views: int = 2
    chunk_size: int = 9
    dt_s: float = 0.4
    action_size: tuple = (24, 24)


@pytest.mark.parametrize("mode", list(RolloutMode))
def test_the_expert_reaches_the_goal_in_physics(cell, task, settings, mode):
    for scene, cameras in settings[:3]:
        cell.place_cameras(cameras)
        result = rollout(ExpertPolicy(task.expert(scene), chunk_size=12), cell, task, scene, RolloutConfig(mode))
        assert result.success, result
        assert result.unreachable_ticks == 0
        assert result.chunks == (1 if mode is RolloutMode.OPEN_LOOP else int(np.ceil(result.time_s / 0.8 - 1e-6)))


def test_replayed_action_images_reach_the_goal_and_close_the_gripper(cell, task, settings):
    """Encoding at 24x24, decoding, inverse kinematics and servos lose less than the task needs."""
    for scene, cameras in settings[:3]:
        cell.place_cameras(cameras)
        result = rollout(ReplayPolicy(task.expert(scene)), cell, task, scene)
        assert result.success and result.final_distance_m < 0.005
        assert cell.openness < 0.5


def test_a_policy_that_goes_to_another_ball_fails_there(cell, task, settings):
    scene, cameras = settings[1]
    cell.place_cameras(cameras)
    wrong = scene.instructed((scene.target + 1) % 3)
    result = rollout(ExpertPolicy(task.expert(wrong)), cell, task, scene)
    assert result.verdict.outcome is Outcome.FAILURE and "wrong ball" in result.verdict.reason


def test_standing_still_times_out_having_seen_the_live_scene(cell, task, settings):
    scene, cameras = settings[2]
    cell.place_cameras(cameras)
    policy = StayPolicy()
    result = rollout(policy, cell, task, scene, RolloutConfig(timeout_s=2.0, n_action_steps=1, seed=40))
    assert result.verdict.reason.startswith("timeout") and result.time_s == pytest.approx(2.0, abs=0.05)
    assert [seed for *_, seed in policy.seen] == list(range(40, 40 + result.chunks)) and result.chunks == 5
    frames, instruction, _ = policy.seen[2]
    assert instruction == scene.instruction
    assert frames.stamp_ns == pytest.approx(0.8e9) and frames.views == ("left", "right")
    assert [i.shape for i in frames.images] == [(240, 320, 3)] * 2 and frames.images[0].std() > 5


def test_targets_that_are_not_credible_are_not_executed(cell, task, settings):
    scene, cameras = settings[0]
    cell.place_cameras(cameras)

    class Doubtful:
        def infer(self, frames, base_T_tcp, openness, instruction, *, seed=0):
            chunk = task.expert(scene).chunk(base_T_tcp, openness, 9, 0.4)
            return replace(chunk, credible=np.zeros(9, bool))

    result = rollout(Doubtful(), cell, task, scene, RolloutConfig(timeout_s=1.6))
    assert result.verdict.outcome is Outcome.FAILURE and result.skipped_steps == 2 * result.chunks
    assert np.abs(cell.q - scene.q_start).max() < 1e-3


def test_an_impossible_target_holds_the_arm(cell, task, settings):
    scene, cameras = settings[0]
    cell.place_cameras(cameras)

    class Faraway:
        def infer(self, frames, base_T_tcp, openness, instruction, *, seed=0):
            away = base_T_tcp.copy()
            away[:3, 3] = (3.0, 0.0, 0.5)
            return ActionChunk.from_poses(np.stack([base_T_tcp, away]), np.ones(2), 0, 0.4)

    result = rollout(Faraway(), cell, task, scene, RolloutConfig(timeout_s=4.0))
    assert not result.success and result.unreachable_ticks > 10
    assert np.linalg.norm(cell.base_T_tcp[:3, 3] - (3.0, 0.0, 0.5)) > 1.5


def test_evaluation_tells_the_columns_apart():
    config = EvalConfig(episodes=2, seed=5, split=Split.TEST, rollout=RolloutConfig(timeout_s=6.0))
    policy, outcomes = StayPolicy(), []
    reports = {r.column: r for r in evaluate(policy, Model(), config, outcomes.append)}
    assert len(outcomes) == 8 and set(reports) == set(Column)
    assert reports[Column.REPLAY].successes == 2 and reports[Column.REPLAY].median_final_distance_m < 0.005
    assert all(reports[c].successes == 0 for c in Column if c is not Column.REPLAY)
    assert reports[Column.CLOSED_LOOP].reasons == {"timeout": 2}
    told = {(o.episode, o.column): o.instruction for o in outcomes}
    for episode in range(2):
        assert told[episode, Column.WRONG_INSTRUCTION] != told[episode, Column.CLOSED_LOOP]
        assert told[episode, Column.OPEN_LOOP] == told[episode, Column.CLOSED_LOOP]


def azimuth_split(view, camera):
    x, y, _ = camera.centre - WORKSPACE_CENTRE_M
    return AZIMUTH_DEG[view].split_of(np.rad2deg(np.arctan2(y, x)))


def test_seen_cameras_look_at_unseen_layouts(cell, task):
    for episode in range(4):
        own, own_cameras = setting(EvalConfig(seed=5), task, cell, episode)
        scene, cameras = setting(EvalConfig(seed=5, camera_split=Split.TRAIN), task, cell, episode)
        assert scene.split is own.split is Split.TEST
        assert {azimuth_split(*named) for named in own_cameras.items()} == {Split.TEST}
        assert {azimuth_split(*named) for named in cameras.items()} == {Split.TRAIN}
    with pytest.raises(SimError, match="one of the two"):
        EvalConfig(cameras=cameras, camera_split=Split.TRAIN)


def test_wrong_instructions_are_judged_by_what_was_asked(cell, task, settings):
    scene, cameras = settings[3]
    cell.place_cameras(cameras)
    asked = misinstructed(scene, 0)
    assert asked.instruction in scene.wrong_instructions
    assert rollout(ExpertPolicy(task.expert(asked)), cell, task, asked).success
    assert not rollout(ExpertPolicy(task.expert(scene)), cell, task, asked).success


def test_video_shows_the_rollout(cell, task, settings, tmp_path):
    scene, cameras = settings[0]
    cell.place_cameras(cameras)
    video = VideoObserver("expert")
    result = rollout(ExpertPolicy(task.expert(scene)), cell, task, scene, observers=[video])
    assert len(video.frames) == pytest.approx(result.time_s * 10, abs=2)
    path = tmp_path / "rollout.mp4"
    video.save(path)
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    assert meta["size"] == (640, 240) and meta["fps"] == pytest.approx(10)
    decoded = np.frombuffer(next(reader), np.uint8).reshape(240, 640, 3)
    assert np.abs(decoded.astype(int) - video.frames[0]).mean() < 12
    reader.close()
    assert np.any(np.all(np.abs(video.frames[3].astype(int) - (255, 60, 60)) < 40, axis=-1))
