"""Intervals and paired tests against published values and against chance itself."""

import numpy as np
import pytest

from action_images_ros.errors import ConfigError
from action_images_ros.metrics.intervals import wilson
from action_images_ros.metrics.paired import PairedTable


@pytest.mark.parametrize(("successes", "n", "low", "high"), [
    (5, 10, 0.2366, 0.7634), (0, 20, 0.0, 0.1611), (47, 50, 0.8378, 0.9794)])
def test_wilson_interval(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=2e-4)


def test_wilson_refuses_what_is_no_proportion():
    with pytest.raises(ConfigError, match="3 successes of 2"):
        wilson(3, 2)


def test_mcnemar_is_exact():
    """Of 14 episodes in which they differ the first wins 12: 2 (1 + 14 + 91) / 2^14."""
    assert PairedTable(20, 12, 2, 16).p_value == pytest.approx(212 / 2**14)
    assert PairedTable(20, 2, 12, 16).p_value == pytest.approx(212 / 2**14)
    assert PairedTable(30, 0, 0, 20).p_value == 1.0
    assert PairedTable(0, 5, 5, 0).p_value == 1.0
    assert PairedTable(10, 30, 0, 10).p_value == pytest.approx(2 / 2**30)


def test_the_interval_of_a_difference():
    """20, 12, 2, 16 is the usual example of Newcombe's method 10: 5.6 to 32.9 points."""
    assert PairedTable(20, 12, 2, 16).interval == pytest.approx((0.0562, 0.3292), abs=1e-4)
    low, high = PairedTable(20, 2, 12, 16).interval
    assert (low, high) == pytest.approx((-0.3292, -0.0562), abs=1e-4)
    same, independent = PairedTable(14, 0, 0, 36).interval, PairedTable(4, 10, 10, 26).interval
    assert same[1] == pytest.approx(-same[0]) and same[1] < 0.5 * independent[1], "agreement narrows it"
    assert PairedTable(0, 10, 0, 0).interval[1] == 1.0


def test_the_interval_holds_the_truth_about_95_times_in_a_hundred():
    rng, shares = np.random.default_rng(0), np.array([0.3, 0.35, 0.1, 0.25])
    held = 0
    for counts in rng.multinomial(50, shares, 400):
        low, high = PairedTable(*map(int, counts)).interval
        held += low <= 0.25 <= high
    assert 0.92 < held / 400 < 0.985


def test_a_table_is_counted_episode_by_episode():
    table = PairedTable.of([True, True, False, False, True], [True, False, True, False, False])
    assert table == PairedTable(1, 2, 1, 1) and table.n == 5
    assert table.difference == pytest.approx(0.2)


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(ConfigError, match="2 and 1 episodes"):
        PairedTable.of([True, False], [True])
    with pytest.raises(ConfigError, match="at least one"):
        PairedTable(0, 0, 0, 0)
