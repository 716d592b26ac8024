"""Addresses as people write them, and which of this machine's others can reach."""

from __future__ import annotations

import os
import re
import socket
from ipaddress import ip_address
from typing import Final

from livestream.errors import NetworkError, UsageError
from livestream.machine import Address

__all__ = ["is_address", "parse_address", "reachable_host", "reason_of", "resolve"]

# TEST-NET-1 (RFC 5737). Connecting a UDP socket sends nothing; it only picks the route.
_ELSEWHERE: Final = ("192.0.2.1", 9)
REASON_MAX: Final = 200
_PORT: Final = re.compile(r"[0-9]{1,5}")  # str.isdigit would take ² too.


def parse_address(text: str) -> Address:
    """Parse HOST:PORT or [IPV6]:PORT. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        raise UsageError(f"{text!r} is no HOST:PORT. For example 127.0.0.1:7000 or [::1]:7000.")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - as the user asked.


def reachable_host(listen_host: str) -> str:
    """Return the host to put into links: the one listened on, or that of the default route."""
    if listen_host not in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound.
        return listen_host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def reason_of(error: BaseException) -> str:
    """Return what went wrong on the network, in the system's words and without its numbers."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error or type(error).__name__)[:REASON_MAX]


def is_address(host: str) -> bool:
    """Whether a host is an IP address as it stands, and no name."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def resolve(address: Address) -> Address:
    """Return the address with a literal host. Raises NetworkError."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    except (OSError, ValueError) as error:  # ValueError: a name that no DNS could hold.
        reason = getattr(error, "strerror", None) or "not a host name"
        raise NetworkError(
            f"{address.host[:70]} does not resolve ({reason}). Check the name."
        ) from error
    # IPv4 first: an IPv6 socket reaches it too, an IPv4 socket nothing else.
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    host, port = found[0][4][:2]
    return Address(str(host), int(port))
