"""LeRobot data sets of others: both layouts, written here as the `lerobot` package lays them out."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from action_images_ros.cli import main
from action_images_ros.errors import ConfigError, DatasetError
from action_images_ros.geometry.se3 import make as pose
from action_images_ros.geometry.se3 import quat_from_matrix, so3_exp, so3_log
from action_images_ros.recording.lerobot_import import DROID, ImportMap, LeRobotSource, PoseForm, load_map
from action_images_ros.recording.lerobot_read import read_dataset
from action_images_ros.recording.video import VideoWriter

VIEWS, SIZE, FPS = ("exterior_1_left", "exterior_2_left"), (64, 48), 15
LENGTHS = (20, 25)
K = [400.0, 0, 319.5, 0, 400.0, 239.5, 0, 0, 1]


def tool(k: int) -> list[float]:
    return [0.5 + 0.01 * k, 0.1, 0.3, np.pi - 0.01 * k, 0.05, 0.02 * k]


def camera(episode: int, view: int) -> list[float]:
    return [1.2, view - 0.5, 0.6, -2.0 + 0.1 * episode, 0.1, 1.5 - 3 * view]


def rotation(rpy) -> np.ndarray:
    roll, pitch, yaw = (so3_exp(a * axis) for a, axis in zip(rpy, np.eye(3)))
    return yaw @ pitch @ roll


def picture(episode: int, k: int, view: int) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), (60 + 100 * episode, 8 * k, 90 * view), np.uint8)


def table(episode: int) -> pa.Table:
    n = LENGTHS[episode]
    columns = {
        "observation.state.cartesian_position": [tool(k) for k in range(n)],
        "observation.state.gripper_position": [[0.0 if k < 10 else 0.75] for k in range(n)],
        "is_episode_successful": [episode == 0] * n, "episode_index": [episode] * n,
    }  # fmt: skip
    columns |= {f"camera_extrinsics.{v}": [camera(episode, i)] * n for i, v in enumerate(VIEWS)}
    return pa.table(columns)


def make(root, version: str) -> None:
    video = {"dtype": "video", "shape": [SIZE[1], SIZE[0], 3]}
    features = {f"observation.images.{v}": video for v in VIEWS} | {c: {} for c in table(0).column_names}
    new = version == "v3.0"
    info = {
        "codebase_version": version, "fps": FPS, "total_episodes": 2, "chunks_size": 1000, "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet" if new else
        "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4" if new else
        "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }  # fmt: skip
    groups = [(0, 1)] if new else [(0,), (1,)]
    for number, episodes in enumerate(groups):
        at = {"chunk_index": 0, "file_index": 0, "episode_chunk": 0, "episode_index": number}
        data = root / info["data_path"].format(**at)
        data.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.concat_tables([table(e) for e in episodes]), data)
        for i, view in enumerate(VIEWS):
            file = root / info["video_path"].format(video_key=f"observation.images.{view}", **at)
            file.parent.mkdir(parents=True, exist_ok=True)
            with VideoWriter(file, SIZE, FPS, "lossless") as writer:
                for e in episodes:
                    for k in range(LENGTHS[e]):
                        writer.write(picture(e, k, i))
    rows = [{"episode_index": e, "length": LENGTHS[e], "tasks": ["put the cup away"]} for e in range(2)]
    (root / "meta").mkdir()
    (root / "meta/info.json").write_text(json.dumps(info))
    if not new:
        (root / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
        return
    for row in rows:
        row |= {"data/chunk_index": 0, "data/file_index": 0}
        for view in VIEWS:
            key = f"videos/observation.images.{view}"
            start = sum(LENGTHS[: row["episode_index"]]) / FPS
            row |= {f"{key}/chunk_index": 0, f"{key}/file_index": 0, f"{key}/from_timestamp": start}
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "meta/episodes/chunk-000/file-000.parquet")


def calibrations(root, more: dict | None = None):
    said = {"default": {v: {"K": K, "image_size": [640, 480]} for v in VIEWS}} | (more or {})
    (root / "calibrations.json").write_text(json.dumps(said))
    return str(root / "calibrations.json")


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_episodes_come_with_their_own_poses_pictures_and_cameras(tmp_path, version):
    make(tmp_path / "droid", version)
    status = main(["dataset", str(tmp_path / "droid"), "--map", "droid", "--calibrations", calibrations(tmp_path),
                   "--video", "lossless", "--validation", "0", "--no-report", "--out",
                   str(tmp_path / "out")])  # fmt: skip
    assert status == 0
    found = list(read_dataset(tmp_path / "out"))
    assert [len(e.openness) for e in found] == list(LENGTHS) and [e.success for e in found] == ["success", "failure"]
    for number, e in enumerate(found):
        assert e.fps == FPS and e.instruction == "put the cup away"
        for k, T in enumerate(e.base_T_tcps):
            np.testing.assert_allclose(T[:3, 3], tool(k)[:3], atol=1e-6)
            np.testing.assert_allclose(T[:3, :3], rotation(tool(k)[3:]), atol=1e-6)
        np.testing.assert_allclose(e.openness, [1.0 if k < 10 else 0.25 for k in range(len(e.openness))], atol=1e-6)
        for i, view in enumerate(VIEWS):
            base_T_camera = e.cameras[view].base_T_camera
            np.testing.assert_allclose(base_T_camera[:3, :3], rotation(camera(number, i)[3:]), atol=1e-6)
            np.testing.assert_allclose(base_T_camera[:3, 3], camera(number, i)[:3], atol=1e-6)
            np.testing.assert_allclose(e.cameras[view].K, [[40, 0, 31.5], [0, 40, 23.5], [0, 0, 1]], atol=1e-9)
            frames = list(e.frames(view))
            assert len(frames) == LENGTHS[number]
            for k, frame in enumerate(frames):
                np.testing.assert_array_equal(frame, picture(number, k, i))


def test_an_episode_without_a_usable_calibration_is_named_and_left_out(tmp_path, capsys):
    make(tmp_path / "droid", "v2.1")
    more = {"1": {VIEWS[0]: {"K": []}}}
    out = ["--out", str(tmp_path / "out"), "--no-report", "--json"]
    assert main(["dataset", str(tmp_path / "droid"), *out]) == 2
    assert "--map" in capsys.readouterr().err
    status = main(["dataset", str(tmp_path / "droid"), "--map", "droid", "--calibrations", calibrations(tmp_path, more),
                   *out])  # fmt: skip
    said = json.loads(capsys.readouterr().out)
    assert status == 1 and said["episodes"] == 1
    ((name, why),) = said["skipped"].items()
    assert name.endswith("#1") and "nothing says K" in why


def test_a_map_file_says_what_columns_mean(tmp_path, capsys):
    make(tmp_path / "droid", "v3.0")
    text = f"""
