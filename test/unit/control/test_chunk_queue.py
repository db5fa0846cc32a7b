"""Which chunks are admitted, where they are placed in time, and how latency is measured."""

import numpy as np
import pytest

from action_images_ros.control import ChunkQueue, ChunkRefused, ChunkRules, PlaybackClock, Refusal
from action_images_ros.control.chunk_queue import LatencyMeter
from action_images_ros.errors import ConfigError
from action_images_ros.geometry.se3 import make
from action_images_ros.types import ActionChunk

S = 1_000_000_000
T0 = 5_000 * S


def line(stamp_ns=T0, n=6, start=0.0, step=0.06, dt_s=0.4, **changes):
    """Targets on the x axis, step apart, starting at x = start."""
    p = np.zeros((n, 3))
    p[:, 0] = start + step * np.arange(n)
    chunk = ActionChunk.from_poses(make(np.repeat(np.eye(3)[None], n, 0), p), np.ones(n), stamp_ns, dt_s)
    for name, value in changes.items():
        object.__setattr__(chunk, name, value)
    return chunk


def at(x):
    return make(np.eye(3), np.array([x, 0.0, 0.0]))


def refusal(call):
    with pytest.raises(ChunkRefused) as caught:
        call()
    return caught.value.refusal


def played(rate, seconds, start_ns=T0, still=None):
    """A clock on which path time ran at `rate` from start_ns on, along x at 0.15 m/s (or standing at `still`)."""
    clock = PlaybackClock(memory_s=10.0, rate_hz=100.0)
    for i in range(round(100 * seconds) + 1):
        x = 0.15 * rate * i / 100 if still is None else still
        clock.advance(start_ns + i * S // 100, rate * i / 100, at(x))
    return clock


def test_the_clock_interpolates_and_forgets():
    clock = PlaybackClock(memory_s=1.0, rate_hz=10.0)
    for i in range(30):
        clock.advance(T0 + i * S // 10, 0.5 * i, at(float(i)))
    assert clock.at(T0 + 2 * S + S // 20) == pytest.approx(0.5 * 20.5)
    assert clock.at(T0) is None
    assert clock.at(T0 + 99 * S) == pytest.approx(14.5)
    assert clock.commands_before(T0 + 2 * S + S // 20, 0.15)[:, 0, 3].tolist() == [19.0, 20.0]


def test_at_full_speed_what_the_clock_has_passed_is_dropped():
    path = ChunkQueue(ChunkRules()).place(line(), played(1.0, 1.0), now_path_s=1.0, command=at(0.15), lag_path_s=0.0)
    assert path.times_s[0] == pytest.approx(0.0)
    np.testing.assert_allclose(path.sample(np.array([1.0]))[0, :3, 3], [0.15, 0, 0], atol=1e-9)


def test_at_a_fifth_of_the_speed_a_fifth_has_passed():
    path = ChunkQueue(ChunkRules()).place(line(), played(0.2, 1.0), now_path_s=0.2, command=at(0.03), lag_path_s=0.0)
    np.testing.assert_allclose(path.sample(np.array([0.2]))[0, :3, 3], [0.03, 0, 0], atol=1e-9)


def test_for_an_arm_at_rest_nothing_has_passed():
    path = ChunkQueue(ChunkRules()).place(line(), played(0.0, 2.0), now_path_s=0.0, command=at(0.0), lag_path_s=0.0)
    np.testing.assert_allclose(path.sample(np.array([0.0]))[0, :3, 3], [0, 0, 0], atol=1e-9)
    assert len(path.times_s) == 6


def test_the_arms_measured_lag_is_taken_off():
    """The observation shows the arm 0.2 s behind its commands: the command is already at x = 0.15 + 0.03."""
    path = ChunkQueue(ChunkRules(align_s=0.0)).place(
        line(), played(1.0, 1.0), now_path_s=1.0, command=at(0.18), lag_path_s=0.24)
    np.testing.assert_allclose(path.sample(np.array([1.0]))[0, :3, 3], [0.18, 0, 0], atol=1e-9)


def test_alignment_never_moves_a_chunk_further_than_allowed():
    rules = ChunkRules(align_s=0.1)
    path = ChunkQueue(rules).place(line(), played(1.0, 1.0), now_path_s=1.0, command=at(0.21), lag_path_s=0.0)
    assert path.times_s[0] == pytest.approx(-0.1)


def test_a_chunk_that_starts_elsewhere_is_refused():
    queue, clock = ChunkQueue(ChunkRules()), played(0.0, 1.0)
    assert refusal(lambda: queue.place(line(start=0.2), clock, 0.0, at(0.0), 0.0)) is Refusal.STARTS_TOO_FAR


def test_where_the_arm_has_gone_since_the_observation_is_no_error_of_the_chunk():
    """The new chunk goes back; the arm has gone on for a second. For an arm that stood elsewhere it is wrong."""
    back = line(step=-0.06)
    path = ChunkQueue(ChunkRules()).place(back, played(1.0, 1.0), 1.0, at(0.15), 0.0)
    assert path.sample(np.array([1.0]))[0, 0, 3] < -0.1
    stood = played(1.0, 1.0, still=0.15)
    assert refusal(lambda: ChunkQueue(ChunkRules()).place(back, stood, 1.0, at(0.15), 0.0)) is Refusal.STARTS_TOO_FAR


def test_an_observation_of_a_trailing_arm_is_where_its_command_was_before():
    clock = played(1.0, 1.0)
    seen = line(T0 + S // 2, start=0.15 * 0.3)
    assert ChunkQueue(ChunkRules(max_start_error_m=0.001)).place(seen, clock, 1.0, at(0.15), 0.2) is not None


def test_a_chunk_that_has_passed_is_refused():
    queue, clock = ChunkQueue(ChunkRules()), played(1.0, 3.0)
    assert refusal(lambda: queue.place(line(), clock, 3.0, at(0.3), 0.0)) is Refusal.PASSED


@pytest.mark.parametrize("second, want", [
    (line(T0), Refusal.DUPLICATE),
    (line(T0 - 1), Refusal.OUT_OF_ORDER),
    (line(T0 + S), Refusal.FROM_FUTURE),
    (line(T0 + S // 10, n=0), Refusal.EMPTY),
    (line(T0 + S // 10, n=1), Refusal.EMPTY),
    (line(T0 + S // 10).stamped(None, 0.4), Refusal.UNSTAMPED),
    (line(T0 + S // 10).stamped(T0 + S // 10, float("nan")), Refusal.NOT_FINITE),
    (line(T0 + S // 10, step=0.2), Refusal.JUMPS),
], ids=lambda x: x.name if isinstance(x, Refusal) else "")
def test_refusals_at_admission(second, want):
    queue = ChunkQueue(ChunkRules())
    queue.admit(line(T0), T0 + S // 5)
    assert refusal(lambda: queue.admit(second, T0 + S // 2)) is want


@pytest.mark.parametrize("where", ["base_T_tcps", "openness", "covariance"])
def test_a_value_that_is_not_finite_is_refused(where):
    chunk = line()
    getattr(chunk, where).reshape(6, -1)[3, 0] = np.nan
    assert refusal(lambda: ChunkQueue(ChunkRules()).admit(chunk, T0)) is Refusal.NOT_FINITE


def test_a_scaled_rotation_is_refused():
    chunk = line()
    chunk.base_T_tcps[2, :3, :3] *= 1.1
    assert refusal(lambda: ChunkQueue(ChunkRules()).admit(chunk, T0)) is Refusal.NOT_FINITE


def test_too_old_and_before_enabling_are_refused():
    queue = ChunkQueue(ChunkRules(max_age_s=1.0))
    assert refusal(lambda: queue.admit(line(), T0 + 2 * S)) is Refusal.TOO_OLD
    queue.restart(not_before_ns=T0 + 1)
    assert refusal(lambda: queue.admit(line(), T0 + S // 2)) is Refusal.BEFORE_ENABLE


def test_a_refused_newer_chunk_still_hides_older_ones():
    queue = ChunkQueue(ChunkRules())
    assert refusal(lambda: queue.admit(line(T0 + S, step=0.5), T0 + S)) is Refusal.JUMPS
    assert refusal(lambda: queue.admit(line(T0), T0 + S)) is Refusal.OUT_OF_ORDER


def doubtful(first_bad):
    credible = np.arange(6) < first_bad
    return line(credible=credible, why=tuple("" if c else "blob missing" for c in credible))


def test_the_credible_beginning_is_kept_when_long_enough():
    assert len(ChunkQueue(ChunkRules(min_credible_steps=3)).admit(doubtful(4), T0)) == 4


@pytest.mark.parametrize("first_bad, need", [(2, 3), (5, None), (0, 2)])
def test_too_few_credible_steps_are_refused_with_the_decoders_reason(first_bad, need):
    with pytest.raises(ChunkRefused, match="blob missing") as caught:
        ChunkQueue(ChunkRules(min_credible_steps=need)).admit(doubtful(first_bad), T0)
    assert caught.value.refusal is Refusal.NOT_CREDIBLE


def with_gap(first, last):
    """A chunk whose steps first..last are not credible, and wildly wrong."""
    chunk = line(credible=~np.isin(np.arange(6), np.arange(first, last + 1)))
    chunk.base_T_tcps[first:last + 1, :3, 3] += 5.0
    return chunk


def test_a_short_gap_is_bridged_without_the_poses_that_are_not_credible():
    taken = ChunkQueue(ChunkRules(max_gap_steps=2)).admit(with_gap(2, 3), T0)
    assert np.allclose(taken.base_T_tcps, line().base_T_tcps)
    assert np.array_equal(taken.openness, line().openness)


@pytest.mark.parametrize("gap", [0, 1])
def test_a_longer_gap_cuts_the_chunk(gap):
    assert len(ChunkQueue(ChunkRules(min_credible_steps=2, max_gap_steps=gap)).admit(with_gap(2, 3), T0)) == 2


def test_where_every_step_must_be_credible_nothing_is_bridged():
    with pytest.raises(ChunkRefused, match="not credible"):
        ChunkQueue(ChunkRules(min_credible_steps=None)).admit(with_gap(2, 2), T0)


def test_latency_is_measured_without_warm_up():
    meter = LatencyMeter(warm_up=2)
    for latency in (9.0, 8.0, 0.3, 0.5, 0.4):
        meter.add(latency)
    found = meter.read()
    assert (found.count, found.last_s, found.max_s) == (3, 0.4, 0.5)
    assert found.mean_s == pytest.approx(0.4)


def test_latency_is_arrival_minus_observation():
    queue = ChunkQueue(ChunkRules(warm_up_chunks=0))
    queue.admit(line(T0), T0 + 3 * S // 10)
    assert queue.latency.last_s == pytest.approx(0.3)


@pytest.mark.parametrize(
    "bad", [dict(max_step_m=0.0), dict(min_credible_steps=1), dict(align_s=-1.0), dict(max_gap_steps=-1)]
)
def test_malformed_rules_are_named(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        ChunkRules(**bad)
