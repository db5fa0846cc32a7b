"""Ways to move a gripper, none of which waits for it: topics, and actions where their messages are installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..errors import TransportError
from . import qos
from .commands import GRIPPER, Names

_FORCE_N, _SPEED_MPS = 20.0, 0.1
_CLOSED_BELOW_M = 0.01


class Gripper(Protocol):
    def move(self, width_m: float) -> None:
        """Ask for a total opening and return at once."""


class _TopicGripper:
    def __init__(self, node, name: str, names: Names) -> None:
        self._kind, self._names = GRIPPER[name], names
        self._publisher = node.create_publisher(self._kind.message, self._kind.topic, qos.COMMAND)

    def move(self, width_m: float) -> None:
        self._publisher.publish(self._kind.make(width_m, self._names))


class _ActionGripper:
    """Sends a goal and forgets it; a new one takes its place. `servers`: (action type, name) to create clients for."""

    def __init__(
        self, node, servers: list[tuple[type, str]], goal: Callable[[float, list], tuple[int, object]]
    ) -> None:
        from rclpy.action import ActionClient

        self._node = node
        self._types = [kind for kind, _ in servers]
        self._clients: list[Any] = [ActionClient(node, kind, name) for kind, name in servers]
        self._goal = goal

    def move(self, width_m: float) -> None:
        index, goal = self._goal(width_m, self._types)
        client = self._clients[index]
        if not client.server_is_ready():
            self._node.get_logger().warning(
                "the gripper's action server is not there; the command is lost", throttle_duration_sec=5.0
            )
            return
        client.send_goal_async(goal)


class _NoGripper:
    def move(self, width_m: float) -> None:
        """There is none."""


def _command_gripper(node) -> Gripper:
    kind = _message(node, "control_msgs.action", "GripperCommand", "gripper_command", "ros-$ROS_DISTRO-control-msgs")

    def goal(width_m: float, types: list) -> tuple[int, object]:
        out = types[0].Goal()
        out.command.position, out.command.max_effort = width_m / 2, _FORCE_N
        return 0, out

    return _ActionGripper(node, [(kind, "franka_gripper/gripper_action")], goal)


def _franka_gripper(node) -> Gripper:
    move = _message(node, "franka_msgs.action", "Move", "franka_gripper", "franka_ros2's franka_msgs")
    grasp = _message(node, "franka_msgs.action", "Grasp", "franka_gripper", "franka_ros2's franka_msgs")

    def goal(width_m: float, types: list) -> tuple[int, object]:
        if width_m > _CLOSED_BELOW_M:
            return 0, types[0].Goal(width=width_m, speed=_SPEED_MPS)
        out = types[1].Goal(width=0.0, speed=_SPEED_MPS, force=_FORCE_N)
        out.epsilon.inner = out.epsilon.outer = 0.08
        return 1, out

    return _ActionGripper(node, [(move, "franka_gripper/move"), (grasp, "franka_gripper/grasp")], goal)


def _message(node, module: str, name: str, interface: str, package: str) -> type:
    import importlib

    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as e:
        raise TransportError(
            f"gripper_interface {interface!r} needs {module}.{name}, which is not installed; install {package} "
            f"or use one of: {', '.join(GRIPPER)}, none"
        ) from e


def make_gripper(node, interface: str, names: Names) -> Gripper:
    """interface: a value of `gripper_interface`. Raises TransportError where its messages are not installed."""
    if interface in GRIPPER:
        return _TopicGripper(node, interface, names)
    return {"gripper_command": _command_gripper, "franka_gripper": _franka_gripper, "none": lambda node: _NoGripper()}[
        interface
    ](node)
