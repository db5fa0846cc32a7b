"""The cell file: what is written is read back, and every mistake is named with its key and line."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from action_images_ros.cell import Calibration, Cell, View, WorkspaceBox
from action_images_ros.errors import ActionImagesError, ConfigError
from action_images_ros.geometry import PinholeCamera, so3_exp
from action_images_ros.geometry.se3 import make
from action_images_ros.ros.paths import config_file

GOOD = config_file("config/cell.yaml").read_text(encoding="utf-8")


def line_of(text: str, fragment: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), 1) if fragment in line)


def without(text: str, fragment: str) -> str:
    """The text less the line with this fragment and what is nested below it."""
    lines = text.splitlines()
    at = line_of(text, fragment) - 1
    depth = len(lines[at]) - len(lines[at].lstrip())
    end = at + 1
    while end < len(lines) and lines[end].strip() and len(lines[end]) - len(lines[end].lstrip()) > depth:
        end += 1
    return "\n".join(lines[:at] + lines[end:])


numbers = st.floats(-2.0, 2.0)


@given(
    t=st.tuples(numbers, numbers, numbers),
    w=st.tuples(numbers, numbers, numbers),
    focal=st.floats(50.0, 2000.0),
    distortion=st.none() | st.tuples(*[st.floats(-0.3, 0.3)] * 5),
    table=st.none() | st.floats(-0.1, 0.1),
    boxes=st.integers(0, 2),
)
@settings(max_examples=20, deadline=None)
def test_what_is_written_is_read_back(t, w, focal, distortion, table, boxes):
    K = np.array([[focal, 0, 300.5], [0, focal * 1.01, 250.25], [0, 0, 1]])
    d = None if distortion is None else np.array(distortion)
    camera = PinholeCamera(K, (640, 480), make(so3_exp(np.array(w)), np.array(t)), d)
    exact = Calibration("2026-05-26T14:30:00", "board: joint, 20 poses", 0.21)
    views = tuple(View(n, f"/camera/{n}", f"#{n}: 1", camera, exact) for n in ("wrist", "left"))
    keep_out = (((0.1, 0.1, 0.0), (0.2, 0.2, 0.3)),) * boxes
    cell = Cell("a cell: with # signs", views, WorkspaceBox((0.2, -0.4, 0.0), (0.7, 0.4, 0.6), keep_out, table))

    again = Cell.parse(cell.to_yaml())

    assert again.name == cell.name and again.view_names == ("wrist", "left")
    assert (again.workspace, again.arm, again.limits, again.sync) == (cell.workspace, cell.arm, cell.limits, cell.sync)
    for a, b in zip(again.views, cell.views):
        assert (a.topic, a.serial, a.calibration) == (b.topic, b.serial, b.calibration)
        np.testing.assert_array_equal(a.camera.K, b.camera.K)
        np.testing.assert_allclose(a.camera.base_T_camera, b.camera.base_T_camera, atol=1e-12)
        points = b.camera.base_T_camera[:3, 3] + b.camera.base_T_camera[:3, :3] @ np.array([0.1, 0.05, 1.0])
        np.testing.assert_allclose(a.camera.project(points), b.camera.project(points), atol=1e-6)


def test_the_shipped_cell_is_legal():
    cell = Cell.parse(GOOD)
    assert cell.view_names == ("left", "right")
    assert cell.views[0].image_topic == "/camera/left/color/image_raw"
    assert cell.views[1].frame_id == "right_color_optical_frame"


@pytest.mark.parametrize(
    ("fragment", "replacement", "says"),
    [
        ("name: sim", "nam: sim", "nam: unknown key; legal here: name, views, workspace"),
        ("  box_max_m:", "  box_max_m: [0.1, 0.45, 0.7] #", "must be below the maximum corner"),
        ("  box_min_m:", "  box_min_m: [0.1, 0.45] #", "workspace.box_min_m: expected 3 numbers, got 2"),
        ("    serial: sim-right", "    serial: sim-left", "is also that of view left"),
        ("    topic: /camera/left", "    topic: camera/left", "absolute topic prefix"),
        ("    image_size:", "    image_size: [320.5, 240] #", "two positive whole numbers"),
        ("    K:", "    K: [1, 2, 3] #", "views.left.K: expected 9 numbers, got 3"),
        ("    K:", "    K: [-200, 0, 160, 0, 200, 120, 0, 0, 1] #", "no camera matrix"),
        ("    K:", "    K: [200, 0, 1600, 0, 200, 120, 0, 0, 1] #", "different resolutions"),
        ("    K:", "    K: [.nan, 0, 160, 0, 200, 120, 0, 0, 1] #", "K[0]: expected a finite number"),
        ("    distortion:", "    distortion: [0.1, 0.2] #", "4, 5 or 8"),
        ("      quaternion_xyzw:", "      quaternion_xyzw: [1, 1, 0, 0] #", "unit quaternion in the order x, y, z, w"),
        ("    calibration:", "    calibration: {date: soon, method: x, reproj_rms_px: 1} #", "is no date"),
        ("    calibration:", "    calibration: {date: 2026-01-02, method: x, reproj_rms_px: -1} #", "out of range"),
        ("limits:", "limits: {velocity_scale: 1.5} #", "legal: 0.001 to 1.0"),
        ("sync:", "sync: {max_skew: 0.1} #", "unknown key; legal here: max_skew_s, max_age_s"),
        ("  joints:", "  joints: [a, b] #", "7 different joint names"),
    ],
)
def test_a_mistake_is_named_with_its_line(fragment, replacement, says):
    lines = GOOD.splitlines()
    k = line_of(GOOD, fragment) - 1
    if fragment.strip().startswith("serial"):
        lines[k] = replacement
    else:
        lines[k] = replacement + (lines[k][len(fragment) :] if replacement.endswith("#") else "")
    with pytest.raises(ConfigError) as caught:
        Cell.parse("\n".join(lines), "my_cell.yaml")
    message = str(caught.value)
    assert says in message
    assert message.startswith("my_cell.yaml:")
    assert "\n" not in message


@pytest.mark.parametrize("fragment", ["    calibration:", "    base_T_camera:", "views:", "workspace:", "    K:"])
def test_what_is_missing_is_named(fragment):
    key = fragment.strip().rstrip(":")
    with pytest.raises(ConfigError, match=key):
        Cell.parse(without(GOOD, fragment))


def test_one_view_is_too_few():
    with pytest.raises(ConfigError, match="at least 2"):
        Cell.parse(without(GOOD, "  right:"))


def test_a_key_given_twice_is_refused():
    with pytest.raises(ConfigError, match=r"name: given twice; remove one \(the first is on line"):
        Cell.parse(GOOD + "\nname: other\n")


def test_a_missing_file_and_broken_yaml_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        Cell.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("views: [1, 2\nname: x")
    with pytest.raises(ConfigError, match=r"bad.yaml:2: not valid YAML") as caught:
        Cell.load(tmp_path / "bad.yaml")
    assert "\n" not in str(caught.value)


TREE = yaml.safe_load(GOOD)
junk = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats()
    | st.text(max_size=4)
    | st.lists(st.integers(), max_size=3)
)


def paths(value, here=()):
    yield here
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from paths(child, (*here, key))


@given(path=st.sampled_from([p for p in paths(TREE) if p]), value=junk)
@settings(max_examples=50, deadline=None)
def test_any_value_anywhere_is_read_or_refused_in_one_line(path, value):
    tree = yaml.safe_load(GOOD)
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    try:
        cell = Cell.parse(yaml.safe_dump(tree))
    except ActionImagesError as error:
        assert "\n" not in str(error)
    else:
        assert len(cell.views) >= 2


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_refused_as_a_configuration_error(text):
    with pytest.raises(ConfigError):
        Cell.parse(text)
