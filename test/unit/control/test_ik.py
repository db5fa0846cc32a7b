"""Inverse kinematics checked by forward kinematics: exactness, limits, singularities, reach, posture."""

import numpy as np
import pytest

from action_images_ros.control import FR3_HOME_Q, FR3_LIMITS, Fr3Kinematics, IkConfig, IkSolver
from action_images_ros.errors import ConfigError
from action_images_ros.geometry.se3 import make, so3_exp, so3_log

ARM = Fr3Kinematics()


def errors(poses, targets):
    metres = np.linalg.norm(poses[:, :3, 3] - targets[:, :3, 3], axis=1)
    return metres, np.linalg.norm(so3_log(np.swapaxes(poses[:, :3, :3], 1, 2) @ targets[:, :3, :3]), axis=1)


def test_nearby_targets_are_all_reached_exactly():
    rng = np.random.default_rng(0)
    seeds = rng.uniform(FR3_LIMITS.q_min + 0.3, FR3_LIMITS.q_max - 0.3, size=(200, 7))
    targets = ARM.fk(seeds + rng.uniform(-0.12, 0.12, size=(200, 7)))
    found = IkSolver(ARM).solve(targets, seeds)
    assert found.reached.all() and found.why == ""
    metres, radians = errors(ARM.fk(found.q), targets)
    assert metres.max() < 1e-4 and radians.max() < 5e-4


def test_targets_anywhere_on_the_table_are_reached_from_home():
    rng = np.random.default_rng(1)
    down = ARM.fk(FR3_HOME_Q)[:3, :3]
    p = rng.uniform([0.3, -0.4, 0.05], [0.65, 0.4, 0.5], size=(60, 3))
    tilt = so3_exp(rng.uniform(-0.4, 0.4, size=(60, 3)))
    targets = make(tilt @ down, p)
    found = IkSolver(ARM).solve(targets, np.tile(FR3_HOME_Q, (60, 1)))
    assert found.reached.mean() > 0.95
    assert FR3_LIMITS.margin(found.q).min() >= 0.05 - 1e-9


def test_joints_never_leave_their_margin_even_for_targets_beyond_it():
    rng = np.random.default_rng(2)
    at_edge = np.where(rng.random((40, 7)) < 0.5, FR3_LIMITS.q_min, FR3_LIMITS.q_max)
    found = IkSolver(ARM).solve(ARM.fk(at_edge), np.clip(at_edge, FR3_LIMITS.q_min + 0.2, FR3_LIMITS.q_max - 0.2))
    assert FR3_LIMITS.margin(found.q).min() >= 0.05 - 1e-9


def test_when_joints_reach_their_margin_the_others_take_over():
    rng = np.random.default_rng(7)
    solution = rng.uniform(FR3_LIMITS.q_min + 0.06, FR3_LIMITS.q_max - 0.06, size=(300, 7))
    for row in solution:
        j = rng.integers(7)
        row[j] = FR3_LIMITS.q_min[j] + 0.06 if rng.random() < 0.5 else FR3_LIMITS.q_max[j] - 0.06
    seeds = np.clip(solution + rng.normal(scale=0.35, size=(300, 7)), FR3_LIMITS.q_min + 0.05, FR3_LIMITS.q_max - 0.05)
    assert IkSolver(ARM).solve(ARM.fk(solution), seeds).reached.mean() > 0.97


def test_with_the_arm_almost_stretched_every_reachable_target_is_reached():
    rng = np.random.default_rng(8)
    seeds = rng.uniform(FR3_LIMITS.q_min + 0.3, FR3_LIMITS.q_max - 0.3, size=(300, 7))
    seeds[:, 3] = -0.23
    solution = seeds + rng.normal(scale=0.05, size=seeds.shape)
    solution = np.clip(solution, FR3_LIMITS.q_min + 0.06, FR3_LIMITS.q_max - 0.06)
    assert IkSolver(ARM).solve(ARM.fk(solution), seeds).reached.mean() > 0.98


def test_target_out_of_reach_is_told_and_the_arm_stops_close_to_it():
    target = ARM.fk(FR3_HOME_Q)
    target[:3, 3] = [1.5, 0.0, 0.5]
    found = IkSolver(ARM).solve(target[None], FR3_HOME_Q[None])
    assert not found.reached[0]
    assert "out of reach" in found.why and "mm" in found.why
    assert np.isfinite(found.q).all()


def stretched_path(n=30):
    """A straight line outwards until the arm is nearly stretched: the elbow singularity."""
    targets = np.repeat(ARM.fk(FR3_HOME_Q)[None], n, axis=0)
    targets[:, 0, 3] = np.linspace(0.3069, 0.69, n)
    return targets


def test_path_towards_the_stretched_arm_stays_smooth():
    targets = stretched_path()
    found = IkSolver(ARM).solve_path(targets, np.tile(FR3_HOME_Q, (30, 1)), np.linspace(0.0, 3.0, 30))
    assert found.why == ""
    assert np.abs(np.diff(found.q, axis=0)).max() < 0.2


def test_path_through_the_wrist_singularity_is_either_smooth_or_refused():
    q = FR3_HOME_Q.copy()
    q[5] = 0.62
    target = np.repeat(ARM.fk(q)[None], 20, axis=0)
    target[:, :3, :3] = target[:, :3, :3] @ so3_exp(np.linspace(0.0, -1.2, 20)[:, None] * np.array([0.0, 1.0, 0.0]))
    found = IkSolver(ARM).solve_path(target, np.tile(q, (20, 1)), np.linspace(0.0, 2.0, 20))
    assert found.why or np.abs(np.diff(found.q, axis=0)).max() <= IkConfig().max_joint_step_rad
    assert FR3_LIMITS.margin(found.q).min() >= 0.05 - 1e-9


def test_jump_between_neighbours_is_refused_with_its_place():
    near, far = FR3_HOME_Q, FR3_HOME_Q + np.array([1.2, 0, 0, 0, 0, 0, 0])
    targets = ARM.fk(np.stack([near, near, far]))
    found = IkSolver(ARM).solve_path(targets, np.stack([near, near, far]), np.zeros(3))
    assert "between poses 1 and 2" in found.why


def test_the_free_elbow_drifts_towards_the_posture_and_the_hand_stays():
    wish = FR3_HOME_Q + np.array([0.5, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0])
    solver = IkSolver(ARM, IkConfig(posture_q=tuple(wish)))
    target, q = ARM.fk(FR3_HOME_Q)[None], FR3_HOME_Q[None]
    for _ in range(20):
        found = solver.solve(target, q, np.array([1.0]))
        assert found.reached.all()
        assert np.abs(found.q - q).max() < 0.08
        q = found.q
    assert np.linalg.norm(wish - q[0]) < 0.75 * np.linalg.norm(wish - FR3_HOME_Q)


def test_without_elapsed_time_a_reached_target_keeps_its_joints():
    found = IkSolver(ARM).solve(ARM.fk(FR3_HOME_Q + 0.1)[None], (FR3_HOME_Q + 0.1)[None])
    np.testing.assert_array_equal(found.q[0], FR3_HOME_Q + 0.1)


@pytest.mark.parametrize("bad", [{"position_tolerance_m": 0.0}, {"posture_q": (0.0,)}, {"max_iterations": 0}])
def test_malformed_configuration_is_named(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        IkConfig(**bad)
