"""Waiting for room: it is said when there is some, once, and not before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from livestream.runtime.room import WAIT_FIRST_S, Room

ENDLESS = 1 << 62


async def looks(folder: Path, *wanted: int, is_closed: bool = False) -> int:
    """Wait for so many bytes of room; returns how often there was room."""
    found: list[None] = []
    room = Room(folder, lambda: found.append(None))
    for size in wanted:
        room.wait(size)
    if is_closed:
        room.close()
    await asyncio.sleep(1.3 * WAIT_FIRST_S)
    room.close()
    return len(found)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Return how often there was room in each case; all of them wait at the same time."""
    folder = tmp_path_factory.mktemp("room")
    cases = {
        "three pieces": looks(folder, 1, 1, 1),
        "too much": looks(folder, ENDLESS),
        "no folder": looks(folder / "gone", 1),
        "closed": looks(folder, 1, is_closed=True),
    }

    async def main() -> list[int]:
        return await asyncio.gather(*cases.values())

    return dict(zip(cases, asyncio.run(main()), strict=True))


def test_room_is_noticed_once_however_many_pieces_failed(found: dict[str, int]) -> None:
    assert found["three pieces"] == 1


def test_a_disk_without_that_much_room_has_none(found: dict[str, int]) -> None:
    assert found["too much"] == 0


def test_a_folder_that_is_gone_has_none(found: dict[str, int]) -> None:
    assert found["no folder"] == 0


def test_a_closed_one_says_nothing_more(found: dict[str, int]) -> None:
    assert found["closed"] == 0
