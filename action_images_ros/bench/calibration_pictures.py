"""What the cameras of a random cell see: ideal points with noise, or rendered pictures with real detections."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml

from ..calibration import BoardDetector, BoardMount, CameraMount, Detection, Sample
from ..cell import Calibration, Cell, View, WorkspaceBox
from ..errors import CalibrationError
from .calibration_cell import TrueCell, synthetic_samples

WORKSPACE = WorkspaceBox((0.22, -0.40, 0.12), (0.75, 0.40, 0.70), (), 0.0)


class IdealCell:
    """Projected points with white noise."""

    def __init__(
        self, cell: TrueCell, rng: np.random.Generator, joint_noise_deg: float = 0.05, pixel_noise: float = 0.1
    ):
        self._cell, self._rng, self._noise = cell, rng, (joint_noise_deg, pixel_noise)

    def take(self, name: str, q: np.ndarray) -> Sample:
        return replace(synthetic_samples(self._rng, self._cell, q[None], *self._noise)[0], name=name)

    def close(self) -> None:
        pass


class RenderedCell:
    """Rendered pictures, real detections. save: folder that keeps pictures, joints and what describes the rig."""

    def __init__(
        self,
        cell: TrueCell,
        rng: np.random.Generator,
        joint_noise_deg: float = 0.05,
        blur_px: float = 0.6,
        sensor_noise: float = 2.0,
        save: Path | None = None,
    ):
        from ..sim.boards import LensCell, PlacedBoard, Sensor
        from ..sim.split import Split
        from ..sim.tasks import make_task

        placed = {
            name: PlacedBoard(b.board, b.mount is BoardMount.GRIPPER, cell.boards[name], cell.scales[name])
            for name, b in cell.rig.boards.items()
        }
        size = next(iter(cell.rig.cameras.values())).image_size
        self._cell, self._rng, self._save = cell, rng, save
        self._joint_sd = np.deg2rad(joint_noise_deg)
        self._lenses = LensCell(placed, size, Sensor(blur_px, sensor_noise))
        self._lenses.cell.reset(make_task("reach_target").sample(rng, Split.TEST, self._lenses.cell.kinematics))
        self._detector = BoardDetector(cell.rig.plain_boards)
        self._joints: list[str] = []

    def take(self, name: str, q: np.ndarray) -> Sample:
        sim, cell = self._lenses.cell, self._cell
        sim.teleport(q, 0.04)
        reading = q + self._rng.normal(0, self._joint_sd, 7)
        images = {
            view: self._lenses.render(camera.at(cell.base_T_camera(view, sim.base_T_tcp)), self._rng)
            for view, camera in cell.rig.cameras.items()
        }
        if self._save:
            self._keep(self._save, name, reading, images)
        return Sample(name, reading, {view: d for view, image in images.items() if (d := self._detector.detect(image))})

    def _keep(self, folder: Path, name: str, reading: np.ndarray, images: dict[str, np.ndarray]) -> None:
        for view, image in images.items():
            (folder / view).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / view / f"{name}.png"), image[..., ::-1])
        self._joints.append(",".join([name, *(f"{v:.8f}" for v in reading)]))
        head = ",".join(["pose", *(f"q{i}" for i in range(1, 8))])
        (folder / "joints.csv").write_text("\n".join([head, *self._joints]) + "\n")
        save_rig(self._cell, folder)

    def close(self) -> None:
        self._lenses.close()


def save_rig(cell: TrueCell, folder: Path) -> None:
    """Beside saved pictures: cell.yaml, a YAML of each wrist camera, and boards.txt, as `action-images calibrate`
    takes them. Camera poses in cell.yaml are placeholders: what is to be found."""
    views = []
    for name, camera in cell.rig.cameras.items():
        if camera.mount is CameraMount.EYE_TO_HAND:
            views.append(
                View(
                    name,
                    f"/camera/{name}",
                    camera.serial,
                    camera.at(np.eye(4)),
                    Calibration("2026-05-26", "not calibrated", 0.0),
                )
            )
        else:
            lens = {
                "serial": camera.serial,
                "K": [float(v) for v in camera.K.ravel()],
                "image_size": list(camera.image_size),
                "distortion": [float(v) for v in camera.coefficients],
            }
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(lens))
    Cell("bench", tuple(views), WORKSPACE).save(folder / "cell.yaml")
    (folder / "boards.txt").write_text("".join(f"{b.mount.value}={b.board.text}\n" for b in cell.rig.boards.values()))


def save_scene(
    cell: TrueCell, folder: Path, q_start: np.ndarray, joint_error_deg: float = 0.05, blur_px: float = 0.6,
    sensor_noise: float = 2.0, seed: int = 0,
) -> None:
    """scene.yaml, which the simulated cell reads, and cell.yaml, which is all that a calibrator is told: names, topics
    and serial numbers of the fixed cameras, and the workspace."""
    from ..sim.boards import PlacedBoard, Sensor
    from ..sim.calibration_scene import CalibrationScene, TrueCamera

    cameras = {
        name: TrueCamera(f"/camera/{name}", c.at(cell.cameras[name]), c.mount is CameraMount.EYE_IN_HAND)
        for name, c in cell.rig.cameras.items()
    }
    boards = {
        name: PlacedBoard(b.board, b.mount is BoardMount.GRIPPER, cell.boards[name], cell.scales[name])
        for name, b in cell.rig.boards.items()
    }
    scene = CalibrationScene(cameras, boards, Sensor(blur_px, sensor_noise), joint_error_deg, tuple(q_start), seed)
    scene.save(folder / "scene.yaml")
    views = {
        name: {"topic": f"/camera/{name}", "serial": c.serial}
        for name, c in cell.rig.cameras.items()
        if c.mount is CameraMount.EYE_TO_HAND
    }
    box = {"box_min_m": list(WORKSPACE.box_min_m), "box_max_m": list(WORKSPACE.box_max_m), "table_z_m": 0.0}
    document = {"name": "to calibrate", "views": views, "workspace": box}
    (folder / "cell.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def save_samples(path: Path, samples: list[Sample], settings: dict) -> None:
    """Readings and detected points, and what they were made with."""
    rows = [
        {
            "name": s.name,
            "q": s.q.tolist(),
            "detections": {
                view: [{"board": d.board, "ids": d.ids.tolist(), "uv": d.uv.tolist()} for d in found]
                for view, found in s.detections.items()
            },
        }
        for s in samples
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"settings": settings, "opencv": cv2.__version__, "samples": rows}))


def load_samples(path: Path, settings: dict) -> list[Sample]:
    """What `save_samples` kept. Raises CalibrationError where that was made with other settings."""
    kept = json.loads(path.read_text())
    if kept["settings"] != settings:
        raise CalibrationError(f"{path} was made with {kept['settings']}, not {settings}; keep in another folder")
    return [
        Sample(
            s["name"],
            np.array(s["q"]),
            {
                view: tuple(Detection(d["board"], np.array(d["ids"]), np.array(d["uv"])) for d in found)
                for view, found in s["detections"].items()
            },
        )
        for s in kept["samples"]
    ]
