"""`livestream create`: make a torrent."""

from __future__ import annotations

from typing import Annotated

import typer


def create(  # noqa: PLR0917 - the signature is the interface.
    path: Annotated[str, typer.Argument(help="file or folder to share")],
    output: Annotated[str, typer.Option("-o", "--output", help=".torrent file to write")],
    tracker: Annotated[
        list[str] | None, typer.Option("-t", "--tracker", help="URL of a tracker; may repeat")
    ] = None,
    web_seed: Annotated[
        list[str] | None, typer.Option("-w", "--web-seed", help="URL of the data; may repeat")
    ] = None,
    v1: Annotated[bool, typer.Option("--v1", help="SHA-1 only, for clients of every age")] = False,
    v2: Annotated[bool, typer.Option("--v2", help="SHA-256 only")] = False,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="both: the default")] = False,
    private: Annotated[bool, typer.Option("--private", help="no peers but its trackers'")] = False,
    piece_size: Annotated[
        str | None, typer.Option(help="a power of two from 16k to 16M; chosen if not given")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the .torrent file")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="say nothing but errors")] = False,
) -> None:
    """Make a .torrent file; its magnet link goes to stdout."""
    from pathlib import Path

    from livestream.cli.progress import progress
    from livestream.errors import UsageError
    from livestream.runtime.creation import CreateOptions, make
    from livestream.torrent.create import Version

    if v1 + v2 + hybrid > 1:
        raise UsageError("--v1, --v2 and --hybrid exclude each other. Give one of them.")
    version = Version.V1 if v1 else Version.V2 if v2 else Version.HYBRID
    with progress("hashing", is_quiet=quiet) as on_progress:
        made = make(
            CreateOptions(
                path=path,
                output=output,
                trackers=tuple(tracker or ()),
                web_seeds=tuple(web_seed or ()),
                version=version,
                is_private=private,
                piece_size=piece_size,
                is_forced=force,
            ),
            on_progress,
        )
    if made.folder != Path(path).resolve().parent and not quiet:
        typer.echo(
            f"A v2 torrent of one file has no folder. Share it with: seed {output} "
            f"--data {made.folder}",
            err=True,
        )
    typer.echo(str(made.magnet))
