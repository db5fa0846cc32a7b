"""The table of topics and services (ros/interface.py) against the running graph, node by node and both ways."""

import re

import pytest
from graph_support import START_S, node, running_graph

from action_images_ros.ros.interface import INTERFACE, Kind
from action_images_ros.ros.sros2 import policy

EVERYWHERE = re.compile(r"/(rosout|parameter_events|clock)$|/(_\w+|transition_event|describe_parameters"
                        r"|get_parameter\w*|list_parameters|set_parameters\w*|get_type_description|change_state|get_state"
                        r"|get_available_states|get_\w*transition\w*)$")
ASKED = {"from_": ("get_publisher_names_and_types_by_node", "get_service_names_and_types_by_node"),
         "to": ("get_subscriber_names_and_types_by_node",)}


@pytest.fixture(scope="module")
def graph(cell_file, model_directory, tmp_path_factory):
    more = (node("denoiser", cell_file, model=str(model_directory), mode="joint"), node("drift_monitor", cell_file),
            node("recorder", cell_file, out=str(tmp_path_factory.mktemp("bags"))))
    with running_graph(cell_file, model_directory, tmp_path_factory.mktemp("log"), more) as (_, operator, _, _, cell):
        names = {"sim_cell", "decoder", "controller"} | {n.name for n in more}
        operator.until(lambda: names <= set(operator.node.get_node_names()), f"the nodes {names}", START_S)
        yield operator, names, [v.topic for v in cell.views], [v.name for v in cell.views]


def found(operator, name: str, side: str) -> set[tuple[str, str]]:
    pairs = [p for ask in ASKED[side] for p in getattr(operator.node, ask)(name, "/")]
    return {(topic, kind) for topic, kinds in pairs for kind in kinds if not EVERYWHERE.search(topic)}


def expected(name: str, side: str, cameras: list[str], views: list[str], sure: bool) -> set[tuple[str, str]]:
    """sure: only what does not depend on a parameter."""
    out = set()
    for e in INTERFACE:
        if name in getattr(e, side) and not (sure and e.when) and not (side == "to" and e.kind is Kind.SERVICE):
            filled = [e.name.replace("<camera>", c).replace("<view>", v) for c, v in zip(cameras, views)]
            out |= {("/" + f.lstrip("/"), e.type_name) for f in filled}
    return out


@pytest.mark.parametrize("side", ["from_", "to"])
def test_every_node_offers_and_reads_what_the_table_says(graph, side):
    operator, names, cameras, views = graph
    for name in sorted(names):
        wanted = expected(name, side, cameras, views, sure=True) if (name, side) != ("recorder", "to") else set()
        operator.until(lambda n=name, w=wanted: w <= found(operator, n, side), f"{name}: all of {wanted}", START_S)
        there = found(operator, name, side)
        assert there <= expected(name, side, cameras, views, sure=False), f"{name}: not in the table"


def test_the_security_policy_is_the_tables(pytestconfig):
    path = pytestconfig.rootpath / "config/sros2_policy.xml"
    assert path.read_text(encoding="utf-8") == policy(), "run: python docs/make_reference.py --policy"
