"""Whatever arrives, and whenever: commands stay inside the limits and the workspace, and nothing moves unasked.

Chunks come with random latency, get lost, doubled and swapped, are noisy, broken or far off; the
operator stops and enables at random; inputs go stale. Ground truth: the datasheet's limits and the
forward kinematics of every command.
"""

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from action_images_ros.bench.synthetic_arm import ClosedLoop, StraightLinePolicy, TrailingArm
from action_images_ros.control import (
    FR3_HOME_Q,
    FR3_LIMITS,
    Controller,
    ControllerConfig,
    ControllerState,
    Fr3Kinematics,
    LimitScales,
    WatchdogConfig,
    Workspace,
)
from action_images_ros.geometry.se3 import make, so3_exp

ARM = Fr3Kinematics()
HOME = ARM.fk(FR3_HOME_Q)
CELL = Workspace((0.25, -0.45, -0.1), (0.7, 0.45, 0.75), keep_out_boxes_m=(((0.5, -0.1, 0.0), (0.6, 0.1, 0.15)),),
                 table_z_m=0.0)
PERIOD_S = 0.01
LONGEST_REST_S = 0.3
STILL_RADPS = 1e-6
SPEEDS = [0.05, 0.2, 0.6, 1.0]

traffic = st.fixed_dictionaries(dict(
    seed=st.integers(0, 2**31), speed=st.sampled_from([0.2, 0.6, 1.0, 1.5]), latency_s=st.floats(0.0, 1.0),
    jitter_s=st.floats(0.0, 0.4), every_s=st.floats(0.1, 0.8), noise_m=st.sampled_from([0.0, 0.005, 0.02, 0.05]),
    lost=st.sampled_from([0.0, 0.3]), doubled=st.sampled_from([0.0, 0.3]), broken=st.sampled_from([0.0, 0.2]),
    lag_s=st.sampled_from([0.0, 0.1]), scales=st.sampled_from([LimitScales(), LimitScales(0.1, 0.1, 0.02),
                                                               LimitScales(1.0, 1.0, 1.0)]),
))
quick = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
                 phases=(Phase.explicit, Phase.generate))


def random_goal(rng):
    p = rng.uniform([0.2, -0.5, -0.05], [0.75, 0.5, 0.8])
    return make(so3_exp(rng.normal(scale=0.4, size=3)) @ HOME[:3, :3], p)


def broken(chunk, rng):
    """One of the ways in which a chunk can be wrong."""
    kind = rng.integers(4)
    poses, credible = chunk.base_T_tcps.copy(), chunk.credible.copy()
    if kind == 0:
        poses[rng.integers(len(poses)), 0, 3] = np.nan
    elif kind == 1:
        poses[rng.integers(1, len(poses)):, :3, 3] += rng.normal(scale=0.3, size=3)
    elif kind == 2:
        credible[rng.integers(len(credible)):] = False
    else:
        poses[:, :3, :3] = poses[:, :3, :3] @ so3_exp(rng.normal(scale=1.0, size=3))
    return replace(chunk, base_T_tcps=poses, credible=credible)


def operate(loop, rng):
    """Now and then the operator, or the world, interferes."""
    if rng.random() < 0.004:
        loop.controller.stop(loop.now_s)
    if rng.random() < 0.004:
        loop.frames = not loop.frames
    if rng.random() < 0.02:
        loop.frames = True
    if rng.random() < 0.03:
        loop.controller.reset(loop.now_s)
        loop.controller.enable(True, loop.now_s)
    if rng.random() < 0.01:
        loop.controller.set_speed(float(rng.choice(SPEEDS)))


def drive(t, seconds, interfere):
    """Run the traffic `t`, with an operator where told; returns the loop with its log, and the verdicts."""
    rng = np.random.default_rng(t["seed"])
    config = ControllerConfig(speed_factor=t["speed"], limits=t["scales"], watchdog=WatchdogConfig(frames_s=0.3))
    loop = ClosedLoop(Controller(config, ARM, CELL), ARM, TrailingArm(lag_s=t["lag_s"]))
    loop.run(0.05)
    loop.controller.enable(True, loop.now_s)
    policy = StraightLinePolicy(random_goal(rng), noise_m=t["noise_m"], rng=rng)
    pending, verdicts, next_s = [], [], loop.now_s
    for i in range(round(seconds / PERIOD_S)):
        if i % 250 == 249:
            policy.goal = random_goal(rng)
        if loop.now_s >= next_s:
            next_s += t["every_s"]
            chunk = policy.chunk(loop.base_T_tcp, float(rng.random() < 0.5), loop.now_ns)
            if rng.random() < t["broken"]:
                chunk = broken(chunk, rng)
            copies = int(rng.random() >= t["lost"]) * (1 + int(rng.random() < t["doubled"]))
            pending += [(loop.now_s + t["latency_s"] + rng.uniform(0.0, t["jitter_s"]), chunk) for _ in range(copies)]
        for item in [p for p in pending if p[0] <= loop.now_s]:
            verdicts.append(loop.controller.on_chunk(item[1], loop.now_ns, loop.now_s))
        pending = [p for p in pending if p[0] > loop.now_s]
        if interfere:
            (interfere if callable(interfere) else operate)(loop, rng)
        loop.period()
    return loop, verdicts


