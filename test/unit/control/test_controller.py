"""The controller in closed loop with an arm that trails its commands: motion, refusals, faults, resuming."""

from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.bench.synthetic_arm import ClosedLoop, StraightLinePolicy, TrailingArm
from action_images_ros.control import (
    FR3_HOME_Q,
    FR3_LIMITS,
    RESUME,
    ChunkRules,
    Controller,
    ControllerConfig,
    ControllerState,
    Event,
    Fr3Kinematics,
    GripperConfig,
    Refusal,
    Resume,
    WatchdogConfig,
    Workspace,
    committed_ahead,
)
from action_images_ros.errors import ConfigError
from action_images_ros.geometry.se3 import angle_between, make, so3_exp
from action_images_ros.types import ActionChunk

ARM = Fr3Kinematics()
HOME = ARM.fk(FR3_HOME_Q)
CELL = Workspace((0.2, -0.5, -0.1), (0.8, 0.5, 0.8), table_z_m=0.0)
S = ControllerState


def goal(x=0.5, y=0.2, z=0.2, turn=0.0):
    return make(so3_exp(np.array([0.0, 0.0, turn])) @ HOME[:3, :3], np.array([x, y, z]))


def loop(q=FR3_HOME_Q, workspace=CELL, arm=None, **config):
    settings = ControllerConfig(**{"speed_factor": 1.0, **config})
    return ClosedLoop(Controller(settings, ARM, workspace), ARM, arm or TrailingArm(q))


def enabled(**options):
    made = loop(**options)
    made.run(0.1)
    answer = made.controller.enable(True, made.now_s)
    assert answer.ok, answer.message
    made.run(0.02)
    return made


def send(made, policy, openness=1.0, latency_s=0.0, **changes):
    """Observe now, let latency pass, deliver; returns the verdict."""
    chunk = policy.chunk(made.base_T_tcp, openness, made.now_ns)
    if latency_s:
        made.run(latency_s)
    return made.controller.on_chunk(replace(chunk, **changes), made.now_ns, made.now_s)


def running(seconds=1.0, target=None, **options):
    made = enabled(**options)
    assert send(made, StraightLinePolicy(goal() if target is None else target)).accepted
    made.run(seconds)
    assert made.controller.state is S.RUNNING
    return made


def seconds_to_rest(made, limit_s=1.0):
    for i in range(round(limit_s / made.period_s)):
        if made.period().at_rest:
            return (i + 1) * made.period_s
    raise AssertionError(f"still moving after {limit_s} s")


def follow(made, policy, seconds, every_s=0.5, latency_s=0.4):
    """The policy in closed loop: a chunk every every_s, each latency_s old on arrival."""
    pending, next_s, end_s = [], made.now_s, made.now_s + seconds
    while made.now_s < end_s:
        if made.now_s >= next_s:
            pending.append((made.now_s + latency_s, policy.chunk(made.base_T_tcp, 1.0, made.now_ns)))
            next_s += every_s
        while pending and pending[0][0] <= made.now_s:
            made.controller.on_chunk(pending.pop(0)[1], made.now_ns, made.now_s)
        made.period()


def test_nothing_is_commanded_before_enabling_nor_before_a_chunk():
    made = loop()
    made.run(0.2)
    assert made.controller.state is S.DISABLED
    assert send(made, StraightLinePolicy(goal())).refusal is Refusal.NOT_ENABLED
    made.controller.enable(True, made.now_s)
    made.run(0.3)
    assert made.controller.state is S.READY
    assert all(o.q_command is None and o.gripper_width_m is None for o in made.log)


def test_closed_loop_reaches_the_goal_at_the_policys_own_speed():
    made = enabled()
    target = goal(0.55, 0.25, 0.15, turn=0.8)
    follow(made, StraightLinePolicy(target), 6.0)
    assert np.linalg.norm(made.base_T_tcp[:3, 3] - target[:3, 3]) < 2e-3
    assert angle_between(made.base_T_tcp[:3, :3], target[:3, :3]) < 0.01
    speed = np.linalg.norm(np.diff(ARM.fk(made.commands())[:, :3, 3], axis=0), axis=1) / made.period_s
    cruising = speed[120:250]
    assert np.median(cruising) == pytest.approx(np.median(speed[speed > 0.05]), rel=0.2)
    assert speed.max() < 1.35 * 0.15
    assert max(o.stats.deviation_rad for o in made.log) < 1e-6
    assert cruising.min() > 0.6 * np.median(cruising)


