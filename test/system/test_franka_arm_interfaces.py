"""franka_arm by each of its command topics, with the real client, on the simulated cell served as an arm."""

import numpy as np
import pytest
from graph_support import node, sim_node

pytest.importorskip("franky", reason="the libfranka client is not installed: pip install '.[arm]'")
pytest.importorskip("pinocchio", reason="needed to serve the simulated cell: pip install '.[arm-sim]'")

from action_images_ros.cell import Cell  # noqa: E402
from action_images_ros.ros import commands, qos  # noqa: E402
from action_images_ros.ros.drive import ArmDrive  # noqa: E402
from action_images_ros.ros.operator import Operator  # noqa: E402
from action_images_ros.ros.runner import GraphRunner  # noqa: E402

ADDRESS = "127.0.0.23"
WAIT_S = 90.0
OFFSET_RAD = np.array([0.15, -0.1, 0.1, 0.12, -0.1, 0.1, 0.2])


@pytest.mark.parametrize(
    ("interface", "gripper"),
    [("joint_target", "position"), ("joint_positions", "position_trajectory"), ("cartesian_pose", "position")],
)
def test_arm_and_hand_go_where_their_topics_say(cell_file, tmp_path, interface, gripper):
    cell = Cell.load(cell_file)
    arm = node(
        "franka_arm", cell_file, address=ADDRESS, realtime="ignore", wait_s=60.0,
        command_interface=interface, gripper_interface=gripper,
    )  # fmt: skip
    graph = [sim_node(cell_file, arm_address=ADDRESS), arm]
    with GraphRunner(graph, tmp_path) as runner, Operator(on_wait=runner.require_running) as operator:
        drive = ArmDrive(operator, cell.arm, interface)
        operator.until(lambda: drive.state is not None, "joint states of franka_arm", WAIT_S)
        drive.go_to(drive.state.q + OFFSET_RAD)
        kind = commands.GRIPPER[gripper]
        publisher = operator.node.create_publisher(kind.message, kind.topic, qos.COMMAND)
        operator.until(lambda: publisher.get_subscription_count() == 1, "the hand's topic", WAIT_S)
        publisher.publish(kind.make(0.03, commands.Names(cell.arm.joints, cell.arm.fingers, cell.arm.base_frame)))
        operator.until(lambda: abs(drive.state.gripper_width_m - 0.03) < 2e-3, "the hand at 30 mm", WAIT_S)
        operator.until(lambda: operator.active("franka_arm: arm"), "diagnostics", WAIT_S)
        assert operator.diagnostics["franka_arm: arm"]["stops"] == "0"
