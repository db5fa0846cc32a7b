"""Whatever numbers a chunk holds, as a message or as data: it is refused with a reason and nothing moves, or the arm
stays inside limits and workspace. Never an exception."""

import time
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from action_images_ros.bench.synthetic_arm import ClosedLoop, StraightLinePolicy, TrailingArm
from action_images_ros.control import (
    FR3_HOME_Q,
    FR3_LIMITS,
    Controller,
    ControllerConfig,
    ControllerState,
    Fr3Kinematics,
    LimitScales,
    Workspace,
)
from action_images_ros.errors import ActionImagesError, EncodingError
from action_images_ros.geometry.se3 import make
from action_images_ros.ros.messages import chunk_from_message, chunk_message
from action_images_ros.types import ActionChunk

ARM = Fr3Kinematics()
HOME = ARM.fk(FR3_HOME_Q)
GOAL = make(HOME[:3, :3], np.array([0.5, 0.2, 0.3]))
CELL = Workspace((0.2, -0.5, -0.1), (0.8, 0.5, 0.8), table_z_m=0.0)
SCALES = LimitScales()
BASE = "fr3_link0"

numbers = st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 1e150, 5e-324, 1e-9, 0.0, -0.0,
                           1.0, -1.0, 0.05, -0.05, 0.5, 3.0, 1e3]) | st.floats(-1.0, 1.0)
moderate = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def enabled():
    loop = ClosedLoop(Controller(ControllerConfig(speed_factor=1.0, limits=SCALES), ARM, CELL), ARM, TrailingArm())
    loop.run(0.05)
    assert loop.controller.enable(True, loop.now_s).ok
    loop.run(0.02)
    return loop


def good(loop):
    return StraightLinePolicy(GOAL).chunk(loop.base_T_tcp, 1.0, loop.now_ns)


def deliver(loop, chunk):
    """The verdict; asserts that a refusal has a reason, and that no chunk keeps the control thread busy for long."""
    began = time.process_time()
    verdict = loop.controller.on_chunk(chunk, loop.now_ns, loop.now_s)
    assert time.process_time() - began < 2.0
    assert verdict.accepted is (verdict.reason == "")
    return verdict


def require_harmless(loop, moves_allowed):
    """Let it play, and hold every command against datasheet, workspace and, where nothing was accepted, rest."""
    before = len(loop.log)
    with np.errstate(all="raise", under="ignore"):
        loop.run(0.4)
        loop.controller.committed(loop.now_ns, 1.0)
    q = loop.commands()[before - 1:]
    dq = np.array([np.zeros(7) if o.dq_command is None else o.dq_command for o in loop.log[before - 1:]])
    limits = FR3_LIMITS.scaled(SCALES)
    assert np.isfinite(q).all() and np.isfinite(dq).all()
    low, high = limits.velocity_bounds(q)
    assert np.all(dq <= high + 1e-3) and np.all(dq >= low - 1e-3)
    assert np.abs(np.diff(dq, axis=0) / loop.period_s / limits.ddq_max).max() <= 1.0 + 1e-6
    assert np.abs(np.diff(q, axis=0)).max() <= (limits.dq_max * loop.period_s).max() + 1e-6
    assert FR3_LIMITS.margin(q).min() > 0.0 and CELL.distance(ARM.fk(q)).min() > 0.0
    widths = [o.gripper_width_m for o in loop.log[before:] if o.gripper_width_m is not None]
    assert all(0.0 <= width <= 0.08 for width in widths)
    if not moves_allowed:
        assert np.abs(q - q[0]).max() == 0.0 and not widths
        assert loop.controller.state is not ControllerState.RUNNING


def try_on(loop, chunk, moving):
    verdict = deliver(loop, chunk)
    require_harmless(loop, moves_allowed=verdict.accepted or moving)


