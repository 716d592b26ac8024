"""The transport benchmark's transfers are whole, and its table says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.clients import fetch
from benchmarks.memory import flow
from benchmarks.torrent import make
from benchmarks.transfers import Transfer
from benchmarks.transport import FLOWS, LT_TCP, OUR_TCP, OUR_UTP, TORRENTS, Row, ratios, report

MIB = 1 << 20
LIMIT_S = 20.0


def _took(mb_per_s: float, cpu_s: float) -> Transfer:
    return Transfer(1_000_000_000, 1000 / mb_per_s, cpu_s, cpu_s, 50, 60, 0, 0.0, 1000 / mb_per_s)


def _rows() -> dict[str, Row]:
    def nothing() -> Transfer:
        raise RuntimeError("nothing came")

    return {title: Row(title, nothing, 1_000_000_000) for title in [*TORRENTS, *FLOWS]}


@pytest.mark.e2e
@pytest.mark.parametrize("transport", ["plain", "tcp", "quic", "utp"])
def test_bytes_flow_from_memory_to_memory(transport: str) -> None:
    took = flow(transport, 2 * MIB, LIMIT_S)
    assert took.size >= 2 * MIB
    assert 0 < took.seconds < LIMIT_S


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("seed", "leecher"),
    [
        ("libtorrent-utp", "libtorrent-utp"),
        ("libtorrent-tcp", "ours-tcp"),
        ("ours-utp", "libtorrent-utp"),
    ],
)
def test_a_torrent_comes_whole(tmp_path: Path, seed: str, leecher: str) -> None:
    make(tmp_path, 4 * MIB)
    assert fetch(seed, leecher, tmp_path, LIMIT_S).size == 4 * MIB


def test_ratios_are_of_medians_and_of_both_sides_cpu() -> None:
    rows = _rows()
    rows[OUR_TCP].took = [_took(mb_per_s, 1) for mb_per_s in (100, 400, 900)]
    rows[LT_TCP].took = [_took(200, 4)]
    assert ratios(rows) == {f"{OUR_TCP} / {LT_TCP}": {"speed": 2.0, "cpu": 0.25}}


def test_what_failed_is_said_and_has_no_ratio() -> None:
    rows = _rows()
    rows[OUR_UTP].run()
    rows[LT_TCP].took = [_took(200, 4)]
    lines = report(rows, LIMIT_S).splitlines()
    assert f"{OUR_UTP:26}  failed: nothing came" in lines
    assert any(line.startswith(f"{OUR_UTP} / {LT_TCP}") and line.endswith("-") for line in lines)


def test_a_transfer_that_was_ended_is_marked() -> None:
    rows = _rows()
    rows[LT_TCP].size *= 2
    rows[LT_TCP].took = [_took(200, 4)]
    text = report(rows, LIMIT_S)
    assert any(line.startswith(LT_TCP) and line.endswith("cut") for line in text.splitlines())
    assert "ended after 20 s" in text
