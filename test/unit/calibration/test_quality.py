from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.bench.calibration_cell import synthetic_samples
from action_images_ros.calibration import BoardMount, CameraMount, Intrinsics, Options, Rig, calibrate
from action_images_ros.calibration.quality import coverage, refusals
from action_images_ros.control.ik import IkSolver
from action_images_ros.errors import CalibrationError
from action_images_ros.geometry import se3_exp


def test_good_poses_are_not_refused(cell, samples):
    assert refusals(cell.rig, samples, cell.arm) == []


def test_too_few_poses_say_how_many_to_add(cell, samples):
    why = refusals(cell.rig, samples[:5], cell.arm)
    assert len(why) == len(cell.rig.cameras)
    assert "saw the table's board in 5 poses; needs 8: add 3" in why[-1]
    with pytest.raises(CalibrationError, match="needs 8: add"):
        calibrate(cell.rig, samples[:5], cell.arm)


def test_repeated_poses_do_not_count(cell, samples):
    rng = np.random.default_rng(0)
    again = [replace(samples[i % 4], name=f"{i}", q=samples[i % 4].q + rng.normal(0, 1e-3, 7)) for i in range(16)]
    why = refusals(cell.rig, again, cell.arm)
    assert any("only 4 of its 16 poses differ" in w or "saw" in w for w in why)
    assert any("only 4 of its 16 poses differ" in w for w in why)


def test_turning_about_one_axis_only_is_refused_and_names_another(cell, poses):
    """The hand slides about and turns only about its own z: the camera's place along that axis stays open."""
    rng = np.random.default_rng(1)
    start = cell.arm.fk(poses[0])
    turns = [start @ se3_exp(np.r_[rng.uniform(-0.08, 0.08, 3), 0, 0, rng.uniform(-0.5, 0.5)]) for _ in range(14)]
    solved = IkSolver(cell.arm).solve(np.array(turns), np.tile(poses[0], (len(turns), 1)))
    q = solved.q[solved.reached]
    samples = synthetic_samples(rng, cell, q)
    why = [w for w in refusals(cell.rig, samples, cell.arm) if "about its three main axes" in w]
    assert why and "add poses turned by 20 to 30 deg" in why[0]
    assert "TCP's x axis" in why[0] or "TCP's y axis" in why[0] or "TCP's axis" in why[0]


def test_turning_on_the_spot_is_refused(cell, poses):
    rng = np.random.default_rng(2)
    start = cell.arm.fk(poses[0])
    turns = [start @ se3_exp(np.r_[0, 0, 0, rng.normal(0, 0.2, 3)]) for _ in range(16)]
    solved = IkSolver(cell.arm).solve(np.array(turns), np.tile(poses[0], (len(turns), 1)))
    samples = synthetic_samples(rng, cell, solved.q[solved.reached])
    assert any("the TCP moved" in w and "10 to 20 cm" in w for w in refusals(cell.rig, samples, cell.arm))


def test_re_estimating_intrinsics_needs_the_whole_picture(cell, samples):
    why = refusals(cell.rig, samples[:9], cell.arm, Intrinsics.ESTIMATED)
    assert any("re-estimating intrinsics needs 60%" in w and "bring a board into:" in w for w in why)


def test_coverage_counts_what_was_seen(cell, samples):
    c = coverage(cell.rig, samples, cell.arm, "left")
    seen = sum(bool(s.points("left")) for s in samples)
    assert 0 < c.poses <= seen
    assert c.grid.sum() == sum(s.points("left") for s in samples)
    assert c.turns_deg[0] >= c.turns_deg[1] >= c.turns_deg[2] > 0


def test_a_wrist_camera_needs_a_board_that_it_does_not_carry(cell):
    wrist = {"wrist": cell.rig.cameras["wrist"]}
    held = {"gripper": cell.rig.boards["gripper"]}
    assert cell.rig.cameras["wrist"].mount is CameraMount.EYE_IN_HAND and held["gripper"].mount is BoardMount.GRIPPER
    with pytest.raises(CalibrationError, match="Put a board on the table"):
        Rig(wrist, held)
    with pytest.raises(CalibrationError, match="no camera moves against any board"):
        Rig({"left": cell.rig.cameras["left"]}, {"table": cell.rig.boards["table"]})


def test_two_poses_of_one_name_are_refused(cell, samples):
    with pytest.raises(CalibrationError, match="two poses have one name"):
        calibrate(cell.rig, [*samples, samples[0]], cell.arm, Options())