def test_speed_factor_scales_time():
    patient = WatchdogConfig(chunks_s=None)
    slow, fast = enabled(speed_factor=0.25, watchdog=patient), enabled(speed_factor=1.0, watchdog=patient)
    for made in (slow, fast):
        assert send(made, StraightLinePolicy(goal())).accepted
    fast.run(1.5)
    slow.run(6.0)
    assert np.linalg.norm(fast.base_T_tcp[:3, 3] - slow.base_T_tcp[:3, 3]) < 0.025
    assert fast.base_T_tcp[1, 3] > 0.08


def test_a_timer_that_skips_periods_changes_neither_speed_nor_limits():
    steady, skipping = enabled(), enabled()
    for made in (steady, skipping):
        assert send(made, StraightLinePolicy(goal())).accepted
    steady.run(1.2)
    for _ in range(40):
        skipping.now_s += 0.02
        skipping.period()
    apart = steady.log[-1].base_T_tcp_command[:3, 3] - skipping.log[-1].base_T_tcp_command[:3, 3]
    assert np.linalg.norm(apart) < 2e-3


def test_a_first_chunk_that_took_long_to_compute_is_played_from_its_beginning():
    made = enabled()
    assert send(made, StraightLinePolicy(goal()), latency_s=1.0).accepted
    made.run(0.05)
    np.testing.assert_allclose(ARM.fk(made.commands()[-1])[:3, 3], HOME[:3, 3], atol=2e-3)
    made.run(0.6)
    assert 0.02 < np.linalg.norm(made.log[-1].base_T_tcp_command[:3, 3] - HOME[:3, 3]) < 0.1


def test_when_chunks_run_out_the_arm_comes_to_rest_on_its_path_and_holds():
    made = enabled(watchdog=WatchdogConfig(chunks_s=None))
    target = goal(0.5, 0.5, 0.2)
    assert send(made, StraightLinePolicy(target, n_steps=5)).accepted
    made.run(4.0)
    last = made.log[-1]
    assert last.state is S.HOLDING and last.at_rest and "played to its end" in last.fault
    way = (target[:3, 3] - HOME[:3, 3]) / np.linalg.norm(target[:3, 3] - HOME[:3, 3])
    offset = ARM.fk(made.commands())[:, :3, 3] - HOME[:3, 3]
    along = offset @ way
    assert along[-1] == pytest.approx(4 * 0.06, abs=1e-3)
    assert np.linalg.norm(offset - along[:, None] * way, axis=1).max() < 2e-3
    assert np.diff(along).min() > -1e-4
    assert last.q_command is not None


def test_holding_goes_on_by_itself_with_the_next_chunk():
    made = enabled(watchdog=WatchdogConfig(chunks_s=None))
    policy = StraightLinePolicy(goal(), n_steps=3)
    assert send(made, policy).accepted
    made.run(3.0)
    assert made.controller.state is S.HOLDING
    assert send(made, policy).accepted
    assert made.run(0.5).state is S.RUNNING and np.abs(made.log[-1].dq_command).max() > 0.01


def test_the_present_chunk_goes_on_when_a_newer_one_is_refused():
    made = running(0.5)
    outside = send(made, StraightLinePolicy(goal(0.5, 0.2, -0.3)))
    assert outside.refusal is Refusal.OUTSIDE_WORKSPACE and "table" in outside.reason
    made.run(1.0)
    assert made.controller.state is S.RUNNING
    assert made.base_T_tcp[1, 3] > 0.08
    assert made.log[-1].stats.counts["outside_workspace"] == 1


def test_a_chunk_is_refused_for_its_last_step_before_its_first_moves_the_arm():
    made = enabled()
    verdict = send(made, StraightLinePolicy(goal(0.5, 0.0, 0.2), n_steps=20, dt_s=0.2), latency_s=0.0)
    assert verdict.accepted
    made = enabled(workspace=replace(CELL, keep_out_boxes_m=(((0.45, -0.1, 0.0), (0.6, 0.1, 0.3)),)))
    verdict = send(made, StraightLinePolicy(goal(0.5, 0.0, 0.2), n_steps=20, dt_s=0.2))
    assert verdict.refusal is Refusal.OUTSIDE_WORKSPACE and "keep-out box 0" in verdict.reason
    made.run(0.5)
    assert all(o.q_command is None for o in made.log)


