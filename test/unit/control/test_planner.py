"""Whole-chunk checks and the seam: what a plan promises before any of it moves the arm."""

from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.control import (
    FR3_HOME_Q,
    ChunkRefused,
    ControllerConfig,
    Fr3Kinematics,
    LimitScales,
    PosePath,
    Refusal,
    Workspace,
)
from action_images_ros.control.planner import Planner
from action_images_ros.geometry.se3 import make, so3_exp

ARM = Fr3Kinematics()
HOME = ARM.fk(FR3_HOME_Q)
CELL = Workspace((0.2, -0.5, 0.0), (0.75, 0.5, 0.8))
CONFIG = ControllerConfig(speed_factor=1.0)


def planner(**changes):
    return Planner(replace(CONFIG, **changes), ARM, CELL)


def towards(end, n=9, dt=0.4, turn=(0.0, 0.0, 0.0), start=HOME, at_s=0.0, sigma=0.0):
    share = np.linspace(0.0, 1.0, n)[:, None]
    p = start[:3, 3] + share * (np.asarray(end, float) - start[:3, 3])
    poses = make(start[:3, :3] @ so3_exp(share * np.asarray(turn)), p)
    return PosePath(at_s + dt * np.arange(n), poses, np.ones(n), np.full(n, sigma), observed_s=at_s)


def refusal(call):
    with pytest.raises(ChunkRefused) as caught:
        call()
    return caught.value.refusal


def rest(plan_maker):
    return plan_maker.rest(FR3_HOME_Q, 1.0)


def speeds(plan, n=600):
    t = np.linspace(plan.joints.times_s[0], plan.end_s, n)
    poses = ARM.fk(plan.joints.positions(t))
    return np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1) / np.diff(t)


def test_the_joints_follow_the_poses():
    made = planner()
    path = towards((0.5, 0.25, 0.3), turn=(0.0, 0.0, 0.6))
    plan = made.replace_tail(rest(made), path, 0.0, resting=True)
    t = np.linspace(0.0, 2.8, 57)
    off = ARM.fk(plan.joints.positions(t))[:, :3, 3] - path.sample(t)[:, :3, 3]
    assert np.linalg.norm(off, axis=1).max() < 2e-3
    np.testing.assert_allclose(ARM.fk(plan.joints.q[-1]), path.base_T_tcps[-1], atol=2e-3)


def test_the_last_step_takes_twice_its_time_and_ends_at_rest():
    made = planner()
    plan = made.replace_tail(rest(made), towards((0.5, 0.25, 0.3)), 0.0, resting=True)
    assert plan.end_s == pytest.approx(3.2 + 0.4)
    v = speeds(plan)
    assert v[-1] < 0.01
    assert v[-100:].max() < 1.1 * np.median(v)


def test_a_seam_joins_in_position_velocity_and_acceleration():
    made = planner()
    first = made.replace_tail(rest(made), towards((0.5, 0.3, 0.4)), 0.0, resting=True)
    now = 1.13
    here = first.poses.sample(np.array([now]))[0]
    aside = here.copy()
    aside[:3, 3] += [0.0, 0.01, 0.02]
    second = made.replace_tail(first, towards((0.6, 0.0, 0.3), start=aside, at_s=now), now, resting=False)
    for before, after, tolerance in zip(first.joints.sample(now), second.joints.sample(now), (1e-9, 1e-9, 1e-6),
                                        strict=True):
        np.testing.assert_allclose(before, after, atol=tolerance)
    np.testing.assert_allclose(ARM.fk(second.joints.q[-1])[:3, 3], [0.6, 0.0, 0.3], atol=1e-3)


def test_closing_a_gap_stays_inside_the_allowed_acceleration_whatever_the_gap():
    made = planner()
    first = made.replace_tail(rest(made), towards((0.5, 0.3, 0.4)), 0.0, resting=True)
    for gap_m in (0.01, 0.03, 0.08):
        new = towards((0.5, 0.3, 0.4))
        shifted = new.base_T_tcps.copy()
        shifted[:, 2, 3] += gap_m
        plan = made.replace_tail(first, replace(new, base_T_tcps=shifted), 0.8, resting=False)
        t = np.arange(0.81, 2.8, 0.02)
        height = ARM.fk(plan.joints.positions(t))[:, 2, 3]
        assert np.abs(np.diff(height, 2)).max() / 0.02**2 < 1.6 * CONFIG.chunks.blend_mps2
        assert height[-1] == pytest.approx(new.sample(t[-1:])[0, 2, 3] + gap_m, abs=2e-3)


