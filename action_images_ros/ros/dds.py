"""The Fast DDS profile with buffers for whole camera images, for every process however it was started."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .paths import config_file

PROFILE = "config/fastdds_shm.xml"
VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Where Fast DDS looks: version 3 (ROS 2 Kilted and later, which complain about the second), and version 2."""

_OLD = ("foxy", "galactic", "humble", "iron", "jazzy")


def variable(base: Mapping[str, str]) -> str:
    """The one that the ROS 2 of this environment reads."""
    return VARIABLES[1] if base.get("ROS_DISTRO", "") in _OLD else VARIABLES[0]


def profile_defaults(base: Mapping[str, str]) -> dict[str, str]:
    """What `base` lacks. A profile that is set under either name stays, under the name that is read."""
    name = variable(base)
    if base.get(name):
        return {}
    return {name: next((base[n] for n in VARIABLES if base.get(n)), str(config_file(PROFILE)))}


def use_profile() -> None:
    """For this process, before its first rclpy.init."""
    os.environ.update(profile_defaults(os.environ))
