"""Connection, motion, hand and loss with the real libfranka client, before the simulated cell served as an arm."""

import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("franky", reason="the libfranka client is not installed: pip install '.[arm]'")
pytest.importorskip("pinocchio", reason="needed to serve the simulated cell: pip install '.[arm-sim]'")

from action_images_ros.arm import ArmDriver, DriverConfig, Follower, Hand, Mode, Phase, Session  # noqa: E402
from action_images_ros.arm.franky_client import within  # noqa: E402
from action_images_ros.arm.hand import HandConfig  # noqa: E402
from action_images_ros.arm.states import ArmState, remedy  # noqa: E402
from action_images_ros.arm.strict_server import CARTESIAN_REFLEX  # noqa: E402
from action_images_ros.control import FR3_LIMITS, LimitScales  # noqa: E402
from action_images_ros.errors import ArmError, ConfigError, SimError  # noqa: E402
from action_images_ros.sim import fci  # noqa: E402
from action_images_ros.sim.cell import SimCell  # noqa: E402
from action_images_ros.sim.split import Split  # noqa: E402
from action_images_ros.sim.tasks import make_task  # noqa: E402

ADDRESS = "127.0.0.21"
SCALES = LimitScales(0.36, 0.6, 0.8)
WAIT_S = 60.0


class Served:
    """The cell with its server, in a thread of its own at up to 1 kHz."""

    def __init__(self) -> None:
        self.cell = SimCell()
        task = make_task("reach_target")
        self.scene = task.sample(np.random.default_rng(0), Split.TEST, self.cell.kinematics)
        self.cell.reset(self.scene)
        self.arm = fci.serve(self.cell, ADDRESS)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.is_set():
            self.arm.cycle()
            time.sleep(5e-4)

    def close(self) -> None:
        if not self._end.is_set():
            self._end.set()
            self._thread.join()
            self.arm.close()


@pytest.fixture
def served():
    one = Served()
    yield one
    one.close()


@pytest.fixture
def driver(served):
    one = ArmDriver(DriverConfig(ADDRESS, realtime="ignore", scales=SCALES))
    one.connect()
    yield one
    one.disconnect()


def session_of(driver) -> Session:
    return Session(driver, driver.read(), Follower(FR3_LIMITS.scaled(SCALES)), 0.1)


