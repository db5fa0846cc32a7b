"""The CI description is YAML whose every command and path exists here."""

import argparse
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from action_images_ros.cli import demo
from action_images_ros.ros.graph import GRAPHS

ROOT = Path(__file__).resolve().parents[2]
JOBS = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
STEPS = [(name, step) for name, job in JOBS.items() for step in job["steps"] if "run" in step]
RUN = (ROOT / "run").read_text(encoding="utf-8")
COMMANDS = {"source", "apt-get", "rosdep", "colcon", "ros2", "./run", "grep"}


def words_of(step):
    """Commands of a step as lists of words, less variables set before them."""
    for line in step["run"].replace("|", "\n").splitlines():
        words = [w for w in line.split() if not re.fullmatch(r"[A-Z_]+=\S*", w)]
        if words:
            yield words


@pytest.mark.parametrize(("job", "step"), STEPS)
def test_every_command_is_known_and_every_script_is_sound(job, step):
    assert subprocess.run(["bash", "-n"], input=step["run"], text=True).returncode == 0
    for words in words_of(step):
        assert words[0] in COMMANDS, words
        if words[0] == "./run":
            assert re.search(rf"^        {words[1]}\)", RUN, re.MULTILINE), words
            assert (ROOT / "run").stat().st_mode & 0o111
        if words[:2] == ["ros2", "launch"]:
            name = words[3].removesuffix(".launch.py")
            assert (ROOT / "launch" / words[3]).is_file() and (name == "franka_policy" or name in GRAPHS)


def test_variables_that_it_sets_are_read_by_run():
    names = {name for _, step in STEPS for name in step.get("env", {})}
    assert names and all(name in RUN for name in names)


def test_options_of_the_demo_exist():
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    (words,) = [w for _, step in STEPS for w in words_of(step) if w[:2] == ["./run", "demo"]]
    parser.parse_args(words[2:])


def test_distributions_and_pythons():
    distributions = JOBS["ros"]["strategy"]["matrix"]["distro"]
    assert distributions == ["humble", "jazzy", "kilted"]
    assert JOBS["ros"]["container"] == "ros:${{ matrix.distro }}"
    assert all(re.fullmatch(r"3\.1[0-3]", version) for version in JOBS["plain"]["strategy"]["matrix"]["python"])
