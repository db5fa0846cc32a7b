"""Whatever delays, drops, jitter, reordering and clock offsets do: no set beyond the limits, none out of order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from action_images_ros.ros.synchroniser import Synchroniser

MS = 1_000_000
VIEWS = ("left", "right", "wrist")
SKEW_S, AGE_S = 0.02, 0.3


@st.composite
def arrivals(draw):
    """(view, stamp, arrival) in order of arrival: three cameras at about 30 Hz."""
    out = []
    for view in VIEWS:
        offset = draw(st.integers(-40, 40))
        for k in range(draw(st.integers(0, 25))):
            if draw(st.integers(0, 9)) == 0:
                continue
            exposed = 33 * k + draw(st.integers(0, 12))
            repeats = 2 if draw(st.integers(0, 19)) == 0 else 1
            for _ in range(repeats):
                delay = draw(st.sampled_from([2, 5, 10, 30, 80, 400]))
                out.append((view, (exposed + offset + 100) * MS, (exposed + delay + 100) * MS))
    return sorted(out, key=lambda a: a[2])


def run(events):
    s = Synchroniser(VIEWS, SKEW_S, AGE_S)
    found = []
    for view, stamp, now in events:
        made = s.add(view, stamp, (view, stamp), now)
        if made is not None:
            found.append((made, now))
    return s, found


@given(arrivals())
@settings(max_examples=60, deadline=None)
def test_every_set_is_within_the_limits_and_newer_than_those_before(events):
    s, found = run(events)
    last = (-1,) * len(VIEWS)
    for made, now in found:
        assert max(made.stamps_ns) - min(made.stamps_ns) <= SKEW_S * 1e9
        assert now - min(made.stamps_ns) <= AGE_S * 1e9
        assert all(new > old for new, old in zip(made.stamps_ns, last))
        assert made.payloads == tuple(zip(VIEWS, made.stamps_ns))
        last = made.stamps_ns
    assert s.sets == len(found)


@given(arrivals())
@settings(max_examples=30, deadline=None)
def test_every_frame_is_accounted_for(events):
    s, _ = run(events)
    for view in VIEWS:
        v = s.statistics[view]
        waiting = len(s._frames[view])
        assert v.received == v.used + v.late + v.repeated + v.from_future + v.unmatched + waiting
        assert waiting <= 17


@given(st.integers(1, 40), st.integers(0, 19), st.integers(0, 19))
@settings(max_examples=20, deadline=None)
def test_well_behaved_cameras_lose_nothing(n, skew_b, skew_c):
    """Cameras inside the skew limit, delivered in order: each exposure makes a set."""
    events = [(v, (33 * k + d) * MS, (33 * k + 25) * MS) for k in range(n) for v, d in zip(VIEWS, (0, skew_b, skew_c))]
    _, found = run(events)
    assert len(found) == n
