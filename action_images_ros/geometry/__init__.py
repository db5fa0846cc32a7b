"""Rigid motions and calibrated cameras."""

from .camera import PinholeCamera
from .se3 import inverse, se3_exp, so3_exp, so3_log

__all__ = ["PinholeCamera", "inverse", "se3_exp", "so3_exp", "so3_log"]