def test_speed_limits_of_the_tcp_hold_for_translation_and_for_rotation():
    made = planner(max_linear_mps=0.08)
    plan = made.replace_tail(rest(made), towards((0.5, 0.3, 0.4)), 0.0, resting=True)
    assert speeds(plan).max() < 0.085
    made = planner(max_linear_mps=0.2)
    uneven = towards((0.5, 0.3, 0.4))
    stops = uneven.base_T_tcps[[0, 0, 2, 2, 4, 4, 6, 6, 8]]
    plan = made.replace_tail(rest(made), replace(uneven, base_T_tcps=stops), 0.0, resting=True)
    assert speeds(plan).max() < 0.21
    made = planner(max_angular_radps=0.2)
    plan = made.replace_tail(rest(made), towards(HOME[:3, 3], turn=(0.0, 0.0, 1.2)), 0.0, resting=True)
    assert plan.end_s > 1.2 / 0.2


def test_joint_limits_stretch_the_time_not_the_path():
    made = planner(limits=LimitScales(0.05, 0.4, 0.2))
    path = towards((0.5, 0.3, 0.4))
    plan = made.replace_tail(rest(made), path, 0.0, resting=True)
    dq = plan.joints.inside(8)[1]
    assert np.abs(dq / ARM.limits.dq_max).max() < 0.05 * 1.05
    assert plan.end_s > 4.5
    way = path.base_T_tcps[-1, :3, 3] - HOME[:3, 3]
    off = ARM.fk(plan.joints.inside(4)[0].reshape(-1, 7))[:, :3, 3] - HOME[:3, 3]
    across = off - (off @ way / (way @ way))[:, None] * way
    assert np.linalg.norm(across, axis=1).max() < 2e-3


def test_near_the_stretched_arm_the_motion_slows_down_instead_of_racing():
    made = planner()
    plan = made.replace_tail(rest(made), towards((0.705, 0.0, 0.4869), n=9), 0.0, resting=True)
    q, dq, _ = plan.joints.inside(8)
    low, high = ARM.limits.scaled(CONFIG.limits).velocity_bounds(q)
    assert np.all(dq <= 1.05 * high) and np.all(dq >= 1.05 * low)


@pytest.mark.parametrize("end, want", [
    ((0.8, 0.0, 0.4), Refusal.OUTSIDE_WORKSPACE),
    ((0.5, 0.0, -0.1), Refusal.OUTSIDE_WORKSPACE),
])
def test_a_last_pose_outside_refuses_the_whole(end, want):
    made = planner()
    assert refusal(lambda: made.replace_tail(rest(made), towards(end), 0.0, resting=True)) is want


def test_a_detour_between_two_good_poses_is_seen():
    """Start and end are clear of the box; the straight line between them is not."""
    cell = Workspace((0.2, -0.5, 0.0), (0.75, 0.5, 0.8), keep_out_boxes_m=(((0.35, 0.05, 0.3), (0.45, 0.15, 0.6)),))
    made = Planner(CONFIG, ARM, cell)
    path = towards((0.55, 0.25, 0.4869), n=2, dt=3.2)
    assert cell.violation(path.base_T_tcps) == ""
    assert refusal(lambda: made.replace_tail(rest(made), path, 0.0, resting=True)) is Refusal.OUTSIDE_WORKSPACE
    thin = replace(cell, keep_out_boxes_m=(((0.2, 0.172, 0.3), (0.6, 0.182, 0.6)),), tool_points_m=((0, 0, 0),))
    made = Planner(CONFIG, ARM, thin)
    assert refusal(lambda: made.replace_tail(rest(made), path, 0.0, resting=True)) is Refusal.OUTSIDE_WORKSPACE


def test_a_box_that_only_the_elbow_would_meet_is_kept_out_of():
    elbow = ARM.joint_origins(FR3_HOME_Q)[3] + np.array([0.0, 0.18, 0.0])
    beside = (tuple(elbow - [0.1, 0.05, 0.1]), tuple(elbow + [0.1, 0.05, 0.1]))
    made = Planner(CONFIG, ARM, replace(CELL, keep_out_boxes_m=(beside,)))
    assert made._workspace.violation(HOME) == ""
    turned = towards((0.25, 0.22, 0.45))
    assert refusal(lambda: made.replace_tail(rest(made), turned, 0.0, resting=True)) is Refusal.OUTSIDE_WORKSPACE


def test_the_distance_to_the_borders_is_known_before_moving():
    made = planner()
    plan = made.replace_tail(rest(made), towards((0.7, 0.0, 0.3)), 0.0, resting=True)
    assert plan.clearance_m == pytest.approx(0.05, abs=3e-3)
