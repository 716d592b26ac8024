"""Messages that wait for a datagram which goes anyway (`Company`)."""

from __future__ import annotations

__all__ = ["Company"]


class Company:
    """What a connection has to say that can wait for company, and until when.

    Invariant: `until` is None exactly when nothing waits.
    """

    __slots__ = ("_messages", "until")

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self.until: int | None = None
        "When the first of them must go, whether anything else does or not (µs)."

    def add(self, message: bytes, by: int) -> None:
        """Let a message wait until `by` (µs)."""
        self._messages.append(message)
        self.until = by if self.until is None else min(by, self.until)

    def take(self) -> list[bytes]:
        """Return all that waits, in order: none of it does any more."""
        if self.until is None:
            return []  # Nearly always: it is asked whenever something goes.
        messages, self._messages = self._messages, []
        self.until = None
        return messages
