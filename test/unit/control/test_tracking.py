"""The limiter: references inside the limits pass unchanged, everything else comes out inside them."""

import numpy as np
import pytest

from action_images_ros.control import FR3_HOME_Q, FR3_LIMITS, LimitScales
from action_images_ros.control.tracking import JointLimiter, PlaybackRate

LIMITS = FR3_LIMITS.scaled(LimitScales(0.3, 0.4, 0.2))
DT = 0.01


def wave(t, amplitude=0.1, w=2.0):
    shape = np.linspace(0.3, 1.0, 7)
    return (FR3_HOME_Q + amplitude * shape * (1 - np.cos(w * t)), amplitude * shape * w * np.sin(w * t),
            amplitude * shape * w * w * np.cos(w * t))


def run(references, start=FR3_HOME_Q):
    limiter = JointLimiter(LIMITS, DT, 0.22)
    limiter.reset(start)
    return [limiter.follow(*reference) for reference in references], limiter


def inside(commands, start=FR3_HOME_Q):
    q = np.array([start, *(c.q for c in commands)])
    dq = np.array([np.zeros(7), *(c.dq for c in commands)])
    ddq = np.array([np.zeros(7), *(c.ddq for c in commands)])
    low, high = LIMITS.velocity_bounds(q)
    assert np.all(dq <= high + 1e-2) and np.all(dq >= low - 1e-2)
    assert np.abs(ddq / LIMITS.ddq_max).max() <= 1.0 + 1e-6
    assert np.abs(np.diff(ddq, axis=0) / DT / LIMITS.dddq_max).max() <= 1.0 + 1e-6
    np.testing.assert_allclose(np.diff(q, axis=0), 0.5 * DT * (dq[1:] + dq[:-1]), atol=2e-4)


def test_a_slow_smooth_reference_passes_unchanged():
    commands, _ = run([wave((i + 1) * DT) for i in range(300)])
    assert max(c.deviation_rad for c in commands[30:]) < 1e-9
    inside(commands)


def test_a_step_is_turned_into_a_motion_inside_the_limits_that_arrives():
    goal = FR3_HOME_Q + np.array([0.5, -0.3, 0.4, 0.6, -0.5, 0.4, 1.0])
    commands, _ = run([(goal, np.zeros(7), np.zeros(7))] * 500)
    inside(commands)
    np.testing.assert_allclose(commands[-1].q, goal, atol=1e-6)


def test_a_wild_reference_stays_inside_the_limits():
    rng = np.random.default_rng(5)
    wild = [(FR3_HOME_Q + rng.normal(scale=0.5, size=7), rng.normal(scale=3.0, size=7), rng.normal(scale=30.0, size=7))
            for _ in range(300)]
    commands, _ = run(wild)
    assert all(c is not None for c in commands)
    inside(commands)


def test_velocity_shrinks_on_the_way_to_the_end_of_the_range():
    start = FR3_HOME_Q.copy()
    goal = start.copy()
    goal[3] = FR3_LIMITS.q_max[3] - 1e-3
    commands, _ = run([(goal, np.zeros(7), np.zeros(7))] * 900, start)
    inside(commands)
    assert max(c.q[3] for c in commands) <= FR3_LIMITS.q_max[3]


def test_braking_stops_every_joint_inside_the_limits():
    commands, limiter = run([wave((i + 1) * DT, amplitude=0.2) for i in range(80)])
    assert np.abs(commands[-1].dq).max() > 0.2
    braking = [limiter.brake() for _ in range(40)]
    inside(commands + braking)
    assert np.abs(braking[-1].dq).max() < 1e-9


def test_even_when_catching_up_no_joint_is_faster_than_it_can_stop():
    """The wrist's velocity limit alone would allow 1.6 rad/s: 0.4 s of braking."""
    far = FR3_HOME_Q + np.array([1.0, 0.5, 1.0, 0.8, 2.0, 1.0, 2.0])
    limiter = JointLimiter(LIMITS, DT, 0.22)
    limiter.reset(FR3_HOME_Q)
    for _ in range(60):
        limiter.follow(far, np.zeros(7), np.zeros(7))
    periods = 0
    while np.abs(limiter.last.dq).max() > 1e-6:
        limiter.brake()
        periods += 1
    assert 10 < periods <= 24


@pytest.mark.parametrize("speed", [0.2, 1.0])
def test_playback_starts_and_stops_smoothly_within_the_brake_time(speed):
    rate = PlaybackRate(speed, 0.22, 0.2, DT)
    passed = [rate.advance(moving=True) for _ in range(60)]
    assert rate.rate == pytest.approx(speed) and sum(passed) == pytest.approx(speed * (0.6 - 0.11), rel=1e-6)
    rates, steps = [rate.rate], 0
    while not rate.resting:
        rate.advance(moving=False)
        rates.append(rate.rate)
        steps += 1
    assert steps * DT <= 0.23
    assert np.all(np.diff(rates) <= 1e-12) and rates[-1] == 0.0


def test_playback_can_turn_round_while_braking():
    rate = PlaybackRate(1.0, 0.25, 0.2, DT)
    for _ in range(40):
        rate.advance(moving=True)
    for _ in range(8):
        rate.advance(moving=False)
    braking = rate.rate
    assert 0.0 < braking < 1.0
    changes = []
    for _ in range(40):
        rate.advance(moving=True)
        changes.append(rate.change)
    assert rate.rate == pytest.approx(1.0)
    assert np.abs(np.diff(changes)).max() < 1.3
