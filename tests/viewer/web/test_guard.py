"""Who is let in, by the host that is listened on."""

from __future__ import annotations

import pytest

from viewer.web.guard import Guard, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    assert Guard(host).token == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])  # noqa: S104
def test_everything_else_has_a_token_of_its_own_that_nobody_guesses(host: str) -> None:
    first, second = Guard(host).token, Guard(host).token
    assert len(first) >= 22
    assert first != second
