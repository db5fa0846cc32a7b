"""Signed distances to the box, the table and keep-out boxes, against distances known by construction."""

import numpy as np
import pytest

from action_images_ros.control import Workspace
from action_images_ros.errors import ConfigError
from action_images_ros.geometry.se3 import make, so3_exp

DOWN = np.diag([1.0, -1.0, -1.0])


def poses(*points, R=DOWN):
    return make(np.repeat(R[None], len(points), 0), np.array(points, float))


def cell(**changes):
    given = dict(box_min_m=(0.2, -0.5, -0.1), box_max_m=(0.8, 0.5, 0.9), tool_points_m=((0.0, 0.0, 0.0),), margin_m=0.0)
    return Workspace(**{**given, **changes})


def test_distance_to_the_nearest_wall_inside_and_outside():
    found = cell().distance(poses((0.5, 0.0, 0.4), (0.25, 0.0, 0.4), (0.9, 0.0, 0.4)))
    np.testing.assert_allclose(found, [0.3, 0.05, -0.1])


def test_table_stops_the_lowest_tool_point_not_only_the_tcp():
    hand = cell(table_z_m=0.0, tool_points_m=((0.0, 0.0, 0.0), (0.0, 0.1, -0.05)))
    assert hand.distance(poses((0.5, 0.0, 0.03)))[0] == pytest.approx(0.03)
    on_its_side = poses((0.5, 0.0, 0.03), R=so3_exp(np.array([np.pi / 2, 0.0, 0.0])) @ DOWN)
    assert hand.distance(on_its_side)[0] == pytest.approx(0.03 - 0.1)


def test_keep_out_box_is_a_true_distance_outside_and_negative_inside():
    around = cell(keep_out_boxes_m=(((0.4, -0.1, 0.0), (0.6, 0.1, 0.2)),))
    clear = dict(around.clearances(poses((0.7, 0.2, 0.1), (0.5, 0.0, 0.15))))["keep-out box 0"]
    np.testing.assert_allclose(clear, [np.hypot(0.1, 0.1), -0.05])


def test_violation_names_the_boundary_the_place_and_the_depth():
    text = cell(table_z_m=0.0).violation(poses((0.5, 0.1, 0.2), (0.5, 0.1, -0.02)))
    assert "table" in text and "20.0 mm" in text and "(0.500, 0.100, -0.020)" in text


def test_nothing_thin_is_stepped_over_on_a_path():
    wall = cell(keep_out_boxes_m=(((0.4, 0.018, 0.0), (0.6, 0.030, 0.5)),))
    steps = poses((0.5, 0.0, 0.2), (0.5, 0.04, 0.2), (0.5, 0.08, 0.2))
    assert wall.violation(steps) == ""
    text, distance = wall.path_violation(steps)
    assert "keep-out box 0" in text and distance < 0.0


def test_margin_counts():
    assert cell(margin_m=0.02).violation(poses((0.21, 0.0, 0.4))) != ""
    assert cell(margin_m=0.005).violation(poses((0.21, 0.0, 0.4))) == ""


def test_the_forearm_keeps_its_radius_from_boxes_between_its_joints():
    origins = np.zeros((1, 7, 3))
    origins[0, 3:5] = [(0.3, 0.0, 0.7), (0.5, 0.0, 0.5)]
    origins[0, 5:] = (0.55, 0.0, 0.5)
    beside = cell(keep_out_boxes_m=(((0.35, 0.07, 0.55), (0.45, 0.2, 0.65)),))
    assert "keep-out box 0" in beside.arm_violation(origins)
    assert "30 mm" in cell(keep_out_boxes_m=(((0.3, 0.05, 0.4), (0.6, 0.2, 0.9)),)).arm_violation(origins)
    assert cell(keep_out_boxes_m=(((0.35, 0.09, 0.55), (0.45, 0.2, 0.65)),)).arm_violation(origins) == ""
    assert "table" in cell(table_z_m=0.45).arm_violation(origins)


@pytest.mark.parametrize("bad, name", [
    (dict(box_min_m=(0.9, 0, 0)), "workspace box"),
    (dict(keep_out_boxes_m=(((0, 0, 0), (0, 1, 1)),)), r"keep_out_boxes_m\[0\]"),
    (dict(table_z_m=1.0), "table_z_m"),
    (dict(tool_points_m=()), "tool_points_m"),
    (dict(box_max_m=(0.8, float("nan"), 1.0)), "workspace box"),
])
def test_malformed_volumes_are_named(bad, name):
    with pytest.raises(ConfigError, match=name):
        cell(**bad)
