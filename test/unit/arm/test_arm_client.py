"""Connection, motion, hand and loss with the real libfranka client, before the simulated cell served as an arm."""

import socket
import threading
import time

import numpy as np
import pytest

pytest.importorskip("franky", reason="the libfranka client is not installed: pip install '.[arm]'")
pytest.importorskip("pinocchio", reason="needed to serve the simulated cell: pip install '.[arm-sim]'")

from action_images_ros.arm import ArmDriver, DriverConfig, Follower, Hand, Mode, Phase, Session  # noqa: E402
from action_images_ros.arm.franky_client import within  # noqa: E402
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
