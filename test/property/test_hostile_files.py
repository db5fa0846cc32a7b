"""Cell files and model configurations with any mistake in them: read, or refused in one line that says where."""

import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from action_images_ros.cell import Calibrated, Cell
from action_images_ros.errors import ActionImagesError, ConfigError, ModelError
from action_images_ros.model.config import ModelConfig
from action_images_ros.model.wan.config import WanConfig
from action_images_ros.recording.lerobot_import import load_map
from action_images_ros.ros.paths import config_file

MAP = """views:
  left: {images: observation.images.left, camera_pose: left_extrinsics}
  right:
    images: observation.images.right
    K: [600, 0, 319.5, 0, 600, 239.5, 0, 0, 1]
    image_size: [640, 480]
tool: observation.state[0:6]
tool_form: xyz_rpy
tool_T_tcp: [0, 0, 0.1034, 0, 0, 0, 1]
gripper: observation.state[6]
gripper_open: 1.0
gripper_closed: 0.0
success: is_episode_successful
"""
CELL = config_file("config/cell.yaml").read_text(encoding="utf-8")
MODELS = [ModelConfig(), ModelConfig(denoiser="wan", image_size=(64, 64), action_size=(64, 64), ray_frame="first_view",
                                     wan=WanConfig(latent_channels=3))]
AWKWARD = ["", "null", "~", "true", "-1", "0", "1e999", ".nan", ".inf", "-.inf", "1e308", "[]", "{}", "[[]]", "{a: 1}",
           "!!python/object/apply:os.system ['true']", "&a [*a]", "*nowhere", "0x10", "2026-01-01", "'", '"', "|", "%",
           "\t", "\x00", "é", "../../etc/passwd", "- 1", "a: b: c", "<<: 1", "!!binary aGk=", "9" * 400]
files = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def lines_with(text, draw):
    """`text` with one to three edits of whole lines, values or indentation."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        k = draw(st.integers(0, max(len(lines) - 1, 0)))
        edit = draw(st.sampled_from(["value", "drop", "double", "indent", "dedent", "cut", "join"]))
        key, colon, _ = lines[k].partition(":")
        if edit == "value":
            lines[k] = f"{key}{colon} {draw(st.sampled_from(AWKWARD))}"
        elif edit == "drop" and len(lines) > 1:
            del lines[k]
        elif edit == "double":
            lines.insert(k, lines[k])
        elif edit == "indent":
            lines[k] = "  " + lines[k]
        elif edit == "dedent":
            lines[k] = lines[k].removeprefix("  ")
        elif edit == "cut":
            lines[k] = lines[k][: draw(st.integers(0, len(lines[k])))]
        elif edit == "join" and k + 1 < len(lines):
            lines[k : k + 2] = [lines[k] + lines[k + 1]]
    return "\n".join(lines) + "\n"


@files
@given(data=st.data(), calibrated=st.sampled_from(Calibrated))
def test_cell_files(data, calibrated):
    text = lines_with(CELL, data.draw)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cell.yaml")
        path.write_text(text, encoding="utf-8")
        try:
            cell = Cell.load(path, calibrated)
        except ConfigError as error:
            assert "\n" not in str(error) and str(error).startswith(str(path))
            assert re.match(r".*cell\.yaml(:\d+: |.* is not valid YAML: )", str(error)), error
            return
    again = Cell.parse(cell.to_yaml()) if all(v.camera is not None for v in cell.views) else cell
    assert again.workspace == cell.workspace and again.limits == cell.limits and again.sync == cell.sync


@settings(max_examples=60, deadline=None, derandomize=True)
@given(raw=st.binary(max_size=80), at=st.integers(0, len(CELL) - 1))
def test_cell_files_with_any_bytes(raw, at):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cell.yaml")
        path.write_bytes(CELL.encode()[:at] + raw)
        try:
            Cell.load(path)
        except ActionImagesError as error:
            assert "\n" not in str(error) and str(path) in str(error)


@files
@given(data=st.data())
def test_import_maps(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "map.yaml")
        path.write_text(lines_with(MAP, data.draw), encoding="utf-8")
        try:
            made = load_map(str(path))
        except ConfigError as error:
            assert "\n" not in str(error), error
            assert re.match(r".*map\.yaml(:\d+: | is )|an import map needs", str(error)), error
            return
    assert made.views and all(v.images for v in made.views.values()) and len(made.tool_T_tcp) == 7


def test_a_tag_that_names_code_does_not_run_it(tmp_path):
    mark = tmp_path / "ran"
    text = CELL.replace("name: sim", f"name: !!python/object/apply:pathlib.Path.touch [{mark}]", 1)
    with pytest.raises(ConfigError, match=r"cell\.yaml:\d+: name: expected text"):
        Cell.parse(text)
    assert not mark.exists()


def places(value, here=()):
    yield here
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*here, key))


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400)
values = values | st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=2)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), model=st.sampled_from(MODELS))
def test_model_configurations(data, model):
    tree = json.loads(model.to_json())
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from([p for p in places(tree) if p]))
        parent = tree
        for key in place[:-1]:
            parent = parent[key]
        if data.draw(st.booleans()) or isinstance(parent, list):
            parent[place[-1]] = data.draw(values)
        else:
            del parent[place[-1]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.json")
        path.write_text(json.dumps(tree), encoding="utf-8")
        try:
            read = ModelConfig.load(Path(folder))
        except ModelError as error:
            assert "\n" not in str(error) and str(path) in str(error)
        else:
            assert isinstance(read.views, int) and isinstance(read.dt_s, (int, float)) and read.dt_s > 0
            read.save(Path(folder))
            assert ModelConfig.load(Path(folder)) == read


@settings(max_examples=60, deadline=None, derandomize=True)
@given(raw=st.binary(max_size=40), at=st.integers(0, 400))
def test_model_configurations_with_any_bytes(raw, at):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_bytes(ModelConfig().to_json().encode()[:at] + raw)
        try:
            ModelConfig.load(Path(folder))
        except ModelError as error:
            assert "\n" not in str(error)


def test_a_document_that_is_too_deep_is_refused():
    with pytest.raises(ConfigError):
        Cell.parse("[" * 2000)
