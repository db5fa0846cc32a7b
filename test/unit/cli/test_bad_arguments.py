"""What a user can get wrong on the command line ends with status 2 and one line that says what; never a traceback."""

import os
import subprocess
import sys

import pytest

from action_images_ros import cli


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with an empty directory, broken YAML and JSON and an empty file."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "bad.yaml").write_text("a: [1")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "empty.yaml").touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("words", "says"), [
    ("generate", "arguments are required: --out"),
    ("eval --model dir", "is not a model directory"),
    ("eval --model bad.json", "is not a model directory"),
    ("dataset /nope --out o", "/nope does not exist; give a bag"),
    ("dataset dir --out o", "it is no bag"),
    ("dataset bad.json --out o", "bad.json is no bag"),
    ("up", "arguments are required"),
    ("up nope", "graph is 'nope'; legal: calibrate_cameras, policy"),
    ("up policy nope:=1", "argument is 'nope'; legal: arm, "),
    ("up policy sim:=maybe", "sim is 'maybe'; legal: false, true"),
    ("up policy cell:=dir", "cannot be read"),
    ("up policy cell:=bad.yaml", "bad.yaml:1: not valid YAML"),
    ("up policy cell:=empty.yaml", "empty.yaml is empty"),
    ("up policy console_port:=x", "console_port is 'x'; expected a whole number"),
    ("up policy speed_factor:=fast", "speed_factor is 'fast'; expected a number"),
    ("up policy engine:=nope", "engine is 'nope'; legal: auto, "),
    ("demo --out bad.json/out", "bad.json/out: Not a directory"),
    ("up record log_level:=loud", "log_level is 'loud'; legal: debug"),
    ("demo --model dir", "is not a model directory"),
    ("demo --episodes many", "invalid int value: 'many'"),
])
def test_one_line_says_what_is_wrong(place, words, says, capsys):
    try:
        status = cli.main(words.split())
    except SystemExit as ended:
        status = ended.code
    said = capsys.readouterr().err.strip()
    assert status == 2 and says in said and "\n" not in said


@pytest.mark.parametrize("words", ["--help", "up policy --show-args"])
def test_a_reader_that_is_gone_is_no_traceback(words):
    """`action-images ... | head -1`"""
    read, write = os.pipe()
    os.close(read)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-m", "action_images_ros.cli", *words.split()], stdout=write, env=env,
                          stderr=subprocess.PIPE, text=True)  # fmt: skip
    os.close(write)
    assert done.returncode == 1 and not done.stderr
