"""The joint adjustment against ground truth, on projected points with noise."""

from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.bench.calibration import pose_error
from action_images_ros.bench.calibration_cell import operator_poses, random_cell, synthetic_samples
from action_images_ros.calibration import Correction, Detection, Intrinsics, Noise, Options, RigCamera, calibrate
from action_images_ros.calibration.calibrate import quick_solution
from action_images_ros.calibration.handeye import hand_eye
from action_images_ros.calibration.initial import hand_poses, seen_boards
from action_images_ros.calibration.rig import moving
from action_images_ros.errors import CalibrationError


def _errors(result, cell):
    return {v: pose_error(result.views[v].parent_T_camera, cell.cameras[v]) for v in cell.rig.cameras}


def test_all_cameras_are_found_to_a_millimetre(cell, result):
    for view, e in _errors(result, cell).items():
        assert np.linalg.norm(e[:3]) < 2e-3 and np.rad2deg(np.linalg.norm(e[3:])) < 0.15, view
    for name, board in result.boards.items():
        assert np.linalg.norm(board.parent_T_board[:3, 3] - cell.boards[name][:3, 3]) < 1e-3
        assert abs(board.scale - (cell.scales[name] - 1)) < 4 * board.scale_sd


def test_it_beats_each_camera_alone(cell, samples, result):
    tcp = cell.arm.fk(np.array([s.q for s in samples]))
    seen = seen_boards(cell.rig, samples)
    singly = 0.0
    for view in cell.rig.cameras:
        mine = [s for s in seen if s.view == view and moving(cell.rig, view, s.board)]
        X = hand_eye(
            hand_poses(cell.rig, view, tcp[[s.pose for s in mine]]), np.array([s.camera_T_board for s in mine])
        )
        singly += np.linalg.norm(pose_error(X, cell.cameras[view])[:3])
    assert sum(np.linalg.norm(e[:3]) for e in _errors(result, cell).values()) < 0.6 * singly


def test_noise_is_estimated(cell, poses):
    noisy = synthetic_samples(np.random.default_rng(7), cell, poses, joint_sd_deg=0.12, pixel_sd=0.25)
    _, solution = quick_solution(cell.rig, noisy, cell.arm)
    assert np.rad2deg(solution.joint_sd_rad) == pytest.approx(0.12, rel=0.3)
    np.testing.assert_allclose(solution.pixel_sd, 0.25, rtol=0.15)


def test_covariance_agrees_with_true_errors():
    """Normalised squared error of all cameras together, over cells: chi-square with 18 degrees of freedom each."""
    from scipy.stats import chi2

    total, cells = 0.0, 5
    for seed in range(100, 100 + cells):
        rng = np.random.default_rng(seed)
        cell = random_cell(rng)
        samples = synthetic_samples(rng, cell, operator_poses(rng, cell, 12))
        _, solution = quick_solution(cell.rig, samples, cell.arm)
        e = np.concatenate([pose_error(T, cell.cameras[v]) for T, v in zip(solution.state.cameras, cell.rig.cameras)])
        total += e @ np.linalg.solve(solution.camera_covariance, e)
    low, high = chi2.ppf([0.005, 0.995], 18 * cells)
    assert low < total < high


def test_a_wrong_reading_and_a_wrong_picture_are_named(cell, samples, result):
    spoiled = list(samples)
    spoiled[4] = replace(samples[4], q=samples[4].q + np.eye(7)[3] * 0.02)
    view = next(v for v in ("left", "right") if v in samples[9].detections)
    shifted = tuple(Detection(d.board, d.ids, d.uv + [4.0, 0]) for d in samples[9].detections[view])
    spoiled[9] = replace(samples[9], detections={**samples[9].detections, view: shifted})
    found = calibrate(cell.rig, spoiled, cell.arm, Options(Intrinsics.FIXED))
    named = {(o.pose, o.kind) for o in found.outliers}
    assert (samples[4].name, "arm") in named and (samples[9].name, "image") in named
    assert {o.pose for o in found.outliers} == {samples[4].name, samples[9].name}
    assert f"pose {samples[9].name}, view {view}" in next(o.text for o in found.outliers if o.kind == "image")
    for v, e in _errors(found, cell).items():
        assert np.linalg.norm(e[:3]) < 2.5e-3, v


def test_clean_poses_are_not_called_outliers(result):
    assert result.outliers == ()


def test_when_most_poses_disagree_it_refuses(cell, samples):
    rng = np.random.default_rng(1)
    spoiled = [replace(s, q=s.q + rng.normal(0, 0.05, 7)) if i % 2 else s for i, s in enumerate(samples)]
    with pytest.raises(CalibrationError, match="do not agree with the rest|do not determine"):
        calibrate(cell.rig, spoiled, cell.arm, Options(Intrinsics.FIXED, noise=Noise(joint_weight=1e4)))


def test_one_camera_and_one_board_are_enough():
    rng = np.random.default_rng(8)
    cell = random_cell(rng, statics=1, wrist=False)
    samples = synthetic_samples(rng, cell, operator_poses(rng, cell, 14))
    result = calibrate(cell.rig, samples, cell.arm, Options(Intrinsics.FIXED))
    e = pose_error(result.views["left"].parent_T_camera, cell.cameras["left"])
    assert np.linalg.norm(e[:3]) < 3e-3


