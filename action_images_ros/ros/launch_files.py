"""The node graph as launch actions, for the launch files; `launch` itself belongs to a ROS installation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .launch_arguments import Argument
from .node_spec import NodeSpec
from .runner import environment_defaults

if TYPE_CHECKING:
    from launch.actions import LogInfo
    from launch_ros.actions import Node

    from launch import LaunchContext, LaunchDescription

_RESPAWN_S = 1.0


def description(
    arguments: tuple[Argument, ...], build: Callable[[Mapping[str, str]], tuple[NodeSpec, ...]]
) -> LaunchDescription:
    """Declares the arguments and starts what `build` makes of them."""
    from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
    from launch.substitutions import LaunchConfiguration

    from launch import LaunchDescription

    declared = [
        DeclareLaunchArgument(
            a.name, default_value=a.default, description=a.description, choices=list(a.choices) or None
        )
        for a in arguments
    ]
    settings = [SetEnvironmentVariable(name, value) for name, value in environment_defaults().items()]

    def start(context: LaunchContext) -> list:
        values = {a.name: LaunchConfiguration(a.name).perform(context) for a in arguments}
        return [action(spec, values.get("console") == "log") for spec in build(values)]

    return LaunchDescription([*declared, *settings, OpaqueFunction(function=start)])


def action(spec: NodeSpec, on_screen: bool) -> Node | LogInfo:
    """One node; a message in its place where it is optional and its package is not installed."""
    from launch.actions import LogInfo, Shutdown
    from launch_ros.actions import Node

    if spec.optional and not _installed(spec.package):
        return LogInfo(msg=f"{spec.name} is left out: package {spec.package} is not installed")
    inner = spec.ros_arguments()
    return Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        namespace=spec.namespace or None,
        arguments=list(spec.arguments),
        ros_arguments=list(inner) or None,
        output="screen" if on_screen else "log",
        respawn=spec.respawn,
        respawn_delay=_RESPAWN_S,
        on_exit=[Shutdown(reason=f"{spec.name} has ended")] if spec.required and not spec.respawn else None,
    )


def _installed(package: str) -> bool:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix(package)
    except (PackageNotFoundError, LookupError):
        return False
    return True
