"""Waiting for room: it is said when there is some, once, and not before."""

from __future__ import annotations

import asyncio
from pathlib import Path

from livestream.runtime.room import WAIT_FIRST_S, Room

ENDLESS = 1 << 62


def looks(folder: Path, *wanted: int, is_closed: bool = False) -> int:
    """Wait for so many bytes of room; returns how often there was room."""

    async def main() -> int:
        found: list[None] = []
        room = Room(folder, lambda: found.append(None))
        for size in wanted:
            room.wait(size)
        if is_closed:
            room.close()
        await asyncio.sleep(1.3 * WAIT_FIRST_S)
        room.close()
        return len(found)

    return asyncio.run(main())


def test_room_is_noticed_once_however_many_pieces_failed(tmp_path: Path) -> None:
    assert looks(tmp_path, 1, 1, 1) == 1


def test_a_disk_without_that_much_room_has_none(tmp_path: Path) -> None:
    assert looks(tmp_path, ENDLESS) == 0


def test_a_folder_that_is_gone_has_none(tmp_path: Path) -> None:
    assert looks(tmp_path / "gone", 1) == 0


def test_a_closed_one_says_nothing_more(tmp_path: Path) -> None:
    assert looks(tmp_path, 1, is_closed=True) == 0