@st.composite
def changed_messages(draw, message):
    """`message` with one to four of its numbers, names, times or lengths replaced."""
    for _ in range(draw(st.integers(1, 4))):
        points = message.points
        what = draw(st.sampled_from(["pose", "turn", "gripper", "quality", "time", "stamp", "frame", "names", "points",
                                     "width"]))
        point = draw(st.sampled_from(points)) if points else None
        if what == "stamp":
            message.header.stamp.sec = draw(st.sampled_from([-(2**31), 0, 1, 2**31 - 1]))
        elif what == "frame":
            message.header.frame_id = draw(st.sampled_from(["", "map", "\x00", "é" * 50]))
        elif what == "names":
            message.joint_names = draw(st.lists(st.sampled_from(["tcp", "gripper", "quality", "x"]), max_size=4))
        elif what == "points":
            message.points = points[: draw(st.integers(0, 3))] + points[draw(st.integers(0, 9)):]
        elif point is None:
            continue
        elif what == "time":
            point.time_from_start.sec = draw(st.integers(-(2**31), 2**31 - 1))
        elif what == "width":
            point.transforms = point.transforms[: draw(st.integers(0, 3))]
        else:
            at = {"pose": 0, "turn": 0, "gripper": 1, "quality": 2}[what]
            if at < len(point.transforms):
                target = point.transforms[at].rotation if what == "turn" else point.transforms[at].translation
                setattr(target, draw(st.sampled_from("xyzw" if what == "turn" else "xyz")), draw(numbers))
            if what == "quality" and point.velocities:
                setattr(point.velocities[-1].linear, draw(st.sampled_from("xyz")), draw(numbers))
    return message


@moderate
@given(data=st.data(), moving=st.booleans())
def test_messages(data, moving):
    loop = enabled()
    if moving:
        assert deliver(loop, good(loop)).accepted
        loop.run(0.3)
    message = data.draw(changed_messages(chunk_message(good(loop), BASE)))
    try:
        chunk = chunk_from_message(message, BASE)
    except ActionImagesError as error:
        assert "\n" not in str(error)
        loop.controller.on_unreadable_chunk()
        require_harmless(loop, moves_allowed=moving)
    else:
        try_on(loop, chunk, moving)


@moderate
@given(data=st.data(), moving=st.booleans())
def test_data(data, moving):
    loop = enabled()
    if moving:
        assert deliver(loop, good(loop)).accepted
        loop.run(0.3)
    chunk = good(loop)
    poses, openness, covariance = chunk.base_T_tcps.copy(), chunk.openness.copy(), chunk.covariance.copy()
    credible, rms = chunk.credible.copy(), chunk.reproj_rms_px.copy()
    for _ in range(data.draw(st.integers(0, 3))):
        array = data.draw(st.sampled_from([poses, openness, covariance, rms]))
        array[tuple(data.draw(st.integers(0, n - 1)) for n in array.shape)] = data.draw(numbers)
    credible[data.draw(st.lists(st.integers(0, len(chunk) - 1), max_size=3))] = False
    dt_s = data.draw(st.just(chunk.dt_s) | st.none() | numbers)
    stamp_ns = data.draw(st.just(chunk.stamp_ns) | st.none() | st.integers(-(2**70), 2**70)
                         | st.integers(-10**10, 10**8).map(lambda ns: chunk.stamp_ns + ns))
    try_on(loop, ActionChunk(poses, openness, covariance, rms, credible, (), stamp_ns, dt_s), moving)


@moderate
@given(dt_s=st.sampled_from([1e-12, 1e-6, 0.02, 3.0, 60.0, 1e300]), steps=st.sampled_from([0, 1, 2, 200, 20000]),
       still=st.booleans())
def test_any_length_and_spacing(dt_s, steps, still):
    loop = enabled()
    start = good(loop)
    index = np.zeros(steps, int) if still else np.minimum(np.arange(steps), len(start) - 1)
    chunk = ActionChunk.from_poses(start.base_T_tcps[index].reshape(-1, 4, 4), start.openness[index], loop.now_ns, dt_s)
    try_on(loop, chunk, moving=False)


@given(shapes=st.tuples(*[st.lists(st.integers(0, 6), max_size=3).map(tuple)] * 5))
@settings(max_examples=100, deadline=None)
def test_arrays_that_do_not_fit_make_no_chunk(shapes):
    arrays = [np.zeros(shape) for shape in shapes]
    n = shapes[0][0] if shapes[0] else -1
    fits = shapes == ((n, 4, 4), (n,), (n, 6, 6), (n,), (n,))
    try:
        ActionChunk(*arrays)
    except EncodingError:
        assert not fits
    else:
        assert fits


def test_a_chunk_of_an_observation_is_taken_once():
    loop = enabled()
    chunk = good(loop)
    assert deliver(loop, chunk).accepted
    assert not deliver(loop, replace(chunk, openness=1.0 - chunk.openness)).accepted
