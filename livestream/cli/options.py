"""Options that commands share, and how their values are read."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from livestream.config import Transport
from livestream.errors import UsageError

__all__ = [
    "Http",
    "Json",
    "Listen",
    "MaxDown",
    "MaxUp",
    "Peers",
    "Quiet",
    "Stats",
    "Trackers",
    "TransportName",
    "Verbose",
    "parse_duration",
    "parse_rate",
    "parse_size",
    "parse_transport",
]

Listen = Annotated[str | None, typer.Option(help="HOST:PORT to listen on (UDP; tracker: TCP)")]
Peers = Annotated[list[str] | None, typer.Option(help="HOST:PORT of a peer; may repeat")]
Trackers = Annotated[list[str] | None, typer.Option(help="URL of a tracker; may repeat")]
MaxUp = Annotated[
    str | None, typer.Option(help="upload cap in bit/s, e.g. 2.5M, every byte counted")
]
MaxDown = Annotated[
    str | None, typer.Option(help="download cap in bit/s, of peers and web seeds together")
]
TransportName = Annotated[
    str, typer.Option("--transport", help="auto, quic, utp or tcp; torrents: auto, utp or tcp")
]
Http = Annotated[str | None, typer.Option(help="HOST:PORT of the local page")]
Stats = Annotated[str | None, typer.Option(help="append one JSON object a second; - for stderr")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="say nothing but errors")]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="tell of peers that come, go or are banned")
]
Json = Annotated[bool, typer.Option("--json", help="for programs: JSON on stdout")]

_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,12})?)"
_RATE = re.compile(_NUMBER + r"([kMG]?)")
_DURATION = re.compile(_NUMBER + r"(ms|s|m|h|)")
_SIZE = re.compile(r"([0-9]{2,5})x([0-9]{2,5})")


def parse_rate(text: str) -> int:
    """Parse a rate in bit/s: 300k, 2.5M. Raises UsageError."""
    found = _RATE.fullmatch(text)
    rate = (
        0
        if found is None
        else int(float(found[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[found[2]])
    )
    if rate <= 0:
        raise UsageError(f"{text!r} is no rate. For example 300k or 2.5M, in bit/s.")
    return rate


def parse_transport(text: str, *, is_live: bool) -> Transport | None:
    """Parse the name of a transport; None stands for auto. Raises UsageError."""
    names = {"quic": Transport.QUIC, "utp": Transport.UTP, "tcp": Transport.TCP}
    if text == "auto":
        return None
    if text == "quic" and not is_live:
        raise UsageError(
            "--transport quic: torrents do not go over QUIC yet, only live channels. "
            "Give auto, utp or tcp."
        )
    if text not in names:
        choices = "auto, quic, utp or tcp" if is_live else "auto, utp or tcp"
        raise UsageError(f"--transport {text[:60]}: there is no such transport. Give {choices}.")
    return names[text]


def parse_duration(text: str) -> float:
    """Parse a duration into seconds: 15, 15s, 10m, 250ms. Raises UsageError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no duration. For example 15s, 10m or 1.5.")
    return float(found[1]) * {"": 1, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[found[2]]


def parse_size(text: str) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT, both even. Raises UsageError."""
    found = _SIZE.fullmatch(text)
    if found is None or int(found[1]) % 2 or int(found[2]) % 2:
        raise UsageError(f"{text!r} is no picture size. For example 1280x720; both even.")
    return int(found[1]), int(found[2])
