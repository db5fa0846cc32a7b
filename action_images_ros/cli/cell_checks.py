"""What `doctor --cell` looks at: the file, its calibration, the engine, and the cell as it runs now."""

from __future__ import annotations

import datetime
import importlib.util
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from ..cell import Cell, View
from ..engines.base import load_engine
from ..errors import ActionImagesError
from ..model.config import ModelConfig
from ..ros.runner import environment_defaults
from .checks import Finding, Level

ARM_PORT = 1337  # the control interface of a Franka arm
OLD_DAYS = 90
STATES_HZ = 50.0
STATES_AGE_S = 0.05
CLOCK_STEP_S = 2e-3
_CONNECT_S = 3.0
_SLOW = 0.9


def load_cell(path: Path) -> tuple[Cell | None, Finding]:
    try:
        cell = Cell.load(path)
    except ActionImagesError as error:
        return None, Finding("cell", Level.FAIL, str(error), "correct that line; docs/cameras.md explains every key")
    return cell, Finding("cell", Level.OK, f"{path}: {cell.name}, views {', '.join(cell.view_names)}")


def check_calibration(cell: Cell, now: datetime.datetime) -> Iterator[Finding]:
    """Residual and age of every view's calibration, and whether the policy would start with it."""
    try:
        cell.require_calibrated(now.isoformat())
    except ActionImagesError as error:
        detail, _, remedy = str(error).partition(" Remedy: ")
        yield Finding("calibration", Level.FAIL, detail, remedy or "calibrate, and use the cell file that it writes")
    for view in cell.views:
        yield _calibration_of(view, now)


def _calibration_of(view: View, now: datetime.datetime) -> Finding:
    c = view.calibration
    made = datetime.datetime.fromisoformat(c.date.replace("Z", "+00:00"))
    days = (now.replace(tzinfo=None) - made.replace(tzinfo=None)).total_seconds() / 86400
    evidence = "" if c.held_out_mm is None else f", left out {c.held_out_mm:.1f} mm"
    detail = f"{c.method}, {days:.0f} days old, {c.reproj_rms_px:.2f} px{evidence}"
    name = f"calibration {view.name}"
    if days < -1:
        return Finding(name, Level.WARN, f"{detail}: dated in the future", "set this computer's clock (timedatectl)")
    if days > OLD_DAYS and not c.method.startswith("simulated"):
        return Finding(name, Level.NOTE, detail, "cameras get knocked: calibrate anew (action-images calibrate --help)")
    return Finding(name, Level.OK, detail)


def check_views(cell: Cell, model: Path) -> Iterator[Finding]:
    """Whether the model is for as many views as the cell has."""
    try:
        views = ModelConfig.load(model).views
    except ActionImagesError:
        return  # the check of models says so
    if views != len(cell.views):
        detail = f"the model sees {views}, the cell has {', '.join(cell.view_names)}"
        yield Finding("views", Level.FAIL, detail, "keep that many views in the cell file, or take another model")


def check_engine(model: Path, engine: str = "auto") -> Iterator[Finding]:
    """Loads the engine: weights, exported graph and manifest must fit each other."""
    try:
        config = ModelConfig.load(model)
        began_s = time.monotonic()
        name, _ = load_engine(engine, model, config)
    except ActionImagesError as error:
        yield Finding("engine", Level.FAIL, str(error), f"action-images export {model}, or another engine")
        return
    yield Finding("engine", Level.OK, f"{name} runs {model}, loaded in {time.monotonic() - began_s:.1f} s")


def check_arm_port(host: str) -> Iterator[Finding]:
    """Whether the arm's control port answers. Sends nothing."""
    name, _, port = host.partition(":")
    try:
        with socket.create_connection((name, int(port) if port else ARM_PORT), _CONNECT_S):
            pass
    except (OSError, ValueError) as error:
        remedy = "check cable, address and power of the arm; in Desk, unlock its joints and activate FCI"
        yield Finding("arm network", Level.FAIL, f"{host}: {error}", remedy)
        return
    yield Finding("arm network", Level.OK, f"{host} answers")


def check_live(cell: Cell, seconds: float) -> Iterator[Finding]:
    """Cameras, their sets, joint states and clock as they are now."""
    os.environ.update(environment_defaults())
    try:
        from ..ros.cell_probe import listen
    except ImportError as error:
        yield Finding("live", Level.FAIL, f"ROS does not load: {error}", "see the line `ros`")
        return
    heard = listen(cell, seconds)
    plugged = _plugged() if any(not v.images for v in heard.views.values()) else {}
    for view in cell.views:
        yield _camera(view, heard.views[view.name], plugged)
    yield _sync(cell, heard)
    yield _arm(cell, heard)
    yield _clock(heard)


