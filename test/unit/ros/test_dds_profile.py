"""Every way of starting a node ends with the profile whose buffers hold camera images."""

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from action_images_ros.errors import ConfigError
from action_images_ros.ros.dds import VARIABLES, profile_defaults
from action_images_ros.ros.main import run_node
from action_images_ros.ros.paths import share_directory
from action_images_ros.ros.runner import graph_environment

PROFILE = share_directory() / "config" / "fastdds_shm.xml"


@pytest.fixture
def bare(monkeypatch):
    for name in (*VARIABLES, "ROS_DISTRO"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name in VARIABLES:
        os.environ.pop(name, None)


def test_a_bare_process_takes_the_profile_before_ros_starts(bare):
    """`ros2 run` gives no environment: the node sees to it itself."""
    seen = {}

    def make():
        seen.update({name: os.environ.get(name) for name in VARIABLES})
        raise ConfigError("that is all")

    assert run_node(make, ["test"]) == 2
    assert seen == {VARIABLES[0]: str(PROFILE), VARIABLES[1]: None}


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
