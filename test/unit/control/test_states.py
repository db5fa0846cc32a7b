"""The transition table, exhaustively: every state with every event, against the rules in words."""

import itertools

import pytest

from action_images_ros.control import RESUME, TRANSITIONS, ControllerState, Event, Resume
from action_images_ros.control.states import ENABLED_STATES, MOVING_STATES, next_state

S, E = ControllerState, Event
OPERATOR = {E.ENABLE, E.RESET, E.CHUNK_ACCEPTED}


def expected(state: ControllerState, event: Event) -> ControllerState:
    """The rules, written down once more and independently of the table."""
    if event is E.ENABLE:
        return S.READY if state is S.DISABLED else state
    if event is E.RESET:
        return S.DISABLED if state is S.FAULT else state
    if event is E.CHUNK_ACCEPTED:
        return S.RUNNING if state in (S.READY, S.RUNNING, S.HOLDING) else state
    if state in (S.DISABLED, S.FAULT):
        return state
    if event in (E.DISABLE, E.STOP):
        return S.DISABLED
    if event in (E.STATES_STALE, E.TRACKING_ERROR, E.JOINT_NEAR_LIMIT, E.CLOCK_JUMP, E.LIMITER_FAILED):
        return S.FAULT
    return S.HOLDING if state is S.RUNNING else state


@pytest.mark.parametrize("state, event", list(itertools.product(S, E)), ids=lambda x: x.name)
def test_every_pair(state, event):
    assert next_state(state, event) is expected(state, event)


def test_every_event_that_stops_says_what_it_takes_to_go_on():
    assert set(RESUME) == set(E) - OPERATOR


def test_only_enabling_leads_out_of_disabled_and_only_reset_out_of_fault():
    assert [e for (s, e), after in TRANSITIONS.items() if s is S.DISABLED and after is not s] == [E.ENABLE]
    assert [e for (s, e), after in TRANSITIONS.items() if s is S.FAULT and after is not s] == [E.RESET]


def test_nothing_but_an_accepted_chunk_leads_to_motion():
    assert {e for (s, e), after in TRANSITIONS.items() if after in MOVING_STATES} == {E.CHUNK_ACCEPTED}


def test_a_fault_needs_two_calls_of_the_operator_before_motion():
    assert TRANSITIONS[(S.FAULT, E.RESET)] not in ENABLED_STATES


@pytest.mark.parametrize("event", list(RESUME), ids=lambda x: x.name)
def test_running_goes_where_resuming_takes_what_the_table_says(event):
    after = next_state(S.RUNNING, event)
    assert {Resume.BY_ITSELF: S.HOLDING, Resume.ENABLE: S.DISABLED, Resume.RESET: S.FAULT}[RESUME[event]] is after
