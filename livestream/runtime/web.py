"""Requests to the web servers that torrents name: guarded, bounded, a few redirects at most."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from livestream.discovery.reach import Purpose, Zone, is_literal, zone_of, zones_allowed
from livestream.errors import NetworkError

__all__ = ["Reply", "WebClient"]

REDIRECTS_MAX: Final = 5
URL_MAX: Final = 8_192
NAMES_MAX: Final = 1_000  # Hosts remembered as public; a torrent names a few.
USER_AGENT: Final = "livestream/0.1.0"
_REDIRECTS: Final = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered."""

    status: int
    body: bytes
    is_inside: bool
    "The server is on this machine or its own network, not on the internet."


class _Resolver(AbstractResolver):
    """Resolves names to addresses in some zones only: what is checked is what is connected to."""

    def __init__(self, allowed: frozenset[Zone], public: dict[str, None]) -> None:
        self._allowed = allowed
        self._public = public

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        except ValueError as error:  # A name that no DNS could hold.
            raise OSError(f"{host[:70]} is no host name") from error
        results: list[ResolveResult] = []
        for kind, _, protocol, _, address in found:
            zone = zone_of(str(address[0]))
            if zone is Zone.GLOBAL:
                self._remember(host)
            if zone in self._allowed:
                results.append(
                    ResolveResult(
                        hostname=host,
                        host=str(address[0]),
                        port=int(address[1]),
                        family=kind,
                        proto=protocol,
                        flags=socket.AI_NUMERICHOST,
                    )
                )
        if found and not results:
            raise OSError(_refusal(host, zone_of(str(found[0][4][0]))))
        return results

    async def close(self) -> None:
        """Nothing is held."""

    def _remember(self, host: str) -> None:
        if len(self._public) >= NAMES_MAX:
            self._public.pop(next(iter(self._public)))
        self._public[host.rstrip(".")] = None


class WebClient:
    """An HTTP client for URLs of strangers.

    It connects only to addresses that `zones_allowed` permits, those that the name has at that
    moment; follows redirects itself, each checked like the first and never from outside to
    inside; and knows no proxies, cookies or passwords of the user's.
    """

    def __init__(self, purpose: Purpose, timeout: aiohttp.ClientTimeout) -> None:
        self._purpose = purpose
        self._timeout = timeout
        self._sessions: dict[frozenset[Zone], aiohttp.ClientSession] = {}
        self._public: dict[str, None] = {}
        "Names that had a public address at any time: connections may be older than an answer."

    async def close(self) -> None:
        """Hang up everywhere."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    @asynccontextmanager
    async def open(
        self,
        url: str,
        *,
        is_trusted: bool,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET a URL, and yield the response before its body, which is not decompressed.

        Args:
            url: As it was given, percent-encoded.
            is_trusted: The user named it: every address will do.
            query: What we add to it; encoded already.
            headers: To send.

        Raises:
            NetworkError: there is no answer, or it may not be asked.
        """
        try:
            response = await self._follow(url, query, headers or {}, is_trusted=is_trusted)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NetworkError(_why(error)) from error
        try:
            yield response
        finally:
            response.close()

    async def get(self, url: str, *, is_trusted: bool, query: str = "", bytes_max: int) -> Reply:
        """Get a whole body of limited size, decompressed. Raises NetworkError."""
        headers = {"Accept-Encoding": "gzip"}
        try:
            async with self.open(
                url, is_trusted=is_trusted, query=query, headers=headers
            ) as response:
                is_inside = not self._is_public(response.url)
                return Reply(response.status, await _read(response, bytes_max), is_inside)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NetworkError(_why(error)) from error

    async def _follow(
        self, url: str, query: str, headers: Mapping[str, str], *, is_trusted: bool
    ) -> aiohttp.ClientResponse:
        base = _parse(url)
        allowed = zones_allowed(str(base), self._purpose, is_trusted=is_trusted)
        joint = "" if not query else "&" if base.raw_query_string else "?"
        target = URL(f"{str(base).removesuffix('?')}{joint}{query}", encoded=True)
        for _ in range(1 + REDIRECTS_MAX):
            self._check(target, allowed)
            response = await self._session(allowed).get(
                target, allow_redirects=False, headers=headers
            )
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response
            response.close()
            is_public = self._is_public(target)
            target = target.join(_parse(location))
            if is_public:  # A server out there does not speak for the user.
                allowed = frozenset({Zone.GLOBAL})
            elif not is_trusted:
                allowed &= zones_allowed(str(target), self._purpose, is_trusted=False)
        raise OSError(f"more than {REDIRECTS_MAX} redirects")

    def _check(self, target: URL, allowed: frozenset[Zone]) -> None:
        """Refuse what the resolver is not asked about."""
        host = target.raw_host
        if target.scheme not in ("http", "https") or not host:
            raise OSError(f"{target.scheme}: is no web address")
        if is_literal(host):
            zone = zone_of(host)
            if zone not in allowed:
                raise OSError(_refusal(host, zone))

    def _is_public(self, target: URL) -> bool:
        host = target.raw_host or ""
        if is_literal(host):
            return zone_of(host) is Zone.GLOBAL
        return host.rstrip(".") in self._public

    def _session(self, allowed: frozenset[Zone]) -> aiohttp.ClientSession:
        """Return the session of these zones: a pooled connection never serves other rules."""
        session = self._sessions.get(allowed)
        if session is None:
            session = self._sessions[allowed] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Resolver(allowed, self._public), use_dns_cache=False
                ),
                timeout=self._timeout,
                auto_decompress=False,  # A kilobyte could become a gigabyte.
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT},
                skip_auto_headers=("Accept-Encoding",),
            )
        return session


def _parse(text: str) -> URL:
    """Parse a URL whose percent-encoding stays as it is. Raises ValueError."""
    if len(text) > URL_MAX or any(letter <= " " or letter == "\x7f" for letter in text):
        raise ValueError("a URL that is too long, or has spaces or control characters")
    return URL(text, encoded=text.isascii()).with_fragment(None)


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Read a body, and decompress it no further than the limit."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise OSError(f"an answer in {encoding[:20]}, which was not asked for")
    inflate = None if encoding == "identity" else zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    body = bytearray()
    read = 0
    async for part in response.content.iter_any():
        read += len(part)
        try:
            # One byte more than allowed tells too much from just enough.
            body += inflate.decompress(part, bytes_max + 1 - len(body)) if inflate else part
        except zlib.error as error:
            raise OSError("an answer that is not the gzip it claims to be") from error
        if max(len(body), read) > bytes_max:
            raise OSError(f"an answer of more than {bytes_max:,} bytes")
    return bytes(body)


def _refusal(host: str, zone: Zone) -> str:
    return (
        f"{host[:70]} is a {zone.value} address, where this URL may not lead: "
        "it came with a torrent, not from you"
    )


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    reason = getattr(error, "os_error", None) or error
    return (getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)[:200]
