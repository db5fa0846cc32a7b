"""What is read out of the strict arm's record, for motions whose speed, acceleration and jerk are known."""

import numpy as np
import pytest

from action_images_ros.arm import strict, strict_server
from action_images_ros.arm.strict import CYCLE_S, StrictArm, commanded_motion, strict_python
from action_images_ros.errors import ArmError

SPEED, TURN_S = 0.5, 0.4


def record(cycles: int = 400, first_id: int = 1) -> np.ndarray:
    """Joint 3 swings with dq = SPEED sin(2 pi t / TURN_S)."""
    out = np.zeros(cycles, strict_server.CYCLE_FIELDS)
    out["id"], out["success_rate"], out["in_motion"] = first_id + np.arange(cycles), 1.0, 1
    out["dq_d"][:, 2] = SPEED * np.sin(2 * np.pi * np.arange(cycles) * CYCLE_S / TURN_S)
    return out


def test_speed_acceleration_and_jerk_are_those_of_the_motion():
    found, w = commanded_motion(record()), 2 * np.pi / TURN_S
    assert (found.cycles, found.lost, found.success_rate) == (400, 0, 1.0)
    assert found.velocity == pytest.approx(SPEED, rel=1e-3)
    assert found.acceleration == pytest.approx(SPEED * w, rel=1e-3)
    assert found.jerk == pytest.approx(SPEED * w**2, rel=1e-3)
    assert found.jerk_rms == pytest.approx(SPEED * w**2 / np.sqrt(2 * 7), rel=0.02)


def test_what_the_arm_does_across_a_missing_answer_is_not_the_commands():
    cycles = record()
    cycles["lost_in_a_row"][200:202] = 1, 2
    cycles["dq_d"][200:202] = cycles["dq_d"][199]  # the arm goes on; then it jumps to where the client is
    found = commanded_motion(cycles)
    assert (found.lost, found.lost_in_a_row) == (2, 2)
    assert found.acceleration == pytest.approx(SPEED * 2 * np.pi / TURN_S, rel=1e-2)
    assert found.jerk == pytest.approx(SPEED * (2 * np.pi / TURN_S) ** 2, rel=1e-2)


def test_between_two_motions_nothing_is_measured():
    rest, second = record(50, first_id=401), record(100, first_id=451)
    rest["in_motion"], second["dq_d"] = 0, 0.4
    found = commanded_motion(np.concatenate([record(), rest, second]))
    assert found.cycles == 500 and found.acceleration < 1.01 * SPEED * 2 * np.pi / TURN_S
    with pytest.raises(ArmError, match="no motion"):
        commanded_motion(rest)


def test_a_record_that_is_being_written_is_read_up_to_its_last_whole_cycle(tmp_path, monkeypatch):
    monkeypatch.setenv(strict.PYTHON_VARIABLE, __file__)
    arm = StrictArm(tmp_path)
    packed = strict_server.CYCLE.pack(7, *range(7), *range(7, 14), *range(14, 21), 0.75, 3, 2, 1)
    (tmp_path / "cycles.bin").write_bytes(2 * packed + packed[:50])
    cycles = arm.cycles()
    assert len(cycles) == 2 and cycles["id"][1] == 7 and list(cycles["q"][0]) == list(range(14, 21))
    assert (cycles["success_rate"][0], cycles["lost_in_a_row"][0], cycles["in_motion"][0]) == (0.75, 3, 1)
    (tmp_path / "aborts.jsonl").write_text('{"id": 3, "reason": "collision"}\n')
    assert arm.aborts() == ["collision"]


def test_without_the_simulator_its_remedy_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv(strict.PYTHON_VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(ArmError, match=r"nothing does not exist.*\./run setup test.*ACTION_IMAGES_FRANKA_SIM"):
        strict_python()


def test_a_simulator_that_ends_at_once_is_an_error_that_names_its_output(tmp_path, monkeypatch):
    monkeypatch.setenv(strict.PYTHON_VARIABLE, "/bin/false")
    with pytest.raises(ArmError, match=r"did not start; its output: .*server\.log"):
        StrictArm(tmp_path, "127.0.0.23").start()
