"""Which URLs a web seed may have (`is_web_url`)."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["is_web_url"]


def is_web_url(url: str) -> bool:
    """Whether this is an HTTP or HTTPS URL with a host."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # Raises if it is none.
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
