"""The head: the channel's signed newest state, which any viewer can hand to a newcomer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from livestream.errors import MessageDecodeError, VerificationError
from livestream.live.signing import HEAD_DOMAIN, SIGNATURE_SIZE, ChannelKey, Signer
from livestream.media.sample import Track, TrackKind
from livestream.wire import bencode

__all__ = ["HEAD_INTERVAL_US", "KEYFRAMES_MAX", "OFF_AIR_MS", "Head", "KeyframeMark"]

HEAD_BYTES_MAX: Final = 8 * 1024  # A few tracks with their extradata; parameter sets are short.
HEAD_INTERVAL_US: Final = 1_000_000
OFF_AIR_MS: Final = 30_000  # A head older than this is a recording of a channel, not a channel.
KEYFRAMES_MAX: Final = 8
TRACKS_MAX: Final = 16
NAME_BYTES_MAX: Final = 256
SUBSTREAMS_MAX: Final = 32
PAYLOAD_BYTES_MAX: Final = 64 * 1024 - 1  # The piece header's length field.

_MALFORMED: Final = (KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class KeyframeMark:
    """Where decoding can start: the piece in which a key frame's record begins."""

    index: int
    captured_ms: int


@dataclass(frozen=True, slots=True)
class Head:
    """What a newcomer must know, as the publisher signed it. Times are Unix milliseconds."""

    epoch: int
    time_ms: int
    first_index: int
    "The first piece that the publisher still keeps."
    newest_index: int
    "The newest piece; first_index - 1 when there is none yet."
    payload_bytes_max: int
    substreams: int
    rate_bps: int
    "Media rate, for planning uploads."
    is_ended: bool
    name: str
    keyframes: tuple[KeyframeMark, ...]
    "The newest key frames, oldest first."
    tracks: tuple[Track, ...]

    @property
    def order(self) -> tuple[int, int]:
        """Heads compare by this: an older one never replaces a newer one."""
        return self.epoch, self.time_ms

    def sign(self, signer: Signer) -> bytes:
        """Serialise and sign."""
        body = bencode.encode(
            {
                b"e": self.epoch,
                b"t": self.time_ms,
                b"f": self.first_index,
                b"i": self.newest_index + 1,
                b"p": self.payload_bytes_max,
                b"s": self.substreams,
                b"r": self.rate_bps,
                b"x": int(self.is_ended),
                b"n": self.name.encode()[:NAME_BYTES_MAX],
                b"k": [[mark.index, mark.captured_ms] for mark in self.keyframes],
                b"m": [_track_fields(track) for track in self.tracks],
            }
        )
        return signer.sign(HEAD_DOMAIN, body) + body

    @classmethod
    def open(cls, data: bytes, key: ChannelKey) -> Head:
        """Check the signature and parse.

        Raises:
            VerificationError: not signed by the channel's owner.
            MessageDecodeError: signed, but not a head that we understand.
        """
        if not SIGNATURE_SIZE < len(data) <= HEAD_BYTES_MAX:
            raise MessageDecodeError(f"head of {len(data)} bytes")
        body = data[SIGNATURE_SIZE:]
        if not key.verifies(HEAD_DOMAIN, body, data[:SIGNATURE_SIZE]):
            raise VerificationError("head with a wrong signature")
        try:
            return cls._parse(body)
        except _MALFORMED as error:
            raise MessageDecodeError(f"head: {error}") from error

    @classmethod
    def _parse(cls, body: bytes) -> Head:
        fields = bencode.decode(body)
        if not isinstance(fields, dict):
            raise MessageDecodeError("head: no dictionary")
        keyframes, tracks = fields[b"k"], fields[b"m"]
        if not isinstance(keyframes, list) or not isinstance(tracks, list):
            raise MessageDecodeError("head: no lists")
        if len(keyframes) > KEYFRAMES_MAX or not 0 < len(tracks) <= TRACKS_MAX:
            raise MessageDecodeError("head: too many key frames or tracks")
        return cls(
            epoch=_number(fields[b"e"], 0xFFFFFFFF),
            time_ms=_number(fields[b"t"], (1 << 48) - 1),
            first_index=_number(fields[b"f"], 0xFFFFFFFF),
            newest_index=_number(fields[b"i"], 1 << 32) - 1,
            payload_bytes_max=_number(fields[b"p"], PAYLOAD_BYTES_MAX, least=1),
            substreams=_number(fields[b"s"], SUBSTREAMS_MAX, least=1),
            rate_bps=_number(fields[b"r"], 1 << 40, least=1),
            is_ended=bool(_number(fields[b"x"], 1)),
            name=_text(fields[b"n"]),
            keyframes=tuple(_keyframe(mark) for mark in keyframes),
            tracks=tuple(_track(number, track) for number, track in enumerate(tracks)),
        )


def _track_fields(track: Track) -> dict[bytes, bencode.Value]:
    return {
        b"k": track.kind.value.encode(),
        b"c": track.codec.encode(),
        b"r": track.clock_rate,
        b"x": track.extradata,
        b"w": track.width,
        b"h": track.height,
        b"s": track.sample_rate,
        b"n": track.channels,
    }


def _track(number: int, fields: bencode.Value) -> Track:
    if not isinstance(fields, dict):
        raise MessageDecodeError("head: a track is no dictionary")
    extradata = fields[b"x"]
    if not isinstance(extradata, bytes):
        raise MessageDecodeError("head: extradata is no string")
    return Track(
        number=number,
        kind=TrackKind(_text(fields[b"k"])),
        codec=_text(fields[b"c"]),
        clock_rate=_number(fields[b"r"], 1 << 30, least=1),
        extradata=extradata,
        width=_number(fields[b"w"], 1 << 16),
        height=_number(fields[b"h"], 1 << 16),
        sample_rate=_number(fields[b"s"], 1 << 20),
        channels=_number(fields[b"n"], 64),
    )


def _keyframe(mark: bencode.Value) -> KeyframeMark:
    if not isinstance(mark, list) or len(mark) != 2:
        raise MessageDecodeError("head: not a key frame mark")
    return KeyframeMark(_number(mark[0], 0xFFFFFFFF), _number(mark[1], (1 << 48) - 1))


def _number(value: bencode.Value, largest: int, *, least: int = 0) -> int:
    if not isinstance(value, int) or not least <= value <= largest:
        raise MessageDecodeError("head: a number out of range")
    return value


def _text(value: bencode.Value) -> str:
    if not isinstance(value, bytes) or len(value) > NAME_BYTES_MAX:
        raise MessageDecodeError("head: no text")
    return "".join(letter for letter in value.decode("utf-8", "replace") if letter.isprintable())
