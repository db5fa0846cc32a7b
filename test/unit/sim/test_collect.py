"""Collected episodes: reproducible, resumable, and what they claim to be."""

import json

import numpy as np
import pytest

from action_images_ros.cli import sim as sim_cli
from action_images_ros.errors import DatasetError
from action_images_ros.geometry import PinholeCamera
from action_images_ros.sim.collect import (
    CollectConfig,
    CollectMotion,
    EpisodeCollector,
    collect_episodes,
    read_shard,
    shard_path,
)
from action_images_ros.sim.split import Split

CONFIG = CollectConfig("reach_target", episodes=5, seed=7, split=Split.TRAIN, shard_episodes=2)


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    directory = tmp_path_factory.mktemp("set")
    progress = []
    frames = collect_episodes(directory, CONFIG, on_progress=progress.append)
    assert [p.episodes_done for p in progress] == [2, 4, 5] and progress[-1].frames_written == frames
    return directory


def contents(directory):
    return [shard_path(directory, i).read_bytes() for i in range(3)]


def test_the_number_of_workers_changes_nothing(collected, tmp_path):
    collect_episodes(tmp_path, CONFIG, workers=2)
    assert contents(tmp_path) == contents(collected)


def test_an_interrupted_set_is_completed_not_repeated(collected, tmp_path):
    for i in (0, 2):
        shard_path(tmp_path, i).write_bytes(shard_path(collected, i).read_bytes())
    (tmp_path / "meta.json").write_text((collected / "meta.json").read_text())
    stamp = shard_path(tmp_path, 0).stat().st_mtime_ns
    progress = []
    collect_episodes(tmp_path, CONFIG, on_progress=progress.append)
    assert [p.episodes_done for p in progress] == [5]
    assert contents(tmp_path) == contents(collected) and shard_path(tmp_path, 0).stat().st_mtime_ns == stamp


def test_another_set_is_not_mixed_in(collected):
    other = CollectConfig("reach_target", 5, seed=8, split=Split.TRAIN, shard_episodes=2)
    with pytest.raises(DatasetError, match="seed"):
        collect_episodes(collected, other)


def test_episodes_depend_on_seed_and_number_alone(collected):
    arrays, _ = EpisodeCollector(CollectConfig("reach_target", 9, 7, Split.TRAIN, shard_episodes=9)).episode(3)
    stored, _ = read_shard(shard_path(collected, 1))
    rows = stored["episode_index"] == 3
    assert np.array_equal(stored["images"][rows], arrays["images"])
    different, _ = EpisodeCollector(CollectConfig("reach_target", 9, 8, Split.TRAIN)).episode(3)
    assert not np.array_equal(different["base_T_camera"], arrays["base_T_camera"])


def test_frames_calibration_and_labels_fit_together(collected):
    """The named ball has its colour where the stored calibration projects it; the motion ends on it, closed."""
    for shard in range(3):
        arrays, episodes = read_shard(shard_path(collected, shard))
        assert arrays["images"].shape[1:] == (2, 96, 96, 3) and arrays["images"].dtype == np.uint8
        first = arrays["episode_index"][0]
        for row, episode in enumerate(episodes):
            frames = np.flatnonzero(arrays["episode_index"] == first + row)
            assert np.array_equal(arrays["frame_index"][frames], np.arange(len(frames)))
            ball = episode["objects"][episode["target"]]
            assert ball["colour"] in episode["instruction"]
            p = arrays["base_T_tcp"][frames, :3, 3]
            assert np.linalg.norm(p[-1] - ball["position_m"]) < 1e-3
            assert np.linalg.norm(np.diff(p, axis=0), axis=1).max() < 0.0605
            assert np.all(arrays["openness"][frames[-2:]] == 0) and np.all(arrays["openness"][frames[1:-2]] == 1)
            seen = []
            for view in range(2):
                camera = PinholeCamera(arrays["K"][row, view], (96, 96), arrays["base_T_camera"][row, view])
                u, v = np.rint(camera.project(np.array(ball["position_m"]))).astype(int)
                pixel = arrays["images"][frames[0], view, v, u].astype(float)
                seen.append(np.abs(pixel / max(pixel.sum(), 1) - np.array(ball["rgb"]) / sum(ball["rgb"])).max())
            assert min(seen) < 0.2


def test_physics_visits_the_same_poses(collected):
    config = CollectConfig("reach_target", 5, 7, Split.TRAIN, shard_episodes=2, motion=CollectMotion.PHYSICS)
    arrays, _ = EpisodeCollector(config).episode(2)
    stored, _ = read_shard(shard_path(collected, 1))
    kinematic = stored["base_T_tcp"][stored["episode_index"] == 2]
    assert len(arrays["base_T_tcp"]) == len(kinematic)
    assert np.abs(arrays["base_T_tcp"][:, :3, 3] - kinematic[:, :3, 3]).max() < 0.012


def test_a_broken_shard_is_named(tmp_path):
    path = tmp_path / "shard_00000.safetensors"
    path.write_bytes(b"not a shard")
    with pytest.raises(DatasetError, match="shard_00000"):
        read_shard(path)


def test_command_line(tmp_path, capsys):
    arguments = ["collect", "--episodes", "1", "--seed", "3", "--split", "test", "--out", str(tmp_path / "set")]
    assert sim_cli.main(arguments) == 0
    meta = json.loads((tmp_path / "set" / "meta.json").read_text())
    assert meta["complete"] and meta["split"] == "test" and meta["frames"] > 2 and meta["task"] == "reach_target"
    assert "episodes/s" in capsys.readouterr().out
    assert sim_cli.main([*arguments, "--task", "juggle"]) == 2
    assert "reach_target" in capsys.readouterr().err
