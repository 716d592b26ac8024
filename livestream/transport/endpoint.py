"""The UDP endpoint: tells the datagrams of one socket apart (`Endpoint`)."""

from __future__ import annotations

from random import Random

from livestream.config import Identity, TransportConfig
from livestream.machine import Machine, Train, earliest
from livestream.transport.allowance import Allowance, Budget
from livestream.transport.connection import ConnectionEvent
from livestream.transport.precedence import Precedence
from livestream.transport.quics import QuicEndpoint
from livestream.transport.utp.endpoint import UtpEndpoint
from livestream.transport.utp.packet import is_utp

__all__ = ["Endpoint"]


class Endpoint(Machine):
    """QUIC and µTP on one socket, by the first byte; a µTP SYN looks like QUIC's short header.

    Invariant: whichever gets a train gets all datagrams of it that are its own, in order.
    """

    def __init__(
        self,
        identity: Identity,
        config: TransportConfig,
        rng: Random,
        allowance: Allowance | None = None,
        precedence: Precedence | None = None,
        *,
        answers: Budget | None = None,
    ) -> None:
        """Take what may be shared with the node's other endpoints.

        Args:
            identity: Who this node is.
            config: Its settings.
            rng: The entropy.
            allowance: Caps what µTP's streams are given; None: no cap.
            precedence: Knows which flows go first; None: only this endpoint's are asked.
            answers: Caps what QUIC's callers are sent until they are connected; None: no cap.
        """
        precedence = precedence or Precedence()
        self.quic = QuicEndpoint(identity, config, rng, precedence, answers)
        self.utp = UtpEndpoint(config, rng, allowance, precedence)

    def receive_train(self, train: Train, now: int) -> None:
        """Take datagrams in."""
        if self.utp.receive_run(train, now):
            return
        runs: list[tuple[bool, list[bytes]]] = []
        for datagram in train.datagrams():
            for_utp = is_utp(datagram) and not self.quic.knows(datagram)
            if not runs or runs[-1][0] is not for_utp:
                runs.append((for_utp, []))
            runs[-1][1].append(datagram)
        for for_utp, datagrams in runs:
            whole = len(runs) == 1
            data = train.data if whole else b"".join(datagrams)
            part = Train(train.address, data, train.datagram_size, waited_us=train.waited_us)
            (self.utp if for_utp else self.quic).receive_train(part, now)

    def trains_to_send(self, now: int) -> list[Train]:
        """Return what must go out now."""
        return self.quic.trains_to_send(now) + self.utp.trains_to_send(now)

    def get_timer(self) -> int | None:
        """Return when `handle_timer` wants to be called."""
        return earliest(self.quic.get_timer(), self.utp.get_timer())

    def handle_timer(self, now: int) -> None:
        """Do what is due."""
        self.quic.handle_timer(now)
        self.utp.handle_timer(now)

    def next_event(self) -> ConnectionEvent | None:
        """Return the oldest event that was not yet taken, or None."""
        return self.quic.next_event() or self.utp.next_event()
