"""What a home's line gives to TCP and to the viewer is reckoned from the router's counters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.broadcast import Watched
from benchmarks.household import HOME, Home, Phase, Run, claims, hosts_of, reckon
from benchmarks.star import Sample
from tests.benchmarks.test_broadcast import sample

LINE = Home(viewers=3)
PUBLISHER, OTHER, SERVER = 0, 2, 4
SPANS = {
    "alone": (0.0, 10.0),
    "before": (10.0, 20.0),
    "during": (20.0, 30.0),
    "after": (30.0, 40.0),
}


def samples(source: int, target: int) -> list[Sample]:
    """TCP has 2,000 bytes/s alone and 1,700 beside; the viewer takes 300 and gives 50."""
    got: dict[int, dict[int, float]] = {number: {} for number in range(5)}
    rows = []
    for second in range(41):
        rows.append(
            sample(
                second,
                {
                    number: {source: int(count) for source, count in each.items()}
                    for number, each in got.items()
                },
            )
        )
        tcp = 2_000 if second < 10 else 1_700 if 20 <= second < 30 else 0
        got[target][source] = got[target].get(source, 0) + tcp
        if second >= 10:
            got[HOME][PUBLISHER] = got[HOME].get(PUBLISHER, 0) + 200
            got[HOME][OTHER] = got[HOME].get(OTHER, 0) + 100
            got[OTHER][HOME] = got[OTHER].get(HOME, 0) + 50
    return rows


def viewers(late_during: int) -> dict[int, Watched]:
    def rows(late_at_s: float, late: int) -> list[dict[str, float]]:
        return [
            {
                "at_s": float(at),
                "lag_s": 2.0 if at == 25 else 0.7,
                "children": 5.0 if at < 20 else 1.0,
                "pieces_received": 30.0 * at,
                "pieces_late": 7.0 + late * (at > late_at_s),
            }
            for at in range(41)
        ]

    released_s = [step / 10 for step in range(400) if not 250 <= step < 258]
    return {
        HOME: Watched(rows(22, late_during), released_s),
        OTHER: Watched(rows(32, 9), released_s),
        3: Watched(rows(34, 1), released_s),
    }


def run(*, is_down: bool, late_during: int = 0) -> Run:
    source, target = (SERVER, HOME) if is_down else (HOME, SERVER)
    return reckon(LINE, samples(source, target), viewers(late_during), SPANS, is_down=is_down)


def test_a_download_is_compared_with_what_the_picture_leaves() -> None:
    down = run(is_down=True)
    assert (down.alone_bps, down.beside_bps) == (16_000, 13_600)
    assert down.share == pytest.approx(0.85)
    assert down.share_of_rest == pytest.approx(1.0)
    assert claims(down) == []


def test_an_upload_is_compared_with_what_feeding_leaves() -> None:
    up = run(is_down=False)
    assert up.share == pytest.approx(0.85)
    assert up.share_of_rest == pytest.approx(1_700 / 1_950)
    assert len(claims(up)) == 1
    assert claims(replace(up, beside_bps=15_000)) == []


def test_the_viewer_and_those_whom_it_feeds_are_seen_in_each_phase() -> None:
    down = run(is_down=True, late_during=4)
    assert (down.before.late, down.during.late, down.after.late) == (0, 4, 0)
    assert (down.before.others_late, down.during.others_late, down.after.others_late) == (0, 0, 10)
    assert (down.before.children, down.during.children) == (5, 1)
    assert (down.during.received_bps, down.during.fed_bps) == (2_400, 400)
    assert (down.during.lag_s, down.during.lag_max_s) == (0.7, 2.0)
    assert down.during.gap_s == pytest.approx(0.9)
    assert down.during.pieces == 300
    assert len(claims(down)) == 1, "4 of 300 pieces were late"


def test_a_picture_that_stands_still_breaks_the_claim() -> None:
    good = run(is_down=True)
    still: Phase = replace(good.during, gap_s=1.3)
    assert len(claims(replace(good, during=still))) == 1


def test_the_home_has_its_own_line_and_all_others_have_no_downlink_to_wait_for() -> None:
    hosts = {host.number: host for host in hosts_of(LINE)}
    assert sorted(hosts) == [PUBLISHER, HOME, OTHER, 3, SERVER]
    assert (hosts[HOME].downlink_bps, hosts[HOME].uplink_bps) == (LINE.down_bps, LINE.up_bps)
    assert all(each.downlink_bps is None for number, each in hosts.items() if number != HOME)
    assert len({host.address for host in hosts.values()}) == len(hosts)
