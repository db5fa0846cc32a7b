"""`./run coverage`: which rooms it judges, what it leaves out, and that a room below its least fails it."""

import ast
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "bench" / "room_coverage.py"))
RULE = runpy.run_path(str(ROOT / "test" / "contract" / "test_imports.py"))


def test_every_room_below_ros_and_every_pure_one_beside_it_is_judged():
    below = set().union(*RULE["LEVELS"][:4]) - {"__version__"}
    assert set(SCRIPT["ROOMS"]) == below | {"arm", "console", "viewing"}


@pytest.mark.parametrize("entry", SCRIPT["EXCLUDED"])
def test_what_is_left_out_exists_and_has_a_reason(entry):
    name, _, function = entry.partition(":")
    found = ast.parse((ROOT / "action_images_ros" / name).read_text(encoding="utf-8"))
    for part in filter(None, function.split(".")):
        (found,) = [n for n in found.body if getattr(n, "name", "") == part]
    assert len(SCRIPT["EXCLUDED"][entry]) > 20


def summary(statements, covered):
    return {"num_statements": statements, "covered_lines": covered}


def report(covered):
    files = {f"{room}/x.py": {"summary": summary(100, 95), "functions": {}} for room in SCRIPT["ROOMS"]}
    files["codec/y.py"] = {"summary": summary(100, covered), "functions": {"f": {"summary": summary(20, 0)}}}
    files["nodes/console.py"] = {"summary": summary(300, 0), "functions": {}}
    return {"files": {f"action_images_ros/{name}": file for name, file in files.items()}}


def test_rooms_are_counted_without_what_is_left_out():
    rooms, left_out = SCRIPT["tallies"](report(80), {"codec/y.py:f": "needs a GPU"})
    assert (rooms["codec"].statements, rooms["codec"].covered) == (180, 175)
    assert left_out["codec/y.py:f"].statements == 20
    with pytest.raises(KeyError):
        SCRIPT["tallies"](report(80), {"codec/y.py:gone": "needs a GPU"})


@pytest.mark.parametrize(("failures", "errors", "passed"), [("0", "0", True), ("1", "0", False), ("0", "2", False)])
def test_a_crash_after_the_tests_is_no_failure_of_theirs(tmp_path, failures, errors, passed):
    told = tmp_path / "tests.xml"
    assert not SCRIPT["all_passed"](told)
    told.write_text(f'<testsuites><testsuite failures="{failures}" errors="{errors}" tests="9"/></testsuites>')
    assert SCRIPT["all_passed"](told) is passed


@pytest.mark.parametrize(("covered", "status", "said"), [(85, 0, "below 90 %: none"), (84, 1, "below 90 %: codec")])
def test_one_room_below_its_least_is_status_1(capsys, covered, status, said):
    assert SCRIPT["judge"](report(covered), {}) == status
    assert said in capsys.readouterr().out
