"""The controller: chunks of targets in, joint commands out, one explicit state machine between.

Pure: time comes in as arguments (now_s monotonic seconds, now_ns and stamps ROS time). One thread
owns a Controller; call `tick` at the control rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..types import ActionChunk, RobotState
from .chunk_queue import ChunkQueue, ChunkRefused, Latency, Refusal
from .config import ControllerConfig
from .gripper import GripperLogic
from .kinematics import Kinematics
from .planner import Planner
from .player import Player
from .states import ENABLED_STATES, MOVING_STATES, REMEDY, ControllerState, Event, next_state
from .take_up import MOVED_RAD, STANDING_RADPS, TakeUp
from .tracking import StopPath
from .watchdog import Watchdog
from .workspace import Workspace

_LONGEST_CATCH_UP_S = 0.1
_LAG_SLACK = 1.5
_LEAST_SPEED = 0.01


@dataclass(frozen=True)
class ChunkVerdict:
    """Whether a chunk was taken; otherwise why not, in words and as `refusal`."""

    accepted: bool
    reason: str = ""
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Response:
    """Answer to an operator's call: done or not, and what to do about it."""

    ok: bool
    message: str


@dataclass(frozen=True)
class ControlStats:
    """For diagnostics. counts: accepted and refused chunks by reason. clearance_m: distance of the tool on
    the present plan to the workspace's borders, arm_clearance_m: of the rest of the arm to table and keep-out boxes.
    playback_rate: path seconds per second. lag_s: how long the arm trails
    its commands, tracking_error_rad, tracking_error_m: how far (the one that is watched). deviation_rad: command
    against plan, when the limiter had to intervene."""

    counts: dict[str, int] = field(default_factory=dict)
    latency: Latency = field(default_factory=Latency)
    clearance_m: float = float("inf")
    arm_clearance_m: float = float("inf")
    playback_rate: float = 0.0
    path_left_s: float = 0.0
    lag_s: float = 0.0
    tracking_error_rad: float = 0.0
    tracking_error_m: float = 0.0
    deviation_rad: float = 0.0


@dataclass(frozen=True, eq=False)
class ControlOutput:
    """What one tick commands. q_command, dq_command (7,) and base_T_tcp_command (4, 4) are None when nothing
    may be sent: not enabled, no chunk yet, or at rest after a fault. gripper_width_m only on change.
    fault: why the arm holds or is in fault, "" otherwise. at_rest: the command does not move."""

    state: ControllerState
    q_command: np.ndarray | None
    dq_command: np.ndarray | None
    base_T_tcp_command: np.ndarray | None
    gripper_width_m: float | None
    fault: str
    stats: ControlStats
    at_rest: bool


