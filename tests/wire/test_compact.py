"""Compact peers: both families come back, and no other length is a list of peers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import MessageDecodeError
from livestream.machine import Address
from livestream.wire.compact import decode_peers, encode_peers

ports = st.integers(1, 65535)
v4 = st.builds(Address, st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n))), ports)
v6 = st.builds(Address, st.integers(0, 2**128 - 1).map(lambda n: str(IPv6Address(n))), ports)


@given(st.lists(v4, max_size=5), st.lists(v6, max_size=5))
def test_peers_of_both_families_come_back_in_order(four: list[Address], six: list[Address]) -> None:
    mixed = [peer for pair in zip(six, four, strict=False) for peer in pair]
    mixed += six[len(four) :] + four[len(six) :]
    packed4, packed6 = encode_peers(mixed)
    assert (len(packed4), len(packed6)) == (6 * len(four), 18 * len(six))
    assert decode_peers(packed4, packed6) == four + six


def test_a_peer_is_laid_out_as_in_bep_23() -> None:
    assert encode_peers([Address("1.2.3.4", 6881)]) == (bytes.fromhex("010203041ae1"), b"")


def test_the_scope_of_a_link_local_address_stays_here() -> None:
    assert encode_peers([Address("fe80::1%eth0", 7)]) == encode_peers([Address("fe80::1", 7)])


def test_nobody_listens_on_port_0() -> None:
    assert decode_peers(b"\x01\x02\x03\x04\0\0" + b"\x01\x02\x03\x04\0\x07", bytes(18)) == [
        Address("1.2.3.4", 7)
    ]


@pytest.mark.parametrize("size", [1, 5, 7, 11, 17, 19])
def test_a_part_of_a_peer_is_refused(size: int) -> None:
    if size % 6:
        with pytest.raises(MessageDecodeError):
            decode_peers(bytes(size), b"")
    with pytest.raises(MessageDecodeError):
        decode_peers(b"", bytes(size))
