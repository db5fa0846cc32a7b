"""The seam benchmark's claims, on short runs."""

import pytest

from action_images_ros.bench.seams import Execution, measure


def run(execution, latency_of_chunk, seconds=8.0):
    return measure(execution, latency_of_chunk, seconds, noise_m=0.005, lag_s=0.1, seed=3)


@pytest.mark.parametrize("latency", [0.1, 0.3])
@pytest.mark.parametrize("execution", [Execution.BLENDED, Execution.CANVAS], ids=lambda e: e.value)
def test_seams_stay_inside_the_arms_limits_without_a_pause(execution, latency):
    found = run(execution, latency)
    assert found.seams >= 5
    assert found.acceleration_of_limit < 1.0 and found.jerk_of_limit < 1.0
    assert found.still_share == 0.0
    assert found.mean_speed_mps == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("execution", [Execution.BLENDED, Execution.CANVAS], ids=lambda e: e.value)
def test_a_policy_as_slow_as_its_chunks_makes_the_arm_wait_but_never_jump(execution):
    found = run(execution, 1.0, seconds=14.0)
    assert found.acceleration_of_limit < 1.0 and found.jerk_of_limit < 1.0
    assert found.still_share > 0.1


def test_the_canvas_makes_seams_smoother_than_blending_alone():
    assert run(Execution.CANVAS, 0.3).velocity_jump_radps < run(Execution.BLENDED, 0.3).velocity_jump_radps


def test_plain_execution_jumps_or_waits():
    assert run(Execution.NAIVE, 0.3).acceleration_of_limit > 1.0
    assert run(Execution.SYNCHRONOUS, 0.3).still_share > 0.2
