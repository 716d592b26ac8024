"""Pieces in memory: what is used last stays, and nobody's bytes change under his hands."""

from __future__ import annotations

from livestream.runtime.images import SPARES_MAX, ImageCache
from livestream.wire.image import BLOCK_BYTES, BLOCK_HEADER_BYTES, PieceImage

SIZE = 2 * BLOCK_BYTES
IMAGE_BYTES = SIZE + 2 * BLOCK_HEADER_BYTES


def fill(image: PieceImage) -> PieceImage:
    for place in image.places():
        place[:] = bytes([image.index]) * len(place)
    return image


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = ImageCache(2 * IMAGE_BYTES)
    cache.put(PieceImage(1, SIZE))
    cache.put(PieceImage(2, SIZE))
    assert cache.get(1) is not None
    cache.put(PieceImage(3, SIZE))
    assert [index for index in (1, 2, 3) if cache.get(index) is not None] == [1, 3]


def test_a_piece_read_again_takes_the_place_of_its_old_image() -> None:
    cache = ImageCache(2 * IMAGE_BYTES)
    for index in (1, 2, 2, 2):
        cache.put(PieceImage(index, SIZE))
    assert cache.get(1) is not None


def test_memory_is_used_again_once_nobody_looks_at_it() -> None:
    cache = ImageCache(1)
    cache.put(first := fill(cache.make(1, SIZE)))
    buffer = first.buffer
    cache.put(PieceImage(2, SIZE))
    del first
    again = fill(cache.make(3, SIZE))
    assert again.buffer is buffer
    fresh = fill(PieceImage(3, SIZE))
    assert bytes(again.messages(0, 2)) == bytes(fresh.messages(0, 2)), "headers are of the new one"


def test_what_a_connection_has_yet_to_send_is_not_written_over() -> None:
    """It may hold no more than a part of a slice, of an image that is nobody's any more."""
    cache = ImageCache(1)
    cache.put(image := fill(cache.make(1, SIZE)))
    unsent = image.messages(1, 1)[BLOCK_HEADER_BYTES + 5 :]
    cache.put(PieceImage(2, SIZE))
    del image
    for index in range(3, 6):
        fill(cache.make(index, SIZE))
    assert bytes(unsent) == bytes([1]) * (BLOCK_BYTES - 5)


def test_a_last_piece_that_is_shorter_gets_memory_of_its_own_length() -> None:
    cache = ImageCache(1)
    for index in range(3):
        cache.put(cache.make(index, SIZE))
    short = fill(cache.make(7, 100))
    assert (len(short), short.data(0, 100)) == (100 + BLOCK_HEADER_BYTES, bytes([7]) * 100)


def test_few_spares_are_kept() -> None:
    cache = ImageCache(1)
    buffers = []
    for index in range(SPARES_MAX + 4):
        image = PieceImage(index, SIZE)
        buffers.append(image.buffer)
        cache.put(image)
        del image
    made = [cache.make(index, SIZE) for index in range(SPARES_MAX + 1)]
    assert sum(any(each.buffer is old for old in buffers) for each in made) == SPARES_MAX
