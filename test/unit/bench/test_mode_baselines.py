"""The baselines of `bench modes` on motions whose truth is known."""

import cv2
import numpy as np
import pytest

from action_images_ros.bench.flow_tracker import follow_hand, follow_points, track
from action_images_ros.bench.mode_scores import averaged, compared, guess_of, score_actions, score_labels
from action_images_ros.bench.mode_windows import Guess, MeanMotion, at_rest, constant_velocity, windows
from action_images_ros.codec import ActionEncoding, encode
from action_images_ros.errors import DatasetError
from action_images_ros.geometry import PinholeCamera, so3_exp
from action_images_ros.geometry.se3 import make
from action_images_ros.training.data import Episode
from action_images_ros.types import ActionChunk

SIZE = (96, 96)
T = 6
ENCODING = ActionEncoding()
DOWN = np.diag([1.0, -1.0, -1.0])


def camera(eye):
    forward = np.array([0.5, 0.0, 0.15]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    K = np.array([[110.0, 0, 47.5], [0, 110.0, 47.5], [0, 0, 1]])
    return PinholeCamera(K, SIZE, make(np.stack([right, np.cross(forward, right), forward], 1), eye))


CAMERAS = (camera(np.array([1.2, 0.7, 0.7])), camera(np.array([1.2, -0.7, 0.6])))


def straight(n=T, step=(-0.01, 0.012, -0.012), turn=(0.0, 0.0, 0.02), start=(0.48, -0.03, 0.2)):
    k = np.arange(n)[:, None]
    return make(so3_exp(k * np.array(turn)) @ DOWN, np.array(start) + k * np.array(step))


def film(poses, seed=0):
    """(T, V, H, W, 3): a textured card fixed to the tool, in the plane of its three points, before a still wall."""
    rng = np.random.default_rng(seed)
    card = cv2.resize(rng.integers(0, 256, (10, 10), np.uint8), (80, 80), interpolation=cv2.INTER_CUBIC)
    back = [cv2.resize(rng.integers(90, 160, (8, 8), np.uint8), SIZE, interpolation=cv2.INTER_CUBIC) for _ in CAMERAS]
    points = ENCODING.tcp_points
    centre = points.mean(0)
    corners = np.array([centre + a * 0.09 * (points[1] - points[0]) / 0.1 + b * 0.09 * (points[2] - points[0]) / 0.1
                        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    on_card = np.float32([[0, 0], [79, 0], [79, 79], [0, 79]])
    out = np.zeros((len(poses), len(CAMERAS), *SIZE, 3), np.uint8)
    for t, pose in enumerate(poses):
        for v, view in enumerate(CAMERAS):
            uv = view.project(corners @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)
            H = cv2.getPerspectiveTransform(on_card, uv)
            shown = cv2.warpPerspective(np.full_like(card, 255), H, SIZE) > 127
            out[t, v] = np.where(shown, cv2.warpPerspective(card, H, SIZE), back[v])[..., None]
    return out


@pytest.mark.parametrize("follow", [follow_points, follow_hand])
def test_flow_follows_a_tool_with_texture(follow):
    poses = straight()
    found, shown = track(film(poses), poses[0], CAMERAS, ENCODING, follow)
    assert shown.all()
    error = np.linalg.norm(found[:, :3, 3] - poses[:, :3, 3], axis=-1)
    moved = np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3])
    assert error.max() < 0.012 < 0.2 * moved


def test_flow_of_points_says_when_it_lost_them_and_stays_there():
    poses = straight()
    video = film(poses)
    video[3:] = np.random.default_rng(1).integers(0, 256, video[3:].shape, np.uint8)
    found, shown = track(video, poses[0], CAMERAS, ENCODING, follow_points)
    assert shown.tolist() == [True] * 3 + [False] * 3
    assert np.array_equal(found[3:], np.repeat(found[2:3], 3, 0))


def episode(poses, openness=None):
    n = len(poses)
    opens = np.ones(n) if openness is None else np.asarray(openness, float)
    images = np.arange(n, dtype=np.uint8)[:, None, None, None, None] * np.ones((1, 2, 4, 4, 3), np.uint8)
    return Episode(images, poses, opens, CAMERAS, ("reach the red ball",))


def test_windows_rest_at_the_end_and_know_the_pose_before():
    poses = straight(4)
    first, second = windows([episode(poses), episode(poses[:2]), episode(straight(9))], 1, T)
    assert first.video[:, 0, 0, 0, 0].tolist() == [1, 2, 3, 3, 3, 3]
    assert np.array_equal(first.poses[-1], poses[-1]) and np.array_equal(first.before, poses[0])
    assert second.video[:, 0, 0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6], "an episode too short for the start is left out"
    assert windows([episode(poses)], 0, T)[0].before is None
    with pytest.raises(DatasetError, match="lower --start"):
        windows([episode(poses)], 3, T)


def test_constant_velocity_is_exact_on_a_straight_line_and_overshoots_its_end():
    moving, = windows([episode(straight(9))], 1, T)
    assert np.abs(constant_velocity(moving).poses - moving.poses).max() < 1e-9
    ending, = windows([episode(straight(5))], 1, T)
    error = np.linalg.norm(constant_velocity(ending).poses - ending.poses, axis=(1, 2))
    assert np.all(error[:4] < 1e-9) and np.all(np.diff(error[3:]) > 0.01)
    with pytest.raises(DatasetError, match="no earlier pose"):
        constant_velocity(windows([episode(straight(5))], 0, T)[0])


def test_mean_motion_is_the_training_motion_from_another_start():
    training = windows([episode(straight(7, step=(0.02, 0, 0)), [0, 1, 1, 1, 1, 1, 1]),
                        episode(straight(7, step=(0, 0.02, 0), start=(0.3, 0.1, 0.4)), [0, 1, 1, 1, 1, 1, 0])], 0, T)
    target, = windows([episode(straight(7, start=(0.6, 0.0, 0.3)))], 0, T)
    guess = MeanMotion.of(training).guess(target)
    k = np.arange(T)[:, None]
    assert np.allclose(guess.poses[:, :3, 3], np.array([0.6, 0.0, 0.3]) + k * np.array([0.01, 0.01, 0.0]))
    assert np.allclose(guess.poses[:, :3, :3], target.poses[:, :3, :3]), "both turned alike, and so does this one"
    assert guess.openness.tolist() == [1, 1, 1, 1, 1, 1]


def test_scores_of_the_truth_and_of_standing_still():
    window, = windows([episode(straight(7))], 0, T)
    truth = score_labels(window, Guess(window.poses, window.openness, np.ones(T, bool)), ENCODING, (24, 24))
    assert truth["mean_mm"] == truth["mean_px"] == 0.0 and truth["jaccard"] == truth["gripper"] == 1.0
    assert [truth[f"iou_{t}"] for t in (0.3, 0.5, 0.7)] == [1.0] * 3
    still = score_labels(window, at_rest(window), ENCODING, (24, 24))
    step = 1e3 * np.linalg.norm((-0.01, 0.012, -0.012))
    assert still["mean_mm"] == pytest.approx(3 * step) and still["last_mm"] == pytest.approx(5 * step)
    assert still["jaccard"] < 0.5 and still["iou_0.7"] < 0.6


def test_labels_of_a_model_are_judged_by_its_own_pictures():
    window, = windows([episode(straight(7))], 0, T)
    guess = Guess(window.poses, window.openness, np.ones(T, bool))
    coarse = [c.resized((24, 24)) for c in CAMERAS]
    other = encode(at_rest(window).poses, window.openness, coarse, ENCODING)
    scores = score_labels(window, guess, ENCODING, (24, 24), other)
    assert scores["jaccard"] == 1.0 and scores["iou_0.5"] < 0.8


def test_after_the_last_credible_step_the_arm_is_taken_to_stay():
    window, = windows([episode(straight(7))], 0, T)
    chunk = ActionChunk.from_poses(window.poses, window.openness)
    chunk.credible[3:] = False
    scores = score_actions(window, guess_of(chunk), ENCODING)
    step = 1e3 * np.linalg.norm((-0.01, 0.012, -0.012))
    assert scores["mean_mm"] == pytest.approx((1 + 2 + 3) * step / 5) and scores["credible"] == pytest.approx(0.4)
    assert scores["credible_mm"] == 0.0
    chunk.credible[1:] = False
    doubted = score_actions(window, guess_of(chunk), ENCODING)
    assert np.isnan(doubted["credible_mm"]) and np.isnan(averaged([doubted])["credible_mm"])
    assert averaged([doubted, scores])["credible_mm"] == 0.0


def test_comparison_is_paired_and_knows_which_way_is_better():
    rng = np.random.default_rng(0)
    hard = rng.uniform(10, 500, 40)
    better = [{"mean_mm": h - 3 + e, "ssim": 0.5} for h, e in zip(hard, rng.normal(0, 1, 40))]
    baseline = [{"mean_mm": h, "ssim": 0.5, "gmsd": 0.1} for h in hard]
    found = {c.metric: c for c in compared(better, baseline, ("mean_mm", "ssim", "gmsd"), 0)}
    assert found["mean_mm"].verdict == "better" and found["mean_mm"].gain == pytest.approx(3, abs=0.6)
    assert found["ssim"].verdict == "undecided" and "gmsd" not in found
    turned = {c.metric: c for c in compared(baseline, better, ("mean_mm",), 0)}
    assert turned["mean_mm"].verdict == "worse"
    assert averaged(baseline)["ssim"] == 0.5
