from dataclasses import replace

import numpy as np
import pytest

from action_images_ros.calibration.report import html_report
from action_images_ros.calibration.store import (
    CalibrationLimits,
    StoredCalibration,
    calibrated_cell,
    require_usable,
)
from action_images_ros.cell import Calibration, Cell, View, WorkspaceBox
from action_images_ros.errors import CalibrationError, ConfigError

DATE = "2026-05-26T14:30:00"
SERIALS = {"left": "static-0", "right": "static-1"}


@pytest.fixture(scope="module")
def stored(result):
    return StoredCalibration(result, DATE)


def test_a_file_round_trips(stored, tmp_path):
    stored.save(tmp_path / "calibration.yaml")
    again = StoredCalibration.load(tmp_path / "calibration.yaml")
    assert again.date == DATE and again.result.arm == stored.result.arm
    assert again.result.outliers == stored.result.outliers and again.result.notes == stored.result.notes
    np.testing.assert_allclose(again.result.camera_covariance, stored.result.camera_covariance, atol=1e-15)
    for name, view in stored.result.views.items():
        read = again.result.views[name]
        np.testing.assert_allclose(read.parent_T_camera, view.parent_T_camera, atol=1e-8)
        np.testing.assert_allclose(read.camera.K, view.camera.K, rtol=1e-8)
        np.testing.assert_allclose(read.covariance, view.covariance, rtol=1e-6, atol=1e-16)
        assert (read.camera.serial, read.mount, read.poses) == (view.camera.serial, view.mount, view.poses)
    for name, board in stored.result.boards.items():
        assert again.result.boards[name].board == board.board
    assert len(again.result.held_out) == len(stored.result.held_out)
    assert again.to_yaml() == StoredCalibration.parse(again.to_yaml()).to_yaml()


@pytest.mark.parametrize(
    "find, put, complaint",
    [
        (
            "format: action_images_ros calibration 1",
            "format: kalibr",
            "this version reads 'action_images_ros calibration 1'",
        ),
        ("mount: eye_to_hand", "mount: eye_on_hand", "legal: eye_to_hand, eye_in_hand"),
        ("arm: fr3\n", "", "missing arm"),
        ("pixel_sd: ", "pixel_sd: -", "out of range"),
        ("notes:", "remarks: 1\nnotes:", "unknown key"),
        ("charuco:6x4:45/31mm:4X4_50", "charuco:6x4", "write it like"),
    ],
)
def test_a_broken_file_is_refused_with_key_and_line(stored, find, put, complaint):
    text = stored.to_yaml()
    assert find in text
    with pytest.raises(ConfigError, match=complaint) as error:
        StoredCalibration.parse(text.replace(find, put))
    assert "calibration.yaml:" in str(error.value)


def test_a_covariance_that_is_none_is_refused(stored):
    first = stored.result.views["left"]
    bent = replace(first, covariance=-first.covariance)
    views = {**stored.result.views, "left": bent}
    text = replace(stored, result=replace(stored.result, views=views)).to_yaml()
    with pytest.raises(ConfigError, match="views.left.covariance: is no covariance"):
        StoredCalibration.parse(text)


def test_a_good_calibration_is_usable(stored):
    require_usable(stored, SERIALS, "fr3", CalibrationLimits(max_age_days=10), "2026-05-30")


@pytest.mark.parametrize(
    "serials, arm, limits, today, complaint",
    [
        ({"left": "other"}, "fr3", CalibrationLimits(), None, "view left was camera 'static-0', now it is 'other'"),
        ({"top": "x"}, "fr3", CalibrationLimits(), None, "view top is not in it"),
        (SERIALS, "panda", CalibrationLimits(), None, "made with arm 'fr3'"),
        (SERIALS, "fr3", CalibrationLimits(max_reproj_rms_px=0.01), None, "limit is 0.01 px"),
        (SERIALS, "fr3", CalibrationLimits(max_held_out_mm=0.01), None, "leave-one-out error is .* limit is 0.01 mm"),
        (SERIALS, "fr3", CalibrationLimits(max_age_days=30), "2026-08-01", "67 days old|66 days old"),
        (SERIALS, "fr3", CalibrationLimits(max_age_days=30), None, "pass today's date"),
    ],
)
def test_other_cameras_worse_results_and_old_files_are_refused(stored, serials, arm, limits, today, complaint):
    with pytest.raises(CalibrationError, match=complaint):
        require_usable(stored, serials, arm, limits, today)


