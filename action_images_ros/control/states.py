"""The controller's states, what moves it between them, and what it takes to go on: all as data."""

from __future__ import annotations

from enum import Enum


class ControllerState(Enum):
    """DISABLED: no commands until the operator enables. READY: enabled, at rest, waits for a chunk.
    RUNNING: plays a chunk. HOLDING: enabled, brought to rest, goes on by itself with the next good
    chunk. FAULT: brought to rest, needs `reset` and then `enable`."""

    DISABLED = "disabled"
    READY = "ready"
    RUNNING = "running"
    HOLDING = "holding"
    FAULT = "fault"


class Event(Enum):
    """Everything that can change the state."""

    ENABLE = "enabled by the operator"
    DISABLE = "disabled by the operator"
    STOP = "stopped by the operator"
    RESET = "reset by the operator"
    CHUNK_ACCEPTED = "chunk accepted"
    PATH_ENDED = "no newer chunk: the last one has been played to its end"
    FRAMES_STALE = "no fresh camera set"
    CHUNKS_STALE = "no acceptable chunk in time"
    COMMAND_LATE = "control period missed"
    STATES_STALE = "no fresh joint states"
    TRACKING_ERROR = "the arm does not follow its commands"
    JOINT_NEAR_LIMIT = "joint at the end of its range"
    CLOCK_JUMP = "ROS time jumped"
    LIMITER_FAILED = "motion limiter found no motion inside the limits"


class Resume(Enum):
    """What it takes to move again after an event brought the arm to rest."""

    BY_ITSELF = "the next acceptable chunk"
    ENABLE = "enable"
    RESET = "reset, then enable"


RESUME: dict[Event, Resume] = {
    Event.DISABLE: Resume.ENABLE,
    Event.STOP: Resume.ENABLE,
    Event.PATH_ENDED: Resume.BY_ITSELF,
    Event.FRAMES_STALE: Resume.BY_ITSELF,
    Event.CHUNKS_STALE: Resume.BY_ITSELF,
    Event.COMMAND_LATE: Resume.BY_ITSELF,
    Event.STATES_STALE: Resume.RESET,
    Event.TRACKING_ERROR: Resume.RESET,
    Event.JOINT_NEAR_LIMIT: Resume.RESET,
    Event.CLOCK_JUMP: Resume.RESET,
    Event.LIMITER_FAILED: Resume.RESET,
}
"""Every event that stops the arm, and what lets it move again."""

REMEDY: dict[Event, str] = {
    Event.DISABLE: "enable, when the cell is clear",
    Event.STOP: "enable, when the cell is clear",
    Event.PATH_ENDED: "wait for the next chunk; if none comes, look at the denoiser and the decoder",
    Event.FRAMES_STALE: "look at the cameras: power, cable, driver, clocks",
    Event.CHUNKS_STALE: "look at why chunks are refused (last_refusal), and at the latency of denoiser and decoder",
    Event.COMMAND_LATE: "take load off this machine, allow real-time priority, or lower rate_hz",
    Event.STATES_STALE: "look at the arm's driver and network, then reset and enable",
    Event.TRACKING_ERROR: "see what holds the arm (contact, brakes, reflex, another controller), then reset and enable",
    Event.JOINT_NEAR_LIMIT: "guide the arm by hand away from the end of the joint's range, then reset and enable",
    Event.CLOCK_JUMP: "let the clock settle (chrony, not steps), then reset and enable",
    Event.LIMITER_FAILED: "report it with the log: it should not happen; reset and enable",
}
"""Every event that stops the arm, and what a person does about it."""

_S, _E = ControllerState, Event
_STOPPING_TARGET = {Resume.BY_ITSELF: _S.HOLDING, Resume.ENABLE: _S.DISABLED, Resume.RESET: _S.FAULT}

TRANSITIONS: dict[tuple[ControllerState, Event], ControllerState] = {
    (_S.DISABLED, _E.ENABLE): _S.READY,
    (_S.FAULT, _E.RESET): _S.DISABLED,
    (_S.READY, _E.CHUNK_ACCEPTED): _S.RUNNING,
    (_S.RUNNING, _E.CHUNK_ACCEPTED): _S.RUNNING,
    (_S.HOLDING, _E.CHUNK_ACCEPTED): _S.RUNNING,
    **{(_S.RUNNING, event): _STOPPING_TARGET[resume] for event, resume in RESUME.items()},
    **{(state, event): _STOPPING_TARGET[RESUME[event]]
       for state in (_S.READY, _S.HOLDING)
       for event in RESUME if RESUME[event] is not Resume.BY_ITSELF},
}
"""(state, event) -> next state. A pair that is not listed leaves the state as it is."""

MOVING_STATES = frozenset({ControllerState.RUNNING})
"""States in which the arm plays a path. In every other one it only comes to rest."""

ENABLED_STATES = frozenset({ControllerState.READY, ControllerState.RUNNING, ControllerState.HOLDING})
"""States in which chunks are looked at."""


def next_state(state: ControllerState, event: Event) -> ControllerState:
    """The state after `event`; the same one where the table has no entry."""
    return TRANSITIONS.get((state, event), state)