views:
  a:
    {{images: observation.images.{VIEWS[0]}, camera_pose: camera_extrinsics.{VIEWS[0]}, K: {K}, image_size: [640, 480]}}
tool: observation.state.cartesian_position[0:6]
tool_T_tcp: [0, 0, 0.1, 0, 0, 0, 1]
gripper: observation.state.gripper_position[0]
"""
    (tmp_path / "map.yaml").write_text(text)
    run = ["dataset", str(tmp_path / "droid"), "--out", str(tmp_path / "out"), "--no-report", "--validation", "0"]
    assert main([*run, "--map", str(tmp_path / "map.yaml")]) == 0
    e = next(iter(read_dataset(tmp_path / "out")))
    np.testing.assert_allclose(e.base_T_tcps[5][:3, 3], tool(5)[:3] + 0.1 * rotation(tool(5)[3:])[:, 2], atol=1e-6)
    assert list(e.cameras) == ["a"] and e.openness[0] == 0 and e.openness[-1] == 0.75
    (tmp_path / "map.yaml").write_text(text.replace("cartesian_position", "cartesian"))
    assert main([*run[:2], "--out", str(tmp_path / "other"), "--map", str(tmp_path / "map.yaml")]) == 2
    assert "has no observation.state.cartesian" in capsys.readouterr().err


FORMS = {
    PoseForm.XYZ_RPY: tool,
    PoseForm.XYZ_ROTVEC: lambda k: [*tool(k)[:3], *so3_log(rotation(tool(k)[3:]))],
    PoseForm.XYZ_QUAT_XYZW: lambda k: [*tool(k)[:3], *quat_from_matrix(rotation(tool(k)[3:]))],
    PoseForm.MATRIX: lambda k: pose(rotation(tool(k)[3:]), tool(k)[:3]).ravel().tolist(),
}


class Tables:
    """A data set of version 2.1 without pictures, columns to be changed."""

    def __init__(self, root) -> None:
        self.root, self.data = root, table(0)
        self.info = {
            "codebase_version": "v2.1", "fps": FPS, "total_episodes": 1, "chunks_size": 1000,
            "features": {f"observation.images.{v}": {"shape": [SIZE[1], SIZE[0], 3]} for v in VIEWS},
            "data_path": "data.parquet", "video_path": "{video_key}.mp4",
        }  # fmt: skip
        self.rows = [{"episode_index": 0, "length": LENGTHS[0], "tasks": ["x"]}]

    def column(self, name: str, values: list) -> None:
        others = [c for c in self.data.column_names if c != name]
        self.data = self.data.select(others).append_column(name, pa.array(values))

    def read(self, by: ImportMap = DROID, index: int = 0):
        (self.root / "meta").mkdir(exist_ok=True)
        self.info["features"] |= {c: {} for c in self.data.column_names}
        (self.root / "meta/info.json").write_text(json.dumps(self.info))
        (self.root / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, self.rows)) + "\n")
        pq.write_table(self.data, self.root / "data.parquet")
        said = self.root / "calibrations.json"
        return LeRobotSource(self.root, by, said if said.exists() else calibrations(self.root) and said).read(index)


@pytest.mark.parametrize("form", PoseForm)
def test_every_form_of_a_pose_means_the_same_motion(tmp_path, form):
    tables = Tables(tmp_path)
    tables.column("tool", [FORMS[form](k) for k in range(LENGTHS[0])])
    found = tables.read(replace(DROID, tool="tool", tool_form=form)).base_T_tcps
    np.testing.assert_allclose(found, [pose(rotation(tool(k)[3:]), tool(k)[:3]) for k in range(LENGTHS[0])], atol=1e-9)


def moved(k: int) -> list[float]:
    return [1.2 + 0.001 * k, 0, 0.6, -2, 0.1, 1.5]


N = LENGTHS[0]
EXTRINSICS = f"camera_extrinsics.{VIEWS[0]}"
UNPLACED = replace(DROID, views={VIEWS[0]: replace(DROID.views[VIEWS[0]], camera_pose="")})


@pytest.mark.parametrize(
    ("change", "by", "says"),
    [
        (lambda t: t.column(EXTRINSICS, [moved(k) for k in range(N)]), DROID, f"{VIEWS[0]} of episode 0 moves; only"),
        (lambda t: t.column(EXTRINSICS, [[0.0] * 6] * N), DROID, f"{VIEWS[0]} of episode 0 is not calibrated"),
        (lambda t: None, UNPLACED, f"nothing says where view {VIEWS[0]} of episode 0 is"),
        (lambda t: None, replace(DROID, tool=DROID.tool + "[0:5]"), "poses have 5 numbers; xyz_rpy has 6"),
        (lambda t: t.info.update(codebase_version="v1.6"), DROID, "v1.6.*v2.0, v2.1, v3.0"),
        (lambda t: t.rows.clear(), DROID, "says nothing about episode 0 of 1"),
        (lambda t: t.rows[0].update(length=21), DROID, "episode 0 has 20 rows and length 21"),
        (lambda t: t.rows[0].pop("tasks"), DROID, "episode 0: 'tasks'"),
        (lambda t: t.info.update(data_path="../data.parquet"), DROID, "which is outside of it"),
        (lambda t: (t.root / "calibrations.json").write_text("[1]"), DROID, "no readable calibrations file"),
        (lambda t: (t.root / "calibrations.json").write_text("{"), DROID, "no readable calibrations file"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, change, by, says):
    tables = Tables(tmp_path)
    change(tables)
    with pytest.raises(DatasetError, match=says):
        tables.read(by)


def test_a_directory_that_is_no_data_set_is_named(tmp_path):
    with pytest.raises(DatasetError, match="info.json is not readable"):
        LeRobotSource(tmp_path, DROID).read(0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tool_form: euler\n", r"map.yaml:4.*'euler'; legal: xyz_rpy, xyz_rotvec"),
        ("gripper_open: 1\ngripper_closed: 1\n", "open and closed differ"),
        ("tool_T_tcp: [0, 0, 0.1]\n", "map.yaml:4.*7"),
        ("speed: 3\n", "speed"),
    ],
)
def test_a_wrong_map_names_line_and_what_is_legal(tmp_path, text, says):
    (tmp_path / "map.yaml").write_text("views: {a: {images: x, distortion: [0.1, 0]}}\ntool: t\ngripper: g\n" + text)
    with pytest.raises(ConfigError, match=says):
        load_map(str(tmp_path / "map.yaml"))
    with pytest.raises(ConfigError, match="nowhere.yaml is neither `droid` nor an import map"):
        load_map(str(tmp_path / "nowhere.yaml"))