def test_a_fixed_camera_that_sees_only_the_table_is_tied_through_the_wrist(cell, samples):
    tied = []
    for s in samples:
        T = cell.cameras["left"]
        board = cell.rig.boards["table"].board
        points = (board.points * cell.scales["table"]) @ cell.boards["table"][:3, :3].T + cell.boards["table"][:3, 3]
        uv = cell.rig.cameras["left"].at(T).project(points) + np.random.default_rng(int(s.name)).normal(
            0, 0.1, (len(points), 2)
        )
        tied.append(replace(s, detections={**s.detections, "left": (Detection("table", np.arange(len(points)), uv),)}))
    result = calibrate(cell.rig, tied, cell.arm, Options(Intrinsics.FIXED))
    e = pose_error(result.views["left"].parent_T_camera, cell.cameras["left"])
    C = result.views["left"].covariance
    assert e @ np.linalg.solve(C, e) < 25
    assert np.linalg.norm(e[:3]) < 0.01


def test_wrong_intrinsics_are_noticed_and_re_estimated(cell, samples, result):
    camera = cell.rig.cameras["wrist"]
    bent = RigCamera(
        camera.mount, camera.serial, camera.K, camera.image_size, camera.distortion + [0.15, 0, 0, 0, 0, 0, 0, 0]
    )
    rig = replace(cell.rig, cameras={**cell.rig.cameras, "wrist": bent})
    checked = calibrate(rig, samples, cell.arm, Options(Intrinsics.CHECKED))
    assert "DISAGREE" in checked.views["wrist"].intrinsics
    assert "DISAGREE" not in checked.views["left"].intrinsics
    assert all("agree with the images" in v.intrinsics for v in result.views.values())
    mended = quick_solution(rig, samples, cell.arm, Options(Intrinsics.ESTIMATED))[1]
    i = list(rig.cameras).index("wrist")
    assert mended.pixel_sd[i] == pytest.approx(0.1, rel=0.15)
    assert abs(mended.state.lenses[i][4] - camera.distortion[0]) < 0.05


def test_joint_offsets_are_corrected_only_where_they_exist(cell, poses, result):
    offsets = np.deg2rad([0, 0.3, 0, -0.25, 0, 0.3, 0])
    rng = np.random.default_rng(2)
    samples = [replace(s, q=s.q - offsets) for s in synthetic_samples(rng, cell, poses, 0.02)]
    found = calibrate(cell.rig, samples, cell.arm, Options(Intrinsics.FIXED, Correction.IF_DETERMINED))
    off = found.correction.offsets_deg - np.rad2deg(offsets)
    assert np.all(np.abs(off[1:6]) < 4 * found.correction.offsets_sd_deg[1:6] + 1e-9)
    assert found.correction.offsets_deg[3] == pytest.approx(-0.25, abs=0.1)
    clean = calibrate(
        cell.rig, synthetic_samples(rng, cell, poses), cell.arm, Options(Intrinsics.FIXED, Correction.IF_DETERMINED)
    )
    assert not clean.correction.offsets_deg.any()
    assert any("joint offsets left out" in note for note in clean.notes)


def test_a_stamp_offset_is_found_while_the_arm_moves(cell, poses):
    rng = np.random.default_rng(6)
    dq, delay = rng.normal(0, 0.25, poses.shape), 0.035
    still = synthetic_samples(rng, cell, poses, 0.02)
    moving_samples = [replace(s, q=s.q - delay * v, dq=v) for s, v in zip(still, dq)]
    found = calibrate(
        cell.rig, moving_samples, cell.arm, Options(Intrinsics.FIXED, stamp_offset=Correction.IF_DETERMINED)
    )
    assert found.correction.delay_s == pytest.approx(delay, abs=0.002)
    rest = calibrate(cell.rig, still, cell.arm, Options(Intrinsics.FIXED, stamp_offset=Correction.IF_DETERMINED))
    assert rest.correction.delay_s == 0 and "taken while the arm moves" in rest.notes[0]


def test_leave_one_out_errors_have_the_size_of_the_arm_and_camera_errors(cell, samples, result):
    together = [h for h in result.held_out if h.view == "all fixed views"]
    assert len(together) >= len(samples) // 2
    assert 0.2 < np.median([h.position_mm for h in together]) < 3.0
    assert 0.02 < np.median([h.rotation_deg for h in together]) < 0.5
    worse = calibrate(
        cell.rig,
        [replace(s, q=s.q + np.random.default_rng(int(s.name)).normal(0, 4e-3, 7)) for s in samples],
        cell.arm,
        Options(Intrinsics.FIXED),
    )
    assert worse.views["left"].held_out_mm[0] > 2 * result.views["left"].held_out_mm[0]


def test_unknown_views_and_boards_are_refused(cell, samples):
    with pytest.raises(CalibrationError, match="the rig has: left, right, wrist"):
        calibrate(cell.rig, [replace(samples[0], detections={"top": ()})], cell.arm)
    odd = Detection("blackboard", np.arange(6), np.zeros((6, 2)))
    with pytest.raises(CalibrationError, match="'blackboard'; the rig has: gripper, table"):
        calibrate(cell.rig, [replace(samples[0], detections={"left": (odd,)})], cell.arm)
