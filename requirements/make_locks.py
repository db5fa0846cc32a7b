"""Writes the lock files beside it: every package of an environment its version and the hashes of its files.

Runs with any Python 3.10 or later that has pip and venv; `./run lock` calls it. The resolver, uv, is installed into a
temporary environment. Nothing that names a package index gets into the files.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
X86 = "sys_platform == 'linux' and platform_machine == 'x86_64'"
ARM64 = "sys_platform == 'linux' and platform_machine == 'aarch64'"


@dataclass(frozen=True)
class Lock:
    """extras: of setup.py. more: requirements besides, such as pip itself. alone: taken without dependencies."""

    name: str
    title: str
    extras: tuple[str, ...]
    more: tuple[str, ...]
    python: str
    environments: tuple[str, ...]
    alone: tuple[str, ...] = ()


INSTALLER = ("pip>=24.2,<26", "setuptools>=70.1")
ALONE = ("franky-sim>=1.0.4", "imageio-ffmpeg>=0.5")
"""As `./run` installs them: of franky-sim only the robot description is used."""

LOCKS = (
    Lock(
        "demo",
        "the demo on a machine without ROS: rclpy as wheels, CPython 3.10 to 3.13, x86-64",
        ("ros", "deploy", "console"),
        INSTALLER,
        ">=3.10,<3.14",
        (X86,),
        ALONE,
    ),
    Lock(
        "deploy",
        "a cell's machine with ROS 2 Humble, Jazzy or Kilted on Ubuntu, x86-64 or ARM64; NumPy 1, as they have",
        ("deploy", "console", "recording"),
        (*INSTALLER, "numpy<2", "pyrealsense2>=2.55; platform_machine == 'x86_64'"),
        ">=3.10,<3.13",
        (X86, ARM64),
        ALONE[:1],  # the extra recording has the other one
    ),
)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        subprocess.run([sys.executable, "-m", "venv", str(work / "venv")], check=True)
        subprocess.run([str(work / "venv/bin/python"), "-m", "pip", "install", "--quiet", "uv"], check=True)
        for lock in LOCKS:
            path = HERE / f"{lock.name}.txt"
            text = _header(lock) + _compiled(lock, work)
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(HERE.parent)}: {text.count('==')} packages")
    return 0


def _header(lock: Lock) -> str:
    return (
        f"# Lock file of {lock.title}.\n# Made by `./run lock`; not edited by hand. Installed by\n"
        f"#   pip install --no-deps --require-hashes -r requirements/{lock.name}.txt\n"
    )


def _compiled(lock: Lock, work: Path) -> str:
    environments = ", ".join(f'"{text}"' for text in lock.environments)
    (work / "pyproject.toml").write_text(
        f'[project]\nname = "lock"\nversion = "0"\nrequires-python = "{lock.python}"\n'
        f"[tool.uv]\nenvironments = [{environments}]\n"
    )
    wanted = work / "wanted.in"
    wanted.write_text("\n".join((f"{HERE.parent}[{','.join(lock.extras)}]", *lock.more)) + "\n")
    alone = work / "alone.in"
    alone.write_text("\n".join(lock.alone) + "\n")
    return _resolve(work, wanted) + _resolve(work, alone, "--no-deps")


def _resolve(work: Path, wanted: Path, *options: str) -> str:
    compile_ = [str(work / "venv/bin/uv"), "pip", "compile", "--quiet", "--universal", "--python-version", "3.10"]
    compile_ += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--no-header"]
    # without it, pip and setuptools, which do the installing, would be left out
    compile_ += ["--no-emit-package", "action-images-ros", "--allow-unsafe", *options, str(wanted)]
    return subprocess.run(compile_, cwd=work, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
