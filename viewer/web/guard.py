"""Who may talk to the local page: this machine, or whoever knows the token."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from typing import Final

from aiohttp import web

__all__ = ["CSRF_HEADER", "Guard", "is_loopback"]

CSRF_HEADER: Final = "X-Livestream"
TOKEN_FIELD: Final = "token"  # noqa: S105 - a field's name.
TOKEN_BYTES: Final = 16  # Not to be guessed over any network.
COOKIE_S: Final = 7 * 24 * 3600
LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """Admits requests.

    Invariant: on loopback only this machine's own names are answered (a foreign page can make
    its own name point here: DNS rebinding); elsewhere only those who bring the token, in the URL
    or in the cookie that the URL was traded for. Writes need a header that no foreign page can
    send (CSRF).
    """

    def __init__(self, host: str) -> None:
        self.token = "" if is_loopback(host) else secrets.token_urlsafe(TOKEN_BYTES)
        "What visitors from elsewhere must bring; empty on loopback."
        self._names = {*LOOPBACK_NAMES, f"[{host}]" if ":" in host else host}
        self._cookie = f"livestream-{secrets.token_hex(4)}"  # Cookies are shared between ports.

    def check(self, request: web.Request) -> None:
        """Raises HTTPForbidden, or HTTPFound to trade a token in the page's URL for a cookie."""
        if self.token:
            self._check_token(request)
        elif _name(request.host) not in self._names:
            raise web.HTTPForbidden(text="This page answers only to this machine's own name.\n")
        if request.method not in ("GET", "HEAD") and CSRF_HEADER not in request.headers:
            raise web.HTTPForbidden(text=f"Writes need the header {CSRF_HEADER}.\n")

    def _check_token(self, request: web.Request) -> None:
        given = request.query.get(TOKEN_FIELD, "")
        if self._is_token(given):
            if request.path == "/" and request.method == "GET":
                raise self._trade()
        elif not self._is_token(request.cookies.get(self._cookie, "")):
            raise web.HTTPForbidden(
                text="This page needs the token in the URL that `livestream watch` printed.\n"
            )

    def _trade(self) -> web.HTTPFound:
        """The token leaves the address bar, where shoulders and histories are."""
        answer = web.HTTPFound("/")
        # Not Strict: that would not survive this redirect when the link is in somebody's chat.
        answer.set_cookie(
            self._cookie, self.token, max_age=COOKIE_S, httponly=True, samesite="Lax", path="/"
        )
        return answer

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def _name(host: str) -> str:
    """Take the port off a Host header."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()
