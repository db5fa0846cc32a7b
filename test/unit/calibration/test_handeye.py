import numpy as np
import pytest

from action_images_ros.calibration.handeye import OPENCV_FIVE, Solver, hand_eye
from action_images_ros.calibration.initial import start_values
from action_images_ros.errors import CalibrationError
from action_images_ros.geometry import inverse, se3_exp
from action_images_ros.geometry.se3 import angle_between


def _motions(seed=0, n=12):
    rng = np.random.default_rng(seed)
    hands = se3_exp(np.column_stack([rng.normal(0, 0.2, (n, 3)), rng.normal(0, 0.5, (n, 3))]))
    X, board = se3_exp(rng.normal(0, 0.5, (2, 6)))
    return hands, inverse(X) @ inverse(hands) @ board, X


@pytest.mark.parametrize("solver", list(Solver))
def test_solvers_recover_the_camera_on_the_hand(solver):
    hands, boards, X = _motions()
    if not solver.available:
        with pytest.raises(CalibrationError, match="install opencv-python 4.8"):
            hand_eye(hands, boards, solver)
        return
    np.testing.assert_allclose(hand_eye(hands, boards, solver), X, atol=1e-6)


def test_opencv_has_five():
    assert len(OPENCV_FIVE) == 5


def test_start_is_within_millimetres_of_the_truth(cell, samples):
    start = start_values(cell.rig, samples, cell.arm)
    for view, T in start.cameras.items():
        assert np.linalg.norm(T[:3, 3] - cell.cameras[view][:3, 3]) < 0.02, view
        assert np.rad2deg(angle_between(T[:3, :3], cell.cameras[view][:3, :3])) < 1.0, view
    for name, T in start.boards.items():
        assert np.linalg.norm(T[:3, 3] - cell.boards[name][:3, 3]) < 0.02, name


def test_start_survives_a_third_of_wrong_poses(cell, samples):
    rng = np.random.default_rng(0)
    from dataclasses import replace

    spoiled = [replace(s, q=s.q + rng.normal(0, 0.2, 7)) if i % 3 == 0 else s for i, s in enumerate(samples)]
    start = start_values(cell.rig, spoiled, cell.arm)
    for view, T in start.cameras.items():
        assert np.linalg.norm(T[:3, 3] - cell.cameras[view][:3, 3]) < 0.03, view


def test_what_nothing_ties_is_named(cell, samples):
    from dataclasses import replace

    blind = [replace(s, detections={v: d for v, d in s.detections.items() if v != "right"}) for s in samples]
    with pytest.raises(CalibrationError, match="view right"):
        start_values(cell.rig, blind, cell.arm)
