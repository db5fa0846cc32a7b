"""Signed distances to the box, the table and keep-out boxes, against distances known by construction."""

import importlib.util
from pathlib import Path

import mujoco
import numpy as np
import pytest

from action_images_ros.control import FR3_LIMITS, Fr3Kinematics, Workspace
from action_images_ros.control.workspace import FRANKA_HAND_POINTS_M
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


def test_every_link_keeps_its_radius_from_boxes_between_its_joints():
    origins = np.zeros((1, 7, 3))
    origins[0, :2] = (0.0, 0.0, 0.3)
    origins[0, 2] = (0.1, 0.0, 0.7)
    origins[0, 3:5] = [(0.3, 0.0, 0.7), (0.5, 0.0, 0.5)]
    origins[0, 5:] = (0.55, 0.0, 0.5)
    beside = ((0.35, 0.1, 0.55), (0.45, 0.2, 0.65))
    thin = dict(arm_radius_m=0.135, wrist_radius_m=0.09)
    assert cell(keep_out_boxes_m=(beside,), **thin).arm_violation(origins).startswith("the forearm would be 35 mm")
    clear, what = cell(keep_out_boxes_m=(beside,), **thin).arm_clearance(origins)
    assert clear == pytest.approx(-0.035) and what == "forearm to the keep-out box 0"
    free = cell(keep_out_boxes_m=(((0.35, 0.14, 0.55), (0.45, 0.2, 0.65)),), **thin)
    assert free.arm_violation(origins) == ""
    for box, link in ((((0.0, -0.3, 0.45), (0.1, -0.1, 0.55)), "upper arm"), (((0.15, 0.1, 0.6), (0.25, 0.3, 0.8)),
                      "elbow"), (((0.62, -0.1, 0.4), (0.8, 0.1, 0.6)), "wrist")):
        assert f"the {link} would be" in cell(keep_out_boxes_m=(box,), **thin).arm_violation(origins)
    assert "table" in cell(table_z_m=0.45).arm_violation(origins)


def published_surface():
    """Vertices of the FR3's published meshes by body, and the pose of each body, at random configurations."""
    package = importlib.util.find_spec("franky_sim")
    spec = mujoco.MjSpec.from_file(str(Path(package.origin).parent / "assets" / "fr3.xml"))
    spec.meshdir = str(Path(package.origin).parent / "assets" / "meshes")
    model = spec.compile()
    data = mujoco.MjData(model)
    joints = [model.joint(f"fr3_joint{i}").qposadr[0] for i in range(1, 8)]
    rng = np.random.default_rng(0)
    for q in rng.uniform(FR3_LIMITS.q_min, FR3_LIMITS.q_max, size=(4, 7)):
        data.qpos[joints] = q
        mujoco.mj_kinematics(model, data)
        surface = {}
        for g in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_MESH):
            mesh = model.geom_dataid[g]
            first = model.mesh_vertadr[mesh]
            points = model.mesh_vert[first: first + model.mesh_vertnum[mesh]][::7]
            name = model.body(model.geom_bodyid[g]).name
            surface.setdefault(name, []).append(points @ data.geom_xmat[g].reshape(3, 3).T + data.geom_xpos[g])
        yield q, {name: np.concatenate(parts) for name, parts in surface.items()}


def test_the_published_surface_of_the_arm_is_inside_the_radii_that_are_kept():
    """Nothing of the FR3 between its elbow joint and its flange may stick out of what is kept clear."""
    arm, free = Fr3Kinematics(), Workspace((-9, -9, -9), (9, 9, 9))
    for q, surface in published_surface():
        origins = arm.joint_origins(q)
        for name, chain, radius in (("fr3_link3", (1, 2, 3), free.arm_radius_m), ("fr3_link4", (2, 3, 4),
                                     free.arm_radius_m), ("fr3_link5", (3, 4), free.arm_radius_m),
                                    ("fr3_link6", (4, 6), free.wrist_radius_m)):
            near = np.min([off_line(surface[name], origins[a], origins[b]) for a, b in zip(chain, chain[1:])], axis=0)
            assert near.max() <= radius, name


def test_the_published_hand_is_inside_its_corner_points():
    arm, corners = Fr3Kinematics(), np.array(FRANKA_HAND_POINTS_M)
    for q, surface in published_surface():
        tcp = arm.fk(q)
        hand = (surface["hand"] - tcp[:3, 3]) @ tcp[:3, :3]
        assert np.all(hand <= corners.max(axis=0) + 1e-3) and np.all(hand >= corners.min(axis=0) - 1e-3)


def off_line(points, a, b):
    u = np.clip((points - a) @ (b - a) / max((b - a) @ (b - a), 1e-12), 0.0, 1.0)[:, None]
    return np.linalg.norm(points - a - u * (b - a), axis=1)


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
