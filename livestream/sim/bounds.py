"""What no design can beat in a scenario: printed beside every figure."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from livestream.live.piece import PIECE_OVERHEAD
from livestream.sim.links import wire_size
from livestream.sim.scenario import Scenario
from livestream.sim.source import payload_bytes
from livestream.wire.messages import Piece

__all__ = ["bounds_of", "file_bound_s", "lag_bounds_s", "postal_lags_s"]


def bounds_of(scenario: Scenario) -> dict[str, float]:
    """Return the bound of each figure that has one, under the figure's name."""
    uplinks = _uplinks(scenario)
    count, rate = max(scenario.viewers, 1), scenario.rate_bps
    publisher = scenario.publisher_uplink_x * rate
    rate_max = min(publisher, (publisher + sum(uplinks)) / count)
    lags = lag_bounds_s(scenario)
    return {
        "rate_bps": round(rate_max),
        "publisher_upload_x": round(max(rate, count * rate - sum(uplinks)) / rate, 3),
        "lag_p50_s": round(_at(lags, 0.5), 3),
        "lag_p99_s": round(_at(lags, 0.99), 3),
        "continuity": 1.0,
        "duplicate_share": 0.0,
        "overhead_share": round(_piece_wire_bytes(scenario) / _payload_bytes(scenario) - 1, 4),
        "rate_share": 1.0,
        "start_s": round(4 * _delay_s(scenario) + scenario.gop_s, 3),
    }


def lag_bounds_s(scenario: Scenario) -> list[float]:
    """Return the least lag of each viewer, by the postal model at the mean delay."""
    publisher = scenario.publisher_uplink_x * scenario.rate_bps
    bits = _piece_wire_bytes(scenario) * 8
    return postal_lags_s(bits, publisher, _uplinks(scenario), _delay_s(scenario))


def postal_lags_s(
    bits: float, publisher_bps: float, uplinks_bps: Sequence[float], delay_s: float
) -> list[float]:
    """Return when each viewer can hold a piece at best: the postal model.

    Each holder sends a copy every T = bits / uplink, and whoever gets it holds it T + delay later;
    the quickest uplinks are served first. Those that nobody can reach have no lag.
    """
    ready: list[tuple[float, int, float]] = []
    heappush(ready, (bits / publisher_bps, 0, bits / publisher_bps))
    lags: list[float] = []
    for number, uplink in enumerate(sorted(uplinks_bps, reverse=True), start=1):
        sent_at, sender, interval = heappop(ready)
        heappush(ready, (sent_at + interval, sender, interval))
        lags.append(sent_at + delay_s)
        if uplink > 0:
            heappush(ready, (lags[-1] + bits / uplink, number, bits / uplink))
    return lags


def file_bound_s(
    size_bytes: int, seed_bps: float, uplinks_bps: Sequence[float], downlink_bps: float
) -> float:
    """Return the least time in which a file reaches all: max(F/u_s, F/d_min, N·F/(u_s + Σu))."""
    bits = size_bytes * 8
    together = seed_bps + sum(uplinks_bps)
    return max(bits / seed_bps, bits / downlink_bps, len(uplinks_bps) * bits / together)


def _delay_s(scenario: Scenario) -> float:
    return (scenario.delay_ms_min + scenario.delay_ms_max) / 2_000


def _payload_bytes(scenario: Scenario) -> int:
    return payload_bytes(scenario.rate_bps, scenario.piece_bytes)


def _piece_wire_bytes(scenario: Scenario) -> int:
    """Return what a full piece is on the wire."""
    message = Piece(0, 0, bytes(_payload_bytes(scenario) + PIECE_OVERHEAD)).to_bytes()
    return wire_size(len(message))


def _uplinks(scenario: Scenario) -> list[float]:
    count = max(scenario.viewers, 1)
    giving = 1.0 - scenario.free_rider_share - scenario.liar_share
    uplinks: list[float] = []
    for share, multiple in scenario.uplinks:
        uplinks += [giving * multiple * scenario.rate_bps] * round(share * count)
    return (uplinks + [0.0] * count)[:count]


def _at(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
