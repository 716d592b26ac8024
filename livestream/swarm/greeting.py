"""The extension handshake (BEP 10): which extensions a peer speaks, and who it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from livestream.errors import MessageDecodeError
from livestream.machine import Address
from livestream.wire import bencode

__all__ = ["CLIENT_NAME", "Greeting", "extension_handshake", "read_extension_handshake"]

CLIENT_NAME: Final = "livestream 0.1.0"
HANDSHAKE_BYTES_MAX: Final = 16 * 1024
EXTENSIONS_MAX: Final = 64  # No client offers half as many.
CLIENT_CHARACTERS_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class Greeting:
    """What an extension handshake says."""

    client: str
    extensions: dict[str, int]
    "The ids under which the sender receives each extension."
    fields: Mapping[bytes, bencode.Value]
    "Everything in it, unchecked."

    @property
    def your_host(self) -> str | None:
        """The address at which the sender sees us, if it says so."""
        packed = self.fields.get(b"yourip")
        if not isinstance(packed, bytes) or len(packed) not in (4, 16):
            return None
        return str(ip_address(packed))

    @property
    def listen_port(self) -> int | None:
        """Where the sender takes TCP calls, if it says so."""
        port = self.fields.get(b"p")
        return port if isinstance(port, int) and 0 < port < 65_536 else None


def extension_handshake(
    names: Sequence[str], address: Address, fields: Mapping[bytes, bencode.Value]
) -> bytes:
    """Return our handshake: we receive the i-th of `names` under id i + 1.

    `address` is the other side's: it learns how the world sees it ("yourip").
    """
    return bencode.encode(
        {
            **fields,
            b"m": {name.encode(): number for number, name in enumerate(names, start=1)},
            b"v": CLIENT_NAME.encode(),
            b"yourip": ip_address(address.host.partition("%")[0]).packed,
        }
    )


def read_extension_handshake(payload: bytes) -> Greeting:
    """Parse the other side's.

    Raises:
        MessageDecodeError: not a handshake.
    """
    if len(payload) > HANDSHAKE_BYTES_MAX:
        raise MessageDecodeError(f"extension handshake of {len(payload)} bytes")
    fields = bencode.decode(payload, allow_unsorted=True)
    offered = fields.get(b"m") if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or not isinstance(offered, dict):
        raise MessageDecodeError("extension handshake without extensions")
    if len(offered) > EXTENSIONS_MAX:
        raise MessageDecodeError(f"extension handshake with {len(offered)} extensions")
    extensions = {
        name.decode("utf-8", "replace"): number
        for name, number in offered.items()
        if isinstance(number, int) and 0 < number < 256
    }
    client = fields.get(b"v", b"")
    name = client.decode("utf-8", "replace") if isinstance(client, bytes) else ""
    printable = "".join(letter for letter in name if letter.isprintable())
    return Greeting(printable[:CLIENT_CHARACTERS_MAX], extensions, fields)
