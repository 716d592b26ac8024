"""Contents that many stores share, without one that could pass forgeries on."""

from __future__ import annotations

from livestream.sim.contents import Contents, MemoryStore


def test_a_store_holds_what_it_was_given_and_serves_nothing_else() -> None:
    contents = Contents(4, 32 * 1024)
    store = MemoryStore(contents, [1, 3], lambda index, is_genuine: None)
    assert [index for index in range(4) if index in store.held] == [1, 3]
    assert store.image(0) is None
    image = store.image(1)
    assert image is not None
    assert image.data(0, 32 * 1024) == contents.piece(1)


def test_one_wrong_byte_is_a_forgery() -> None:
    contents = Contents(2, 32 * 1024)
    judged: list[tuple[int, bool]] = []
    store = MemoryStore(contents, [], lambda *verdict: judged.append(verdict))
    forged = bytearray(contents.piece(0))
    forged[-1] ^= 1
    store.submit(0, forged)
    store.submit(1, bytearray(contents.piece(1)))
    assert judged == [(0, False), (1, True)]
    assert store.held.held == 0
