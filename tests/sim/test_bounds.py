"""Bounds by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from livestream.sim.bounds import bounds_of, file_bound_s, postal_lags_s
from livestream.sim.scenarios import SCENARIOS


def test_the_postal_model_of_three_viewers() -> None:
    # The publisher has sent the 1,000 bits after 1 s, 2 s and 3 s; 0.5 s later each has them. The
    # first to have them, at 1.5 s, takes 0.5 s to send them on: the third has them at 2.5 s, as
    # has the second from the publisher.
    lags = postal_lags_s(1_000, 1_000, [2_000, 0, 0], 0.5)
    assert lags == pytest.approx([1.5, 2.5, 2.5])


def test_who_cannot_send_does_not_shorten_the_way() -> None:
    assert postal_lags_s(100, 100, [0.0] * 4, 0.0) == pytest.approx([1.0, 2.0, 3.0, 4.0])


def test_the_bound_of_a_file() -> None:
    assert file_bound_s(1_000, 8_000, [0.0] * 3, 100_000) == pytest.approx(3.0)
    assert file_bound_s(1_000, 8_000, [16_000.0] * 3, 4_000) == pytest.approx(2.0), "the downlink"


def test_the_publisher_must_send_what_viewers_cannot() -> None:
    poor = replace(SCENARIOS["still"], viewers=10, uplinks=((1.0, 0.5),))
    assert bounds_of(poor)["publisher_upload_x"] == pytest.approx(5.0)
    rich = replace(poor, uplinks=((1.0, 2.0),))
    assert bounds_of(rich)["publisher_upload_x"] == 1.0


def test_the_rate_that_all_uplinks_together_carry() -> None:
    poor = replace(
        SCENARIOS["still"], viewers=4, uplinks=((1.0, 0.5),), publisher_uplink_x=2.0, rate_bps=1_000
    )
    assert bounds_of(poor)["rate_bps"] == 1_000
