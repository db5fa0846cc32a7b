"""One root for every error that a user, a file or a device can cause.

A message names the bad value, what is legal, and the remedy. The command line prints it as one
line and exits with status 2; a node logs it and refuses to start, or holds.
"""

import sys


class ActionImagesError(Exception):
    """Root of all errors raised on purpose by this package."""


class ConfigError(ActionImagesError):
    """A configuration value or file is missing, malformed or inconsistent."""


class CameraError(ActionImagesError):
    """Intrinsics, extrinsics or images that do not fit each other."""


class EncodingError(ActionImagesError):
    """Action images or 7-DoF actions that cannot be encoded or decoded."""


class ModelError(ActionImagesError):
    """A model directory, its weights or its inputs are not what the model needs."""


class EngineError(ActionImagesError):
    """An inference engine is missing, does not match its model, or failed."""


class ControlError(ActionImagesError):
    """A target or command that the controller refuses."""


class ArmError(ActionImagesError):
    """The arm cannot be reached, or is in a state in which it must not be commanded."""


class CalibrationError(ActionImagesError):
    """A calibration that cannot be computed from its data, or must not be used."""


class SimError(ActionImagesError):
    """The simulated cell was asked for something that it does not have."""


class TransportError(ActionImagesError):
    """A ROS message, topic or parameter is not what the graph agreed on."""


class DatasetError(ActionImagesError):
    """Recorded or generated episodes that are missing, broken or inconsistent."""


def pip_install(extra: str) -> str:
    """The command that installs an extra of this package into the Python that runs."""
    return f"{sys.executable} -m pip install 'action_images_ros[{extra}]'"


def one_of(name: str, value: object, legal, error: type[ActionImagesError] = ConfigError) -> None:
    """Raise `error` naming the legal values unless `value` is one of them."""
    names = sorted(str(x) for x in legal)
    if value not in legal:
        raise error(f"{name} is {value!r}; legal: {', '.join(names)}")
