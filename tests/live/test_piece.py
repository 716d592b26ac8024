"""A live piece verifies alone, and any change to it shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.live.piece import LivePiece
from livestream.live.signing import ChannelKey, Signer
from livestream.media.records import NO_RECORD, Payload, PayloadFlags

SIGNER = Signer(bytes(range(32)))
KEY = ChannelKey(SIGNER.public_key)
PAYLOAD = Payload(1_700_000_000_123, PayloadFlags.KEYFRAME, 0, b"record bytes")


@given(
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, (1 << 48) - 1),
    st.binary(min_size=1, max_size=300),
)
def test_a_piece_survives_the_wire(epoch: int, index: int, captured_ms: int, data: bytes) -> None:
    payload = Payload(captured_ms, PayloadFlags(0), NO_RECORD, data)
    piece = LivePiece.sign(SIGNER, epoch, index, payload)
    parsed = LivePiece.parse(piece.to_bytes())
    assert parsed == piece
    assert parsed.is_signed_by(KEY)


def test_no_bit_of_a_piece_can_be_changed() -> None:
    data = LivePiece.sign(SIGNER, 7, 9, PAYLOAD).to_bytes()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            piece = LivePiece.parse(bytes(changed))
        except MessageDecodeError:
            continue
        assert not piece.is_signed_by(KEY), f"byte {at}"


def test_another_channels_signature_is_worth_nothing() -> None:
    piece = LivePiece.sign(Signer(bytes(32)), 7, 9, PAYLOAD)
    assert not piece.is_signed_by(KEY)


@pytest.mark.parametrize("cut", [0, 10, 82, -1])
def test_a_truncated_piece_is_refused(cut: int) -> None:
    with pytest.raises(MessageDecodeError):
        LivePiece.parse(LivePiece.sign(SIGNER, 7, 9, PAYLOAD).to_bytes()[:cut])
