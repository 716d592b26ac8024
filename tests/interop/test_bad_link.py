"""Torrents both ways with libtorrent over µTP alone, through a link that loses and reorders."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.torrent import make
from benchmarks.utp import PIECE_LENGTH, through_link

pytestmark = [pytest.mark.e2e, pytest.mark.long]

THEIRS, OURS = "libtorrent-utp-stock", "ours-utp"


@pytest.mark.parametrize(
    ("seed", "leecher"), [(THEIRS, OURS), (OURS, THEIRS), (OURS, OURS)], ids=str
)
def test_what_comes_through_a_bad_link_is_identical(
    tmp_path: Path, seed: str, leecher: str
) -> None:
    make(tmp_path, 8 << 20, PIECE_LENGTH)
    assert through_link(seed, leecher, tmp_path, 50_000_000, 0.02).is_same
