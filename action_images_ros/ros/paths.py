"""Where the package's own files and other packages' executables are: in a checkout, a pip or a ROS installation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE = "action_images_ros"
_CHECKOUT = Path(__file__).resolve().parents[2]


def share_directory() -> Path:
    """The directory that holds launch/, config/ and models/."""
    if (_CHECKOUT / "package.xml").is_file():
        return _CHECKOUT
    for prefix in (*_ament_prefixes(), Path(sys.prefix)):
        if (prefix / "share" / PACKAGE / "package.xml").is_file():
            return prefix / "share" / PACKAGE
    return _CHECKOUT


def config_file(relative: str | Path) -> Path:
    """Absolute path of a file given absolutely, relative to here, or relative to the share directory."""
    path = Path(relative).expanduser()
    if path.is_absolute():
        return path
    return path.absolute() if path.exists() else share_directory() / path


def executable_command(package: str, executable: str) -> list[str] | None:
    """How to start a package's executable; None where it is not installed.

    Our own start as modules of the running interpreter where no ROS installation holds them.
    """
    for prefix in _ament_prefixes():
        path = prefix / "lib" / package / executable
        if os.access(path, os.X_OK):
            return [str(path)]
    return [sys.executable, "-m", f"{PACKAGE}.nodes.{executable}"] if package == PACKAGE else None


def _ament_prefixes() -> list[Path]:
    return [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
