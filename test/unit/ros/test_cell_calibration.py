"""A policy does not start with a calibration that is missing, of another camera, or worse than the cell's limit."""

import pytest
import yaml

from action_images_ros.cell import Calibrated, Calibration, Cell
from action_images_ros.cell_calibration import CalibrationLimits
from action_images_ros.errors import ConfigError
from action_images_ros.ros.paths import config_file

EVIDENCE = {"serial": "sim-left", "held_out_mm": 1.2, "held_out_deg": 0.1, "workspace_sd_mm": 0.4}


def cell(change=lambda document: None, calibrated=Calibrated.REQUIRED, tmp_path=None):
    document = yaml.safe_load(config_file("config/cell.yaml").read_text())
    for view in document["views"].values():
        view["calibration"] |= EVIDENCE | {"serial": view["serial"]}
    change(document)
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(document))
    return Cell.load(path, calibrated)


def of_left(**values):
    return lambda d: d["views"]["left"]["calibration"].update(values)


def limits(**values):
    return lambda d: d.update(calibration_limits=values)


def both(*changes):
    return lambda d: [change(d) for change in changes]


def test_a_good_calibration_is_accepted_and_written_with_its_evidence(tmp_path):
    found = cell(limits(max_held_out_mm=2.0), tmp_path=tmp_path)
    found.require_calibrated()
    again = Cell.parse(found.to_yaml())
    assert again.views[0].calibration == found.views[0].calibration
    assert again.views[0].calibration.held_out_mm == 1.2
    assert again.calibration_limits == CalibrationLimits(max_held_out_mm=2.0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (of_left(serial="another"), "view left: calibrated was camera 'another', the cell has 'sim-left'"),
        (lambda d: d["views"]["left"].update(serial="new"), "calibrated was camera 'sim-left', the cell has 'new'"),
        (of_left(reproj_rms_px=1.5), "reprojection is 1.50 px, this cell's limit is 1 px"),
        (of_left(held_out_mm=9.0), "leave-one-out error is 9.00 mm, this cell's limit is 5 mm"),
        (of_left(held_out_deg=0.9), "leave-one-out error is 0.90 deg"),
        (of_left(workspace_sd_mm=3.0), "uncertainty at the workspace is 3.00 mm"),
        (limits(max_held_out_mm=1.0), "view right: leave-one-out error is 1.20 mm, this cell's limit is 1 mm"),
        (
            both(limits(max_held_out_mm=9.0), lambda d: d["views"]["left"]["calibration"].pop("held_out_mm")),
            "view left: its calibration lacks held_out_mm, for which the cell file sets limits",
        ),
        (both(limits(max_age_days=30.0), of_left(date="2026-01-01")), "view left: it is 59 days old"),
    ],
)
def test_a_calibration_that_must_not_be_used_is_refused_with_the_remedy(tmp_path, change, why):
    with pytest.raises(ConfigError, match="must not start") as refused:
        cell(change, tmp_path=tmp_path).require_calibrated("2026-03-01")
    assert why in str(refused.value) and "calibrate_cameras" in str(refused.value)


def test_every_reason_is_named(tmp_path):
    with pytest.raises(ConfigError, match="another.*9.00 mm"):
        cell(of_left(serial="another", held_out_mm=9.0), tmp_path=tmp_path).require_calibrated()


def test_a_cell_before_its_calibration_is_for_the_calibrator_only(tmp_path):
    def bare(document):
        for view in document["views"].values():
            for key in ("K", "image_size", "distortion", "base_T_camera", "calibration"):
                del view[key]

    with pytest.raises(ConfigError, match="views.left: has no calibration; calibrate this camera"):
        cell(bare, tmp_path=tmp_path)
    draft = cell(bare, Calibrated.OPTIONAL, tmp_path)
    assert draft.view_names == ("left", "right") and draft.views[0].camera is None
    with pytest.raises(ConfigError, match="view left: not calibrated; view right: not calibrated"):
        draft.require_calibrated()


def test_a_calibration_that_says_little_is_judged_by_what_it_says(tmp_path):
    plain = Calibration("2026-05-26", "by hand", 0.4)
    assert (plain.serial, plain.held_out_mm) == ("", None)

    def terse(document):
        for view in document["views"].values():
            view["calibration"] = {"date": "2026-05-26", "method": "by hand", "reproj_rms_px": 0.4}

    cell(terse, tmp_path=tmp_path).require_calibrated()
