"""What a cell in motion publishes and the console takes: the load of `bench console`."""

from __future__ import annotations

import itertools
import time

import numpy as np
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import MultiDOFJointTrajectory

from ..cell import Cell
from ..control import FR3_HOME_Q, Fr3Kinematics
from ..types import ActionChunk, RobotState
from . import qos
from .messages import chunk_message, image_message, joint_state_message

_STATES_S, _CHUNKS_S = 0.01, 0.25


def publish_cell(node, cell: Cell, pictures: np.ndarray, rate_hz: float) -> None:
    """Publish from timers of `node`: pictures (N, H, W, 3) uint8 in turn from every view, joint states, chunks."""
    images = [node.create_publisher(Image, v.image_topic, qos.IMAGE_OUT) for v in cell.views]
    states = node.create_publisher(JointState, "/joint_states", qos.STATE)
    targets = node.create_publisher(MultiDOFJointTrajectory, "targets", qos.TARGETS)
    turn = itertools.cycle(pictures)
    poses = np.repeat(Fr3Kinematics().fk(FR3_HOME_Q)[None], 9, axis=0)
    poses[:, 0, 3] += np.linspace(0, 0.2, 9)

    def now_ns() -> int:
        return node.get_clock().now().nanoseconds

    def state() -> None:
        q = FR3_HOME_Q + 0.1 * np.sin(time.monotonic())
        states.publish(joint_state_message(RobotState(q, np.zeros(7), 0.04, now_ns()), cell.arm.fingers))

    def shoot() -> None:
        picture = next(turn)
        for publisher in images:
            publisher.publish(image_message(picture, "rgb8", now_ns(), "camera"))

    def plan() -> None:
        chunk = ActionChunk.from_poses(poses, np.ones(9), now_ns(), 0.4)
        targets.publish(chunk_message(chunk, cell.arm.base_frame))

    for period_s, act in ((_STATES_S, state), (1.0 / rate_hz, shoot), (_CHUNKS_S, plan)):
        node.create_timer(period_s, act)
