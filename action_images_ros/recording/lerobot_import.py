"""LeRobot data sets of others (layouts 2.1 and 3.0) whose episodes carry calibrations: which column means what.

A map file says it; `droid` is one that comes with the package (columns as LeRobot's own port of DROID names them:
camera_extrinsics.<view> is base_T_camera, angles are roll, pitch, yaw about fixed axes, gripper 0 open and 1 closed).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ActionImagesError, ConfigError, DatasetError, one_of
from ..geometry import PinholeCamera
from ..geometry.se3 import make, matrix_from_quat, so3_exp
from ..yaml_tree import YamlNode, load_yaml
from .lerobot_layout import INFO, _arrow
from .lerobot_read import _inside

_ALIGNED = 1e-3


class PoseForm(str, Enum):
    """Numbers of a pose: metres, then an orientation; XYZ_RPY: R = Rz(yaw) Ry(pitch) Rx(roll)."""

    XYZ_RPY = "xyz_rpy"
    XYZ_ROTVEC = "xyz_rotvec"
    XYZ_QUAT_XYZW = "xyz_quat_xyzw"
    MATRIX = "matrix"


@dataclass(frozen=True)
class ViewMap:
    """images: video column; camera_pose: column of base_T_camera, "" where the calibrations file has it; K row by row
    for pictures of image_size, empty where the calibrations file has it."""

    images: str
    camera_pose: str = ""
    K: tuple[float, ...] = ()
    image_size: tuple[int, int] = (0, 0)
    distortion: tuple[float, ...] = ()


@dataclass(frozen=True)
class ImportMap:
    """tool: column of base_T_tool; tool_T_tcp (translation_m 3, quaternion_xyzw 4): where the TCP is in that frame;
    gripper: column, and its values when open and closed. A column may be a part: name[0:6]. success: bool column, or
    "". """

    views: dict[str, ViewMap]
    tool: str
    gripper: str
    tool_form: PoseForm = PoseForm.XYZ_RPY
    camera_form: PoseForm = PoseForm.XYZ_RPY
    tool_T_tcp: tuple[float, ...] = (0, 0, 0, 0, 0, 0, 1)
    gripper_open: float = 1.0
    gripper_closed: float = 0.0
    success: str = ""

    def __post_init__(self) -> None:
        if not self.views or len(self.tool_T_tcp) != 7 or self.gripper_open == self.gripper_closed:
            raise ConfigError("an import map needs views, 7 numbers of tool_T_tcp (m, quaternion xyzw), and a gripper "
                              f"whose open and closed differ; got {list(self.views)}, {self.tool_T_tcp}, "
                              f"{self.gripper_open:g} and {self.gripper_closed:g}")  # fmt: skip


DROID = ImportMap(
    {v: ViewMap(f"observation.images.{v}", f"camera_extrinsics.{v}") for v in ("exterior_1_left", "exterior_2_left")},
    "observation.state.cartesian_position", "observation.state.gripper_position", gripper_open=0.0,
    gripper_closed=1.0, success="is_episode_successful",
)  # fmt: skip


def load_map(text: str) -> ImportMap:
    """`droid`, or a YAML file with the fields of ImportMap. Raises ConfigError naming line and key."""
    if text == "droid":
        return DROID
    if not Path(text).exists():
        raise ConfigError(f"{text} is neither `droid` nor an import map that exists; see docs/recording.md")
    optional = ("tool_form", "camera_form", "tool_T_tcp", "gripper_open", "gripper_closed", "success")
    m = load_yaml(text).mapping(("views", "tool", "gripper"), optional)
    given: dict[str, Any] = {k: m[k].number() for k in ("gripper_open", "gripper_closed") if k in m}
    given |= {k: m[k].text() for k in ("tool", "gripper", "success") if k in m}
    given |= {k: _form(m[k]) for k in ("tool_form", "camera_form") if k in m}
    given |= {"tool_T_tcp": m["tool_T_tcp"].numbers(7)} if "tool_T_tcp" in m else {}
    return ImportMap({name: _view_map(node) for name, node in m["views"].entries().items()}, **given)


def _form(node: YamlNode) -> PoseForm:
    legal = [f.value for f in PoseForm]
    if node.value not in legal:
        raise node.fail(f"{node.value!r}; legal: {', '.join(legal)}")
    return PoseForm(node.value)


def _view_map(node: YamlNode) -> ViewMap:
    m = node.mapping(("images",), ("camera_pose", "K", "image_size", "distortion"))
    given: dict[str, Any] = {k: m[k].text() for k in ("images", "camera_pose") if k in m}
    given |= {"K": m["K"].numbers(9)} if "K" in m else {}
    given |= {"image_size": tuple(map(int, m["image_size"].numbers(2)))} if "image_size" in m else {}
    given |= {"distortion": tuple(n.number() for n in m["distortion"].items())} if "distortion" in m else {}
    return ViewMap(**given)


@dataclass(frozen=True, eq=False)
class ImportedEpisode:
    """base_T_tcps (N, 4, 4), openness (N,); cameras by view; videos: view -> file and its first frame."""

    index: int
    instruction: str
    success: str
    fps: float
    base_T_tcps: np.ndarray
    openness: np.ndarray
    cameras: dict[str, PinholeCamera]
    videos: dict[str, tuple[Path, int]]


@dataclass(frozen=True)
class LeRobotSource:
    """A data set and how to read it. calibrations: JSON file, episode index (or `default`) -> view -> K, image_size,
    distortion, base_T_camera (4, 4); what it says counts more than the map and the columns."""

    root: Path
    map: ImportMap
    calibrations: Path | None = None
    _info: dict = field(default_factory=dict, compare=False)

    def info(self) -> dict:
        if not self._info:
            try:
                self._info.update(json.loads((self.root / INFO).read_text(encoding="utf-8")))
            except (OSError, ValueError) as e:
                raise DatasetError(f"{self.root / INFO} is not readable ({e})") from e
            version = str(self._info.get("codebase_version"))
            one_of("codebase_version", version, ("v2.0", "v2.1", "v3.0"), DatasetError)
            missing = [c for c in self._columns() if c not in self._info["features"]]
            if missing:
                raise DatasetError(f"{self.root} has no {', '.join(missing)}; it has "
                                   f"{', '.join(self._info['features'])}")  # fmt: skip
        return self._info

    def _columns(self) -> list[str]:
        m = self.map
        names = [m.tool, m.gripper, m.success, *(c for v in m.views.values() for c in (v.images, v.camera_pose))]
        return [n.partition("[")[0] for n in names if n]

    @property
    def fps(self) -> float:
        return float(self.info()["fps"])

    def __len__(self) -> int:
        return int(self.info()["total_episodes"])

    def read(self, index: int) -> ImportedEpisode:
        """Raises DatasetError in one line for whatever is missing or does not fit."""
        try:
            return self._read(index)
        except ActionImagesError:
            raise
        except Exception as e:  # noqa: BLE001 - one line, whatever is wrong with the files
            raise DatasetError(f"{self.root}: episode {index}: {' '.join(str(e).split())[:200]}") from e

    def _read(self, index: int) -> ImportedEpisode:
        info, m, (_, pq) = self.info(), self.map, _arrow()
        row = self._row(index, pq)
        table = pq.read_table(_inside(self.root, info["data_path"].format(**row["at"])))
        table = table.filter(np.asarray(table["episode_index"]) == index)
        if len(table) != row["length"] or not len(table):
            raise DatasetError(f"{self.root}: episode {index} has {len(table)} rows and length {row['length']}")
        tools = _poses(_column(table, m.tool), m.tool_form)
        tool_T_tcp = make(matrix_from_quat(np.array(m.tool_T_tcp[3:], float)), np.array(m.tool_T_tcp[:3], float))
        grip = _column(table, m.gripper)[:, 0]
        openness = np.clip((grip - m.gripper_closed) / (m.gripper_open - m.gripper_closed), 0.0, 1.0)
        success = "unknown"
        if m.success:
            success = "success" if bool(_column(table, m.success)[-1, 0]) else "failure"
        cameras = {view: self._camera(index, view, table) for view in m.views}
        return ImportedEpisode(index, row["task"], success, self.fps, tools @ tool_T_tcp, openness, cameras,
                               row["videos"])  # fmt: skip

    def _camera(self, index: int, view: str, table) -> PinholeCamera:
        said, m = self._said(index, view), self.map.views[view]
        size = tuple(said.get("image_size", m.image_size))
        K = np.array(said.get("K", m.K), float).reshape(-1)
        height, width = self.info()["features"][m.images]["shape"][:2]
        if len(K) != 9 or min(size) < 1:
            raise DatasetError(f"{self.root}: nothing says K and image_size of view {view} of episode {index}; put "
                               "them into the map or the calibrations file")  # fmt: skip
        distortion = said.get("distortion", m.distortion)
        known = "base_T_camera" in said
        pose = np.array(said["base_T_camera"], float) if known else self._told_pose(index, view, table)
        camera = PinholeCamera(K.reshape(3, 3), (int(size[0]), int(size[1])), pose,
                               np.array(distortion, float) if len(distortion) else None)  # fmt: skip
        return camera if size == (width, height) else camera.resized((width, height))

    def _told_pose(self, index: int, view: str, table) -> np.ndarray:
        m = self.map
        if not m.views[view].camera_pose:
            raise DatasetError(f"{self.root}: nothing says where view {view} of episode {index} is")
        found = _poses(_column(table, m.views[view].camera_pose), m.camera_form)
        if np.ptp(found, axis=0).max() > _ALIGNED:
            raise DatasetError(f"{self.root}: view {view} of episode {index} moves; only cameras at rest can be used")
        if np.allclose(found[0], np.eye(4)):
            raise DatasetError(f"{self.root}: view {view} of episode {index} is not calibrated (pose is zero)")
        return found[0]

    def _said(self, index: int, view: str) -> dict:
        if self.calibrations is None:
            return {}
        try:
            every = json.loads(self.calibrations.read_text(encoding="utf-8"))
            return {**every.get("default", {}).get(view, {}), **every.get(str(index), {}).get(view, {})}
        except (OSError, ValueError, AttributeError, TypeError) as e:
            raise DatasetError(f"{self.calibrations} is no readable calibrations file ({e})") from e

    def _row(self, index: int, pq) -> dict:
        """length, task, at (what fills data_path), videos."""
        info = self.info()
        keys = {view: v.images for view, v in self.map.views.items()}
        if info["codebase_version"] != "v3.0":
            rows = [json.loads(x) for x in (self.root / "meta/episodes.jsonl").read_text("utf-8").splitlines() if x]
            row = self._own(index, rows)
            at = {"episode_chunk": index // int(info["chunks_size"]), "episode_index": index}
            files = {v: (_inside(self.root, info["video_path"].format(video_key=k, **at)), 0) for v, k in keys.items()}
            return {"length": row["length"], "task": row["tasks"][0], "at": at, "videos": files}
        tables = (pq.read_table(p) for p in sorted(self.root.glob("meta/episodes/*/*.parquet")))
        row = self._own(index, (r for t in tables for r in t.to_pylist()))
        at = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        files = {}
        for view, key in keys.items():
            where = {k: row[f"videos/{key}/{k}"] for k in ("chunk_index", "file_index")}
            file = _inside(self.root, info["video_path"].format(video_key=key, **where))
            files[view] = file, round(row[f"videos/{key}/from_timestamp"] * self.fps)
        return {"length": row["length"], "task": row["tasks"][0], "at": at, "videos": files}

    def _own(self, index: int, rows: Iterable[dict]) -> dict:
        found = next((r for r in rows if r["episode_index"] == index), None)
        if found is None:
            raise DatasetError(f"{self.root}: meta/episodes says nothing about episode {index} of {len(self)}")
        return found


def _column(table, name: str) -> np.ndarray:
    """(N, D) of `name`, or of its part `name[a:b]`, `name[a]`."""
    name, _, part = name.partition("[")
    values = np.array(table[name].to_pylist(), float).reshape(len(table), -1)
    if not part:
        return values
    first, colon, last = part.rstrip("]").partition(":")
    return values[:, int(first) : int(last) if colon else int(first) + 1]


def _poses(values: np.ndarray, form: PoseForm) -> np.ndarray:
    """(N, D) -> (N, 4, 4)."""
    if form is PoseForm.MATRIX:
        return values.reshape(-1, 4, 4)
    count = 7 if form is PoseForm.XYZ_QUAT_XYZW else 6
    if values.shape[1] != count:
        raise DatasetError(f"poses have {values.shape[1]} numbers; {form.value} has {count}")
    turn = {PoseForm.XYZ_RPY: _from_rpy, PoseForm.XYZ_ROTVEC: so3_exp, PoseForm.XYZ_QUAT_XYZW: matrix_from_quat}[form]
    return np.stack([make(turn(v[3:]), v[:3]) for v in values])


def _from_rpy(rpy: np.ndarray) -> np.ndarray:
    roll, pitch, yaw = (so3_exp(angle * axis) for angle, axis in zip(rpy, np.eye(3)))
    return yaw @ pitch @ roll
