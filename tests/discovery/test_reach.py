"""Where URLs of strangers may lead."""

from __future__ import annotations

import pytest

from livestream.discovery.reach import Purpose, Zone, is_literal, zone_of, zones_allowed


@pytest.mark.parametrize(
    ("host", "zone"),
    [
        ("1.1.1.1", Zone.GLOBAL),
        ("2606:4700::1111", Zone.GLOBAL),
        ("10.1.2.3", Zone.PRIVATE),
        ("172.16.0.1", Zone.PRIVATE),
        ("192.168.1.1", Zone.PRIVATE),
        ("100.64.0.1", Zone.PRIVATE),
        ("fd00::1", Zone.PRIVATE),
        ("127.0.0.1", Zone.LOOPBACK),
        ("127.8.8.8", Zone.LOOPBACK),
        ("::1", Zone.LOOPBACK),
        ("::ffff:127.0.0.1", Zone.LOOPBACK),
        ("::ffff:192.168.1.1", Zone.PRIVATE),
        ("64:ff9b::7f00:1", Zone.LOOPBACK),
        ("2002:7f00:1::", Zone.LOOPBACK),
        ("2002:a00:1::", Zone.PRIVATE),
        ("0.0.0.0", Zone.SPECIAL),  # noqa: S104 - Linux takes it for loopback.
        ("::", Zone.SPECIAL),
        ("169.254.169.254", Zone.SPECIAL),
        ("::ffff:169.254.169.254", Zone.SPECIAL),
        ("fe80::1%lo", Zone.SPECIAL),
        ("224.0.0.1", Zone.SPECIAL),
        ("127.1", Zone.SPECIAL),
        ("2130706433", Zone.SPECIAL),
        ("example.org", Zone.SPECIAL),
    ],
)
def test_zones_of_addresses_in_every_disguise(host: str, zone: Zone) -> None:
    assert zone_of(host) is zone


def test_what_a_socket_takes_for_an_address_is_judged_as_one() -> None:
    literals = ["127.0.0.1", "127.1", "2130706433", "::1", "fe80::1%lo", "127.0.0.1."]
    assert all(map(is_literal, literals))
    assert not any(map(is_literal, ["localhost", "a1.example", "0x7f.1"]))


OUTSIDE = {Zone.GLOBAL}
NETWORK = {Zone.GLOBAL, Zone.PRIVATE}
MACHINE = {Zone.GLOBAL, Zone.LOOPBACK}
INSIDE = {Zone.GLOBAL, Zone.PRIVATE, Zone.LOOPBACK}


@pytest.mark.parametrize(
    ("url", "purpose", "zones"),
    [
        ("http://h/announce", Purpose.TRACKER, INSIDE),
        ("http://h:1/announce.php", Purpose.TRACKER, INSIDE),
        ("http://h/scrape", Purpose.TRACKER, INSIDE),
        ("http://h/announce?reboot=1", Purpose.TRACKER, MACHINE),
        ("http://h/admin", Purpose.TRACKER, NETWORK),
        ("http://h/announce/../admin", Purpose.TRACKER, NETWORK),
        ("http://h/announce/%2e%2e/admin", Purpose.TRACKER, NETWORK),
        ("http://h/admin?reboot=1", Purpose.TRACKER, OUTSIDE),
        ("http://h", Purpose.TRACKER, NETWORK),
        ("udp://h:1", Purpose.TRACKER, INSIDE),
        ("http://h/files/a.iso", Purpose.WEB_SEED, INSIDE),
        ("http://h/admin?reboot=1", Purpose.WEB_SEED, OUTSIDE),
        ("http://h/announce?reboot=1", Purpose.WEB_SEED, OUTSIDE),
        ("http://[::1/announce", Purpose.TRACKER, set()),
    ],
)
def test_a_strangers_url_says_nothing_of_its_own_to_what_is_inside(
    url: str, purpose: Purpose, zones: set[Zone]
) -> None:
    assert zones_allowed(url, purpose, is_trusted=False) == zones
    assert zones_allowed(url, purpose, is_trusted=True) == set(Zone)