def run_until(session, condition, what: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        session.read()
        session.advance()
        assert time.monotonic() < end_s, f"waited {WAIT_S:g} s for {what}; {session.phase} {session.why}"
        time.sleep(0.004)


def test_the_arm_is_the_cells(served, driver):
    state = driver.read()
    np.testing.assert_allclose(state.q, served.cell.q, atol=1e-4)
    assert state.ready and state.mode is Mode.IDLE and state.trouble() == ""
    with pytest.raises(SimError, match="is another simulated arm there"):
        fci.serve(SimCell(), ADDRESS)


def test_a_trajectory_is_followed_to_its_end_and_the_motion_ends(served, driver):
    session = session_of(driver)
    goal = served.cell.q + np.array([0.2, -0.1, 0.1, 0.15, -0.1, 0.1, 0.2])
    session.command(np.array([1.0]), goal[None], None, time.monotonic())
    assert session.phase is Phase.FOLLOWING
    run_until(session, lambda: session.phase is Phase.HOLDING, "the end of the trajectory")
    np.testing.assert_allclose(served.cell.q, goal, atol=4e-3)
    run_until(session, lambda: session.state.mode is Mode.IDLE, "the end of the motion")
    assert session.counts["stops"] == 0


def test_without_further_commands_it_rests_even_if_nobody_advances(served, driver):
    """The motion that was sent last ends at rest in the arm's own loop."""
    driver.start()
    driver.stream(np.full(7, 0.1))
    end_s = time.monotonic() + WAIT_S
    while driver.in_motion:
        assert time.monotonic() < end_s, "the motion does not end"
        time.sleep(0.01)
    before = served.cell.q
    assert np.abs(before - np.array(served.scene.q_start)).max() > 2e-3
    driver.collect()
    assert driver.read().mode is Mode.IDLE


def test_rest_ends_a_motion(served, driver):
    session = session_of(driver)
    session.command(np.array([3.0]), (served.cell.q + 0.5)[None], None, time.monotonic())
    run_until(session, lambda: np.abs(session.state.dq).max() > 0.05, "motion")
    assert driver.rest(WAIT_S)
    assert not driver.in_motion and driver.read().mode is Mode.IDLE


def test_a_lost_arm_refuses_until_it_is_reset(served, driver):
    told = []
    session = Session(driver, driver.read(), Follower(FR3_LIMITS.scaled(SCALES)), 0.1, lambda *what: told.append(what))
    served.close()
    run_until(session, lambda: session.phase is Phase.LOST, "the loss")
    assert "franka_arm/reset" in told[0][1] and not driver.connected
    with pytest.raises(ArmError, match="lost"):
        session.command(np.array([1.0]), np.zeros((1, 7)), None, time.monotonic())
    with pytest.raises(ArmError, match="refused"):
        session.reset()
    assert session.phase is Phase.LOST
    again = Served()
    try:
        assert "is holding" in session.reset()
        assert session.read() is not None
    finally:
        driver.disconnect()
        again.close()


def test_an_arm_in_error_is_stopped_until_it_is_clear_again(served, driver, monkeypatch):
    """The error is one of the protocol's, sent by the server; what happens next is the real client's."""
    kind, told = type(served.arm._robot), []
    session = Session(driver, driver.read(), Follower(FR3_LIMITS.scaled(SCALES)), 0.1, lambda *what: told.append(what))
    calm, errors = kind.state, [False] * 41
    errors[CARTESIAN_REFLEX] = True
    with monkeypatch.context() as struck:
        struck.setattr(kind, "state", property(lambda robot: replace(calm.fget(robot), errors=tuple(errors))))
        run_until(session, lambda: session.phase is Phase.STOPPED, "the stop")
        assert "cartesian_reflex" in session.why and "clear the errors, then call franka_arm/reset" in session.why
        with pytest.raises(ArmError, match="stopped: the arm stopped"):
            session.command(np.array([1.0]), np.zeros((1, 7)), None, time.monotonic())
        with pytest.raises(ArmError, match=r"still in mode idle \(cartesian_reflex\); clear the errors, then reset"):
            session.reset()
        assert session.phase is Phase.STOPPED and told[0][0] is Phase.STOPPED
    assert session.reset() == "was stopped, is holding"
    goal = served.cell.q + 0.05
    session.command(np.array([1.0]), goal[None], None, time.monotonic())
    assert session.phase is Phase.FOLLOWING
    np.testing.assert_array_equal(session.goal, goal)
    run_until(session, lambda: session.phase is Phase.HOLDING, "the end of the trajectory")


def test_an_arm_that_vanishes_in_motion_is_lost(served, driver):
    session = session_of(driver)
    session.command(np.array([3.0]), (served.cell.q + 0.4)[None], None, time.monotonic())
    run_until(session, lambda: np.abs(session.state.dq).max() > 0.05, "motion")
    served.close()
    run_until(session, lambda: session.phase is Phase.LOST, "the loss")
    assert "see to network and robot, then call franka_arm/reset" in session.why
    with pytest.raises(ArmError, match="not connected to the arm at 127.0.0.21; reset connects again"):
        driver.read()


@pytest.mark.parametrize("mode", [m for m in Mode if m not in (Mode.IDLE, Mode.MOVE)])
def test_every_mode_in_which_the_arm_refuses_has_a_remedy(mode):
    state = ArmState(np.zeros(7), np.zeros(7), np.zeros(7), 1.0, mode, ("joint_reflex",), 0.0)
    assert not state.ready and state.trouble() == f"mode {mode.value} (joint_reflex)"
    assert len(remedy(state)) > 20 and remedy(state) != "clear the errors"
    assert remedy(replace(state, mode=Mode.IDLE)) == "clear the errors"
    assert remedy(replace(state, mode=Mode.IDLE, errors=())) == ""


def test_a_hand_that_vanishes_says_how_it_comes_back(served):
    troubles = []
    hand = Hand(ADDRESS, 10.0, on_trouble=troubles.append)
    try:
        served.close()
        hand.move(0.02)
        end_s = time.monotonic() + WAIT_S
        while not hand.lost:
            assert time.monotonic() < end_s, "the loss is not noticed"
            time.sleep(0.02)
        assert troubles and "franka_arm/reset connects again" in hand.trouble
    finally:
        hand.close()


@pytest.mark.parametrize(
    ("given", "says"),
    [({"speed_mps": 0.0}, "speed_mps is 0.0; legal: more than 0, at most 0.2"), ({"force_n": 90.0}, "at most 70.0")],
)
def test_illegal_hands_are_refused(given, says):
    with pytest.raises(ConfigError, match=says):
        HandConfig(**given)


def test_the_hand_goes_where_it_was_told_last(served):
    hand = Hand(ADDRESS, 10.0)
    try:
        for width in (0.06, 0.05, 0.02):
            hand.move(width)
        end_s = time.monotonic() + WAIT_S
        while abs(hand.width_m - 0.02) > 2e-3 or hand.moving:
            assert time.monotonic() < end_s, f"the hand is at {hand.width_m}"
            time.sleep(0.02)
        assert hand.commands <= 3
        commands = hand.commands
        hand.move(0.02)
        time.sleep(0.2)
        assert hand.commands == commands  # nothing new, nothing sent
        hand.move(0.0)
        while not hand.grasped:
            assert time.monotonic() < end_s, "no grasp"
            time.sleep(0.02)
        assert hand.trouble == ""
    finally:
        hand.close()


def test_a_silent_address_is_given_up(request):
    silent = socket.socket()
    request.addfinalizer(silent.close)
    silent.bind(("127.0.0.22", 1337))
    silent.listen(1)
    with pytest.raises(ArmError, match="no answer within 0.5 s; is another program connected"):
        ArmDriver(DriverConfig("127.0.0.22", realtime="ignore", connect_timeout_s=0.5)).connect()


def test_what_a_call_raises_is_one_line():
    def fails():
        raise ValueError("libfranka: one\ntwo")

    with pytest.raises(ArmError, match=r"^the arm: one two$"):
        within(1.0, fails, "the arm")


@pytest.mark.parametrize(
    "given", [{"address": ""}, {"address": "x", "realtime": "perhaps"}, {"address": "x", "keep_s": 0.0}]
)
def test_illegal_configurations_are_refused(given):
    with pytest.raises(ConfigError):
        DriverConfig(**given)


def test_an_arm_keeps_moving_while_its_scene_changes(served):
    cell = served.cell
    served.close()
    cell.set_joint_target(np.clip(cell.q + 0.1, *cell.joint_range.T))
    cell.step(0.1)
    q, speed = cell.q, cell.robot_state(0).dq
    cell.change_scene(served.scene)
    np.testing.assert_array_equal(cell.q, q)
    np.testing.assert_array_equal(cell.robot_state(0).dq, speed)
    assert cell.time_s == 0.0
