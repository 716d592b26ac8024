"""The allowed fast set: the specification's own examples, and the odd cases."""

from __future__ import annotations

from livestream.swarm.fastset import allowed_fast_set

INFO_HASH = b"\xaa" * 20
EXAMPLE = [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]


def test_the_examples_of_bep_6() -> None:
    assert allowed_fast_set("80.4.4.200", INFO_HASH, 1313, 7) == EXAMPLE[:7]
    assert allowed_fast_set("80.4.4.200", INFO_HASH, 1313, 9) == EXAMPLE


def test_another_address_of_the_network_brings_no_other_pieces() -> None:
    assert allowed_fast_set("80.4.4.7", INFO_HASH, 1313, 9) == EXAMPLE
    assert allowed_fast_set("80.4.5.200", INFO_HASH, 1313, 9) != EXAMPLE


def test_a_small_torrent_is_allowed_whole_and_ipv6_has_no_set() -> None:
    assert allowed_fast_set("80.4.4.200", INFO_HASH, 3, 10) == [0, 1, 2]
    assert sorted(allowed_fast_set("80.4.4.200", INFO_HASH, 11, 10)) != list(range(11))
    assert allowed_fast_set("2001:db8::1", INFO_HASH, 1313, 10) == []