def test_a_pose_out_of_reach_is_refused():
    made = enabled(workspace=replace(CELL, box_max_m=(1.5, 0.5, 1.5)))
    verdict = send(made, StraightLinePolicy(goal(1.2, 0.0, 0.4), n_steps=20, step_m=0.1))
    assert verdict.refusal is Refusal.UNREACHABLE and "mm" in verdict.reason


def test_what_was_observed_before_enabling_does_not_move_the_arm():
    made = loop()
    made.run(0.2)
    early = StraightLinePolicy(goal()).chunk(made.base_T_tcp, 1.0, made.now_ns)
    made.run(0.1)
    assert made.controller.enable(True, made.now_s).ok
    assert made.controller.on_chunk(early, made.now_ns, made.now_s).refusal is Refusal.BEFORE_ENABLE


def test_no_chunk_is_taken_without_fresh_frames():
    made = enabled()
    made.frames = False
    made.run(1.5)
    verdict = send(made, StraightLinePolicy(goal()))
    assert verdict.refusal is Refusal.NOT_READY and "camera" in verdict.reason


def stale_frames(made):
    made.frames = False
    made.run(1.0)


def stale_states(made):
    made.states = False
    made.run(0.2)


def blocked_arm(made):
    made.arm.blocked = True
    while made.controller.state is S.RUNNING and made.now_s < 1010.0:
        made.period()


def clock_jump(made):
    made.ros_offset_ns += 700_000_000


def joint_at_its_end(made):
    made.arm.q = made.arm.q.copy()
    made.arm.q[3] = FR3_LIMITS.q_max[3] - 0.002
    made.arm.blocked = True


def no_more_chunks(made):
    made.run(2.15)


FAULTS = {
    Event.FRAMES_STALE: stale_frames, Event.STATES_STALE: stale_states, Event.TRACKING_ERROR: blocked_arm,
    Event.CLOCK_JUMP: clock_jump, Event.JOINT_NEAR_LIMIT: joint_at_its_end,
    Event.CHUNKS_STALE: no_more_chunks,
    Event.STOP: lambda made: made.controller.stop(made.now_s),
    Event.DISABLE: lambda made: made.controller.enable(False, made.now_s),
}
FAR = goal(0.5, 0.45, 0.45)


@pytest.mark.parametrize("event", list(FAULTS), ids=lambda e: e.name)
def test_every_fault_brings_the_arm_to_rest_in_time_and_resumes_only_as_the_table_says(event):
    made = enabled()
    assert send(made, StraightLinePolicy(FAR, n_steps=20)).accepted
    made.run(0.8)
    FAULTS[event](made)
    output = made.period()
    while output.state is S.RUNNING:
        output = made.period()
    assert not output.at_rest and output.q_command is not None
    assert seconds_to_rest(made) <= 0.3
    output = made.run(0.05)
    want = {Resume.BY_ITSELF: S.HOLDING, Resume.ENABLE: S.DISABLED, Resume.RESET: S.FAULT}[RESUME[event]]
    assert output.state is want and output.fault
    moved = made.commands()[-4:]
    np.testing.assert_array_equal(moved, np.repeat(moved[-1:], 4, axis=0))

    made.frames = made.states = True
    made.arm.blocked = False
    made.arm.q = moved[-1].copy()
    made.run(0.5)
    policy = StraightLinePolicy(FAR, n_steps=20)
    if want is S.HOLDING:
        assert send(made, policy).accepted
        assert made.run(0.3).state is S.RUNNING
        return
    assert send(made, policy).refusal is Refusal.NOT_ENABLED
    assert made.controller.enable(True, made.now_s).ok is (want is S.DISABLED)
    if want is S.FAULT:
        assert made.controller.reset(made.now_s).ok
        assert made.run(0.02).state is S.DISABLED
        assert made.controller.enable(True, made.now_s).ok
    made.run(0.02)
    assert send(made, policy).accepted
    assert made.run(0.3).state is S.RUNNING