def _plugged() -> dict[str, str] | str:
    """Serial -> words for the RealSense cameras of this computer, or why nobody can tell."""
    if importlib.util.find_spec("pyrealsense2") is None:
        return "pyrealsense2 is not installed to look for it (extra cameras)"
    from ..cameras.realsense import connected

    try:
        return {d.serial: f"{d.name}, USB {d.usb}" for d in connected()}
    except ActionImagesError as error:
        return str(error)


def _camera(view: View, seen, plugged: dict[str, str] | str) -> Finding:
    name, wanted = f"camera {view.name}", view.driver.rate_hz
    if not seen.images:
        return Finding(name, Level.FAIL, *_why_silent(view, plugged))
    detail = f"{seen.rate_hz:.1f} images/s, {1e3 * seen.age_p50_s:.0f} ms old at arrival"
    if seen.info_fault:
        return Finding(name, Level.FAIL, seen.info_fault, "correct the topic or serial, or calibrate again")
    if not seen.infos:
        return Finding(name, Level.FAIL, f"no camera_info on {view.info_topic}", "have its driver publish it")
    if seen.complaint:
        return Finding(name, Level.FAIL, f"{detail}: {seen.complaint}", "docs/cameras.md lists symptoms and remedies")
    if seen.rate_hz < _SLOW * wanted and not _simulated(view):
        remedy = "USB 3 plug and cable, a USB controller of its own, shorter exposure; or lower driver.rate_hz"
        return Finding(name, Level.WARN, f"{detail}; driver.rate_hz is {wanted}", remedy)
    return Finding(name, Level.OK, detail)


def _simulated(view: View) -> bool:
    """Cameras of sim_cell: no driver section applies to them."""
    return view.serial.startswith("sim-")


def _why_silent(view: View, plugged: dict[str, str] | str) -> tuple[str, str]:
    """What is known of a camera without images, and the remedy."""
    silent, serial = f"no image on {view.image_topic}", view.serial
    if _simulated(view):
        return f"{silent}; it is a camera of the simulated cell", "start that: action-images up sim_cell cell:=FILE"
    if isinstance(plugged, str):
        return f"{silent}; {plugged}", f"plug in camera {serial} and start its driver"
    if serial in plugged:
        remedy = "start its driver: camera_driver:=pyrealsense2 or realsense_ros"
        return f"{silent}, but camera {serial} is plugged in ({plugged[serial]})", remedy
    there = ", ".join(f"{s} ({d})" for s, d in plugged.items()) or "none"
    remedy = "plug it in, correct the serial, or start it on the computer that has it"
    return f"{silent}; camera {serial} is not plugged in here, connected: {there}", remedy


def _sync(cell: Cell, heard) -> Finding:
    if not heard.sets:
        why = heard.sync_complaint or "no matched set"
        return Finding("sync", Level.FAIL, why, "start every camera, then synchronise clocks or wire the trigger line")
    detail = f"{heard.sets} sets, skew {1e3 * heard.skew_p50_s:.1f} ms, largest {1e3 * heard.skew_max_s:.1f} ms"
    if heard.skew_max_s > 0.8 * cell.sync.max_skew_s:
        detail += f", limit {1e3 * cell.sync.max_skew_s:g} ms"
        return Finding("sync", Level.WARN, detail, "wire the trigger line (driver.sync) or raise the cameras' rate")
    return Finding("sync", Level.OK, detail)


def _arm(cell: Cell, heard) -> Finding:
    if not heard.states:
        why = heard.states_fault or f"no joint states with {', '.join(cell.arm.joints)} on /joint_states"
        remedy = "start the arm's driver (such as franka_ros2) and gripper, or correct arm.joints in the cell file"
        return Finding("arm", Level.FAIL, why, remedy)
    detail = f"{heard.states_hz:.0f} joint states/s, {1e3 * heard.state_age_s:.0f} ms old at arrival"
    if not -STATES_AGE_S <= heard.state_age_s <= STATES_AGE_S:
        return Finding("arm", Level.WARN, f"{detail}: its clock is not this one", "chrony on both computers")
    if heard.states_hz < STATES_HZ:
        detail += f"; the controller wants {STATES_HZ:g}"
        return Finding("arm", Level.WARN, detail, "raise the rate of joint_state_broadcaster")
    return Finding("arm", Level.OK, detail)


def _clock(heard) -> Finding:
    detail = f"ROS time and the monotonic clock differ by {1e3 * heard.clock_step_s:+.2f} ms in {heard.seconds:.1f} s"
    if abs(heard.clock_step_s) > CLOCK_STEP_S:
        return Finding("clock steps", Level.WARN, detail, "something sets the clock: let chrony finish, then slew only")
    return Finding("clock steps", Level.OK, detail)