def velocities(loop):
    return np.array([np.zeros(7) if o.dq_command is None else o.dq_command for o in loop.log])


@quick
@given(t=traffic, interfere=st.booleans())
def test_velocity_acceleration_and_jerk_never_exceed_the_scaled_datasheet(t, interfere):
    loop, _ = drive(t, 5.0, interfere)
    limits = FR3_LIMITS.scaled(t["scales"])
    q, dq = loop.commands(), velocities(loop)
    low, high = limits.velocity_bounds(q)
    assert np.all(dq <= high + 1e-3) and np.all(dq >= low - 1e-3)
    mean_acceleration = np.diff(dq, axis=0) / PERIOD_S
    assert np.abs(mean_acceleration / limits.ddq_max).max() <= 1.0 + 1e-6
    assert np.abs(np.diff(mean_acceleration, axis=0) / PERIOD_S / limits.dddq_max).max() <= 1.0 + 1e-3
    assert FR3_LIMITS.margin(q).min() > 0.0


@quick
@given(t=traffic, interfere=st.booleans())
def test_positions_follow_from_velocities_without_a_jump(t, interfere):
    loop, _ = drive(t, 5.0, interfere)
    q, dq = loop.commands(), velocities(loop)
    sent = np.array([o.q_command is not None for o in loop.log])
    both = sent[1:] & sent[:-1]
    limits = FR3_LIMITS.scaled(t["scales"])
    drift = np.abs(np.diff(q, axis=0) - 0.5 * PERIOD_S * (dq[1:] + dq[:-1]))[both]
    assert np.all(drift <= limits.ddq_max * PERIOD_S**2 / 4 + 1e-6)
    begins = ~sent[:-1] & sent[1:]
    assert np.abs(dq[1:][begins]).max(initial=0.0) <= (limits.ddq_max * PERIOD_S).max()


@quick
@given(t=traffic, interfere=st.booleans())
def test_the_tool_never_leaves_the_workspace(t, interfere):
    loop, _ = drive(t, 5.0, interfere)
    assert CELL.distance(ARM.fk(loop.commands())).min() > 0.0


@quick
@given(t=traffic)
def test_nothing_moves_outside_running_except_to_come_to_rest_in_time(t):
    loop, _ = drive(t, 6.0, interfere=True)
    stopping = 0
    for output in loop.log:
        if output.state is ControllerState.RUNNING:
            stopping = 0
            continue
        moves = output.dq_command is not None and np.abs(output.dq_command).max() > STILL_RADPS
        stopping = stopping + 1 if moves else 0
        assert stopping * PERIOD_S <= LONGEST_REST_S + 1e-9
        assert not (moves and output.at_rest)
        if output.state is ControllerState.READY or (output.at_rest and output.state is not ControllerState.HOLDING):
            assert output.q_command is None
        assert output.gripper_width_m is None


@quick
@given(t=traffic)
def test_every_chunk_is_accepted_or_counted(t):
    loop, verdicts = drive(t, 3.0, interfere=True)
    counts = loop.log[-1].stats.counts
    assert counts.get("accepted", 0) == sum(v.accepted for v in verdicts)
    assert sum(counts.values()) == len(verdicts)
    for verdict in verdicts:
        assert verdict.accepted is (verdict.reason == "") is (verdict.refusal is None)