def test_faults_that_stop_the_arm_are_all_tried_above_or_in_their_own_test():
    assert set(RESUME) - set(FAULTS) == {Event.PATH_ENDED, Event.LIMITER_FAILED, Event.COMMAND_LATE}


def test_every_command_carries_the_stop_that_the_arm_makes_when_no_further_one_comes():
    made = running(1.0, target=FAR)
    q, dq = made.log[-1].q_command, made.log[-1].dq_command
    stop = made.controller.stopping()
    assert np.all(np.diff(stop.times_s) > 0.0) and stop.times_s[-1] <= 0.28
    np.testing.assert_array_equal(stop.dq[-1], 0.0)
    times = np.concatenate([[0.0], stop.times_s])
    positions, speeds = np.vstack([q, stop.q]), np.vstack([dq, stop.dq])
    limits = FR3_LIMITS.scaled(ControllerConfig().limits)
    gaps = np.diff(times)[:, None]
    np.testing.assert_allclose(np.diff(positions, axis=0), 0.5 * gaps * (speeds[1:] + speeds[:-1]), atol=2e-3)
    assert np.all(np.abs(np.diff(speeds, axis=0) / gaps) <= limits.ddq_max * 1.01)
    made.controller.stop(made.now_s)
    assert seconds_to_rest(made) <= 0.3 and made.controller.stopping() is None


def test_after_a_gap_in_its_commands_the_arm_is_taken_up_where_it_came_to_rest():
    made = running(1.0, target=FAR)
    made.arm.q = made.controller.stopping().q[-1].copy()
    made.arm._waiting.clear()
    made.now_s += 0.5
    output = made.period()
    assert output.state is S.HOLDING and "ms between two ticks" in output.fault and output.q_command is None
    made.run(0.2)
    assert all(o.q_command is None for o in made.log[-20:])
    rested = made.arm.q.copy()
    assert send(made, StraightLinePolicy(FAR)).accepted
    first = made.period()
    np.testing.assert_allclose(first.q_command, rested, atol=1e-3)
    assert made.run(0.3).state is S.RUNNING


def test_an_arm_that_was_moved_after_enabling_is_taken_up_where_it_is():
    """Joint states from before a reset may still be under way when the operator enables."""
    made = enabled()
    elsewhere = FR3_HOME_Q + np.array([0.3, 0.1, 0.0, 0.1, 0.0, 0.1, 0.2])
    before = StraightLinePolicy(goal()).chunk(made.base_T_tcp, 1.0, made.now_ns)
    made.run(0.1)
    made.arm.q = elsewhere.copy()
    made.arm._waiting.clear()
    made.run(0.05)
    assert made.controller.on_chunk(before, made.now_ns, made.now_s).refusal is Refusal.BEFORE_ENABLE
    assert send(made, StraightLinePolicy(goal()), latency_s=0.2).accepted
    first = made.period()
    assert first.state is S.RUNNING
    np.testing.assert_allclose(first.q_command, elsewhere, atol=1e-3)


@pytest.mark.parametrize("what, words", [("moving", "is moving"), ("late", "older than the observation"),
                                         ("none", "no joint states")])
def test_commands_do_not_begin_before_the_arm_is_known_to_stand(what, words):
    made = enabled()
    policy = StraightLinePolicy(goal())
    if what == "none":
        made.controller.enable(False, made.now_s)
        made.period()
        made.controller.enable(True, made.now_s)
        made.now_s += 0.001
    if what == "late":
        made.states = False
        made.run(0.05)
    if what == "moving":
        made.controller.on_robot_state(replace(made.arm.state(made.now_ns), dq=np.full(7, 0.3)), made.now_s)
    verdict = send(made, policy)
    assert verdict.refusal is Refusal.NOT_READY and words in verdict.reason
    made.states = True
    made.run(0.05)
    assert send(made, policy).accepted


def test_stop_acts_in_the_next_period():
    made = running(1.0)
    before = np.abs(made.log[-1].dq_command).max()
    made.controller.stop(made.now_s)
    made.period()
    made.period()
    assert made.log[-1].stats.playback_rate < made.log[-3].stats.playback_rate
    made.run(0.05)
    assert np.abs(made.log[-1].dq_command).max() < 0.9 * before


