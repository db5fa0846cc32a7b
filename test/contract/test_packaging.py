"""package.xml, setup.py, the executables, the command line and the run script agree with each other."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from unittest import mock

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import action_images_ros
from action_images_ros import cli
from action_images_ros.cli.checks import PACKAGES
from action_images_ros.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
NODES = sorted(p.stem for p in (ROOT / "action_images_ros" / "nodes").glob("[a-z]*.py"))
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "tensorrt", "nvidia", "jax")


@pytest.fixture(scope="module")
def keywords():
    """What setup.py hands to setuptools."""
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"), run_name="__main__")
    return setup.call_args.kwargs


@pytest.fixture(scope="module")
def manifest():
    return ET.parse(ROOT / "package.xml").getroot()


def names(requirements):
    return {re.match(r"[A-Za-z0-9_.-]+", requirement).group().lower() for requirement in requirements}


def test_package_xml_agrees_with_setup_py(manifest, keywords):
    assert manifest.attrib["format"] == "3"
    assert manifest.findtext("name") == keywords["name"]
    assert manifest.findtext("version") == keywords["version"] == action_images_ros.__version__
    assert manifest.findtext("license") == keywords["license"] == "Apache-2.0"
    assert manifest.find("maintainer").attrib["email"] == keywords["maintainer_email"]
    assert manifest.findtext("maintainer") == keywords["maintainer"]


def test_package_xml_makes_an_ament_python_package(manifest, keywords):
    assert manifest.findtext("export/build_type") == "ament_python"
    marker = f"resource/{keywords['name']}"
    assert (ROOT / marker).is_file()
    installed = {source: target for target, sources in keywords["data_files"] for source in sources}
    assert installed[marker] == "share/ament_index/resource_index/packages"
    assert installed["package.xml"] == "share/action_images_ros"


def ros_imports():
    """Top-level modules of ROS that ros, nodes and launch files import without saying that they may be absent."""
    found = set()
    for path in [*(ROOT / "action_images_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            found |= {module.split(".")[0] for module in modules}
    return {name for name in found if name in {"rclpy", "launch", "launch_ros"} or name.endswith(("_msgs", "_srvs"))}


def test_package_xml_names_every_ros_package_that_the_code_imports(manifest):
    declared = {element.text for element in manifest.iter("exec_depend")}
    # where these are not installed, the interfaces that need them are refused with a reason
    optional = {"control_msgs", "franka_msgs"}
    assert ros_imports() - declared - optional == set()


def test_every_node_is_an_executable_with_an_entry_point(keywords):
    scripts = dict(line.split(" = ") for line in keywords["entry_points"]["console_scripts"])
    assert scripts == {"action-images": "action_images_ros.cli:main",
                       **{node: f"action_images_ros.nodes.{node}:main" for node in NODES}}
    for node in NODES:
        tree = ast.parse((ROOT / "action_images_ros" / "nodes" / f"{node}.py").read_text(encoding="utf-8"))
        assert "main" in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, node


def test_executables_go_where_ros2_run_looks():
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["develop"]["script_dir"] == config["install"]["install_scripts"] == "$base/lib/action_images_ros"


@pytest.mark.parametrize("folder", ["launch", "config", "models"])
def test_every_shared_file_is_installed(keywords, folder):
    installed = {source for _, sources in keywords["data_files"] for source in sources}
    visible = [p for p in (ROOT / folder).rglob("*") if p.is_file() and not any(
        part.startswith((".", "__")) for part in p.relative_to(ROOT).parts)]
    assert {p.relative_to(ROOT).as_posix() for p in visible} <= installed


def test_packages_hold_every_module(keywords):
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "action_images_ros").rglob("*.py")}
    assert set(keywords["packages"]) == {".".join(folder.parts) for folder in folders}


def test_the_demo_needs_no_torch_and_no_cuda(keywords):
    wanted = names(keywords["install_requires"]) | names(keywords["extras_require"]["demo"])
    assert not {name for name in wanted if name.startswith(HEAVY)}
    assert "opencv-python" in wanted and "opencv-python-headless" not in wanted


def test_torch_is_pinned(keywords):
    assert "torch==2.13.0" in keywords["extras_require"]["train"]


def test_doctor_looks_for_what_setup_py_installs(keywords):
    distribution = {"cv2": "opencv-python", "yaml": "pyyaml", "collada": "pycollada", "rerun": "rerun-sdk"}
    for extra, modules in PACKAGES.items():
        wanted = keywords["install_requires"] if extra == "base" else keywords["extras_require"][extra]
        assert {distribution.get(module, module.replace("_", "-")) for module in modules} == names(wanted), extra


def test_run_installs_what_the_demo_extra_names(keywords):
    """franky-sim comes by itself, without its dependencies; the rest by the extras that `./run` asks for."""
    script = (ROOT / "run").read_text(encoding="utf-8")
    extras = ["ros", *re.search(r'local extras="([a-z,]+)"', script).group(1).split(",")]
    alone = names(re.search(r"--no-deps (.+)", script).group(1).replace('"', "").split())
    covered = set().union(*(names(keywords["extras_require"][extra]) for extra in extras)) | alone
    assert covered == names(keywords["extras_require"]["demo"])


def locked(name):
    """Name -> its (version, marker) lines of a lock file; asserts that each has hashes and nothing names an index."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|^-|@ ", text, re.MULTILINE)
    found = {}
    for entry in re.split(r"\n(?=[a-z])", text.split("requirements/" + name + ".txt\n")[1].strip()):
        line, *hashes = (part.strip(" \\") for part in entry.splitlines())
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", text) for text in hashes), entry
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        found.setdefault(canonicalize_name(requirement.name), []).append((pin.version, requirement.marker))
    return found


