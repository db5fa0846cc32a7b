"""A random cell calibrated by the real nodes: sim_cell renders and moves; calibrator detects, drives, solves."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..calibration import CalibrationResult, CameraMount
from ..calibration.store import StoredCalibration
from .calibration_cell import TrueCell
from .calibration_pictures import save_scene

_START_S = 60.0
_SPEED_RADPS = 1.0


def calibrate_through_nodes(
    cell: TrueCell, guided: np.ndarray, poses: int, folder: Path, joint_noise_deg: float, blur_px: float,
    sensor_noise: float, seed: int,
) -> CalibrationResult:  # fmt: skip
    """As a person would: guide the arm to the poses `guided` (N, 7), let the node drive to the others, save.

    folder: of cell file, scene, logs and result. Raises CalibrationError where the calibrator gives up, TransportError
    where it does not answer.
    """
    from ..ros.calibrator_desk import CalibratorDesk
    from ..ros.operator import Operator
    from ..ros.runner import GraphRunner, graph_environment

    os.environ.update(graph_environment())
    folder.mkdir(parents=True, exist_ok=True)
    save_scene(cell, folder, guided[0], joint_noise_deg, blur_px, sensor_noise, seed)
    with (
        GraphRunner(_graph(cell, poses, folder), folder / "log") as runner,
        Operator(on_wait=runner.require_running) as operator,
    ):
        desk = CalibratorDesk(operator)
        for q in guided:
            desk.guide(q)
        desk.let_drive(poses)
        desk.save()
    return StoredCalibration.load(folder / "result" / "calibration.yaml").result


def _graph(cell: TrueCell, poses: int, folder: Path):
    from ..ros.node_spec import NodeSpec

    wrist = [f"{name}=/camera/{name}@{c.serial}" for name, c in cell.rig.cameras.items()
             if c.mount is CameraMount.EYE_IN_HAND]  # fmt: skip
    boards = {f"{b.mount.value}_board": b.board.text for b in cell.rig.boards.values()}
    common = {"cell": str(folder / "cell.yaml")}
    scene = {"calibration_scene": str(folder / "scene.yaml"), "camera_rate_hz": 3.0}
    calibration = {
        **boards, "wrist": ",".join(wrist), "mode": "propose", "poses": poses, "speed_rad_s": _SPEED_RADPS,
        "out": str(folder / "result"), "wait_s": _START_S,
    }  # fmt: skip
    return [
        NodeSpec("sim_cell", "sim_cell", parameters=common | scene),
        NodeSpec("calibrator", "calibrator", parameters=common | calibration),
    ]