def test_an_arm_at_rest_in_fault_or_disabled_gets_no_commands():
    for event in (Event.STOP, Event.CLOCK_JUMP):
        made = running(0.8)
        FAULTS[event](made)
        made.run(1.0)
        assert all(o.q_command is None and o.gripper_width_m is None for o in made.log[-50:])


def test_reset_waits_for_the_cause_to_go():
    made = running(0.5)
    stale_states(made)
    made.run(0.5)
    assert made.controller.state is S.FAULT
    refused = made.controller.reset(made.now_s)
    assert not refused.ok and "joint states" in refused.message
    made.states = True
    made.run(0.1)
    assert made.controller.reset(made.now_s).ok


def near_the_end():
    q = FR3_HOME_Q.copy()
    q[5] = FR3_LIMITS.q_max[5] - 0.03
    return q


@pytest.mark.parametrize("options, words", [
    (dict(q=near_the_end()), "joint 6"),
    (dict(workspace=Workspace((0.4, -0.5, 0.0), (0.8, 0.5, 0.8))), "workspace box"),
])
def test_enabling_is_refused_with_the_reason(options, words):
    made = loop(**options)
    made.run(0.1)
    answer = made.controller.enable(True, made.now_s)
    assert not answer.ok and words in answer.message
    assert made.controller.state is S.DISABLED


def test_enabling_needs_joint_states_and_an_arm_at_rest():
    made = loop()
    made.states = False
    made.run(0.1)
    assert "never received" in made.controller.enable(True, made.now_s).message
    made.states = True
    made.arm.step(FR3_HOME_Q + 0.1)
    for _ in range(3):
        made.arm.step(FR3_HOME_Q + 0.1)
    made.controller.on_robot_state(made.arm.state(made.now_ns), made.now_s)
    assert "moving" in made.controller.enable(True, made.now_s).message


def test_malformed_joint_states_do_not_count_as_fresh():
    made = running(0.5)
    made.states = False
    bad = made.arm.state(made.now_ns)
    bad.q[2] = np.nan
    for _ in range(30):
        made.controller.on_robot_state(bad, made.now_s)
        made.period()
    assert made.controller.state is S.FAULT
    assert made.log[-1].stats.counts["robot_state_malformed"] == 30


def test_what_is_committed_is_what_is_then_executed():
    made = running(0.6)
    promised = made.controller.committed(made.now_ns, horizon_s=0.9)
    assert len(promised) == 4 and promised.stamp_ns == made.now_ns and promised.dt_s == 0.4
    for pose in promised.base_T_tcps:
        now = made.log[-1].base_T_tcp_command
        assert np.linalg.norm(now[:3, 3] - pose[:3, 3]) < 2e-3
        assert angle_between(now[:3, :3], pose[:3, :3]) < 5e-3
        made.run(0.4)


def test_committed_covers_less_of_the_chunk_at_low_speed_and_nothing_at_rest():
    made = running(0.6, speed_factor=0.25)
    assert len(made.controller.committed(made.now_ns, 0.9)) == 2
    assert len(made.controller.committed(made.now_ns, 3.3)) == 4
    assert len(made.controller.committed(made.now_ns, 0.9, least_steps=5)) == 6
    made.controller.stop(made.now_s)
    assert made.controller.committed(made.now_ns, 0.9) is None


