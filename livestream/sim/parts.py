"""What channels of a simulation are put together from, and how their owners behave."""

from __future__ import annotations

from enum import Enum
from random import Random

from mypy_extensions import mypyc_attr

from livestream.config import LiveConfig
from livestream.live.channel import Channel
from livestream.live.choker import LiveChoker
from livestream.live.parts import Parts
from livestream.live.signing import ChannelKey
from livestream.live.window import LiveVerifier, LiveWindow
from livestream.pieces.bitfield import SlidingBitfield
from livestream.sim.signatures import Notary, NotaryKey, NotaryVerifier, SharedWindow
from livestream.swarm.peer import Peer

__all__ = ["Role", "SimParts"]


class Role(Enum):
    """How somebody behaves, whatever the design."""

    HONEST = "honest"
    FREE_RIDER = "free rider"
    "Takes, and gives nothing."
    POLLUTER = "polluter"
    "Hands out forgeries."
    LIAR = "liar"
    "Claims what it does not have, and gives nothing."

    @property
    def is_attacker(self) -> bool:
        """Whether it is there to do harm, and not to watch."""
        return self is Role.POLLUTER or self is Role.LIAR


@mypyc_attr(allow_interpreted_subclasses=True)
class SimParts(Parts):
    """The parts of the product, but for signatures, which are remembered across nodes."""

    def __init__(self, notary: Notary, role: Role, rng: Random) -> None:
        """Take whose word counts, how the owner behaves, and its entropy."""
        self._notary = notary
        self._role = role

    def adopt(self, channel: Channel) -> None:
        """Take note of the channel that was put together; most designs need not."""

    def make_key(self, raw: bytes) -> ChannelKey:
        """Return a key that asks the notary."""
        return NotaryKey(raw, self._notary)

    def make_window(self, span_us: int) -> LiveWindow:
        """Return a window that shares its bytes."""
        if self._role is Role.POLLUTER:
            return _PollutingWindow(span_us, self._notary)
        if self._role is Role.LIAR:
            return _LyingWindow(span_us, self._notary)
        return SharedWindow(span_us, self._notary)

    def make_verifier(self, key: ChannelKey, window: LiveWindow) -> LiveVerifier:
        """Return a verifier that asks the notary."""
        return NotaryVerifier(key, window, self._notary)

    def make_choker(
        self, window: LiveWindow, config: LiveConfig, *, upload_bps: int | None, is_source: bool
    ) -> LiveChoker:
        """Return the choker of the role."""
        kind = _GivingNothing if self._role is Role.FREE_RIDER else LiveChoker
        return kind(window, config, upload_bps=upload_bps, is_source=is_source)


class _PollutingWindow(SharedWindow):
    """Hands out every piece with its last byte changed."""

    def get(self, index: int) -> bytes | None:
        data = super().get(index)
        return None if data is None else data[:-1] + bytes((data[-1] ^ 1,))


class _AllHeld(SlidingBitfield):
    """Says of every piece up to the newest that it is held."""

    __slots__ = ()

    def bits_from(self, start: int) -> int:
        return (1 << max(0, self.end - start)) - 1


class _LyingWindow(SharedWindow):
    """Claims all, gives nothing."""

    def __init__(self, span_us: int, notary: Notary) -> None:
        super().__init__(span_us, notary)
        self.held = _AllHeld()

    def get(self, index: int) -> bytes | None:
        return None


class _GivingNothing(LiveChoker):
    """Feeds nobody, and answers nobody."""

    def start(self, substreams: int, rate_bps: int) -> None:
        super().start(substreams, rate_bps)
        self._slots = self._slots_max = 0

    def serves(self, peer: Peer, index: int, now: int) -> bool:
        return False
