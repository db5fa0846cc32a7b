"""Whatever delays, drops, jitter, reordering, repetition and clock offsets do: no set beyond the limits, none out of
order, none with a frozen picture, and none that could have been newer."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from action_images_ros.streams import Synchroniser

MS = 1_000_000
VIEWS = ("left", "right", "wrist")
SKEW_S, AGE_S, SAME_S = 0.02, 0.3, 0.15
FUTURE_MS = 50


@st.composite
def arrivals(draw):
    """(view, stamp, arrival, picture) in order of arrival: three cameras at about 30 Hz, any of which freezes, repeats
    frames, delivers them late and out of order, loses some, and has a clock that is off."""
    out = []
    for view in VIEWS:
        offset = draw(st.sampled_from([0, 0, 0, 3, -12, 40, -40, 900, -3000]))
        frozen_from = draw(st.one_of(st.just(99), st.integers(0, 24)))
        for k in range(draw(st.integers(0, 25))):
            if draw(st.integers(0, 9)) == 0:
                continue
            exposed = 33 * k + draw(st.integers(0, 12))
            picture = min(k, frozen_from)
            repeats = 2 if draw(st.integers(0, 19)) == 0 else 1
            for _ in range(repeats):
                delay = draw(st.sampled_from([2, 5, 10, 30, 80, 400]))
                out.append((view, (exposed + offset + 4000) * MS, (exposed + delay + 4000) * MS, picture))
    return sorted(out, key=lambda a: a[2])


def run(events, same_s=0.0):
    s = Synchroniser(VIEWS, SKEW_S, AGE_S, same_s)
    found = []
    for view, stamp, now, picture in events:
        made = s.add(view, stamp, (view, stamp), now, picture)
        if made is not None:
            found.append((made, now))
    return s, found


@given(arrivals())
@settings(max_examples=80)
def test_every_set_is_within_the_limits_and_newer_than_those_before(events):
    s, found = run(events)
    last = (-1,) * len(VIEWS)
    for made, now in found:
        assert max(made.stamps_ns) - min(made.stamps_ns) <= SKEW_S * 1e9
        assert now - min(made.stamps_ns) <= AGE_S * 1e9
        assert max(made.stamps_ns) <= now + FUTURE_MS * MS
        assert all(new > old for new, old in zip(made.stamps_ns, last))
        assert made.payloads == tuple(zip(VIEWS, made.stamps_ns))
        last = made.stamps_ns
    assert s.sets == len(found)


@given(arrivals())
@settings(max_examples=60)
def test_the_sets_are_those_that_trying_all_combinations_finds(events):
    """After every frame: of all combinations of frames at hand, still newer than what was given, that keep the limits,
    the one whose oldest frame is newest, and of its other frames the earliest."""
    s = Synchroniser(VIEWS, SKEW_S, AGE_S)
    at_hand, given_ns = {v: {} for v in VIEWS}, dict.fromkeys(VIEWS, -1)
    last_stamp = dict.fromkeys(VIEWS)
    for view, stamp, now, _ in events:
        made = s.add(view, stamp, None, now)
        known = stamp in at_hand[view] or stamp == last_stamp[view]
        if not known:
            last_stamp[view] = stamp
        if not known and given_ns[view] < stamp <= now + FUTURE_MS * MS and now - stamp <= AGE_S * 1e9:
            at_hand[view][stamp] = None
            fresh = [[t for t in at_hand[v] if now - t <= AGE_S * 1e9] for v in VIEWS]
            legal = [c for c in product(*fresh) if max(c) - min(c) <= SKEW_S * 1e9]
            best = max(legal, key=lambda c: (min(c), [-t for t in c]), default=None)
        else:
            best = None
        assert (made.stamps_ns if made else None) == best
        if made is not None:
            for v, t in zip(VIEWS, made.stamps_ns):
                given_ns[v] = t
                at_hand[v] = {k: None for k in at_hand[v] if k > t}


@given(arrivals())
@settings(max_examples=60)
def test_a_frozen_picture_is_not_used_for_longer_than_is_allowed(events):
    s, found = run(events, SAME_S)
    first_seen, pictures, newest = {}, {}, {}
    for view, stamp, now, picture in events:
        if newest.get(view) != picture:
            newest[view] = picture
            first_seen[view, picture] = now
        pictures.setdefault((view, stamp), (now, picture))
    for made, _ in found:
        for view, stamp in zip(VIEWS, made.stamps_ns):
            arrived, picture = pictures[view, stamp]
            since = [t for (v, p), t in first_seen.items() if (v, p) == (view, picture)][0]
            frames = {st_ for v, st_, n, p in events if v == view and p == picture and since <= n <= arrived}
            assert arrived - since <= SAME_S * 1e9 or len(frames) <= 3


@given(arrivals(), st.sampled_from([0.0, SAME_S]))
@settings(max_examples=40)
def test_every_frame_is_accounted_for(events, same_s):
    s, found = run(events, same_s)
    for view in VIEWS:
        v = s.statistics[view]
        waiting = len(s._frames[view])
        assert v.received == v.used + v.late + v.repeated + v.from_future + v.frozen + v.unmatched + waiting
        assert waiting <= 17 and v.used == len(found) and v.dropped == v.received - v.used
        assert all(0 <= lag <= SKEW_S for lag in v.lags_s)


@given(st.integers(1, 40), st.integers(0, 19), st.integers(0, 19))
@settings(max_examples=20)
def test_well_behaved_cameras_lose_nothing(n, skew_b, skew_c):
    """Cameras inside the skew limit, delivered in order: each exposure makes a set."""
    skews = dict(zip(VIEWS, (0, skew_b, skew_c)))
    events = [(v, (33 * k + d) * MS, (33 * k + 25) * MS, k) for k in range(n) for v, d in skews.items()]
    s, found = run(events, SAME_S)
    assert len(found) == n and s.complaint((33 * n + 10) * MS) == ""
    assert abs(s.statistics["right"].lag_s * 1e9 - skew_b * MS) < 1.0
