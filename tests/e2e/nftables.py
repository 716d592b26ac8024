"""A firewall of nftables that drops UDP: `python -m tests.e2e.nftables input output`.

The rule is `meta l4proto udp drop`, told to the kernel by netlink, as `nft` would (which is not
everywhere). What a program sends and the output hook drops, it is told of: "not permitted".
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

__all__: list[str] = []

# linux/netlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h
NETLINK_NETFILTER: Final = 12
NFNL_SUBSYS_NFTABLES: Final = 10
BATCH_BEGIN, BATCH_END = 0x10, 0x11
ERROR: Final = 2
NEW_TABLE, NEW_CHAIN, NEW_RULE = (NFNL_SUBSYS_NFTABLES << 8 | kind for kind in (0, 3, 6))
REQUEST, ACK, CREATE, APPEND = 0x1, 0x4, 0x400, 0x800
NESTED: Final = 0x8000
INET: Final = 1  # Both IPv4 and IPv6.
HOOKS: Final = {"input": 1, "output": 3}
META_L4PROTO: Final = 16
REGISTER: Final = 1
TABLE: Final = b"tests\0"


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _nest(kind: int, *parts: bytes) -> bytes:
    return _attribute(kind | NESTED, b"".join(parts))


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, value.to_bytes(4, "big"))


def _message(kind: int, flags: int, family: int, body: bytes = b"") -> bytes:
    body = struct.pack(">BBH", family, 0, NFNL_SUBSYS_NFTABLES) + body
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, 1, 0) + body


def _expression(name: bytes, *parts: bytes) -> bytes:
    return _nest(1, _attribute(1, name + b"\0"), _nest(2, *parts))


def _drop_udp(hook: str) -> list[bytes]:
    """Return the messages that make a chain at this hook, and the rule in it."""
    names = _attribute(1, TABLE), _attribute(3, hook.encode() + b"\0")
    place = _nest(4, _number(1, HOOKS[hook]), _number(2, 0))  # Priority 0: that of filters.
    chain = b"".join((*names, place, _attribute(7, b"filter\0")))
    rule = _nest(
        4,
        _expression(b"meta", _number(1, REGISTER), _number(2, META_L4PROTO)),
        _expression(
            b"cmp",
            _number(1, REGISTER),
            _number(2, 0),  # Equal.
            _nest(3, _attribute(1, bytes((socket.IPPROTO_UDP,)))),
        ),
        _expression(b"immediate", _number(1, 0), _nest(2, _nest(2, _number(1, 0)))),  # Drop.
    )
    names = _attribute(1, TABLE), _attribute(2, hook.encode() + b"\0")
    return [
        _message(NEW_CHAIN, ACK | CREATE, INET, chain),
        _message(NEW_RULE, ACK | CREATE | APPEND, INET, b"".join((*names, rule))),
    ]


def main() -> None:
    """Drop UDP at the hooks that are named. Raises OSError where the kernel does not do it."""
    wanted = [_message(NEW_TABLE, ACK | CREATE, INET, _attribute(1, TABLE))]
    for hook in sys.argv[1:]:
        wanted += _drop_udp(hook)
    batch = [_message(BATCH_BEGIN, 0, 0), *wanted, _message(BATCH_END, 0, 0)]
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.bind((0, 0))
        netlink.settimeout(5)
        netlink.sendto(b"".join(batch), (0, 0))
        answered = 0
        while answered < len(wanted):
            data = netlink.recv(65_536)
            while data:
                size, kind = struct.unpack_from("=IH", data)
                code = struct.unpack_from("=i", data, 16)[0] if kind == ERROR else 0
                if code:
                    raise OSError(-code, "the kernel refuses the firewall")
                answered += kind == ERROR
                data = data[size + -size % 4 :]


if __name__ == "__main__":
    main()