def _cell(rig, **changes):
    views = [
        View(
            v,
            f"/camera/{v}",
            changes.get(v, rig.cameras[v].serial),
            rig.cameras[v].at(np.eye(4)),
            Calibration("2026-01-01", "guess", 9.0),
        )
        for v in ("left", "right")
    ]
    return Cell("lab", tuple(views), WorkspaceBox((0.2, -0.4, 0.0), (0.7, 0.4, 0.7)))


def test_the_cell_file_gets_poses_and_provenance(cell, stored, tmp_path):
    calibrated_cell(_cell(cell.rig), stored).save(tmp_path / "cell.yaml")
    read = Cell.load(tmp_path / "cell.yaml")
    for view in read.views:
        found = stored.result.views[view.name]
        np.testing.assert_allclose(view.camera.base_T_camera, found.parent_T_camera, atol=1e-9)
        assert view.calibration.date == DATE and "joint adjustment of 3 cameras" in view.calibration.method
        assert view.calibration.reproj_rms_px == pytest.approx(found.reproj_rms_px, abs=1e-4)
        assert view.calibration.serial == view.serial
        assert view.calibration.held_out_mm == pytest.approx(found.held_out_mm[0], abs=1e-4)
    read.require_calibrated()


def test_another_camera_does_not_get_into_the_cell_file(cell, stored):
    with pytest.raises(CalibrationError, match="calibrated with camera 'static-1'; the cell has 'new'"):
        calibrated_cell(_cell(cell.rig, right="new"), stored)


def test_a_date_is_needed(result):
    with pytest.raises(CalibrationError, match="write it like 2026-05-26"):
        StoredCalibration(result, "yesterday")


def test_the_report_shows_every_view_and_outlier_and_needs_no_other_file(cell, samples, stored):
    import re
    import xml.dom.minidom

    blank = np.full((480, 640, 3), 90, np.uint8)
    page = html_report(stored, samples, cell.arm, {"left": {s.name: blank for s in samples if s.points("left")}})
    for view in cell.rig.cameras:
        assert f"<h2>View {view}</h2>" in page
    plots = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(plots) == 3 + 2 * len(cell.rig.cameras)
    for plot in plots:
        xml.dom.minidom.parseString(plot)
    assert page.count("data:image/jpeg;base64,") == 3
    assert not re.search(r"(src|href)='?\"?https?:", page)


def test_overlays_put_the_board_where_it_is(cell, samples, result):
    from action_images_ros.calibration.picture import overlay

    sample = next(s for s in samples if s.points("left"))
    drawn = overlay(result, "left", sample, cell.arm, np.zeros((480, 640, 3), np.uint8)).astype(int)
    green = np.argwhere((drawn[..., 1] > 150) & (drawn[..., 0] < 120))[:, ::-1]
    magenta = np.argwhere((drawn[..., 0] > 150) & (drawn[..., 2] > 150))[:, ::-1]
    for uv in np.concatenate([d.uv for d in sample.detections["left"]]):
        assert np.linalg.norm(green - uv, axis=1).min() < 3
        assert np.linalg.norm(magenta - uv, axis=1).min() < 7


def test_the_live_view_marks_what_is_seen_and_covered_and_leaves_the_picture_alone(samples):
    from action_images_ros.calibration.picture import live_view

    sample = next(s for s in samples if s.points("left"))
    found = sample.detections["left"]
    image = np.zeros((480, 640, 3), np.uint8)
    drawn = live_view(image, found, np.array([[600.0, 440.0]]), ["pose 3 of 20"]).astype(int)
    assert not image.any()
    green = np.argwhere(drawn[..., 1] - drawn[..., 0] > 80)[:, ::-1]
    assert all(np.linalg.norm(green - uv, axis=1).min() < 2 for d in found for uv in d.uv)
    assert drawn[440, 600, 0] > 200 and drawn[440, 600, 1] < 60
    assert (drawn[5:25, 5:120].min(2) > 200).any()
