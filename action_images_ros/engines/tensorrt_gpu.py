"""The denoiser on TensorRT, from an engine that `action-images compile` built and verified."""

from .plans import PRECISIONS, PlanEngine

__all__ = ["PRECISIONS", "available", "load", "only_by_name", "serves"]

_ENGINE = PlanEngine("tensorrt")
available, serves, only_by_name, load = _ENGINE.available, _ENGINE.serves, _ENGINE.only_by_name, _ENGINE.load
