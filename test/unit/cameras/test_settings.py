"""The driver section of a view: read, written back, and refused with its line."""

import pytest

from action_images_ros.camera_settings import CameraSettings, Depth, SyncRole, plain_settings
from action_images_ros.cell import Calibrated, Cell
from action_images_ros.errors import ConfigError
from action_images_ros.ros.paths import config_file

GOOD = config_file("config/cell.yaml").read_text(encoding="utf-8")


def with_driver(left: str, right: str = "{}") -> str:
    return GOOD.replace("serial: sim-left", f"serial: sim-left\n    driver: {left}").replace(
        "serial: sim-right", f"serial: sim-right\n    driver: {right}"
    )


def test_settings_are_read_and_written_back():
    text = "{rate_hz: 60, depth: aligned, exposure_us: 8000, gain: 32, white_balance_k: 4600, sync: master}"
    cell = Cell.parse(with_driver(text, "{sync: slave, stamp_offset_s: -0.004}"))
    left, right = (v.driver for v in cell.views)
    assert left == CameraSettings(60, Depth.ALIGNED, 8000.0, 32.0, 4600.0, SyncRole.MASTER)
    assert right == CameraSettings(sync=SyncRole.SLAVE, stamp_offset_s=-0.004)
    assert [v.driver for v in Cell.parse(cell.to_yaml()).views] == [left, right]
    assert plain_settings(CameraSettings()) == {} and "driver" not in Cell.parse(GOOD).to_yaml()
    assert left.automatic == () and right.automatic == ("exposure", "white balance")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{rate_hz: 31}", "rate_hz is 31.*legal: 10, 15"),
        ("{exposure_us: 40000}", "longer than a period at 30 Hz"),
        ("{exposure_us: 8000, gain: 900}", "gain is 900.*legal: 0 to 256"),
        ("{gain: 16}", "gain is fixed but exposure_us is not"),
        ("{white_balance_k: 100}", "legal: 2000 to 10000"),
        ("{sync: boss}", "views.left.driver.sync: 'boss' must be one of none, master, slave"),
        ("{depth: true}", "must be one of none, aligned"),
        ("{fps: 30}", "unknown key; legal here: rate_hz"),
        ("{exposure_us: bright}", "expected a finite number"),
        ("{stamp_offset_s: 3}", "stamp_offset_s is 3"),
    ],
)
def test_wrong_settings_are_named_with_their_line(text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        Cell.parse(with_driver(text))
    line = next(i for i, words in enumerate(with_driver(text).splitlines(), 1) if "driver: " + text in words)
    assert f"cell.yaml:{line}:" in str(caught.value)


def test_one_master_and_one_name_each():
    with pytest.raises(ConfigError, match="master in left and right"):
        Cell.parse(with_driver("{sync: master}", "{sync: master}"))
    with pytest.raises(ConfigError, match="frame_id 'left_color_optical_frame' is also that of view left"):
        Cell.parse(GOOD.replace("topic: /camera/right", "topic: /other/left"))


def test_a_camera_that_is_not_calibrated_yet_has_its_size(tmp_path):
    kept = [line for line in GOOD.splitlines() if line.strip().split(":")[0] not in ("K", "calibration")]
    path = tmp_path / "cell.yaml"
    path.write_text("\n".join(kept))
    cell = Cell.load(path, Calibrated.OPTIONAL)
    assert [v.camera for v in cell.views] == [None, None]
    assert [v.image_size for v in cell.views] == [(320, 240)] * 2
    assert [v.image_size for v in Cell.parse(GOOD).views] == [(320, 240)] * 2
