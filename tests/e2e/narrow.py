"""What the tests of narrow links run on their hosts: an echo, and a driver that sends to it."""

from __future__ import annotations

import asyncio
import json
import socket
import sys

from livestream.machine import Address, Train
from livestream.runtime.clock import Clock
from livestream.runtime.udp import UdpDriver
from tests.runtime.test_udp import Mailbox

PORT = 7
LONG = 1_232
ROWS = 10


def echo(host: str) -> None:
    """Send back whatever comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, PORT))
        print(flush=True)  # noqa: T201 - it is told when this one listens.
        while True:
            sock.sendto(*sock.recvfrom(65_535))


async def send(far: str) -> dict[str, object]:
    """Send long trains there and to ourselves, then a probe, then a datagram that is as long."""
    mailbox = Mailbox()
    driver = UdpDriver(mailbox, Clock(), lambda event: None, use_trains=True)
    here = await driver.open(Address("0.0.0.0", 0))  # noqa: S104
    there, near = Address(far, PORT), Address("127.0.0.1", here.port)
    long = b"".join(bytes([row]) * LONG for row in range(ROWS))
    for address in (there, near):
        mailbox.outgoing.append(Train(address, long, LONG))
        driver.drain()
        await mailbox.until(len(mailbox.received) + ROWS)
    split, lost = driver.stats.trains_split, driver.stats.trains_lost
    mailbox.outgoing.append(Train(there, bytes(LONG), LONG, dont_fragment=True))
    mailbox.outgoing.append(Train(there, b"cut me up" * 136, LONG))
    driver.drain()
    await mailbox.until(2 * ROWS + 1)
    driver.close()
    whole = b"".join(mailbox.received[: 2 * ROWS])
    return {
        "is_whole": whole == long + long,
        "split": split,
        "lost": lost,
        "probes_lost": driver.stats.trains_lost - lost,
        "last": mailbox.received[-1][:9].decode(),
        "received": len(mailbox.received),
    }


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(sys.argv[2])
    else:
        print(json.dumps(asyncio.run(send(sys.argv[2]))))  # noqa: T201
