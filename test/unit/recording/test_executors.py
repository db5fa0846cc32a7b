"""Conversions elsewhere: what a Ray cluster is asked to do, through the same interface as processes."""

import os
import sys

import pytest

from action_images_ros.cli import main
from action_images_ros.errors import ConfigError, DatasetError
from action_images_ros.recording.executors import Processes, RayCluster


def test_every_job_is_done_once_in_one_process_or_in_two():
    assert list(Processes(1)(abs, [-1, -2, -3])) == [1, 2, 3]
    assert sorted(Processes(2)(abs, [-1, -2, -3])) == [1, 2, 3]
    with pytest.raises(ConfigError, match="workers is 0"):
        Processes(0)


def test_a_process_that_is_killed_is_told_and_does_not_hang():
    with pytest.raises(DatasetError, match="ended from outside"):
        list(Processes(2)(os._exit, [1, 1, 1]))


def test_without_ray_the_error_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "bag").mkdir()
    assert main(["dataset", str(tmp_path / "bag"), "--out", str(tmp_path / "out"), "--ray"]) == 2
    assert "pip install" in capsys.readouterr().err


def test_on_a_cluster():
    """Against the real library where it is installed; tests do not install it."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        assert sorted(RayCluster("auto")(abs, [-1, -2, -3])) == [1, 2, 3]
    finally:
        ray.shutdown()
