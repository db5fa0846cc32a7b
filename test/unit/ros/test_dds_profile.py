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
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_bare_process_takes_the_profile_before_ros_starts(bare):
    """`ros2 run` gives no environment: the node sees to it itself."""
    seen = {}

    def make():
        seen.update({name: os.environ.get(name) for name in VARIABLES})
        raise ConfigError("that is all")

    try:
        assert run_node(make, ["test"]) == 2
    finally:
        for name in VARIABLES:
            os.environ.pop(name, None)
    assert seen == dict.fromkeys(VARIABLES, str(PROFILE))


def test_graphs_take_it_too(bare):
    environment = graph_environment({})
    assert [environment[name] for name in VARIABLES] == [str(PROFILE)] * 2


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_user_set_stays_and_holds_for_every_fast_dds(name):
    made = profile_defaults({name: "/mine.xml"})
    assert set(made.values()) == {"/mine.xml"} and set(made) == set(VARIABLES) - {name}


def test_its_buffers_hold_many_pictures():
    text = {e.tag.split("}")[-1]: e.text for e in ET.parse(PROFILE).iter()}
    picture = 1280 * 720 * 3
    assert int(text["segment_size"]) >= 20 * picture and int(text["maxMessageSize"]) >= picture
    assert Path(PROFILE).is_file()
