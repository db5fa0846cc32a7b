import pytest

from action_images_ros.calibration.turns import Capture, Turn, Turns

FIRST, SECOND = 10**9, 2 * 10**9


@pytest.mark.parametrize("capture", Capture)
def test_nothing_happens_while_the_arm_moves(capture):
    turns = Turns(capture, 8)
    turns.tried(None, False)
    assert turns.at(None) is Turn.WAIT


def test_each_new_rest_is_taken_once_and_then_the_arm_goes_on():
    turns = Turns(Capture.WHEN_STILL, 8)
    assert turns.at(FIRST) is Turn.TAKE
    turns.tried(FIRST, False)
    assert turns.at(FIRST) is Turn.GO_ON
    assert turns.at(SECOND) is Turn.TAKE


def test_on_request_the_arm_stays_where_it_is_until_someone_has_asked():
    turns = Turns(Capture.ON_REQUEST, 8)
    assert turns.at(FIRST) is Turn.WAIT
    turns.tried(FIRST, True)
    assert turns.at(FIRST) is Turn.GO_ON
    assert turns.at(SECOND) is Turn.WAIT


def test_tries_that_tell_nothing_new_come_to_an_end():
    turns = Turns(Capture.WHEN_STILL, 8)
    for k in range(7):
        turns.tried(k, False)
    assert not turns.in_vain(taken=10)
    turns.tried(7, False)
    assert turns.in_vain(taken=0)
    turns.tried(8, True)
    assert not turns.in_vain(taken=23) and turns.in_vain(taken=24)
    turns.tried(9, False)
    assert turns.in_vain(taken=23)
    turns.begin()
    assert not turns.in_vain(taken=23)