@pytest.mark.parametrize("speed", [0.2, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("age_s", [0.01, 0.15])
def test_the_next_chunk_is_told_what_will_be_executed_at_any_speed(speed, age_s):
    """Ground truth: where the arm's commands are, one action step of path time after the other from the observation."""
    made = running(0.8, target=FAR, speed_factor=speed, watchdog=WatchdogConfig(chunks_s=None))
    observed_ns = made.now_ns
    made.run(age_s)
    word = made.controller.committed(made.now_ns, horizon_s=0.9 / speed)
    ahead = committed_ahead(word, observed_ns, 0.4, most_steps=8)
    assert len(ahead) == len(word) - 1 >= 3 and ahead.dt_s == 0.4 and ahead.stamp_ns == observed_ns
    made.run(0.4 / speed - age_s)
    for pose in ahead.base_T_tcps[:2]:
        now = made.log[-1].base_T_tcp_command
        assert np.linalg.norm(now[:3, 3] - pose[:3, 3]) < 2e-3
        made.run(0.4 / speed)


def test_word_that_is_too_old_tells_the_next_chunk_nothing():
    made = running(0.8, target=FAR)
    word = made.controller.committed(made.now_ns, horizon_s=0.9)
    late_ns = made.now_ns + round(3e9)
    assert committed_ahead(word, late_ns, 0.4, 8) is None
    assert committed_ahead(word, made.now_ns - round(0.5e9), 0.4, 8) is None
    assert committed_ahead(word, made.now_ns, 0.4, 0) is None
    assert len(committed_ahead(word, made.now_ns, 0.4, 1)) == 1


def test_the_gripper_closes_once_when_the_chunk_says_so():
    made = enabled(gripper=GripperConfig(min_dwell_s=0.3))
    openness = np.where(np.arange(9) < 3, 1.0, 0.0)
    assert send(made, StraightLinePolicy(goal()), openness=openness).accepted
    made.run(2.5)
    told = [(i, o.gripper_width_m) for i, o in enumerate(made.log) if o.gripper_width_m is not None]
    assert [width for _, width in told] == [0.0]
    closed_at = made.log[told[0][0]].base_T_tcp_command
    assert np.linalg.norm(closed_at[:3, 3] - HOME[:3, 3]) == pytest.approx(3 * 0.06, abs=0.02)


def test_the_arms_lag_is_measured():
    made = running(1.5, arm=TrailingArm(lag_s=0.08, delay_s=0.05))
    assert made.log[-1].stats.lag_s == pytest.approx(0.13, abs=0.04)


def test_closed_loop_loses_no_speed_to_the_arms_lag():
    """Each observation shows the arm behind its command; a controller that ignored it would step back every time."""
    times = []
    for lag in (0.0, 0.15):
        made = enabled(arm=TrailingArm(lag_s=lag, delay_s=0.0), chunks=ChunkRules(align_s=0.0))
        start = made.now_s
        target = goal(0.5, 0.3, 0.2)
        follow(made, StraightLinePolicy(target), 5.0)
        near = [np.linalg.norm(ARM.fk(q)[:3, 3] - target[:3, 3]) < 0.02 for q in made.measured]
        times.append(made.period_s * near.index(True) + 1000.0 - start)
    assert times[1] - times[0] < 0.35


def test_a_surer_chunk_takes_over_faster():
    def after_seam(variance):
        made = running(0.6)
        policy = StraightLinePolicy(goal())
        chunk = policy.chunk(made.base_T_tcp, 1.0, made.now_ns)
        shifted = chunk.base_T_tcps.copy()
        shifted[:, 2, 3] += 0.02
        covariance = np.zeros((9, 6, 6)) + variance * np.eye(6)
        moved = ActionChunk(shifted, chunk.openness, covariance, chunk.reproj_rms_px, chunk.credible,
                            stamp_ns=chunk.stamp_ns, dt_s=chunk.dt_s)
        assert made.controller.on_chunk(moved, made.now_ns, made.now_s).accepted
        made.run(0.25)
        return made.log[-1].base_T_tcp_command[2, 3]
    assert after_seam(1e-8) > after_seam(0.05**2) + 2e-3


def test_configuration_that_cannot_stop_in_time_is_refused():
    with pytest.raises(ConfigError, match="brake_s"):
        ControllerConfig(brake_s=0.5)


def test_a_policy_slower_than_its_chunks_is_refused_not_executed_late():
    made = enabled(chunks=ChunkRules(max_age_s=6.0), watchdog=WatchdogConfig(chunks_s=None))
    policy = StraightLinePolicy(goal(0.5, 0.4, 0.4), n_steps=12)
    assert send(made, policy).accepted
    made.run(0.1)
    short = StraightLinePolicy(goal(0.5, 0.4, 0.4), n_steps=3).chunk(made.base_T_tcp, 1.0, made.now_ns)
    made.run(1.5)
    assert made.controller.on_chunk(short, made.now_ns, made.now_s).refusal is Refusal.PASSED
