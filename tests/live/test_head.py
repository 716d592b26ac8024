"""The head: signed, bounded, and ordered by epoch and time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError, VerificationError
from livestream.live.head import Head, KeyframeMark
from livestream.live.signing import HEAD_DOMAIN, ChannelKey, Signer
from livestream.media.sample import Track, TrackKind

SIGNER = Signer(bytes(range(32)))
KEY = ChannelKey(SIGNER.public_key)
HEAD = Head(
    epoch=1_700_000_000,
    time_ms=1_700_000_005_000,
    first_index=0,
    newest_index=-1,
    payload_bytes_max=8192,
    substreams=8,
    rate_bps=2_500_000,
    is_ended=False,
    name="garden",
    keyframes=(KeyframeMark(3, 1_700_000_004_000),),
    tracks=(
        Track(0, TrackKind.VIDEO, "h264", 90_000, b"\x01avcC", width=1280, height=720),
        Track(1, TrackKind.AUDIO, "aac", 48_000, b"\x11\x90", sample_rate=48_000, channels=2),
    ),
)


def test_a_head_survives_the_wire() -> None:
    assert Head.open(HEAD.sign(SIGNER), KEY) == HEAD


def test_a_changed_or_foreign_head_is_refused() -> None:
    data = bytearray(HEAD.sign(SIGNER))
    data[-3] ^= 1
    with pytest.raises(VerificationError):
        Head.open(bytes(data), KEY)
    with pytest.raises(VerificationError):
        Head.open(HEAD.sign(Signer(bytes(32))), KEY)


@given(st.binary(max_size=200))
def test_signed_nonsense_is_refused_without_harm(body: bytes) -> None:
    with pytest.raises(MessageDecodeError):
        Head.open(SIGNER.sign(HEAD_DOMAIN, body) + body, KEY)


def test_heads_are_ordered_by_epoch_then_time() -> None:
    later = replace(HEAD, time_ms=HEAD.time_ms + 1)
    restarted = replace(HEAD, epoch=HEAD.epoch + 1, time_ms=0)
    assert HEAD.order < later.order < restarted.order
