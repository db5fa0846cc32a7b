"""The Fast DDS profile with buffers for whole camera images, for every process however it was started."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .paths import config_file

PROFILE = "config/fastdds_shm.xml"
VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Where Fast DDS looks: 3 (ROS 2 Kilted and later), and 2 (Humble to Jazzy)."""


def profile_defaults(base: Mapping[str, str]) -> dict[str, str]:
    """What `base` lacks. A profile that is set under one name is set under the other too."""
    profile = next((base[name] for name in VARIABLES if base.get(name)), str(config_file(PROFILE)))
    return {name: profile for name in VARIABLES if not base.get(name)}


def use_profile() -> None:
    """For this process, before its first rclpy.init."""
    os.environ.update(profile_defaults(os.environ))
