"""What doctor finds about a cell that does not run: file, calibration, model, arm's port; and how it reports it."""

import datetime
import json
import socket
import subprocess
import sys
import threading

import pytest

from action_images_ros import cli
from action_images_ros.cell import Cell
from action_images_ros.cli import cell_checks, checks, doctor
from action_images_ros.cli.checks import Level
from action_images_ros.ros.dds import VARIABLES
from action_images_ros.ros.paths import config_file

CELL = config_file("config/cell.yaml")
MODEL = config_file("models/reach")
NOW = datetime.datetime(2026, 6, 26)


@pytest.fixture
def calm(monkeypatch):
    """Without the checks of this machine, which a test cannot foresee."""
    for name in [n for n in vars(doctor) if n.startswith("check_") and hasattr(checks, n) and n != "check_models"]:
        monkeypatch.setattr(doctor, name, lambda: ())


def edited(tmp_path, old: str, new: str):
    text = CELL.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "cell.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def calibration(tmp_path, **changes) -> list:
    text = "{date: '2026-05-26', method: 'simulated: exact', reproj_rms_px: 0.0}"
    new = {"date": "'2026-05-26'", "method": "board", "reproj_rms_px": 0.3} | changes
    path = edited(tmp_path, text, "{" + ", ".join(f"{k}: {v}" for k, v in new.items()) + "}")
    return list(cell_checks.check_calibration(Cell.load(path), NOW))


def test_calibrations_show_age_and_residual(tmp_path):
    left, right = calibration(tmp_path)
    assert left.level is Level.OK and left.detail == "board, 31 days old, 0.30 px" and right.name == "calibration right"
    (old, _) = calibration(tmp_path, date="'2025-01-01'")
    assert old.level is Level.NOTE and "541 days" in old.detail and "calibrate anew" in old.remedy
    (ahead, _) = calibration(tmp_path, date="'2026-09-01'")
    assert ahead.level is Level.WARN and "clock" in ahead.remedy


def test_a_calibration_that_the_policy_refuses_fails(tmp_path):
    refused, left, right = calibration(tmp_path, reproj_rms_px=7.5)
    assert refused.level is Level.FAIL and "7.50 px" in refused.detail and "calibrate" in refused.remedy
    other, *_ = calibration(tmp_path, serial="'123'")
    assert other.level is Level.FAIL and "calibrated was camera '123'" in other.detail


def test_the_engine_is_loaded_and_a_model_that_does_not_fit_is_named(tmp_path):
    (good,) = cell_checks.check_engine(MODEL)
    assert good.level is Level.OK and str(MODEL) in good.detail
    for name in ("config.json", "model.safetensors", "denoiser.json", "denoiser_1.onnx", "denoiser_9.onnx"):
        (tmp_path / name).write_bytes((MODEL / name).read_bytes())
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    (changed,) = cell_checks.check_engine(tmp_path, "onnxruntime")
    assert changed.level is Level.FAIL and changed.remedy
    (missing,) = cell_checks.check_engine(tmp_path / "nowhere")
    assert missing.level is Level.FAIL and "nowhere" in missing.detail


def test_a_model_for_other_views_is_named(tmp_path):
    cell = Cell.load(CELL)
    assert list(cell_checks.check_views(cell, MODEL)) == []
    (tmp_path / "config.json").write_text((MODEL / "config.json").read_text().replace('"views": 2', '"views": 3'))
    (found,) = cell_checks.check_views(cell, tmp_path)
    assert found.level is Level.FAIL and "sees 3, the cell has left, right" in found.detail


def test_the_arms_port_answers_or_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        accepting = threading.Thread(target=server.accept, daemon=True)
        accepting.start()
        (there,) = cell_checks.check_arm_port(f"127.0.0.1:{port}")
        accepting.join(5.0)
    (gone,) = cell_checks.check_arm_port(f"127.0.0.1:{port}")
    assert there.level is Level.OK and gone.level is Level.FAIL and "FCI" in gone.remedy
    (nonsense,) = cell_checks.check_arm_port("127.0.0.1:port")
    assert nonsense.level is Level.FAIL


def test_the_dds_profile_is_judged(monkeypatch, tmp_path):
    def profile(value: str | None):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(VARIABLES[0], value)
        return next(f for f in checks.check_ros() if f.name == "dds profile")

    monkeypatch.delenv("ROS_DISTRO", raising=False)
    own = str(config_file("config/fastdds_shm.xml"))
    other = tmp_path / "other.xml"
    other.write_text("<profiles/>")
    assert profile(own).level is Level.OK
    assert profile(None).level is Level.NOTE and own in profile(None).remedy
    assert profile("/nope.xml").level is Level.FAIL and profile(str(other)).level is Level.WARN


def test_the_report_as_json_and_its_exit_status(calm, capsys, tmp_path):
    def report(*words: str) -> tuple[int, dict]:
        status = cli.main(["doctor", "--json", "--seconds", "0", *words])
        lines = json.loads(capsys.readouterr().out)
        assert all(set(line) == {"name", "level", "detail", "remedy"} for line in lines)
        assert all(line["remedy"] for line in lines if line["level"] != "ok")
        return status, {line["name"]: line for line in lines}

    status, lines = report("--cell", str(CELL))
    assert status == 0 and lines["cell"]["level"] == "ok" and lines["engine"]["level"] == "ok"
    status, lines = report("--cell", str(edited(tmp_path, "  right:", "  middle: 7\n  right:")))
    assert status == 1 and "views.middle" in lines["cell"]["detail"]


def test_doctor_of_this_machine_runs_to_its_end():
    done = subprocess.run(
        [sys.executable, "-m", "action_images_ros.cli", "doctor", "--json"], capture_output=True, text=True, timeout=300
    )
    names = {line["name"] for line in json.loads(done.stdout)}
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr
    assert {"python", "engines", "ros", "dds profile", "disk", "shared memory", "clock", "model"} <= names
