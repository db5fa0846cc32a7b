"""ROS parameters out of dataclasses, on a real node."""

from dataclasses import dataclass

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from action_images_ros.errors import ConfigError
from action_images_ros.ros.parameters import build, declare, parameter, require_known_overrides, specs


@dataclass(frozen=True)
class Inner:
    """deadline_s: seconds."""

    deadline_s: float | None = 1.5
    steps: int | None = 3

    def __post_init__(self) -> None:
        if self.deadline_s is not None and self.deadline_s < 0:
            raise ConfigError("deadline_s is negative")


@dataclass(frozen=True)
class Outer:
    rate_hz: float = parameter(100.0, "ticks a second", minimum=10.0, maximum=500.0)
    kind: str = parameter("a", "which", choices=("a", "b"))
    on: bool = parameter(True, "whether")
    count: int = parameter(2, "how many", minimum=0, maximum=9)
    inner: Inner = Inner()


@pytest.fixture(scope="module")
def context():
    context = Context()
    rclpy.init(context=context)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def make_node(context):
    nodes = []

    def make(**overrides):
        values = [Parameter(name.replace("__", "."), value=value) for name, value in overrides.items()]
        nodes.append(Node("parameters_test", context=context, parameter_overrides=values))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_every_field_is_declared_with_description_and_range(make_node):
    node = make_node()
    assert declare(node, Outer) == Outer()
    assert {s.name for s in specs(Outer)} == {"rate_hz", "kind", "on", "count", "inner.deadline_s", "inner.steps"}
    d = node.describe_parameter("rate_hz")
    assert d.description == "ticks a second" and d.read_only
    assert (d.floating_point_range[0].from_value, d.floating_point_range[0].to_value) == (10.0, 500.0)
    assert "a, b" in node.describe_parameter("kind").description
    assert "seconds" in node.describe_parameter("inner.deadline_s").description


def test_overrides_arrive_and_zero_means_none_where_none_is_legal(make_node):
    got = declare(make_node(rate_hz=50.0, kind="b", on=False, inner__deadline_s=0.0, inner__steps=5), Outer)
    assert got == Outer(50.0, "b", False, 2, Inner(None, 5))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("rate_hz", 5.0, "legal: 10.0 to 500.0"),
        ("kind", "c", "legal: a, b"),
        ("on", "yes", "expected bool"),
        ("count", 1.5, "expected int"),
        ("inner__deadline_s", -1.0, "negative"),
    ],
)
def test_an_illegal_value_is_named(make_node, name, value, says):
    with pytest.raises(ConfigError, match=says):
        declare(make_node(**{name: value}), Outer)


def test_a_misspelt_parameter_is_refused(make_node):
    node = make_node(rate_herz=50.0)
    declare(node, Outer)
    with pytest.raises(ConfigError, match="no parameter rate_herz; legal: .*rate_hz"):
        require_known_overrides(node, Outer)


def test_build_without_a_node():
    assert build(Outer, {"inner.steps": 0}).inner.steps is None
    with pytest.raises(ConfigError, match="unknown parameter"):
        build(Outer, {"nope": 1})


def test_only_live_parameters_can_be_set_later(make_node):
    @dataclass(frozen=True)
    class Some:
        fixed: float = parameter(1.0, "fixed", minimum=0.0, maximum=2.0)
        moving: float = parameter(1.0, "moving", minimum=0.0, maximum=2.0, live=True)

    node = make_node()
    declare(node, Some)
    done, refused, beyond = node.set_parameters(
        [Parameter("moving", value=0.5), Parameter("fixed", value=0.5), Parameter("moving", value=3.0)]
    )
    assert done.successful and node.get_parameter("moving").value == 0.5
    assert not refused.successful and not beyond.successful and "moving" in beyond.reason
