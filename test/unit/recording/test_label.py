"""Actions for videos that carry none: the shipped model on simulated episodes whose true motion is known."""

import json
from dataclasses import replace

import cell_bags
import numpy as np
import pyarrow.parquet as pq
import pytest
from cell_bags import Recipe, joints_at

from action_images_ros.cell import Calibration, Cell, View, WorkspaceBox
from action_images_ros.cli import main
from action_images_ros.control import Fr3Kinematics
from action_images_ros.errors import ConfigError, DatasetError
from action_images_ros.geometry.se3 import quat_from_matrix
from action_images_ros.model.config import ModelConfig
from action_images_ros.policy import ActionImagePolicy
from action_images_ros.recording.lerobot_read import read_dataset
from action_images_ros.recording.video import VideoWriter
from action_images_ros.ros.paths import config_file
from action_images_ros.training.data import load_episodes
from action_images_ros.training.labelling import Labeller
from action_images_ros.training.recorded import recorded_episodes

FK = Fr3Kinematics().fk
EPISODES = 3
FPS = 2.5


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Directories of MP4s as a user has them: calibration, first pose and instruction, and nothing else."""
    root = tmp_path_factory.mktemp("label")
    assert main(["sim", "collect", "--task", "reach_target", "--split", "test", "--episodes", str(EPISODES), "--seed",
                 "5", "--out", str(root / "shards")]) == 0  # fmt: skip
    episodes = load_episodes(root / "shards")
    for k, e in enumerate(episodes):
        folder = root / f"videos{k}/episode"
        folder.mkdir(parents=True)
        for v, name in enumerate(("left", "right")):
            with VideoWriter(folder / f"{name}.mp4", e.cameras[v].image_size, FPS, "lossless") as writer:
                for picture in e.images[:, v]:
                    writer.write(picture)
        T = e.base_T_tcps[0]
        start = {"translation_m": T[:3, 3].tolist(), "quaternion_xyzw": quat_from_matrix(T[:3, :3]).tolist(),
                 "openness": float(e.openness[0]), "instruction": e.instructions[0]}  # fmt: skip
        (folder / "start.json").write_text(json.dumps(start))
        views = tuple(View(n, f"/camera/{n}", n, c, Calibration("2026-05-26", "exact", 0.0))
                      for n, c in zip(("left", "right"), e.cameras))  # fmt: skip
        Cell("label", views, WorkspaceBox((0.2, -0.5, 0.0), (0.8, 0.5, 0.8))).save(root / f"cell{k}.yaml")
    return root, episodes


def label(root, k: int, *more: str) -> int:
    return main(["label", str(root / f"videos{k}"), "--cell", str(root / f"cell{k}.yaml"), "--out",
                 str(root / f"out{k}"), *more])  # fmt: skip


def test_videos_get_the_motion_that_they_show(videos):
    root, episodes = videos
    errors, confidence = [], []
    for k, true in enumerate(episodes):
        assert label(root, k) == 0
        (e,) = read_dataset(root / f"out{k}")
        assert e.labelled and e.instruction == true.instructions[0] and len(e.openness) == len(true.images)
        errors += list(np.linalg.norm(e.base_T_tcps[1:, :3, 3] - true.base_T_tcps[1:, :3, 3], axis=1))
        confidence += list(e.confidence[1:])
        contract = json.loads((root / f"out{k}/meta/action_images.json").read_text())["labelled"]
        assert contract["model"].endswith("reach") and len(contract["model_sha256"]) == 64
    moved = np.concatenate([np.linalg.norm(e.base_T_tcps[1:, :3, 3] - e.base_T_tcps[0, :3, 3], axis=1)
                            for e in episodes])  # fmt: skip
    errors, sure = np.array(errors), np.array(confidence) >= 0.5
    assert 0 <= min(confidence) and max(confidence) <= 1 and sure.sum() > 0.4 * len(sure)
    assert np.median(errors[sure]) < 0.025 < np.median(moved)
    assert errors[sure].mean() <= errors.mean()


def test_no_chunk_contains_a_doubtful_label(videos):
    """Not even where the trainer is asked for all: the data set says what is sure enough."""
    root, _ = videos
    if not (root / "out0").exists():
        assert label(root, 0) == 0
    config = ModelConfig.load(config_file("models/reach"))
    (e,) = read_dataset(root / "out0")
    row = pq.read_table(root / "out0/meta/episodes/chunk-000/file-000.parquet").to_pylist()[0]
    doubtful = np.zeros(len(e.confidence), bool)
    for a, b in json.loads(row["doubtful"]):
        doubtful[a:b] = True
    np.testing.assert_array_equal(doubtful, e.confidence < 0.5)
    for least in (0.0, float(np.median(e.confidence)), 0.5):
        try:
            found = recorded_episodes(root / "out0", config, min_confidence=least)
        except DatasetError as error:
            assert "sure enough" in str(error)
            continue
        for piece in found:
            inside = [np.flatnonzero((e.base_T_tcps == T).all(axis=(1, 2)))[0] for T in piece.base_T_tcps]
            assert (e.confidence[inside] >= least).all()
            last = len(piece.images) - 1
            assert piece.starts(config.chunk_size) - 1 + config.chunk_size - 1 <= last or not piece.cut


def test_bags_without_joint_states_and_truth_where_it_is_known(tmp_path, capsys):
    cell_bags.write(tmp_path / "with", Recipe(seconds=2.0))
    cell_bags.write(tmp_path / "without", Recipe(seconds=2.0, skip=("/joint_states",)))
    assert main(["label", str(tmp_path / "without"), "--out", str(tmp_path / "a")]) == 2
    assert "--pose" in capsys.readouterr().err
    T = FK(joints_at(cell_bags.T0))
    pose = [f"{x:.6f}" for x in (*T[:3, 3], *quat_from_matrix(T[:3, :3]))]
    more = ["--repeats", "1", "--json"]
    assert main(["label", str(tmp_path / "without"), "--pose", *pose, "--out", str(tmp_path / "b"), *more]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == 20 and "against_truth" not in said
    (e,) = read_dataset(tmp_path / "b")
    np.testing.assert_allclose(e.base_T_tcps[0], T, atol=1e-5)
    assert main(["label", str(tmp_path / "with"), "--out", str(tmp_path / "c"), *more]) == 0
    said = json.loads(capsys.readouterr().out)
    assert sum(b["frames"] for b in said["against_truth"][:-1]) == 19
    assert main(["label", str(tmp_path / "with"), "--out", str(tmp_path / "c")]) == 2


def test_a_model_that_cannot_label_is_refused():
    policy = ActionImagePolicy.from_pretrained(config_file("models/reach"))
    with pytest.raises(ConfigError, match="tolerance"):
        Labeller(policy, tolerance_m=0.0)
    policy.config = replace(policy.config, modes=("policy",))
    with pytest.raises(ConfigError, match="not for label"):
        Labeller(policy)
