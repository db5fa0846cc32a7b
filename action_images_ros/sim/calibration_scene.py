"""A simulated cell that is to be calibrated: its true cameras and lenses, boards, sensor, and the arm's reading errors.

Only the simulated cell reads this file; who calibrates has to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from ..calibration.boards import Board
from ..errors import SimError
from ..geometry import PinholeCamera
from ..geometry.se3 import make, matrix_from_quat, quat_from_matrix
from ..yaml_tree import YamlNode, load_yaml
from .boards import LensCell, PlacedBoard, Sensor
from .cell import SimCellConfig
from .scene import Scene

_WAVES = 24
_WAVE_RAD = 0.25


@dataclass(frozen=True, eq=False)
class TrueCamera:
    """topic: prefix of its image and camera_info. camera: in the base frame, or, on the wrist, in the TCP frame."""

    topic: str
    camera: PinholeCamera
    on_wrist: bool

    @property
    def frame_id(self) -> str:
        return f"{self.topic.rsplit('/', 1)[-1]}_color_optical_frame"

    def at(self, base_T_tcp: np.ndarray) -> PinholeCamera:
        c = self.camera
        pose = base_T_tcp @ c.base_T_camera if self.on_wrist else c.base_T_camera
        return PinholeCamera(c.K, c.image_size, pose, c.distortion)


@dataclass(frozen=True, eq=False)
class CalibrationScene:
    """cameras by view, boards by name; all cameras have one size. joint_error_deg: see JointErrors. q_start (7,):
    rad."""

    cameras: Mapping[str, TrueCamera]
    boards: Mapping[str, PlacedBoard]
    sensor: Sensor
    joint_error_deg: float
    q_start: tuple[float, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = {c.camera.image_size for c in self.cameras.values()}
        if len(sizes) != 1:
            raise SimError(f"the cameras of a calibration scene have one size; got {sorted(sizes)}")

    @property
    def image_size(self) -> tuple[int, int]:
        return next(iter(self.cameras.values())).camera.image_size

    @classmethod
    def load(cls, path: str | Path) -> CalibrationScene:
        """Raises ConfigError naming file, line, key and what is legal."""
        m = load_yaml(path).mapping(("cameras", "boards", "sensor", "joint_error_deg", "q_start"), ("seed",))
        sensor = m["sensor"].mapping(("blur_px", "noise"))
        return cls(
            {name: _camera(node) for name, node in m["cameras"].entries().items()},
            {name: _board(node) for name, node in m["boards"].entries().items()},
            Sensor(sensor["blur_px"].number(0, 10), sensor["noise"].number(0, 100)),
            m["joint_error_deg"].number(0, 5),
            m["q_start"].numbers(7),
            int(m["seed"].number(0)) if "seed" in m else 0,
        )

    def save(self, path: str | Path) -> None:
        document = {
            "cameras": {
                name: {
                    "topic": c.topic,
                    "on_wrist": c.on_wrist,
                    "K": _floats(c.camera.K),
                    "image_size": list(c.camera.image_size),
                    "distortion": [] if c.camera.distortion is None else _floats(c.camera.distortion),
                    "parent_T_camera": _pose(c.camera.base_T_camera),
                }
                for name, c in self.cameras.items()
            },
            "boards": {
                name: {
                    "board": b.board.text,
                    "on_gripper": b.on_gripper,
                    "scale": float(b.scale),
                    "parent_T_board": _pose(b.parent_T_board),
                }
                for name, b in self.boards.items()
            },
            "sensor": {"blur_px": self.sensor.blur_px, "noise": self.sensor.noise},
            "joint_error_deg": self.joint_error_deg,
            "q_start": _floats(self.q_start),
            "seed": self.seed,
        }
        Path(path).write_text(yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=118))


class JointErrors:
    """What the arm's joint readings are off by: repeatable, and smooth in the pose, as gears and encoders make it.

    Independent from joint to joint and between poses some 0.3 rad apart; averaging over time does not remove it.
    """

    def __init__(self, sd_deg: float, seed: int):
        rng = np.random.default_rng([seed, 7])
        self._waves = rng.normal(0, 1 / _WAVE_RAD, (7, _WAVES, 7))
        self._phases = rng.uniform(0, 2 * np.pi, (7, _WAVES))
        self._size = np.deg2rad(sd_deg) * np.sqrt(2 / _WAVES)

    def at(self, q: np.ndarray) -> np.ndarray:
        """Reading less truth (7,) rad at joint angles q (7,)."""
        return self._size * np.cos(self._waves @ np.asarray(q, float) + self._phases).sum(1)


class SceneMirror:
    """Pictures of a calibration scene, for a thread that only renders: what `ros.sim_rendering` takes as a cell."""

    def __init__(self, scene: CalibrationScene):
        self._scene, self._rng = scene, np.random.default_rng([scene.seed, 8])
        self._lenses = LensCell(scene.boards, scene.image_size, scene.sensor)
        self.config = SimCellConfig(tuple(scene.cameras), scene.image_size)

    def reset(self, look: Scene) -> None:
        self._lenses.cell.reset(look)

    def show(self, snapshot: np.ndarray) -> None:
        self._lenses.cell.show(snapshot)

    def render(self, view: str) -> np.ndarray:
        """uint8 (H, W, 3) RGB."""
        return self._lenses.render(self._scene.cameras[view].at(self._lenses.cell.base_T_tcp), self._rng)

    def close(self) -> None:
        self._lenses.close()


def _camera(node: YamlNode) -> TrueCamera:
    m = node.mapping(("topic", "on_wrist", "K", "image_size", "distortion", "parent_T_camera"))
    width, height = (int(v) for v in m["image_size"].numbers(2))
    d = [v.number() for v in m["distortion"].items()]
    K = np.array(m["K"].numbers(9)).reshape(3, 3)
    camera = PinholeCamera(K, (width, height), _read_pose(m["parent_T_camera"]), np.array(d) if d else None)
    return TrueCamera(m["topic"].text(), camera, m["on_wrist"].value is True)


def _board(node: YamlNode) -> PlacedBoard:
    m = node.mapping(("board", "on_gripper", "scale", "parent_T_board"))
    pose = _read_pose(m["parent_T_board"])
    return PlacedBoard(Board.parse(m["board"].text()), m["on_gripper"].value is True, pose, m["scale"].number(0.5, 2))


def _read_pose(node: YamlNode) -> np.ndarray:
    m = node.mapping(("translation_m", "quaternion_xyzw"))
    xyzw = np.array(m["quaternion_xyzw"].numbers(4))
    return make(matrix_from_quat(xyzw / np.linalg.norm(xyzw)), np.array(m["translation_m"].numbers(3)))


def _pose(T: np.ndarray) -> dict:
    return {"translation_m": _floats(T[:3, 3]), "quaternion_xyzw": _floats(quat_from_matrix(T[:3, :3]))}


def _floats(values) -> list[float]:
    return [float(v) for v in np.ravel(values)]