@quick
@given(seed=st.integers(0, 2**31), latency_s=st.floats(0.0, 0.8))
def test_undisturbed_the_goal_is_reached(seed, latency_s):
    rng = np.random.default_rng(seed)
    goal = make(so3_exp(rng.uniform(-0.3, 0.3, 3)) @ HOME[:3, :3], rng.uniform([0.35, -0.3, 0.25], [0.6, 0.3, 0.5]))
    loop = ClosedLoop(Controller(ControllerConfig(speed_factor=1.0), ARM, CELL), ARM, TrailingArm())
    loop.run(0.05)
    assert loop.controller.enable(True, loop.now_s).ok
    policy, pending = StraightLinePolicy(goal), []
    for i in range(700):
        if i % 50 == 0:
            pending.append((loop.now_s + latency_s, policy.chunk(loop.base_T_tcp, 1.0, loop.now_ns)))
        while pending and pending[0][0] <= loop.now_s:
            loop.controller.on_chunk(pending.pop(0)[1], loop.now_ns, loop.now_s)
        loop.period()
    assert np.linalg.norm(loop.base_T_tcp[:3, 3] - goal[:3, 3]) < 3e-3


@quick
@given(t=traffic, changes=st.lists(st.tuples(st.integers(20, 450), st.sampled_from(SPEEDS)), min_size=1, max_size=8))
def test_the_speed_changes_in_mid_motion_without_leaving_limits_or_path(t, changes):
    t = t | dict(speed=1.0, lost=0.0, doubled=0.0, broken=0.0, noise_m=0.0, every_s=0.25, latency_s=0.1, jitter_s=0.0)
    told, when = [], dict(changes)

    def operator(loop, rng):
        if len(loop.log) in when:
            assert loop.controller.set_speed(when[len(loop.log)]).ok
            told.append((len(loop.log), when[len(loop.log)]))

    loop, _ = drive(t, 5.0, operator)
    assert len(told) == len(when)
    limits, q, dq = FR3_LIMITS.scaled(t["scales"]), loop.commands(), velocities(loop)
    low, high = limits.velocity_bounds(q)
    assert np.all(dq <= high + 1e-3) and np.all(dq >= low - 1e-3)
    acceleration = np.diff(dq, axis=0) / PERIOD_S
    assert np.abs(acceleration / limits.ddq_max).max() <= 1.0 + 1e-6
    assert np.abs(np.diff(acceleration, axis=0) / PERIOD_S / limits.dddq_max).max() <= 1.0 + 1e-3
    assert np.all(np.abs(np.diff(q, axis=0) - 0.5 * PERIOD_S * (dq[1:] + dq[:-1]))
                  <= limits.ddq_max * PERIOD_S**2 / 4 + 1e-6)  # fmt: skip
    speed, since = 1.0, 0
    for k, output in enumerate(loop.log):
        speed, since = next(((s, k) for at, s in told if at == k), (speed, since))
        if (k - since) * PERIOD_S > LONGEST_REST_S:
            assert output.stats.playback_rate <= speed + 1e-9
        assert output.stats.playback_rate <= 1.0 + 1e-9


def cruising(speed, to, changed_at=1.5):
    """A long straight motion at one speed, another one told in the middle of it: rates of playback."""
    far = make(HOME[:3, :3], HOME[:3, 3] + [0.15, 0.3, 0.2])
    loop = ClosedLoop(Controller(ControllerConfig(speed_factor=speed), ARM, CELL), ARM, TrailingArm(lag_s=0.0))
    loop.run(0.05)
    assert loop.controller.enable(True, loop.now_s).ok
    policy = StraightLinePolicy(far, step_m=0.02)
    for k in range(300):
        if k == round(changed_at / PERIOD_S):
            assert loop.controller.set_speed(to).ok
        if k % 25 == 0:
            loop.controller.on_chunk(policy.chunk(loop.base_T_tcp, 1.0, loop.now_ns), loop.now_ns, loop.now_s)
        loop.period()
    return np.array([o.stats.playback_rate for o in loop.log[-300:]]), loop


def test_slower_is_slower_at_once_and_faster_is_faster_with_the_next_chunks():
    rates, _ = cruising(1.0, 0.3)
    assert rates[140] == 1.0 and rates[150 + 30] == 0.3 and rates[-1] == 0.3
    rates, loop = cruising(0.3, 1.0)
    assert rates[140] == 0.3 and rates[-1] == 1.0
    assert max(o.stats.deviation_rad for o in loop.log) < 1e-3


def test_a_speed_beyond_the_policy_s_own_is_refused_and_nothing_changes():
    for speed in (0.0, -1.0, 1.01, float("nan")):
        rates, loop = cruising(0.5, 0.5)
        answer = loop.controller.set_speed(speed)
        assert not answer.ok and "legal: 0.01 to 1" in answer.message
        assert loop.run(0.5).stats.playback_rate in (0.0, 0.5)
