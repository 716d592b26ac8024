"""Peer priority: the specification's own examples, and who has the say about our address."""

from __future__ import annotations

import pytest

from livestream.machine import Address
from livestream.swarm.priority import OwnHost, crc32c, peer_priority

US = Address("123.213.32.10", 1)


def test_crc32c_of_the_standard_check() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize(
    ("other", "priority"), [("98.76.54.32", 0xEC2D7224), ("123.213.32.234", 0x99568189)]
)
def test_the_examples_of_bep_40_from_either_end(other: str, priority: int) -> None:
    assert peer_priority(US, Address(other, 2)) == priority
    assert peer_priority(Address(other, 2), US) == priority


def test_of_a_network_that_is_not_ours_the_last_bits_make_no_difference() -> None:
    near, far = Address("98.76.54.32", 1), Address("98.76.182.34", 1)
    assert peer_priority(US, near) == peer_priority(US, far)
    in_16 = [Address(f"123.213.{third}.5", 1) for third in (33, 35)]
    assert peer_priority(US, in_16[0]) != peer_priority(US, in_16[1])


def test_ipv6_is_masked_from_the_seventh_byte_on() -> None:
    ours = Address("2001:db8:1:1::1", 1)
    one, same, other = (
        Address(host, 1) for host in ("2001:db8:2:1::1", "2001:db8:2:3::1", "2001:db8:3:1::1")
    )
    assert peer_priority(ours, one) == peer_priority(ours, same)
    assert peer_priority(ours, one) != peer_priority(ours, other)


def test_on_one_host_ports_decide() -> None:
    assert peer_priority(US, Address(US.host, 9)) == crc32c(b"\x00\x01\x00\x09")


def test_addresses_that_cannot_be_compared_have_none() -> None:
    assert peer_priority(US, Address("2001:db8::1", 1)) is None
    assert peer_priority(US, Address("example.org", 1)) is None


def test_our_address_is_what_most_hosts_say_and_each_has_one_vote() -> None:
    own = OwnHost()
    assert own.hear("192.0.2.1", "198.51.100.1")
    for _ in range(5):
        own.hear("192.0.2.66", "203.0.113.66")
    own.hear("192.0.2.2", "198.51.100.1")
    assert own.host == "198.51.100.1"
    for voter in range(100, 140):
        own.hear(f"192.0.2.{voter}", "198.51.100.2")
    assert own.host == "198.51.100.2", "it has changed"
