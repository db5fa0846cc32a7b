"""What nodes report about themselves: a remedy wherever they may complain, one group of the aggregator a status."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "system"))
from tool_topics import aggregator_groups  # noqa: E402

NODES = sorted(p.stem for p in (ROOT / "action_images_ros" / "nodes").glob("[a-z]*.py"))
FILES = [*(f"nodes/{name}.py" for name in NODES), "ros/health.py", "ros/monitor.py"]
SENT_BY = {"denoiser": ("camera left", "sync"), "controller": ("arm",), "camera_driver": ("left",)}
REMEDY = 5  # its place among the arguments of Report


def calls(file, name):
    tree = ast.parse((ROOT / "action_images_ros" / file).read_text(encoding="utf-8"))
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == name]


@pytest.mark.parametrize("file", FILES)
def test_a_status_that_may_complain_has_a_remedy(file):
    for call in calls(file, "Report"):
        level = call.args[1] if len(call.args) > 1 else None
        always_ok = isinstance(level, ast.Attribute) and level.attr == "OK"
        given = len(call.args) > REMEDY or "remedy" in {k.arg for k in call.keywords}
        assert always_ok or given, f"{file}:{call.lineno}"


@pytest.mark.parametrize("node", NODES)
def test_every_status_of_a_node_is_in_one_group_of_the_aggregator(node):
    named = [c.args[0] for name in ("Report", "not_active") for c in calls(f"nodes/{node}.py", name)]
    statuses = {a.value for a in named if isinstance(a, ast.Constant)} | set(SENT_BY.get(node, ()))
    assert statuses, "a node reports how it is"
    for status in statuses:
        assert len(aggregator_groups(f"{node}: {status}")) == 1, f"{node}: {status}"
