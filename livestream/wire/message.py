"""What every peer wire message is (BEP 3): an id and a body (`Message`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

__all__ = ["Message"]


class Message(ABC):
    """One message after the handshake; `to_bytes` gives its body: the id and what follows."""

    __slots__ = ()
    ID: ClassVar[int]

    @abstractmethod
    def to_bytes(self) -> bytes:
        """Serialise, without the length prefix."""

    @classmethod
    @abstractmethod
    def parse(cls, body: bytes) -> Message:
        """Parse what follows the id. Raises MessageDecodeError."""
