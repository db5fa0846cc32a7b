"""The whole policy through libfranka's protocol: cameras and arm are one simulated world, the client is real."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("franky", reason="the libfranka client is not installed: pip install '.[arm]'")
pytest.importorskip("pinocchio", reason="needed to serve the simulated cell: pip install '.[arm-sim]'")


def test_the_arm_reaches_the_ball_by_its_real_protocol(tmp_path):
    command = [sys.executable, "-m", "action_images_ros.cli", "demo", "--arm", "libfranka", "--seed", "0"]
    done = subprocess.run(
        [*command, "--timeout", "60", "--out", str(tmp_path)], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    (episode,) = summary["episodes"]
    assert episode["outcome"] == "success" and "the arm's driver is up" in done.stdout
    arm = summary["diagnostics"]["franka_arm: arm"]
    assert arm["errors"] == "" and arm["stops"] == "0" and int(arm["starts"]) >= 1
    logs = {p.stem for p in (tmp_path / "log").iterdir()}
    assert {"sim_cell", "denoiser", "decoder", "controller", "franka_arm", "recorder"} <= logs
