"""`livestream info`: what a torrent or a link says, and what its trackers and peers do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

import typer

from livestream.cli import options


def info(  # noqa: PLR0917 - the signature is the interface.
    source: Annotated[str, typer.Argument(help=".torrent file, URL, magnet or channel link")],
    as_json: options.Json = False,
    scrape: Annotated[bool, typer.Option("--scrape", help="ask the trackers for numbers")] = False,
    peers: Annotated[
        bool, typer.Option("--peers", help="find peers (50 at most) and greet each")
    ] = False,
    peer: options.Peers = None,
    tracker: options.Trackers = None,
) -> None:
    """Show what is in a torrent, or in a link; and, if asked, how its swarm is."""
    from livestream.runtime.address import parse_address
    from livestream.runtime.description import Inquiry, describe
    from livestream.runtime.loop import run_to_end

    inquiry = Inquiry(
        is_scraping=scrape,
        is_visiting=peers,
        trackers=tuple(tracker or ()),
        peers=tuple(map(parse_address, peer or ())),
    )
    found: dict[str, object] = {}

    async def look() -> int:
        found.update(await describe(source, inquiry))
        return 0

    code = run_to_end(look())
    if code:
        raise typer.Exit(code)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    _show(found)
    if peers and not found["swarm"]:
        _say("No peers: the trackers know of none.")


def _show(found: Mapping[str, object]) -> None:
    lines = {"files": _file_line, "scrape": _scrape_line, "swarm": _peer_line}
    for key, value in found.items():
        if key in lines:
            continue
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        if shown not in ("", None):
            _say(f"{key.replace('_', ' '):14} {shown}")
    for key, line in lines.items():
        rows = found.get(key)
        for row in rows if isinstance(rows, list) else []:
            _say(line(row))


def _say(line: str) -> None:
    """Print what strangers wrote, without their escape sequences."""
    typer.echo("".join(each for each in line if each.isprintable()))


def _file_line(entry: Mapping[str, object]) -> str:
    return f"{entry['number']:>6} {entry['length']:>16,}  {entry['path']}"


def _scrape_line(counts: Mapping[str, object]) -> str:
    if "failure" in counts:
        return f"{counts['tracker']}: {counts['failure']}"
    return (
        f"{counts['tracker']}: {counts['seeders']} seeders, {counts['leechers']} leechers, "
        f"{counts['downloads']} downloads"
    )


def _peer_line(peer: Mapping[str, object]) -> str:
    if "failure" in peer:
        return f"{peer['address']:28} {peer['failure']}"
    percent = peer["percent"]
    share = "       ?" if percent is None else f"{percent:6} %"
    return f"{peer['address']:28} {share}  {peer['client'] or 'unknown client'}"
