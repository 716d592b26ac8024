"""The error tree: who is to blame decides the branch.

* LivestreamError
    * ProtocolError            a peer broke the rules: drop that peer, never crash
        * MessageDecodeError   its bytes are no message
    * VerificationError        a piece or a head failed its signature: ban the sender
    * StateError               *we* called something in the wrong state: a bug here
    * UserError                for the person at the terminal: what to do next, and an exit code
        * UsageError           2
        * NotFoundError        3   nobody there, within the time given
        * NetworkError         4   network or port
        * KeyMismatchError     5   key, passphrase or signature
        * MediaError           6   a source, a codec, a player
        * MetainfoError        1   a .torrent or a magnet that cannot be
        * UnfinishedError      7   not all of it is here
        * HashMismatchError    8   what is on disk is not what it should be
        * DiskError            1   DiskFullError: 9
        * ExistsError          13
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DiskError",
    "DiskFullError",
    "ExistsError",
    "HashMismatchError",
    "KeyMismatchError",
    "LivestreamError",
    "MediaError",
    "MessageDecodeError",
    "MetainfoError",
    "NetworkError",
    "NotFoundError",
    "ProtocolError",
    "StateError",
    "UnfinishedError",
    "UsageError",
    "UserError",
    "VerificationError",
]


class LivestreamError(Exception):
    """Anything that this project raises on purpose."""


class ProtocolError(LivestreamError):
    """A peer broke the rules of the protocol."""


class MessageDecodeError(ProtocolError):
    """Bytes from a peer are not the message that they should be."""


class VerificationError(LivestreamError):
    """A piece, a head or a certificate is not genuine."""


class StateError(LivestreamError):
    """Our own code called something at the wrong moment."""


class UserError(LivestreamError):
    """What happened, to what, and what to do next, in one or two lines."""

    exit_code: ClassVar[int] = 1


class UsageError(UserError):
    """The command line cannot be carried out as it stands."""

    exit_code = 2


class NotFoundError(UserError):
    """Nobody answered within the time given."""

    exit_code = 3


class NetworkError(UserError):
    """A port is taken, an address does not resolve, a socket is refused."""

    exit_code = 4


class KeyMismatchError(UserError):
    """A key, a passphrase or a signature is wrong."""

    exit_code = 5


class MediaError(UserError):
    """A source cannot be opened or decoded, or no player can be started."""

    exit_code = 6


class MetainfoError(UserError):
    """A .torrent file or a magnet link is not one, or not one that can be trusted."""


class UnfinishedError(UserError):
    """The command ended before all of it was here."""

    exit_code = 7


class HashMismatchError(UserError):
    """Data on disk is not what its hashes say."""

    exit_code = 8


class DiskError(UserError):
    """A file cannot be read or written."""


class DiskFullError(DiskError):
    """No space is left."""

    exit_code = 9


class ExistsError(UserError):
    """Something of that name is there already."""

    exit_code = 13