@pytest.mark.parametrize(("name", "extras", "pythons"), [
    ("demo", ("demo",), ("3.10", "3.11", "3.12", "3.13")),
    ("deploy", ("deploy", "console", "sim", "recording"), ("3.10", "3.12")),
])
def test_lock_files_hold_what_setup_py_asks_for(keywords, name, extras, pythons):
    pins = locked(name)
    wanted = keywords["install_requires"] + [r for extra in extras for r in keywords["extras_require"][extra]]
    for python in pythons:
        place = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux",
                 "platform_machine": "x86_64", "extra": ""}
        for requirement in map(Requirement, wanted):
            if requirement.marker is not None and not requirement.marker.evaluate(place):
                continue
            here = [version for version, marker in pins[canonicalize_name(requirement.name)]
                    if marker is None or marker.evaluate(place)]
            assert len(here) == 1 and requirement.specifier.contains(here[0]), (requirement, here, "run `./run lock`")


def test_a_locked_installation_refuses_what_has_no_lock_file(tmp_path):
    shutil.copy(ROOT / "run", tmp_path / "run")
    for name in ("setup.py", "setup.cfg", "pyproject.toml"):
        (tmp_path / name).touch()
    for value, said in (("1", "there is no lock file for 'test'"), ("yes", "ACTION_IMAGES_LOCKED=yes; legal: 0, 1")):
        env = {**os.environ, "ACTION_IMAGES_LOCKED": value, "AMENT_PREFIX_PATH": ""}
        command = ["bash", str(tmp_path / "run"), "setup", "test"]
        refused = subprocess.run(command, capture_output=True, text=True, env=env)
        assert refused.returncode == 2 and said in refused.stderr, refused.stderr
        assert not (tmp_path / ".venv").exists()


def test_run_explains_itself_and_refuses_unknown_commands():
    script = str(ROOT / "run")
    assert "demo" in subprocess.run(["bash", script, "--help"], capture_output=True, text=True, check=True).stdout
    refused = subprocess.run(["bash", script, "frobnicate"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "unknown command 'frobnicate'; legal: demo, test" in refused.stderr


def test_ci_runs_the_tests():
    assert re.search(r"run\" test$", (ROOT / ".ci" / "run").read_text(encoding="utf-8").strip())


class TestCommandLine:
    def test_help_lists_the_subcommands_that_exist(self):
        done = subprocess.run([sys.executable, "-m", "action_images_ros.cli", "--help"], capture_output=True, text=True,
                              cwd=ROOT, check=True)
        for name in cli.SUBCOMMANDS:
            exists = (ROOT / "action_images_ros" / "cli" / f"{name}.py").is_file()
            assert (f"\n    {name} " in done.stdout) == exists, name

    @pytest.mark.parametrize("words", ["", "frobnicate", "doctor --frobnicate", "bench", "bench frobnicate",
                                       "bench codec --frobnicate", "--log-level loud doctor"])
    def test_bad_usage_is_one_line_and_status_2(self, words, capsys):
        with pytest.raises(SystemExit) as ended:
            cli.main(words.split())
        captured = capsys.readouterr()
        assert ended.value.code == 2
        assert captured.out == "" and len(captured.err.splitlines()) == 1
        assert "error:" in captured.err and "--help" in captured.err

    def test_a_users_mistake_is_one_line_without_traceback(self, monkeypatch, capsys):
        def refuse(args):
            raise ConfigError("limits.velocity_scale is 7;\n  legal: 0 to 1")

        monkeypatch.setattr("action_images_ros.cli.doctor.run", refuse)
        assert cli.main(["doctor"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err == "action-images: error: limits.velocity_scale is 7; legal: 0 to 1\n"

    def test_an_interrupt_is_status_130(self, monkeypatch):
        def interrupt(args):
            raise KeyboardInterrupt

        monkeypatch.setattr("action_images_ros.cli.doctor.run", interrupt)
        assert cli.main(["--log-level", "error", "doctor", "--json"]) == 130

    @pytest.mark.parametrize("name", [n for n in cli.SUBCOMMANDS if n in cli.subcommands()])
    def test_every_subcommand_has_help(self, name, capsys):
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        assert f"usage: action-images {name}" in capsys.readouterr().out
