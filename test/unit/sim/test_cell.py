"""The cell against ground truth: its pictures, its kinematics, its motion."""

from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.errors import SimError
from action_images_ros.geometry import PinholeCamera
from action_images_ros.geometry.se3 import angle_between
from action_images_ros.sim.scene import SceneObject

# Modified Denavit-Hartenberg parameters of the FR3 (franka.github.io): a (m), d (m), alpha (rad); then flange and hand.
_DH = [(0, 0.333, 0), (0, 0, -np.pi / 2), (0, 0.316, np.pi / 2), (0.0825, 0, np.pi / 2), (-0.0825, 0.384, -np.pi / 2),
       (0, 0, np.pi / 2), (0.088, 0, np.pi / 2)]


def dh_tcp(q):
    T = np.eye(4)
    for (a, d, alpha), angle in zip([*_DH, (0, 0.107, 0), (0, 0.1034, 0)], [*q, 0, -np.pi / 4]):
        ct, st, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
        T = T @ np.array([[ct, -st, 0, a], [st * ca, ct * ca, -sa, -d * sa], [st * sa, ct * sa, ca, d * ca],
                          [0, 0, 0, 1]])
    return T


def test_tcp_agrees_with_the_published_kinematics(cell, settings):
    for scene, _ in settings:
        cell.reset(scene)
        expected = dh_tcp(scene.q_start)
        assert np.abs(cell.base_T_tcp - expected).max() < 1e-5
        assert np.abs(cell.kinematics.fk(np.array(scene.q_start)) - expected).max() < 1e-5


def test_projected_ball_centres_agree_with_the_pictures(cell, settings):
    """The centroid of a ball's pixels lies where the calibration says that its centre is."""
    errors = []
    for scene, cameras in settings:
        cell.place_cameras(cameras)
        hidden = replace(scene.objects[0], position_m=(0.0, 0.0, -3.0))
        bright = SceneObject("ball0", scene.objects[0].colour, (1.0, 0.0, 1.0), scene.objects[0].position_m)
        away = replace(scene, objects=tuple(replace(o, position_m=hidden.position_m) for o in scene.objects))
        shown = replace(scene, objects=(bright, *away.objects[1:]))
        q = (0.0, -1.2, 0.0, -2.6, 0.0, 1.6, 0.785)  # arm folded away, so that nothing is hidden
        for view, camera in cameras.items():
            pictures = []
            for s in (shown, away):
                cell.reset(replace(s, q_start=q))
                pictures.append(cell.render(view).astype(int))
            mask = np.abs(pictures[0] - pictures[1]).sum(-1) > 12
            assert mask.sum() > 30
            rows, columns = np.nonzero(mask)
            errors.append(np.linalg.norm([columns.mean(), rows.mean()] - camera.project(np.array(bright.position_m))))
    assert max(errors) < 0.25 and np.median(errors) < 0.12


def test_every_object_is_in_sight_of_every_view_at_the_start(cell, settings):
    for scene, cameras in settings:
        cell.place_cameras(cameras)
        cell.reset(scene)
        for view, camera in cameras.items():
            image = cell.render(view).astype(float)
            for thing in scene.objects:
                u, v = np.rint(camera.project(np.array(thing.position_m))).astype(int)
                seen, asked = image[v, u] / image[v, u].sum(), np.array(thing.rgb) / sum(thing.rgb)
                assert np.abs(seen - asked).max() < 0.25, (thing.colour, view)


def test_arm_and_gripper_follow_their_targets(cell, settings):
    cell.reset(settings[0][0])
    target = cell.q + np.array([0.2, -0.1, 0.1, 0.15, -0.2, 0.2, 0.3])
    cell.set_joint_target(target)
    cell.set_gripper_target(0.02)
    cell.step(0.6)
    assert np.abs(cell.q - target).max() < 1e-3
    assert cell.gripper_width_m == pytest.approx(0.02, abs=1e-3)
    assert cell.time_s == pytest.approx(0.6)
    cell.set_gripper_target(0.08)
    cell.step(0.6)
    assert cell.openness == pytest.approx(1.0, abs=0.01)
    state = cell.robot_state(123)
    assert state.stamp_ns == 123 and np.abs(state.dq).max() < 0.01


def test_the_resting_arm_does_not_sag(cell, settings):
    for scene, _ in settings[:3]:
        cell.reset(scene)
        start = cell.base_T_tcp
        cell.step(1.0)
        assert np.linalg.norm(cell.base_T_tcp[:3, 3] - start[:3, 3]) < 2e-4


def test_ik_reaches_and_says_when_it_cannot(cell, settings):
    for scene, _ in settings:
        q = np.array(scene.q_start)
        wanted = dh_tcp(q + 0.1)
        found = cell.kinematics.ik(wanted, q)
        got = dh_tcp(found)
        assert np.linalg.norm(got[:3, 3] - wanted[:3, 3]) < 1e-4 and angle_between(got[:3, :3], wanted[:3, :3]) < 1e-3
    away = wanted.copy()
    away[:3, 3] = (1.5, 0, 0.3)
    assert cell.kinematics.ik(away, q) is None


def test_cameras_that_the_renderer_cannot_show_are_refused(cell, settings):
    cameras = settings[0][1]
    left = cameras["left"]
    shifted = left.K + np.array([[0, 0, 3.0], [0, 0, 0], [0, 0, 0]])
    wide = left.K * np.array([[1.1], [1], [1]])
    for bad in (PinholeCamera(shifted, left.image_size, left.base_T_camera),
                PinholeCamera(wide, left.image_size, left.base_T_camera),
                PinholeCamera(left.K, left.image_size, left.base_T_camera, np.array([0.1, 0, 0, 0])),
                left.resized((160, 120))):
        with pytest.raises(SimError):
            cell.place_cameras({**cameras, "left": bad})
    with pytest.raises(SimError, match="views"):
        cell.place_cameras({"left": left})


def test_commands_outside_the_limits_are_refused(cell, settings):
    cell.reset(settings[0][0])
    with pytest.raises(SimError, match="fr3_joint4"):
        cell.set_joint_target(np.array([0, 0, 0, 0.5, 0, 1.5, 0]))
    with pytest.raises(SimError, match="finite"):
        cell.set_joint_target(np.full(7, np.nan))
    with pytest.raises(SimError, match="width"):
        cell.set_gripper_target(0.2)
    with pytest.raises(SimError, match="forward"):
        cell.step(-0.1)
