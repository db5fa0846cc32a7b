"""Where the cameras are: boards, joint hand-eye adjustment of any number of cameras, evidence, store, drift."""

from .boards import Board, BoardKind
from .calibrate import Options, calibrate
from .detect import BoardDetector, Detection
from .result import CalibrationResult
from .rig import BoardMount, CameraMount, Rig, RigBoard, RigCamera, Sample
from .unknowns import Correction, Intrinsics, Noise

__all__ = [
    "Board",
    "BoardDetector",
    "BoardKind",
    "BoardMount",
    "CalibrationResult",
    "CameraMount",
    "Correction",
    "Detection",
    "Intrinsics",
    "Noise",
    "Options",
    "Rig",
    "RigBoard",
    "RigCamera",
    "Sample",
    "calibrate",
]
