"""The shipped model in the whole graph: `action-images demo` as a person runs it."""

import json
import subprocess
import sys

import pytest

from action_images_ros.recording.bag import Bag
from action_images_ros.recording.cdr import read_text


def demo(out, *words: str) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "action_images_ros.cli",
        "demo",
        "--seed",
        "0",
        "--timeout",
        "60",
        "--out",
        str(out),
    ]
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=300)


def episode(out) -> dict:
    (only,) = json.loads((out / "summary.json").read_text())["episodes"]
    return only


def test_the_arm_reaches_the_ball_that_it_is_told(tmp_path):
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert episode(tmp_path)["outcome"] == "success" and episode(tmp_path)["instruction"] == "reach the red ball"
    assert "1 of 1 episodes succeeded" in done.stdout and "control loop: period error" in done.stdout
    for suffix in (".mp4", ".png"):
        assert (tmp_path / f"episode_00_success{suffix}").stat().st_size > 10_000
    assert {p.stem for p in (tmp_path / "log").iterdir()} == {
        "sim_cell", "denoiser", "decoder", "controller", "recorder", "console", "stop_button"
    }  # fmt: skip
    (recorded,) = (tmp_path / "recordings").iterdir()
    with Bag(recorded) as bag:
        marks = [json.loads(read_text(m.data))["mark"] for m in bag.messages(["/recorder/marks"])]
        assert marks == ["success"] and "cell.yaml" in bag.attachments and not bag.torn


def test_told_another_ball_it_goes_there_and_the_cell_says_no(tmp_path):
    done = demo(tmp_path, "--instruction", "reach the cyan ball")
    assert done.returncode == 1, done.stdout + done.stderr
    assert episode(tmp_path)["outcome"] == "failure" and "wrong ball" in episode(tmp_path)["reason"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--task", "fly"), "task is 'fly'; legal: close_drawer"),
        (("--model", "/nope"), "/nope is not a model directory"),
        (("--engine", "abacus"), "legal: auto"),
        (("--episodes", "0"), "--episodes 0 (>= 1)"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, words, says):
    done = demo(tmp_path, *words)
    assert done.returncode == 2 and says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr
