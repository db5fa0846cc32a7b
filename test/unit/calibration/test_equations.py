import numpy as np
import pytest

from action_images_ros.calibration.residuals import Equations, Observations, start_state
from action_images_ros.calibration.rig import Sample
from action_images_ros.calibration.unknowns import Layout, given_lenses
from action_images_ros.geometry import PinholeCamera


def _truth(cell, samples):
    state = start_state(
        np.array([cell.cameras[v] for v in cell.rig.cameras]),
        np.array([cell.boards[b] for b in cell.rig.boards]),
        given_lenses(cell.rig),
        len(samples),
    )
    scales = np.array([cell.scales[b] - 1 for b in cell.rig.boards])
    return state.moved(
        np.zeros((len(cell.cameras), 6)),
        np.column_stack([np.zeros((len(scales), 6)), scales]),
        np.zeros((len(samples), 7)),
        np.zeros(7),
        0.0,
        np.zeros_like(state.lenses),
    )


@pytest.fixture(scope="module")
def moving(samples):
    """Samples taken while the arm moves."""
    rng = np.random.default_rng(0)
    return [Sample(s.name, s.q, s.detections, rng.normal(0, 0.3, 7)) for s in samples[:4]]


def test_derivatives_agree_with_differences(cell, moving):
    equations, o = Equations(cell.rig, moving, cell.arm), Observations.gather(cell.rig, moving)
    layout, state = Layout(cell.rig, len(moving), True, True, True), _truth(cell, moving)
    rng = np.random.default_rng(1)
    state = layout.move(state, rng.normal(0, 1e-3, layout.size))
    J = layout.jacobian(o, equations.linearise(state, o)).toarray()
    for column in range(layout.size):
        lens = layout.lenses.start <= column < layout.lenses.stop
        h = 1e-3 if lens and (column - layout.lenses.start) % 9 < 4 else 1e-6
        step = np.zeros(layout.size)
        step[column] = h
        difference = (
            equations.residuals(layout.move(state, step), o) - equations.residuals(layout.move(state, -step), o)
        ) / (2 * h)
        scale = max(np.abs(difference).max(), 1.0)
        np.testing.assert_allclose(J[:, column], difference.ravel(), atol=2e-6 * scale, err_msg=f"column {column}")


def test_the_truth_explains_ideal_points(cell, poses):
    from action_images_ros.bench.calibration_cell import synthetic_samples

    ideal = synthetic_samples(np.random.default_rng(0), cell, poses, joint_sd_deg=0.0, pixel_sd=0.0)
    equations, o = Equations(cell.rig, ideal, cell.arm), Observations.gather(cell.rig, ideal)
    assert np.abs(equations.residuals(_truth(cell, ideal), o)).max() < 1e-9


def test_rational_lenses_are_projected_as_the_camera_does():
    from action_images_ros.calibration.residuals import project

    K = np.array([[600, 0, 321.0], [0, 610, 239], [0, 0, 1]])
    d = np.array([0.1, -0.05, 1e-3, -2e-3, 0.02, 0.05, 0.01, -0.003])
    p = np.random.default_rng(0).uniform([-0.3, -0.2, 0.8], [0.3, 0.2, 1.5], (50, 3))
    lens = np.tile([600, 610, 321, 239, *d[:5]], (50, 1))
    uv, _, _ = project(p, lens, np.tile(d[5:], (50, 1)))
    np.testing.assert_allclose(uv, PinholeCamera(K, (640, 480), np.eye(4), d).project_camera_points(p), atol=1e-9)


def test_pictures_of_what_does_not_move_count_once(cell, samples):
    o = Observations.gather(cell.rig, samples)
    views, boards = list(cell.rig.cameras), list(cell.rig.boards)
    still = (o.view != views.index("wrist")) & (o.board == boards.index("table"))
    assert np.all(o.share[~still] == 1)
    if still.any():
        view = o.view[still][0]
        mine = still & (o.view == view)
        assert o.share[mine].sum() == pytest.approx(len(np.unique(o.X[mine], axis=0)))
