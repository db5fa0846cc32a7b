"""Bags into data sets, against a cell whose whole content is known; and what a trainer gets out of them."""

import json
import shutil
from pathlib import Path

import cell_bags
import numpy as np
import pyarrow.parquet as pq
import pytest
import recordings
from cell_bags import HOME, RATE_HZ, T0, Recipe, joints_at, picture, width_at

from action_images_ros.cli import main
from action_images_ros.control import Fr3Kinematics
from action_images_ros.errors import DatasetError
from action_images_ros.model.config import ModelConfig
from action_images_ros.model.contract import DataContract
from action_images_ros.model.frames import model_image
from action_images_ros.recording import action_vector
from action_images_ros.recording.convert import _held_out
from action_images_ros.recording.lerobot_read import read_dataset
from action_images_ros.recording.stage import grid
from action_images_ros.training.data import CanvasSource, load_episodes
from action_images_ros.training.recorded import data_contract, frame_stride

FK = Fr3Kinematics().fk


def convert(tmp_path, *more: str) -> tuple[int, dict, dict]:
    """Exit status, info.json, and result as printed."""
    out = tmp_path / "out"
    status = main(["dataset", str(tmp_path / "bags"), "--out", str(out), "--no-report", *more])
    return status, json.loads((out / "meta/info.json").read_text()), out


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Five bags, one of them JPEG, one torn, one without joints; converted without loss."""
    root = tmp_path_factory.mktemp("dataset")
    cell_bags.write(root / "bags/a", Recipe(noise_ns=2_000_000))
    cell_bags.write(root / "bags/b", Recipe(seconds=3.0, marks=("success", "failure")))
    cell_bags.write(root / "bags/c", Recipe(marks=(), finish=False, source="human"))
    cell_bags.write(root / "bags/d", Recipe(jpeg=True, seconds=3.0, instructions=((0.0, "go to the blue ball"),)))
    cell_bags.write(root / "bags/e", Recipe(skip=("/joint_states",)))
    status, info, out = convert(root, "--video", "lossless", "--validation", "0")
    return root, status, info, out


def test_the_layout_is_lerobots(dataset):
    _, status, info, out = dataset
    assert status == 1
    assert info["codebase_version"] == "v3.0" and info["fps"] == 10 and info["splits"] == {"train": "0:4"}
    assert info["total_episodes"] == 4 and info["total_tasks"] == 2
    tasks = pq.read_table(out / "meta/tasks.parquet").to_pydict()
    assert tasks == {"task_index": [0, 1], "task": ["go to the blue ball", "reach the red ball"]}
    rows = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [r["dataset_from_index"] for r in rows] == [0, *[r["dataset_to_index"] for r in rows[:-1]]]
    assert rows[-1]["dataset_to_index"] == info["total_frames"] == sum(r["length"] for r in rows)
    index = 0
    for row in rows:
        table = pq.read_table(out / info["data_path"].format(chunk_index=0, file_index=row["data/file_index"]))
        assert set(table.column_names) == {k for k, f in info["features"].items() if f["dtype"] != "video"}
        assert table["index"].to_pylist() == list(range(index, index + row["length"]))
        np.testing.assert_allclose(table["timestamp"].to_numpy(), np.arange(row["length"]) / 10, atol=1e-6)
        assert table["next.done"].to_pylist() == [False] * (row["length"] - 1) + [True]
        index += row["length"]
        for view in ("left", "right"):
            assert (out / f"videos/observation.images.{view}/chunk-000/file-{row['episode_index']:03d}.mp4").is_file()
    stats = json.loads((out / "meta/stats.json").read_text())
    assert np.shape(stats["observation.images.left"]["mean"]) == (3, 1, 1) and len(stats["action"]["q99"]) == 7


def test_states_and_actions_are_the_arms(dataset):
    """At the time of each observation: forward kinematics of the joints as they were then."""
    _, _, _, out = dataset
    for e in read_dataset(out):
        q = np.stack([joints_at(int(t)) for t in e.stamps_ns])
        np.testing.assert_allclose(e.base_T_tcps, np.stack([FK(x) for x in q]), atol=4e-4)
        np.testing.assert_allclose(e.openness, [width_at(int(t)) / 0.08 for t in e.stamps_ns], atol=1e-3)
    table = pq.read_table(out / "data/chunk-000/file-000.parquet")
    state, action = (np.array(table[k].to_pylist()) for k in ("observation.state", "action"))
    np.testing.assert_array_equal(action[:-1], state[1:])
    assert np.abs(np.diff(state[:, 3:6], axis=0)).max() < 0.3  # a hand that points down is far from any jump


def test_calibration_marks_and_sources_are_kept_for_every_episode(dataset):
    _, _, _, out = dataset
    rows = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [r["success"] for r in rows] == ["success", "failure", "unknown", "success"]
    assert [r["control_sources"] for r in rows] == [["expert"], ["expert"], ["human"], ["expert"]]
    for e in read_dataset(out):
        for view in cell_bags.cell().views:
            camera = e.cameras[view.name]
            np.testing.assert_allclose(camera.base_T_camera, view.camera.base_T_camera, atol=1e-9)
            np.testing.assert_array_equal(camera.K, view.camera.K)
    calibration = json.loads(rows[0]["calibration"])["left"]
    assert calibration["serial"] == "serial-left" and calibration["reproj_rms_px"] == 0.1


def test_the_pictures_are_those_of_the_bag_bit_for_bit(dataset):
    _, _, _, out = dataset
    for e in read_dataset(out):
        if "blue" in e.instruction:
            continue
        for v, view in enumerate(e.cameras):
            for k, frame in enumerate(e.frames(view)):
                number = round((e.stamps_ns[k] - T0) * 1e-9 * RATE_HZ)
                np.testing.assert_array_equal(frame, picture(v, number))


def test_a_bag_that_cannot_be_converted_is_named_and_leaves_nothing(dataset, capsys):
    root, _, info, out = dataset
    status, again, _ = convert(root, "--video", "lossless", "--validation", "0", "--json")
    summary = json.loads(capsys.readouterr().out)
    assert status == 1 and list(summary["skipped"]) == [str(root / "bags/e")]
    assert "/joint_states" in summary["skipped"][str(root / "bags/e")]
    assert summary["reused_bags"] == 4 and again == info
    assert not list((out / ".episodes").glob("*partial*"))
    assert len(list((out / ".episodes").glob("*/bag.json"))) == 4


def test_another_way_to_convert_into_the_same_directory_is_refused(dataset, capsys):
    root, *_ = dataset
    assert main(["dataset", str(root / "bags"), "--out", str(root / "out"), "--fps", "5"]) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_h264_pictures_stay_close_and_the_report_shows_them(tmp_path):
    cell_bags.write(tmp_path / "bags/a", Recipe(size=(320, 240)))
    assert main(["dataset", str(tmp_path / "bags"), "--out", str(tmp_path / "out")]) == 0
    (e,) = read_dataset(tmp_path / "out")
    errors = [np.abs(f.astype(int) - picture(0, k, (320, 240))).mean() for k, f in enumerate(e.frames("left"))]
    assert len(errors) == 40 and max(errors) < 3.0
    report = (tmp_path / "out/report.html").read_text()
    assert "reach the red ball" in report and report.count("data:image/jpeg") == 2


@pytest.mark.parametrize(
    ("recipe", "episodes", "says"),
    [
        (Recipe(instructions=((0.0, "reach the red ball"), (2.0, "reach the blue ball"))), [20, 20], ""),
        (Recipe(gap=(1.5, 2.5)), [15, 15], "without a matched set"),
        (Recipe(seconds=4.0, gap=(0.5, 1.5)), [25], "too short"),
    ],
)
def test_a_recording_is_parted_where_it_has_to_be(tmp_path, recipe, episodes, says):
    cell_bags.write(tmp_path / "bags/a", recipe)
    _, info, out = convert(tmp_path, "--validation", "0")
    assert [len(e.openness) for e in read_dataset(out)] == episodes
    staged = json.loads(next((out / ".episodes").glob("*/bag.json")).read_text())
    assert says in " ".join(staged["notes"])


@pytest.mark.parametrize(
    ("recipe", "more", "says"),
    [
        (Recipe(attach_cell=False), (), "carries no cell file"),
        (Recipe(instructions=()), (), "without an instruction"),
        (Recipe(skip=("/camera/left/color/image_raw",)), (), "no images of view left"),
        (Recipe(late_s=1.0), (), "no matched set"),
    ],
)
def test_what_is_missing_is_named(tmp_path, capsys, recipe, more, says):
    cell_bags.write(tmp_path / "bags/a", recipe)
    assert main(["dataset", str(tmp_path / "bags"), "--out", str(tmp_path / "out"), *more]) == 2
    assert says in capsys.readouterr().err


def test_plain_bags_get_cell_and_instruction_from_the_command_line(tmp_path):
    cell_bags.write(tmp_path / "bags/a", Recipe(attach_cell=False, instructions=()))
    cell_bags.cell().save(tmp_path / "cell.yaml")
    status, info, out = convert(tmp_path, "--cell", str(tmp_path / "cell.yaml"), "--instruction", "reach it")
    assert status == 0 and [e.instruction for e in read_dataset(out)] == ["reach it"]


def test_splits_do_not_depend_on_what_else_is_there(tmp_path):
    for name in "abcgh":
        cell_bags.write(tmp_path / "bags" / name, Recipe(seconds=1.2, instructions=((0.0, name),)))

    def held_out() -> set[str]:
        return {e.instruction for e in read_dataset(tmp_path / "out", "val")}

    convert(tmp_path, "--validation", "0.4")
    first = held_out()
    assert 0 < len(first) < 5
    shutil.rmtree(tmp_path / "bags" / sorted(set("abcgh") - first)[0])
    convert(tmp_path, "--validation", "0.4", "--workers", "2")
    assert held_out() == first


@pytest.mark.parametrize("share", [1e-6, 0.1, 0.999999])
def test_of_several_bags_one_is_held_out_and_one_is_not(share):
    for count in range(2, 9):
        assert 0 < len(_held_out([Path(f"bag{k}") for k in range(count)], share)) < count
    assert not _held_out([Path("bag")], share) and not _held_out([Path("a"), Path("b")], 0.0)


def test_frames_are_the_nearest_to_every_tick():
    times = np.array([0, 98, 205, 300, 610, 700]) * 1_000_000
    assert grid(times, 10.0).tolist() == [0, 1, 2, 3, 3, 4, 4, 5]
    assert grid(times, 5.0).tolist() == [0, 2, 3, 4, 5]


def test_an_action_vector_goes_both_ways():
    poses = np.stack([FK(HOME + 0.1 * k) for k in range(5)])
    again, openness = action_vector.poses(action_vector.vectors(poses, np.linspace(0, 1, 5)))
    np.testing.assert_allclose(again, poses, atol=1e-12)
    np.testing.assert_allclose(openness, np.linspace(0, 1, 5))


def test_the_trainer_sees_what_the_live_policy_sees(dataset):
    """Every episode at every phase: pictures through the live preprocessing, actions of the arm, the text."""
    _, _, _, out = dataset
    config = ModelConfig()
    episodes = load_episodes(out, None, config)
    stride = frame_stride(10.0, config.dt_s)
    recorded = [e for e in read_dataset(out, "train") if e.success != "failure"]
    assert len(episodes) == stride * len(recorded) == 12
    for n, e in enumerate(episodes):
        source, phase = recorded[n // stride], n % stride
        assert len(e.images) == len(source.openness[phase::stride])
        if "blue" not in e.instructions[0]:
            number = round((source.stamps_ns[phase] - T0) * 1e-9 * RATE_HZ)
            np.testing.assert_array_equal(e.images[0, 1], model_image(picture(1, number), config.image_size))
    from action_images_ros.model.canvas import CanvasLayout, Mode
    from action_images_ros.training.augment import Augment

    layout = CanvasLayout.for_mode(Mode.POLICY, config.views, config.latent_frames, config.latent_frames)
    batch = CanvasSource(episodes, config).batch(np.random.default_rng(0), 4, layout, Augment())
    assert batch.action.shape[0] == 4 and np.isfinite(batch.action).all()


def test_the_contract_of_a_data_set_becomes_the_models_and_is_held_against_the_next(dataset, tmp_path):
    from dataclasses import replace

    _, _, _, out = dataset
    said = data_contract(out)
    assert said == DataContract(("left", "right"), 10.0, "fr3_link0", "fr3_hand_tcp")
    renamed = replace(ModelConfig(), data=replace(said, views=("left", "wrist")))
    with pytest.raises(DatasetError, match="views was left, wrist, here it is left, right"):
        load_episodes(out, None, renamed)
    shutil.copytree(out / "meta", tmp_path / "meta")
    contract = tmp_path / "meta/action_images.json"
    contract.write_text(json.dumps({k: v for k, v in json.loads(contract.read_text()).items() if k != "tcp_frame"}))
    with pytest.raises(DatasetError, match="does not say views, fps and frames"):
        data_contract(tmp_path)


def test_a_rate_that_does_not_fit_the_model_is_refused():
    assert frame_stride(10.0, 0.4) == 4 and frame_stride(30.0, 0.4) == 12
    with pytest.raises(DatasetError, match="--fps"):
        frame_stride(7.0, 0.4)


def test_a_directory_that_is_no_complete_data_set_says_so(tmp_path):
    recordings.write_bag(tmp_path / "x", recordings.samples(3))
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text("{}")
    with pytest.raises(DatasetError, match="no complete data set"):
        list(read_dataset(tmp_path))

