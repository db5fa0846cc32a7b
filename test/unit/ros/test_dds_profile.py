"""Every way of starting a node ends with the profile whose buffers hold camera images."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from action_images_ros.ros.dds import VARIABLES, profile_defaults
from action_images_ros.ros.paths import share_directory
from action_images_ros.ros.runner import graph_environment

PROFILE = share_directory() / "config" / "fastdds_shm.xml"


NODE = """
import os, sys
from action_images_ros.errors import ConfigError
from action_images_ros.ros.dds import VARIABLES
from action_images_ros.ros.main import run_node

def make():
    print(*(os.environ.get(name) for name in VARIABLES), flush=True)
    raise ConfigError("that is all")

sys.exit(run_node(make, ["test"]))
"""


def test_a_bare_process_takes_the_profile_before_ros_starts():
    """`ros2 run` gives no environment: the node sees to it itself. It owns its process: signals, exit."""
    bare = {k: v for k, v in os.environ.items() if k not in (*VARIABLES, "ROS_DISTRO")}
    done = subprocess.run([sys.executable, "-c", NODE], env=bare, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (2, [str(PROFILE), "None"]), done.stderr
    assert "that is all" in done.stderr


@pytest.mark.parametrize(
    ("distro", "name"), [("humble", VARIABLES[1]), ("jazzy", VARIABLES[1]), ("kilted", VARIABLES[0])]
)
def test_graphs_take_it_under_the_name_that_their_ros_reads(distro, name):
    environment = graph_environment({"ROS_DISTRO": distro})
    assert {n: environment[n] for n in VARIABLES if n in environment} == {name: str(PROFILE)}


def test_what_the_user_set_stays():
    for distro, name in (("humble", VARIABLES[1]), ("kilted", VARIABLES[0])):
        base = {"ROS_DISTRO": distro}
        assert profile_defaults({**base, name: "/mine.xml"}) == {}
        (other,) = set(VARIABLES) - {name}
        assert profile_defaults({**base, other: "/mine.xml"}) == {name: "/mine.xml"}


def test_its_buffers_hold_many_pictures():
    text = {e.tag.split("}")[-1]: e.text for e in ET.parse(PROFILE).iter()}
    picture = 1280 * 720 * 3
    assert int(text["segment_size"]) >= 20 * picture and int(text["maxMessageSize"]) >= picture
    assert Path(PROFILE).is_file()
