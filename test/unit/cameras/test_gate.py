"""Never a frame twice, never an old one, and what is missing is counted."""

from hypothesis import given
from hypothesis import strategies as st

from action_images_ros.cameras import Backoff, FrameGate, Gated
from action_images_ros.errors import ConfigError

MS = 1_000_000


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0, 5, 60, 900]), st.booleans()), max_size=60))
def test_what_gets_past_is_strictly_newer(events):
    """Frames of any order, repeated, held up, over several connections."""
    gate, passed, now, seen = FrameGate(0.5), [], 1_000 * MS, 0
    for number, held_ms, reconnect in events:
        if reconnect:
            gate.begin()
        now += 33 * MS
        stamp = now - held_ms * MS
        outcome = gate.admit(number, number * 33 * MS, stamp, now)
        seen += 1
        if outcome is Gated.PASSED:
            assert not passed or stamp > passed[-1]
            assert now - stamp <= 500 * MS
            passed.append(stamp)
    assert sum(gate.counts.values()) == seen and gate.counts[Gated.PASSED] == len(passed)


def test_every_outcome():
    gate = FrameGate(0.5)
    assert gate.admit(1, 10, 100 * MS, 110 * MS) is Gated.PASSED
    assert gate.admit(1, 10, 101 * MS, 140 * MS) is Gated.REPEATED
    assert gate.admit(2, 10, 133 * MS, 140 * MS) is Gated.REPEATED  # the device's clock stands still
    assert gate.admit(5, 50, 200 * MS, 210 * MS) is Gated.PASSED and gate.lost == 3
    assert gate.admit(4, 40, 166 * MS, 215 * MS) is Gated.LATE
    assert gate.admit(6, 60, 233 * MS, 900 * MS) is Gated.LATE
    assert gate.admit(7, 70, 2000 * MS, 910 * MS) is Gated.FUTURE
    gate.begin()
    assert gate.admit(1, 10, 150 * MS, 300 * MS) is Gated.LATE  # from before the break
    assert gate.admit(2, 20, 950 * MS, 960 * MS) is Gated.PASSED and gate.lost == 3


def test_pauses_grow_to_the_longest():
    backoff = Backoff(0.5, 8.0)
    assert [backoff.pause_s(k) for k in (0, 1, 2, 4, 5, 1000)] == [0.5, 1.0, 2.0, 8.0, 8.0, 8.0]
    for wrong in ((0.0, 1.0), (2.0, 1.0)):
        try:
            Backoff(*wrong)
        except ConfigError as error:
            assert "first_s" in str(error)
        else:
            raise AssertionError(wrong)
