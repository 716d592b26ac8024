"""`livestream download`: get torrents, and pass them on meanwhile."""

from __future__ import annotations

from typing import Annotated

import typer

from livestream.cli import options


def download(  # noqa: PLR0917 - the signature is the interface.
    torrent: Annotated[list[str], typer.Argument(help=".torrent file, magnet, info-hash or URL")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="folder to write to; of a piece: file, - for stdout"),
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option(help="only these files: a glob or a number; may repeat")
    ] = None,
    piece: Annotated[int | None, typer.Option(help="only this piece, the first is 0")] = None,
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
    on_done: Annotated[
        str | None,
        typer.Option(help="shell command when done; it finds LIVESTREAM_PATH in its environment"),
    ] = None,
    duration: Annotated[str | None, typer.Option(help="stop after so long, done or not")] = None,
    timeout: Annotated[str, typer.Option(help="how long to look for a magnet's metadata")] = "2m",
    listen: options.Listen = None,
    peer: options.Peers = None,
    tracker: options.Trackers = None,
    transport: options.TransportName = "auto",
    max_up: options.MaxUp = None,
    max_down: options.MaxDown = None,
    stats: options.Stats = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Download torrents; when done, share until the ratio is 1, unless told otherwise."""
    from pathlib import Path

    from livestream.cli.progress import make_screen
    from livestream.errors import UsageError
    from livestream.runtime.address import parse_address
    from livestream.runtime.loop import run_to_end
    from livestream.runtime.transfers import TransferOptions, run

    has_goal = seed_ratio is not None or seed_time is not None
    if no_seed and has_goal:
        raise UsageError("--no-seed excludes --seed-ratio and --seed-time. Give one of them.")
    if play and json:
        raise UsageError("--play prints URLs to stdout, where --json prints JSON. Give one.")
    if piece is not None:
        _check_piece(torrent, output, is_alone=not (select or play or json or has_goal or on_done))
    time_s = options.parse_duration(seed_time) if seed_time else None
    if no_seed:
        time_s = 0.0
    elif not has_goal:
        seed_ratio = 1.0
    transfer = TransferOptions(
        sources=tuple(torrent),
        folder=Path("." if output is None or piece is not None else output),
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
        transport=options.parse_transport(transport, is_live=False),
        upload_bps=options.parse_rate(max_up) if max_up else None,
        download_bps=options.parse_rate(max_down) if max_down else None,
        stats_file=stats,
        is_quiet=quiet,
        is_verbose=verbose,
        is_json=json,
        screen=make_screen(stats, is_quiet=quiet),
    )
    if piece is not None and output is not None:
        from livestream.runtime.onepiece import run as run_piece

        work = run_piece(transfer, piece, output)
    elif play:
        from viewer.play import run as run_playing

        work = run_playing(transfer, http=parse_address(http) if http else None, player=player)
    else:
        work = run(transfer)
    raise typer.Exit(run_to_end(work))


def _check_piece(torrents: list[str], output: str | None, *, is_alone: bool) -> None:
    """Raise UsageError if --piece does not go with the rest of the command line."""
    from livestream.errors import UsageError

    if output is None:
        raise UsageError("--piece needs -o FILE, or -o - for stdout.")
    if len(torrents) > 1:
        raise UsageError("--piece takes one torrent: each has a piece of that number.")
    if not is_alone:
        raise UsageError(
            "--piece gets one piece and ends: --select, --play, --seed-ratio, --seed-time, "
            "--on-done and --json do not go with it."
        )
