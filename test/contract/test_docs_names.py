"""What README and docs name is there: launch arguments, parameters, topics and services, extras, scripts' options,
benchmarks, keys of a cell file, Python."""

import importlib
import pkgutil
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from action_images_ros import nodes
from action_images_ros.cell import Calibrated, Cell
from action_images_ros.cli.bench import benchmarks
from action_images_ros.ros.graph import GRAPHS
from action_images_ros.ros.interface import INTERFACE
from action_images_ros.ros.parameters import specs

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("models/**/*.md")])
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
EVERYTHING = re.sub(r"\\\n\s*", "", "\n".join(TEXTS.values()))


def parameters() -> dict[str, set[str]]:
    """Node -> names of its parameters."""
    found: dict[str, set[str]] = {}
    for module in pkgutil.iter_modules(nodes.__path__):
        code = importlib.import_module(f"{nodes.__name__}.{module.name}")
        found[module.name] = {s.name for k, v in vars(code).items() if k.endswith("Parameters")
                              and v.__module__ == code.__name__ for s in specs(v)}  # fmt: skip
    return found


PARAMETERS = parameters()
ARGUMENTS = {a.name for arguments, _ in GRAPHS.values() for a in arguments}


def test_every_name_that_is_set_is_a_launch_argument_or_a_parameter():
    said = set(re.findall(r"\b([a-z][a-z_.]*):=", EVERYTHING))
    assert len(said) > 20 and not said - ARGUMENTS - set().union(*PARAMETERS.values())


def test_every_dotted_parameter_is_one():
    known = set().union(*PARAMETERS.values())
    groups = {name.split(".")[0] for name in known if "." in name}
    said = {name for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", EVERYTHING) if name.split(".")[0] in groups}
    assert len(said) > 5 and not said - known


def test_parameters_given_to_a_node_are_its_own():
    given = re.findall(r"ros2 run action_images_ros (\w+) --ros-args([^\n`]*)", EVERYTHING)
    given += [(node, f"-p {name}:=") for node, name in re.findall(r"ros2 param set /(\w+) (\S+)", EVERYTHING)]
    assert len(given) >= 2
    for node, rest in given:
        assert set(re.findall(r"-p ([\w.]+):=", rest)) <= PARAMETERS[node], (node, rest)


def test_topics_and_services_that_people_are_told_to_use_are_in_the_table():
    there = {(e.name.lstrip("/"), e.type_name) for e in INTERFACE}
    names = {name for name, _ in there}
    calls = re.findall(r"ros2 service call /?(\S+) (\S+)", EVERYTHING)
    calls += re.findall(r"ros2 topic pub (?:--\S+ (?:transient_local )?)*/?(\S+) (\S+)", EVERYTHING)
    assert len(calls) >= 4
    for name, kind in calls:
        assert any(n == name and k.replace("/msg/", "/").replace("/srv/", "/") == kind.replace("/msg/", "/")
                   .replace("/srv/", "/") for n, k in there), (name, kind)  # fmt: skip
    echoed = re.findall(r"ros2 topic (?:echo|hz|delay) /?([\w/]+)", EVERYTHING)
    assert echoed and not set(echoed) - names


def test_extras_and_profiles_exist():
    extras = set(re.findall(r'^    "([a-z-]+)": \[', (ROOT / "setup.py").read_text(), re.MULTILINE))
    extras |= {"deploy", "demo"}
    said = {e for group in re.findall(r"pip install [^\n`]*\[([a-z,-]+)\]", EVERYTHING) for e in group.split(",")}
    assert len(said) > 4 and said <= extras
    profiles = re.search(r"legal: (demo, arm.*)\"", (ROOT / "run").read_text()).group(1).split(", ")
    assert set(re.findall(r"\./run setup ([a-z]+)", EVERYTHING)) <= set(profiles)
    table = re.search(r"\./run setup \[(.*?)\]", TEXTS["docs/installation.md"]).group(1)
    assert table.replace("\\", "").split("|") == profiles


def test_scripts_take_the_options_that_are_named():
    said = re.findall(r"(?:^|`|\s)(bench/\w+\.sh)([^\n`|]*)", EVERYTHING, re.MULTILINE)
    assert {name for name, _ in said} >= {"bench/data_loop.sh", "bench/h200.sh"}
    for name, rest in said:
        script = (ROOT / name).read_text(encoding="utf-8")
        options = [word for word in rest.split("  #")[0].split() if word.startswith("--")]
        assert all(re.search(rf"{re.escape(option)}\b[^\n]*\)", script) for option in options), (name, options)


def test_every_benchmark_is_listed():
    listed = set(re.findall(r"`action-images bench (\w+)", TEXTS["docs/benchmarks.md"]))
    assert listed == set(benchmarks())


@pytest.mark.parametrize("page", ["docs/cameras.md", "docs/calibration.md"])
def test_a_cell_file_of_the_docs_is_one(page, tmp_path):
    """Sections that stand alone are read together with a complete file."""
    text = TEXTS[page]
    if page == "docs/calibration.md":
        block = textwrap.dedent(re.search(r"\n(    name: lab\n(?:    .*\n)+)", text).group(1))
        limits = re.search(r"\n    (calibration_limits: .*)\n", text).group(1)
        path = tmp_path / "cell.yaml"
        path.write_text(f"{block}{limits}\n")
    else:
        block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL).group(1)
        path = tmp_path / "cell.yaml"
        rest = "  right: {topic: /camera/right, serial: '2'}\nworkspace: {box_min_m: [0, 0, 0], box_max_m: [1, 1, 1]}\n"
        path.write_text(f"name: lab\n{block}{rest}")
    assert Cell.load(path, Calibrated.OPTIONAL).view_names[0] == "left"


def test_every_key_of_a_camera_s_driver_is_explained():
    from dataclasses import fields

    from action_images_ros.camera_settings import CameraSettings

    table = re.findall(r"^\| `(\w+)` \|", TEXTS["docs/cameras.md"].split("## Drivers")[0], re.MULTILINE)
    assert set(table) == {f.name for f in fields(CameraSettings)}


def test_the_readme_s_python_runs():
    from action_images_ros.geometry import PinholeCamera

    K = np.array([[300.0, 0, 127.5], [0, 300.0, 127.5], [0, 0, 1]])
    poses = []
    for x, y in ((1.0, 0.0), (0.0, 1.0)):
        back = np.array([x, y, 0.5])
        z = -back / np.linalg.norm(back)
        side = np.cross(z, [0, 0, 1.0])
        side /= np.linalg.norm(side)
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = np.stack([side, np.cross(z, side), z], 1), back
        poses.append(T)
    base_T_tcps = np.tile(np.diag([1.0, -1.0, -1.0, 1.0]), (2, 1, 1))
    names = {"base_T_tcps": base_T_tcps, "openness": np.ones(2),
             "cameras": [PinholeCamera(K, (256, 256), T) for T in poses]}  # fmt: skip
    for block in re.findall(r"```python\n(.*?)```", TEXTS["README.md"], re.DOTALL):
        exec(block, names)  # noqa: S102
    np.testing.assert_allclose(names["chunk"].base_T_tcps, base_T_tcps, atol=1e-3)
