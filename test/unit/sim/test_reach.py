"""ReachTarget's judge and expert in the real simulation."""

from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.errors import SimError
from action_images_ros.geometry.se3 import angle_between, make
from action_images_ros.sim.reach import HAND_DOWN
from action_images_ros.sim.tasks import Outcome, make_task


def put_tcp(cell, position, offset_m=0.0):
    q = cell.kinematics.ik(make(HAND_DOWN, np.array(position) + [0, 0, offset_m]), cell.q)
    assert q is not None
    cell.teleport(q, 0.08)


def judge_for(judge, cell, seconds, start_s=0.0):
    verdict = None
    for t in np.arange(start_s, start_s + seconds, 0.05):
        verdict = judge.update(t, cell)
    return verdict


@pytest.mark.parametrize(("offset_m", "seconds", "outcome"), [
    (0.0, 0.7, Outcome.SUCCESS), (0.028, 0.7, Outcome.SUCCESS), (0.033, 0.7, Outcome.PENDING),
    (0.0, 0.4, Outcome.PENDING)])
def test_success_needs_nearness_and_dwell(cell, task, settings, offset_m, seconds, outcome):
    scene = settings[0][0]
    cell.reset(scene)
    put_tcp(cell, scene.objects[scene.target].position_m, offset_m)
    assert judge_for(task.judge(scene), cell, seconds).outcome is outcome


def test_leaving_the_ball_restarts_the_dwell(cell, task, settings):
    scene = settings[0][0]
    cell.reset(scene)
    judge = task.judge(scene)
    put_tcp(cell, scene.objects[scene.target].position_m)
    judge_for(judge, cell, 0.4)
    put_tcp(cell, scene.objects[scene.target].position_m, 0.05)
    judge_for(judge, cell, 0.1, 0.4)
    put_tcp(cell, scene.objects[scene.target].position_m)
    assert judge_for(judge, cell, 0.4, 0.5).outcome is Outcome.PENDING
    assert judge_for(judge, cell, 0.2, 0.9).outcome is Outcome.SUCCESS


def test_dwelling_at_another_ball_fails_and_names_it(cell, task, settings):
    scene = settings[1][0]
    other = next(o for i, o in enumerate(scene.objects) if i != scene.target)
    cell.reset(scene)
    put_tcp(cell, other.position_m)
    verdict = judge_for(task.judge(scene), cell, 0.7)
    assert verdict.outcome is Outcome.FAILURE and other.colour in verdict.reason and "wrong ball" in verdict.reason
    asked = scene.instructed(scene.objects.index(other))
    assert other.colour in asked.instruction
    assert judge_for(task.judge(asked), cell, 0.7).outcome is Outcome.SUCCESS


def test_timeout_is_a_failure_and_verdicts_stay(cell, task, settings):
    scene = settings[2][0]
    cell.reset(scene)
    judge = task.judge(scene, timeout_s=1.0)
    assert judge.update(5.0, cell).outcome is Outcome.PENDING
    assert judge.update(6.0, cell).reason.startswith("timeout")
    put_tcp(cell, scene.objects[scene.target].position_m)
    assert judge_for(judge, cell, 1.0, 7.0).outcome is Outcome.FAILURE


def test_expert_steps_are_straight_bounded_and_memoryless(cell, task, settings):
    for scene, _ in settings:
        expert = task.expert(scene)
        start = cell.kinematics.fk(np.array(scene.q_start))
        chunk = expert.chunk(start, 0.0, 16, 0.4)
        p, goal = chunk.base_T_tcps[:, :3, 3], np.array(scene.objects[scene.target].position_m)
        steps = np.linalg.norm(np.diff(p, axis=0), axis=1)
        assert steps.max() <= 0.06 + 1e-9
        line = (goal - p[0]) / np.linalg.norm(goal - p[0])
        assert np.abs(np.cross(p - p[0], line)).max() < 1e-9
        assert np.linalg.norm(p[-1] - goal) < 1e-6 and angle_between(chunk.base_T_tcps[-1, :3, :3], HAND_DOWN) < 1e-6
        near = np.linalg.norm(p - goal, axis=1) <= 0.01
        assert chunk.openness[0] == 0.0 and np.array_equal(chunk.openness[1:], np.where(near[1:], 0.0, 1.0))
        later = expert.chunk(chunk.base_T_tcps[3], 1.0, 13, 0.4)
        assert np.abs(later.base_T_tcps - chunk.base_T_tcps[3:]).max() < 1e-9
        assert chunk.dt_s == 0.4


def test_unknown_names_are_refused(settings):
    with pytest.raises(SimError, match="reach_target"):
        make_task("fold_laundry")
    with pytest.raises(SimError, match="0 to 2"):
        settings[0][0].instructed(3)
    with pytest.raises(SimError, match="start joints"):
        replace(settings[0][0], q_start=(0.0,) * 6)
