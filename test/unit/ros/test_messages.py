"""Messages <-> types, with the real message types and through their serialised form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image, JointState
from trajectory_msgs.msg import MultiDOFJointTrajectory

from action_images_ros.errors import TransportError
from action_images_ros.geometry import PinholeCamera, so3_exp
from action_images_ros.geometry.se3 import make
from action_images_ros.ros.messages import (
    JointStateReader,
    camera_info_message,
    check_camera_info,
    chunk_from_message,
    chunk_message,
    image_from_message,
    image_message,
    joint_state_message,
    pose_from_message,
    pose_message,
    stamp_from_ns,
    stamp_to_ns,
    tile_actions,
    untile_actions,
)
from action_images_ros.types import ActionChunk, RobotState

STAMP = 1_795_357_250_060_217_856
JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGERS = ("fr3_finger_joint1", "fr3_finger_joint2")


def over_the_wire(msg):
    return deserialize_message(serialize_message(msg), type(msg))


@pytest.mark.parametrize("ns", [0, 1, 999_999_999, 10**9, STAMP])
def test_stamps(ns):
    assert stamp_to_ns(stamp_from_ns(ns)) == ns


@pytest.mark.parametrize(
    ("encoding", "dtype", "shape"),
    [
        ("rgb8", np.uint8, (5, 7, 3)),
        ("bgr8", np.uint8, (5, 7, 3)),
        ("mono8", np.uint8, (5, 7)),
        ("16UC1", np.uint16, (5, 7)),
    ],
)
def test_images_survive(encoding, dtype, shape):
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    msg = over_the_wire(image_message(array, encoding, STAMP, "frame"))
    assert (msg.header.frame_id, stamp_to_ns(msg.header.stamp), msg.encoding) == ("frame", STAMP, encoding)
    np.testing.assert_array_equal(image_from_message(msg, encoding), array)


def test_colours_are_swapped_where_asked():
    array = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    np.testing.assert_array_equal(image_from_message(image_message(array, "bgr8", 1, "")), array[..., ::-1])
    grey = image_from_message(image_message(array[..., 0], "mono8", 1, ""))
    np.testing.assert_array_equal(grey, np.repeat(array[..., :1], 3, 2))


def test_padded_rows_and_big_endian_depth_are_read():
    msg = Image(encoding="rgb8", width=2, height=2, step=8)
    msg.data = bytes(range(16))
    np.testing.assert_array_equal(image_from_message(msg)[1], [[8, 9, 10], [11, 12, 13]])
    depth = Image(encoding="16UC1", width=1, height=1, step=2, is_bigendian=1, data=b"\x01\x02")
    assert image_from_message(depth, "16UC1")[0, 0] == 0x0102


@pytest.mark.parametrize("change", [{"height": 9}, {"step": 3}, {"width": 0}, {"encoding": "yuv422"}])
def test_contradicting_images_are_refused(change):
    msg = image_message(np.zeros((4, 6, 3), np.uint8), "rgb8", 1, "")
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(TransportError):
        image_from_message(msg)


def test_tiles_are_rows_of_steps_and_columns_of_views():
    images = np.random.default_rng(0).integers(0, 255, (3, 2, 4, 5, 3), np.uint8)
    tiles = tile_actions(images)
    assert tiles.shape == (12, 10, 3)
    np.testing.assert_array_equal(tiles[4:8, 5:10], images[1, 1])
    np.testing.assert_array_equal(untile_actions(tiles, 3, 2, (5, 4)), images)
    with pytest.raises(TransportError, match="same model"):
        untile_actions(tiles, 4, 2, (5, 4))


CAMERA = PinholeCamera(
    np.array([[300.0, 0, 160], [0, 301, 121], [0, 0, 1]]), (320, 240), np.eye(4), np.array([0.1, -0.05, 0.001, 0, 0.01])
)


def test_camera_info_of_the_calibrated_camera_passes():
    msg = over_the_wire(camera_info_message(CAMERA, STAMP, "left_color_optical_frame"))
    np.testing.assert_allclose(np.reshape(msg.k, (3, 3)), CAMERA.K)
    np.testing.assert_allclose(msg.d, CAMERA.distortion[:5])
    assert msg.distortion_model == "plumb_bob"
    check_camera_info(msg, "left", CAMERA)
    check_camera_info(CameraInfo(width=320, height=240), "left", CAMERA)


@pytest.mark.parametrize(
    ("size", "k"),
    [
        ((640, 480), None),
        ((320, 240), [320.0, 0, 160, 0, 320, 121, 0, 0, 1]),
        ((320, 240), [300.0, 0, 180, 0, 301, 121, 0, 0, 1]),
    ],
)
def test_camera_info_of_another_camera_is_refused(size, k):
    msg = CameraInfo(width=size[0], height=size[1])
    if k:
        msg.k = k
    with pytest.raises(TransportError, match="view left"):
        check_camera_info(msg, "left", CAMERA)


unit = st.floats(-1.0, 1.0)


@st.composite
def chunks(draw):
    n = draw(st.integers(2, 6))
    poses = np.stack(
        [
            make(so3_exp(3 * np.array(draw(st.tuples(unit, unit, unit)))), np.array(draw(st.tuples(unit, unit, unit))))
            for _ in range(n)
        ]
    )
    sd = np.array([draw(st.tuples(*[st.floats(0.0, 0.5)] * 6)) for _ in range(n)])
    credible = np.array([draw(st.booleans()) for _ in range(n)])
    rms = np.array([draw(st.floats(0.0, 20.0)) for _ in range(n)])
    openness = np.array([draw(st.sampled_from([0.0, 0.25, 1.0])) for _ in range(n)])
    covariance = np.einsum("ni,ij->nij", sd**2, np.eye(6))
    return ActionChunk(
        poses, openness, covariance, rms, credible, stamp_ns=STAMP, dt_s=draw(st.sampled_from([0.1, 1 / 3, 0.4]))
    )


@given(chunks())
@settings(max_examples=30, deadline=None)
def test_chunks_survive_with_their_doubts(chunk):
    again = chunk_from_message(over_the_wire(chunk_message(chunk, "fr3_link0")), "fr3_link0")
    np.testing.assert_allclose(again.base_T_tcps, chunk.base_T_tcps, atol=1e-9)
    np.testing.assert_allclose(again.openness, chunk.openness, atol=1e-12)
    np.testing.assert_allclose(again.covariance, chunk.covariance, atol=1e-12)
    np.testing.assert_allclose(again.reproj_rms_px, chunk.reproj_rms_px, atol=1e-12)
    np.testing.assert_array_equal(again.credible, chunk.credible)
    assert [bool(w) for w in again.why] == [not c for c in chunk.credible]
    assert again.stamp_ns == STAMP and again.dt_s == pytest.approx(chunk.dt_s, abs=1e-9)


def a_chunk(n=4) -> ActionChunk:
    return ActionChunk.from_poses(np.stack([np.eye(4)] * n), np.ones(n), STAMP, 0.4)


def test_a_pose_that_is_not_finite_becomes_a_doubtful_repetition():
    chunk = a_chunk()
    chunk.base_T_tcps[1, 0, 3] = 0.3
    chunk.base_T_tcps[2] = np.nan
    chunk.covariance[2] = np.inf
    msg = chunk_message(chunk, "fr3_link0")
    assert all(np.isfinite(p.transforms[0].translation.x) for p in msg.points)
    again = chunk_from_message(msg, "fr3_link0")
    assert again.credible.tolist() == [True, True, False, True]
    assert again.base_T_tcps[2, 0, 3] == pytest.approx(0.3)
    chunk.base_T_tcps[0] = np.nan
    assert len(chunk_from_message(chunk_message(chunk, "fr3_link0"), "fr3_link0")) == 0


def test_targets_of_another_planner_are_taken_as_exact():
    msg = chunk_message(a_chunk(), "fr3_link0")
    msg.joint_names = ["gripper", "tcp"]
    for p in msg.points:
        p.transforms, p.velocities = [p.transforms[1], p.transforms[0]], []
    again = chunk_from_message(msg, "fr3_link0")
    assert again.credible.all() and not again.covariance.any() and again.openness.tolist() == [1.0] * 4


def spoil(msg: MultiDOFJointTrajectory, how: str) -> None:
    p = msg.points[1]
    if how == "frame":
        msg.header.frame_id = "world"
    elif how == "stamp":
        msg.header.stamp = stamp_from_ns(0)
    elif how == "joint":
        msg.joint_names = ["tcp", "hand", "quality"]
    elif how == "spacing":
        p.time_from_start.nanosec += 10_000_000
    elif how == "quaternion":
        p.transforms[0].rotation.w = 0.0
    elif how == "not finite":
        p.transforms[0].translation.y = float("nan")
    elif how == "width":
        p.transforms[1].translation.x = 0.2
    elif how == "transforms":
        p.transforms = p.transforms[:1]
    elif how == "one point":
        msg.points = msg.points[:1]


@pytest.mark.parametrize(
    "how", ["frame", "stamp", "joint", "spacing", "quaternion", "not finite", "width", "transforms", "one point"]
)
def test_malformed_targets_are_refused(how):
    msg = chunk_message(a_chunk(), "fr3_link0")
    spoil(msg, how)
    with pytest.raises(TransportError):
        chunk_from_message(msg, "fr3_link0")


@given(st.permutations(JOINTS + FINGERS), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_joint_states_are_read_by_name(order, seed):
    rng = np.random.default_rng(seed)
    state = RobotState(rng.normal(size=7), rng.normal(size=7), 0.05, STAMP)
    msg = joint_state_message(state, FINGERS)
    index = [msg.name.index(n) for n in order]
    shuffled = JointState(
        header=msg.header,
        name=list(order),
        position=[msg.position[i] for i in index],
        velocity=[msg.velocity[i] for i in index],
    )
    again = JointStateReader(JOINTS, FINGERS).read(over_the_wire(shuffled))
    np.testing.assert_array_equal(again.q, state.q)
    np.testing.assert_array_equal(again.dq, state.dq)
    assert again.gripper_width_m == pytest.approx(0.05) and again.stamp_ns == STAMP


def test_fingers_may_come_in_messages_of_their_own():
    reader = JointStateReader(JOINTS, FINGERS)
    arm = JointState(name=list(JOINTS), position=[0.1] * 7)
    arm.header.stamp = stamp_from_ns(STAMP)
    assert reader.read(arm) is None and "fr3_finger_joint1" in reader.missing
    assert reader.read(JointState(name=list(FINGERS), position=[0.02, 0.02])) is None
    state = reader.read(arm)
    assert state.gripper_width_m == pytest.approx(0.04) and not state.dq.any()


@pytest.mark.parametrize(
    "msg",
    [
        JointState(name=list(JOINTS), position=[0.0] * 6),
        JointState(name=list(JOINTS[:5]), position=[0.0] * 5),
        JointState(name=list(JOINTS + FINGERS), position=[float("nan")] * 9),
        JointState(name=list(JOINTS + FINGERS), position=[0.0] * 9),
    ],
    ids=["lengths", "some joints", "not finite", "no stamp"],
)
def test_malformed_joint_states_are_refused(msg):
    with pytest.raises(TransportError):
        JointStateReader(JOINTS, FINGERS).read(msg)


def test_poses_survive_and_frames_are_checked():
    T = make(so3_exp(np.array([0.3, -2.0, 1.0])), np.array([0.4, 0.1, 0.2]))
    msg = over_the_wire(pose_message(T, STAMP, "fr3_link0"))
    np.testing.assert_allclose(pose_from_message(msg, "fr3_link0"), T, atol=1e-12)
    with pytest.raises(TransportError, match="world"):
        pose_from_message(msg, "world")
