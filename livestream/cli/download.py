"""`livestream download`: get torrents, and pass them on meanwhile."""

from __future__ import annotations

from typing import Annotated

import typer

from livestream.cli import options


def download(  # noqa: PLR0917 - the signature is the interface.
    torrent: Annotated[list[str], typer.Argument(help=".torrent file, magnet, info-hash or URL")],
    output: Annotated[str, typer.Option("-o", "--output", help="folder to write to")] = ".",
    select: Annotated[
        list[str] | None, typer.Option(help="only these files: a glob or a number; may repeat")
    ] = None,
    play: Annotated[
        bool, typer.Option("--play", help="play the largest media file while it downloads")
    ] = False,
    player: Annotated[str, typer.Option(help="auto, mpv, vlc, ffplay, browser or none")] = "auto",
    http: options.Http = None,
    sequential: Annotated[bool, typer.Option(help="pieces in order")] = False,
    seed_ratio: Annotated[
        float | None, typer.Option(min=0, help="when done, share until this ratio")
    ] = None,
    seed_time: Annotated[str | None, typer.Option(help="when done, share for so long")] = None,
    no_seed: Annotated[bool, typer.Option("--no-seed", help="stop when done")] = False,
    on_done: Annotated[str | None, typer.Option(help="shell command to run when done")] = None,
    duration: Annotated[str | None, typer.Option(help="stop after so long, done or not")] = None,
    timeout: Annotated[str, typer.Option(help="how long to look for a magnet's metadata")] = "2m",
    listen: options.Listen = None,
    peer: options.Peers = None,
    tracker: options.Trackers = None,
    max_up: options.MaxUp = None,
    stats: options.Stats = None,
    quiet: options.Quiet = False,
) -> None:
    """Download torrents; when done, share until the ratio is 1, unless told otherwise."""
    from pathlib import Path

    from livestream.errors import UsageError
    from livestream.runtime.address import parse_address
    from livestream.runtime.loop import run_to_end
    from livestream.runtime.transfers import TransferOptions, run

    if no_seed and (seed_ratio is not None or seed_time is not None):
        raise UsageError("--no-seed excludes --seed-ratio and --seed-time. Give one of them.")
    time_s = options.parse_duration(seed_time) if seed_time else None
    if no_seed:
        time_s = 0.0
    elif seed_ratio is None and time_s is None:
        seed_ratio = 1.0
    transfer = TransferOptions(
        sources=tuple(torrent),
        folder=Path(output),
        select=tuple(select or ()),
        is_sequential=sequential,
        seed_ratio=seed_ratio,
        seed_time_s=time_s,
        duration_s=options.parse_duration(duration) if duration else None,
        metadata_timeout_s=options.parse_duration(timeout),
        on_done=on_done,
        listen=parse_address(listen) if listen else None,
        peers=tuple(parse_address(text) for text in peer or ()),
        trackers=tuple(tracker or ()),
        upload_bps=options.parse_rate(max_up) if max_up else None,
        stats_file=stats,
        is_quiet=quiet,
    )
    if play:
        from viewer.play import run as run_playing

        work = run_playing(transfer, http=parse_address(http) if http else None, player=player)
    else:
        work = run(transfer)
    code = run_to_end(work)
    raise typer.Exit(code)
