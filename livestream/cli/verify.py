"""`livestream verify`: is what is on disk what the torrent says?"""

from __future__ import annotations

from typing import Annotated

import typer

from livestream.cli import options


def verify(
    torrent: Annotated[str, typer.Argument(help=".torrent file")],
    folder: Annotated[str, typer.Argument(help="folder that its data is in")],
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Hash what is on disk: exit code 0 if all is right, 7 if some is missing, 8 if wrong."""
    from pathlib import Path

    from livestream.cli.progress import progress
    from livestream.runtime.loop import run_to_end
    from livestream.runtime.verification import verify as check

    with progress("hashing", is_quiet=quiet) as on_progress:
        code = run_to_end(check(torrent, Path(folder), on_progress, is_json=json))
    raise typer.Exit(code)
