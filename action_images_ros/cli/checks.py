"""What `doctor` looks at: each check looks at this machine and says what it found and how to mend it."""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..engines.base import ENGINES
from ..errors import ActionImagesError, pip_install
from ..model.config import ModelConfig
from ..ros.dds import variable
from ..ros.paths import share_directory


class Level(Enum):
    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the report. remedy: what to do, empty where there is nothing to do."""

    name: str
    level: Level
    detail: str
    remedy: str = ""


PACKAGES = {
    "base": ("numpy", "cv2", "yaml", "safetensors", "scipy", "threadpoolctl", "transforms3d"),
    "control": ("ruckig", "mujoco"),
    "text": ("tokenizers", "wordllama"),
    "sim": ("mujoco", "franky_sim", "imageio_ffmpeg"),
    "train": ("torch", "diffusers", "transformers", "accelerate", "peft", "tensorboard", "onnx", "onnxscript"),
    "console": ("viser", "aiohttp", "trimesh", "collada"),
    "recording": ("lz4", "zstandard", "pyarrow", "imageio_ffmpeg"),
    "cameras": ("pyrealsense2",),
    "view": ("rerun", "rosbags"),
}
"""Extra of setup.py -> modules that it brings."""

OPTIONAL = {
    "train": "needed to train and to export models",
    "console": "needed for the operator's page",
    "recording": "needed to convert recordings into data sets, and for compressed ones",
    "cameras": "needed to read RealSense cameras without realsense-ros",
    "view": "needed to look at a recorded episode in rerun",
}
RENDER_LIMIT_S = 60.0
SHM_NEEDED_MB = 256
DISK_NEEDED_MB = 2000
LATE_LIMIT_MS = 3.0

_RENDER = """
import mujoco
from action_images_ros.sim.renderer import Renderer, gl_platform
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><light pos="0 0 3"/><camera name="c" pos="0 0 2"/>'
                                       '<geom size=".4" rgba="1 0 0 1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = Renderer(model, (64, 64))