class Controller:
    """See the module; `states.py` holds the table of transitions and what it takes to resume."""

    def __init__(self, config: ControllerConfig, kinematics: Kinematics, workspace: Workspace) -> None:
        self._config = config
        self._kinematics = kinematics
        self._workspace = workspace
        self._planner = Planner(config, kinematics, workspace)
        self._player = Player(config, kinematics, self._planner)
        self._queue = ChunkQueue(config.chunks)
        self._watchdog = Watchdog(config.watchdog, kinematics, config.rate_hz, config.follows)
        self._gripper = GripperLogic(config.gripper)
        self._state = ControllerState.DISABLED
        self._why, self._cause = "", Event.DISABLE
        self._robot: RobotState | None = None
        self._robot_is_new = False
        self._take_up = TakeUp()
        self._tick_ns: int | None = None
        self._tick_s: float | None = None
        self._chunk_dt_s: float | None = None
        self._latency = Latency()
        self._counts: dict[str, int] = {}

    @property
    def state(self) -> ControllerState:
        return self._state

    @property
    def remedy(self) -> str:
        """What a person does about the present state; "" where nothing is wrong."""
        return REMEDY.get(self._cause, "")

    @property
    def latency(self) -> Latency:
        """Observation to arrival of the chunks so far, without warm-up."""
        return self._latency

    def on_robot_state(self, state: RobotState, now_s: float) -> None:
        """Joint states as they arrive; malformed ones are counted and do not count as fresh."""
        if np.shape(state.q) != (7,) or not (np.all(np.isfinite(state.q)) and np.all(np.isfinite(state.dq))):
            self._count("robot_state_malformed")
            return
        self._robot, self._robot_is_new = state, True
        self._watchdog.states(now_s)
        if self._take_up.active:
            self._take_up.note(state)
            command = self._player.command
            assert command is not None, "taking up begins with a command"
            if np.abs(state.q - command.q).max() > MOVED_RAD:
                self._begin_at(state.q, now_s)

    def on_frames_fresh(self, now_s: float) -> None:
        """Call whenever a new set of camera images has been seen."""
        self._watchdog.frames(now_s)

    def on_chunk(self, chunk: ActionChunk, now_ns: int, now_s: float) -> ChunkVerdict:
        """Check the whole chunk and, when nothing is wrong with any of it, let it take over from now on."""
        try:
            self._accept(chunk, now_ns, now_s)
        except ChunkRefused as refused:
            self._count(refused.refusal.value)
            return ChunkVerdict(False, str(refused), refused.refusal)
        finally:
            self._latency = self._queue.latency
        self._count("accepted")
        self._watchdog.chunk(now_s)
        self._apply(Event.CHUNK_ACCEPTED, "")
        return ChunkVerdict(True)

    def on_unreadable_chunk(self) -> None:
        """Count something that came in place of a chunk and could not be read as one."""
        self._count(Refusal.MALFORMED.value)

    def _accept(self, chunk: ActionChunk, now_ns: int, now_s: float) -> None:
        if self._state not in ENABLED_STATES:
            raise ChunkRefused(Refusal.NOT_ENABLED, f"the controller is {self._state.value}; {self._remedy()}")
        missing = [text for event, text in self._watchdog.inputs(now_s) if event is not Event.CHUNKS_STALE]
        if missing:
            raise ChunkRefused(Refusal.NOT_READY, missing[0])
        player = self._player
        if player.braking:
            raise ChunkRefused(Refusal.NOT_READY, "the arm is still coming to rest")
        chunk = self._queue.admit(chunk, now_ns)
        assert chunk.stamp_ns is not None and player.plan is not None, "admitted, since enabled"
        if self._take_up.active:
            hindrance = self._take_up.hindrance(chunk.stamp_ns)
            if hindrance:
                raise ChunkRefused(Refusal.NOT_READY, hindrance)
            q = self._take_up.q
            assert q is not None, "its absence is a hindrance"
            player.rest_at(q)
        lag_s = min(_LAG_SLACK * self._watchdog.lag_s, self._config.max_tracking_lag_s)
        lag_s *= min(player.rate, player.full_rate)
        placed = self._queue.place(chunk, player.clock, player.path_s, player.base_T_tcp, lag_s)
        timing = player.timing()
        player.adopt(self._planner.replace_tail(player.plan, placed, player.path_s, player.rate == 0.0, timing), timing)
        self._chunk_dt_s = chunk.dt_s
        self._take_up.end()

    def enable(self, on: bool, now_s: float) -> Response:
        """Operator's call. On: from here, at rest, wait for the first chunk observed after this moment."""
        if not on:
            self._apply(Event.DISABLE, Event.DISABLE.value)
            return Response(True, f"{self._state.value}")
        if self._state in ENABLED_STATES:
            return Response(True, f"already enabled ({self._state.value})")
        hindrance = self._hindrance(now_s)
        if hindrance:
            return Response(False, f"not enabled: {hindrance}")
        assert self._robot is not None, "its absence is a hindrance"
        self._gripper.follow(self._robot.gripper_width_m)
        self._begin_at(self._robot.q, now_s)
        self._take_up.begin()
        self._apply(Event.ENABLE, "")
        return Response(True, "enabled; waiting for a chunk")

    def _begin_at(self, q: np.ndarray, now_s: float) -> None:
        """From now on the command is to rest at q; what was observed before does not count."""
        openness = self._gripper.openness
        self._player.begin(q, 1.0 if openness is None else openness)
        self._watchdog.restart()
        now_ns = self._ros_now(now_s)
        self._queue.restart(now_ns)
        self._player.clock.advance(now_ns, self._player.path_s, self._player.base_T_tcp)

    def stop(self, now_s: float) -> Response:
        """Operator's call: brake along the path now; `enable` is needed to go on."""
        self._apply(Event.STOP, Event.STOP.value)
        return Response(True, f"stopping ({self._state.value})")

    def reset(self, now_s: float) -> Response:
        """Operator's call: leave FAULT, once the arm rests and its joint states are back."""
        if self._state is not ControllerState.FAULT:
            return Response(True, f"nothing to reset ({self._state.value})")
        if not self._player.resting:
            return Response(False, "not reset: the arm is still coming to rest; try again")
        gone = [text for event, text in self._watchdog.inputs(now_s) if event is Event.STATES_STALE]
        if gone:
            return Response(False, f"not reset: {gone[0]}")
        self._apply(Event.RESET, "")
        return Response(True, "reset; enable to go on")

    def set_speed(self, speed_factor: float) -> Response:
        """Operator's call, also while the arm moves. Slower: at once, like braking. Faster: step by step with the next
        chunks, which are planned for it."""
        most = max(1.0, self._config.speed_factor)
        if not _LEAST_SPEED <= speed_factor <= most:
            why = f"legal: {_LEAST_SPEED:g} to {most:g}"
            return Response(False, f"speed_factor {speed_factor:g} is not taken while the controller runs; {why}")
        self._player.set_speed(speed_factor)
        return Response(True, f"speed {speed_factor:g}")

    def tick(self, now_ns: int, now_s: float) -> ControlOutput:
        """One control period: look after everything, then move by one period (more after a late tick)."""
        for event, text in self._problems(now_ns, now_s):
            self._apply(event, text)
            if event is Event.COMMAND_LATE and self._in_command:
                self._lose_arm(now_s)
        width = None
        if self._player.plan is not None and (self._state in ENABLED_STATES or not self._player.resting):
            width = self._move(now_ns, now_s)
        self._tick_ns, self._tick_s = now_ns, now_s
        return self._output(width)

    @property
    def _in_command(self) -> bool:
        """The arm follows commands: it plays a path, holds, or comes to rest."""
        if self._player.plan is None or self._take_up.active:
            return False
        return self._state in (ControllerState.RUNNING, ControllerState.HOLDING) or not self._player.resting

    def stopping(self) -> StopPath | None:
        """Where the arm should go from the present command if no further one arrives; None at rest."""
        return self._player.stopping() if self._in_command else None

    def _lose_arm(self, now_s: float) -> None:
        """After a gap in its commands the arm has come to rest by itself, wherever: find it there."""
        command = self._player.command
        assert command is not None, "something was commanded"
        self._begin_at(command.q, now_s)
        self._take_up.begin()

    def committed(self, now_ns: int, horizon_s: float, least_steps: int = 0) -> ActionChunk | None:
        """What will be executed from now for at least horizon_s and least_steps, as targets one action step apart; None
        unless RUNNING.

        Index 0 is the present command; the last index is the first at or after the horizon, so that a chunk which
        continues these agrees with the present plan wherever it takes over. dt_s is real time: an action step, which
        takes the policy's dt of path time, takes dt / the playback speed to execute.
        """
        if self._state is not ControllerState.RUNNING or self._chunk_dt_s is None:
            return None
        plan, start, speed = self._player.plan, self._player.path_s, self._player.full_rate
        assert plan is not None, "running means playing one"
        steps = 1 + max(int(np.ceil(horizon_s * speed / self._chunk_dt_s - 1e-6)), least_steps)
        times = start + self._chunk_dt_s * np.arange(steps)
        return ActionChunk.from_poses(plan.poses.sample(times), plan.poses.openness_at(times), now_ns,
                                      self._chunk_dt_s / speed)

    def _problems(self, now_ns: int, now_s: float) -> list[tuple[Event, str]]:
        found = self._watchdog.tick(now_ns, now_s)
        if self._state not in ENABLED_STATES:
            return []
        found += self._watchdog.inputs(now_s)
        if self._robot_is_new and self._robot is not None:
            self._robot_is_new = False
            found += self._watchdog.arm(self._robot)
        if self._player.ended:
            found.append((Event.PATH_ENDED, Event.PATH_ENDED.value))
        return found

    def _move(self, now_ns: int, now_s: float) -> float | None:
        moving = self._state in MOVING_STATES
        passed = self._config.period_s if self._tick_s is None else now_s - self._tick_s
        periods = max(1, round(min(passed, _LONGEST_CATCH_UP_S) * self._config.rate_hz))
        for _ in range(periods):
            if not self._player.advance(moving):
                self._apply(Event.LIMITER_FAILED, Event.LIMITER_FAILED.value)
        self._player.clock.advance(now_ns, self._player.path_s, self._player.base_T_tcp)
        if not self._take_up.active:
            command = self._player.command
            assert command is not None, "begun when enabled"
            self._watchdog.command(command.q, self._player.base_T_tcp, now_ns)
        plan = self._player.plan
        if not moving or plan is None:
            return None
        return self._gripper.update(plan.poses.openness_at(self._player.path_s).item(), now_s)

    def _output(self, width: float | None) -> ControlOutput:
        player = self._player
        resting = player.resting
        sends = self._in_command
        command = player.command
        stats = ControlStats(
            self._counts, self._latency, player.plan.clearance_m if player.plan else float("inf"),
            player.plan.arm_clearance_m if player.plan else float("inf"), player.rate,
            max(0.0, player.plan.end_s - player.path_s) if player.plan else 0.0, self._watchdog.lag_s,
            self._watchdog.tracking_error_rad, self._watchdog.tracking_error_m,
            command.deviation_rad if command else 0.0)
        if not sends or command is None:
            return ControlOutput(self._state, None, None, None, width, self._why, stats, resting)
        return ControlOutput(self._state, command.q, command.dq, player.base_T_tcp, width, self._why, stats, resting)

    def _apply(self, event: Event, text: str) -> None:
        after = next_state(self._state, event)
        if after is not self._state:
            self._state, self._why, self._cause = after, text, event

    def _count(self, what: str) -> None:
        """Outputs keep the dictionary they were made with; a reader in another thread sees it whole."""
        self._counts = {**self._counts, what: self._counts.get(what, 0) + 1}

    def _remedy(self) -> str:
        return "call reset, then enable" if self._state is ControllerState.FAULT else "call enable"

    def _hindrance(self, now_s: float) -> str:
        """Why control cannot begin now; "" when it can."""
        if self._state is ControllerState.FAULT:
            return f"in fault ({self._why}); call reset first"
        if not self._player.resting:
            return "the arm is still coming to rest; try again"
        gone = [text for event, text in self._watchdog.inputs(now_s) if event is Event.STATES_STALE]
        if self._robot is None or gone:
            return gone[0] if gone else "no joint states received"
        if np.abs(self._robot.dq).max() > STANDING_RADPS:
            return f"the arm is moving ({np.abs(self._robot.dq).max():.2f} rad/s); let it come to rest"
        margin = self._kinematics.limits.margin(self._robot.q)
        need = self._config.ik.limit_margin_rad
        if margin.min() < need:
            j = int(margin.argmin())
            return (f"joint {j + 1} is {margin[j]:.3f} rad from the end of its range; legal: {need:.3f}; guide the arm "
                    "away by hand")
        q = self._robot.q
        return (self._workspace.violation(self._kinematics.fk(q))
                or self._workspace.arm_violation(self._kinematics.joint_origins(q[None])))

    def _ros_now(self, now_s: float) -> int:
        if self._tick_ns is None or self._tick_s is None:
            assert self._robot is not None, "control begins with a robot state"
            return self._robot.stamp_ns
        return self._tick_ns + int(1e9 * (now_s - self._tick_s))

