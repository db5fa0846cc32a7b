"""The device's clock against the truth: simulated clocks with offset and drift, delays of any kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from action_images_ros.cameras import ClockDomain, DeviceClock

MS, S = 1_000_000, 1_000_000_000
HOST_0 = 1_700_000_000 * S


class World:
    """A device whose clock reads `begin` at host time HOST_0 and runs `drift_ppm` too slow."""

    def __init__(self, drift_ppm: float, begin_s: float = 12.5) -> None:
        self.rate, self.begin_ns = 1 - 1e-6 * drift_ppm, round(begin_s * S)

    def device_ns(self, host_ns: int) -> int:
        return self.begin_ns + round((host_ns - HOST_0) * self.rate)


def run(clock: DeviceClock, world: World, delays_ms, from_s: float = 0.0, host_step_s: float = 0.0):
    """Errors of the stamps (s), one a frame; the host's clock is host_step_s ahead of the truth."""
    errors = []
    for k, delay_ms in enumerate(delays_ms):
        exposed = HOST_0 + round((from_s + k / 30.0) * S)
        arrival = exposed + round(delay_ms * MS) + round(host_step_s * S)
        stamp = clock.stamp(world.device_ns(exposed), arrival, ClockDomain.HARDWARE)
        errors.append((stamp - exposed) / S - host_step_s)
    return np.array(errors)


@pytest.mark.parametrize("drift_ppm", [-80.0, 0.0, 35.0])
def test_offset_and_drift_come_out_of_the_frames(drift_ppm):
    rng = np.random.default_rng(1)
    clock, world = DeviceClock(), World(drift_ppm)
    delays = 8.0 + rng.exponential(6.0, 30 * 120)
    errors = run(clock, world, delays)
    # the smallest delay cannot be told from offset
    assert np.abs(errors[30 * 30 :] - 0.008).max() < 0.0015
    report = clock.report()
    assert report.drift_ppm == pytest.approx(drift_ppm, abs=12.0) and report.doubt == ""
    truth_s = (HOST_0 + 120 * S - world.device_ns(HOST_0 + 120 * S)) / S + 0.008
    assert report.offset_s == pytest.approx(truth_s, abs=0.002)
    assert report.delay_p50_s == pytest.approx(0.0042, abs=0.0025)


@given(
    drift=st.floats(-100, 100),
    bursts=st.lists(st.tuples(st.integers(0, 1400), st.integers(1, 60), st.floats(20, 2000)), max_size=6),
)
@settings(max_examples=25, deadline=None)
def test_whatever_delays_do_stamps_stay_with_the_exposure(drift, bursts):
    """Hiccups of up to two seconds: frames that were held up keep the stamp of their exposure."""
    delays = 5.0 + np.random.default_rng(2).exponential(3.0, 1500)
    for first, length, extra in bursts:
        delays[first : first + length] += extra * np.linspace(1, 0, len(delays[first : first + length]))
    clear = np.ones(1500, bool)
    for first, *_ in bursts:
        clear[:90] &= first > 90
    errors = run(DeviceClock(), World(drift), delays)
    assert np.abs(errors[clear & (np.arange(1500) >= 90)] - 0.005).max() < 0.006


def test_a_restarted_device_begins_anew():
    clock, rng = DeviceClock(), np.random.default_rng(3)
    run(clock, World(20.0), 5 + rng.exponential(2.0, 600))
    errors = run(clock, World(20.0, begin_s=-19.0), 5 + rng.exponential(2.0, 600), from_s=20.0)
    assert clock.restarts == 1 and np.abs(errors[60:] - 0.005).max() < 0.003


@pytest.mark.parametrize("step_s", [-3.0, 3.0])
def test_a_host_clock_that_is_set_is_followed(step_s):
    clock, rng = DeviceClock(), np.random.default_rng(4)
    run(clock, World(0.0), 5 + rng.exponential(2.0, 600))
    errors = run(clock, World(0.0), 5 + rng.exponential(2.0, 600), from_s=20.0, host_step_s=step_s)
    assert clock.restarts == 1 and np.abs(errors[100:] - 0.005).max() < 0.003


def test_a_frame_that_was_held_up_keeps_its_old_stamp():
    """It must not become new by arriving."""
    clock = DeviceClock()
    run(clock, World(0.0), np.full(300, 5.0))
    (error,) = run(clock, World(0.0), [3000.0], from_s=10.0)
    assert abs(error - 0.005) < 1e-3 and clock.restarts == 0


def test_global_time_is_taken_as_it_is_and_doubted_where_it_is_wrong():
    good, wrong, late = DeviceClock(), DeviceClock(), DeviceClock()
    for k in range(60):
        exposed = HOST_0 + k * 33 * MS
        assert good.stamp(exposed, exposed + 12 * MS, ClockDomain.GLOBAL) == exposed
        wrong.stamp(exposed + 40 * MS, exposed + 12 * MS, ClockDomain.GLOBAL)
        late.stamp(exposed - 2 * S, exposed + 12 * MS, ClockDomain.GLOBAL)
    assert good.report().doubt == "" and good.report().delay_p50_s == pytest.approx(0.012)
    assert "28 ms before their stamps" in wrong.report().doubt
    assert "2.0 s after their stamps" in late.report().doubt


def test_times_of_arrival_are_no_exposure_times():
    clock = DeviceClock()
    assert clock.stamp(HOST_0, HOST_0 + MS, ClockDomain.SYSTEM) == HOST_0
    assert "no time from the device" in clock.report().doubt
