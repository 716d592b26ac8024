"""`livestream info`: what a torrent or a link says."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def info(
    source: Annotated[str, typer.Argument(help=".torrent file, URL, magnet or channel link")],
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Show what is in a torrent, or in a link."""
    from livestream.runtime.description import describe
    from livestream.runtime.loop import run_to_end

    found: dict[str, object] = {}

    async def look() -> int:
        found.update(await describe(source))
        return 0

    code = run_to_end(look())
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        raise typer.Exit(code)
    files = found.pop("files", [])
    for key, value in found.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        if shown not in ("", None):
            typer.echo(f"{key.replace('_', ' '):14} {shown}")
    if isinstance(files, list):
        for entry in files:
            typer.echo(f"{entry['number']:>6} {entry['length']:>16,}  {entry['path']}")
    raise typer.Exit(code)