image = renderer.render(data, 0)
assert image[32, 32, 0] > 100 and image[0, 0, 0] < 100, image[32, 32]
from OpenGL import GL
print(gl_platform(), "on", GL.glGetString(GL.GL_RENDERER).decode())
"""


def check_python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 10) <= sys.version_info[:2] <= (3, 13)
    remedy = "" if fits else "use Python 3.10 to 3.13 (ACTION_IMAGES_PYTHON=... ./run setup)"
    yield Finding("python", Level.OK if fits else Level.FAIL, f"{version} at {sys.executable}", remedy)


def check_packages() -> Iterator[Finding]:
    for extra, modules in PACKAGES.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if not missing:
            yield Finding(f"packages: {extra}", Level.OK, ", ".join(modules))
        elif extra in OPTIONAL:
            yield Finding(f"packages: {extra}", Level.NOTE, f"no {', '.join(missing)}; {OPTIONAL[extra]}",
                          pip_install(extra) + f", or in the checkout: ./run setup {extra}" * (extra != "console"))
        else:
            extras = "" if extra == "base" else f"[{extra}]"
            yield Finding(f"packages: {extra}", Level.FAIL, f"no {', '.join(missing)}",
                          f"in the checkout: ./run setup, or pip install '.{extras}'")


def check_engines() -> Iterator[Finding]:
    reasons = {name: importlib.import_module(module).available() for name, module in ENGINES.items()}
    usable = [name for name, missing in reasons.items() if not missing]
    if usable:
        yield Finding("engines", Level.OK, ", ".join(usable))
    else:
        yield Finding("engines", Level.FAIL, "; ".join(f"{name}: {missing}" for name, missing in reasons.items()),
                      "in the checkout: ./run setup, or pip install '.[cpu]'")


def check_opencv() -> Iterator[Finding]:
    installed = sorted({d.name for d in importlib.metadata.distributions() if (d.name or "").startswith("opencv-")})
    try:
        version = importlib.import_module("cv2").__version__
    except ImportError as error:
        yield Finding("opencv", Level.FAIL, f"cv2 does not load: {error}", "apt-get install libgl1 libglib2.0-0")
        return
    if len(installed) > 1:
        yield Finding("opencv", Level.WARN, f"{' and '.join(installed)} write into one folder",
                      f"pip uninstall {' '.join(installed)}; pip install opencv-python")
    else:
        yield Finding("opencv", Level.OK, version)


def check_rendering() -> Iterator[Finding]:
    try:
        # in a process of its own: a broken OpenGL driver may take the process with it
        done = subprocess.run([sys.executable, "-c", _RENDER], capture_output=True, text=True, timeout=RENDER_LIMIT_S)
    except subprocess.TimeoutExpired:
        yield Finding("rendering", Level.FAIL, f"no image in {RENDER_LIMIT_S:.0f} s", "check the graphics driver")
        return
    if done.returncode == 0:
        yield Finding("rendering", Level.OK, done.stdout.strip())
        return
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    yield Finding("rendering", Level.FAIL, last, "MUJOCO_GL=egl, and apt-get install libegl1 libegl-mesa0 "
                  "libgl1-mesa-dri libgles2; the simulated cell needs it, a real arm does not")


def check_ros() -> Iterator[Finding]:
    try:
        rclpy = importlib.import_module("rclpy")
        rmw = importlib.import_module("rclpy.utilities").get_rmw_implementation_identifier()
    except ImportError as error:
        yield Finding("ros", Level.FAIL, f"rclpy does not load: {error}",
                      "source /opt/ros/<distro>/setup.bash, or in the checkout: ./run setup (x86-64)")
        return
    yield Finding("ros", Level.OK, f"rclpy from {Path(str(rclpy.__file__)).parent}, {rmw}, "
                  f"domain {os.environ.get('ROS_DOMAIN_ID', '0')}, "
                  f"discovery {os.environ.get('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')}")
    yield from _check_transport(rmw)


def _check_transport(rmw: str) -> Iterator[Finding]:
    name = variable(os.environ)
    profile = os.environ.get(name, "")
    own = share_directory() / "config" / "fastdds_shm.xml"
    remedy = f"export {name}={own}"
    if "fastrtps" not in rmw:
        yield Finding("dds profile", Level.NOTE, f"{rmw} does not read Fast DDS profiles",
                      "give it buffers for whole camera images by its own means")
    elif not profile:
        detail = (f"{name} is not set: this package's nodes take {own} all the same, but other programs (camera "
                  "drivers, ros2 bag) lose images with the default buffers")
        yield Finding("dds profile", Level.NOTE, detail, remedy)
    elif not Path(profile).is_file():
        yield Finding("dds profile", Level.FAIL, f"{profile} does not exist", remedy)
    elif Path(profile).resolve() != own.resolve() and "segment_size" not in Path(profile).read_text(errors="replace"):
        yield Finding("dds profile", Level.WARN, f"{profile} sets no segment_size: images may not fit", remedy)
    else:
        yield Finding("dds profile", Level.OK, profile)


def check_space() -> Iterator[Finding]:
    free_mb = shutil.disk_usage(Path.cwd()).free // 2**20
    enough = free_mb >= DISK_NEEDED_MB
    yield Finding("disk", Level.OK if enough else Level.WARN, f"{free_mb} MB free in {Path.cwd()}",
                  "" if enough else f"free {DISK_NEEDED_MB} MB; recordings take more")
    shm = Path("/dev/shm")
    shm_mb = shutil.disk_usage(shm).total // 2**20 if shm.is_dir() else 0
    enough = shm_mb >= SHM_NEEDED_MB
    yield Finding("shared memory", Level.OK if enough else Level.FAIL, f"{shm_mb} MB at {shm}",
                  "" if enough else f"images travel there: give it {SHM_NEEDED_MB} MB (container: --shm-size=1g)")


def check_clock() -> Iterator[Finding]:
    now, written = time.time(), Path(__file__).stat().st_mtime
    when = datetime.datetime.fromtimestamp(now).isoformat(" ", "seconds")
    if now < written:
        yield Finding("clock", Level.FAIL, f"{when} is before this program was installed", "set the clock")
    elif _ntp_synchronised() is False:
        yield Finding("clock", Level.WARN, f"{when}, not synchronised",
                      "with cameras or arm on another computer: timedatectl set-ntp true, or chrony")
    else:
        yield Finding("clock", Level.OK, when)
    late_ms = sorted(_lateness_ms(0.01) for _ in range(100))[98]
    on_time = late_ms < LATE_LIMIT_MS
    yield Finding("100 Hz timer", Level.OK if on_time else Level.WARN, f"99 % of ticks less than {late_ms:.1f} ms late",
                  "" if on_time else "close other programs; on the robot's computer use the performance CPU governor")


def _ntp_synchronised() -> bool | None:
    """None where nobody can tell."""
    try:
        done = subprocess.run(["timedatectl", "show", "-p", "NTPSynchronized", "--value"], capture_output=True,
                              text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def _lateness_ms(period_s: float) -> float:
    due = time.monotonic() + period_s
    time.sleep(period_s)
    return (time.monotonic() - due) * 1000


def check_models(directory: Path | None) -> Iterator[Finding]:
    """The model directory given, or every one below the installed models/."""
    models = share_directory() / "models"
    found = [directory] if directory else sorted(p.parent for p in models.glob("*/config.json"))
    if not found:
        yield Finding("model", Level.WARN, f"none in {models}",
                      "train one (action-images train --help) or pass --model DIR")
    for path in found:
        try:
            config = ModelConfig.load(path)
        except ActionImagesError as error:
            yield Finding("model", Level.FAIL, str(error), "take a model directory as `action-images train` writes it")
            continue
        weights = list(path.glob("*.safetensors"))
        remedy = "" if weights else f"put the weights of this model (*.safetensors) into {path}"
        yield Finding("model", Level.OK if weights else Level.FAIL,
                      f"{path}: {config.views} views" + ("" if weights else ", but no weights"), remedy)
