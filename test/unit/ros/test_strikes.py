"""A failure now and then is borne, several in a row are not."""

import pytest

from action_images_ros.errors import EngineError
from action_images_ros.ros.strikes import Strikes

FAULT = EngineError("out of memory on cuda")


def test_the_limit_counts_failures_in_a_row():
    strikes = Strikes(3)
    for _ in range(5):
        assert "failure 1 of 3 in a row: out of memory on cuda" in strikes.failure(FAULT)
        assert "failure 2 of 3" in strikes.failure(FAULT)
        strikes.success()
    strikes.failure(FAULT)
    strikes.failure(FAULT)
    with pytest.raises(EngineError, match="3 chunks in a row failed; the last one: out of memory on cuda"):
        strikes.failure(FAULT)
    assert strikes.total == 13


def test_without_a_limit_it_goes_on():
    strikes = Strikes(0)
    assert "failure 200 in a row" in [strikes.failure(FAULT) for _ in range(200)][-1]


def test_one_may_be_too_many():
    with pytest.raises(EngineError, match="1 chunks in a row failed"):
        Strikes(1).failure(FAULT)
