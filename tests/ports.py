"""Ports for programs that have to be told one, and that others on this machine do not take."""

from __future__ import annotations

import socket
from random import Random
from typing import Final

from livestream.machine import Address

# Linux gives ports from 32768 on to callers, and to whoever asks for any: what is free below that
# is not given to another test before the program has it.
PORTS: Final = range(10_000, 32_000)
TRIES: Final = 100


def free_address() -> Address:
    """Return an address on loopback where nobody listens, over TCP or UDP."""
    rng = Random()  # Tests that run beside this one must not try the same in the same order.
    for port in rng.sample(PORTS, TRIES):
        address = Address("127.0.0.1", port)
        if _is_free(address, socket.SOCK_STREAM) and _is_free(address, socket.SOCK_DGRAM):
            return address
    raise AssertionError(f"{TRIES} ports of 127.0.0.1 are all in use")


def _is_free(address: Address, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(address)
        except OSError:
            return False
    return True
