"""`livestream seed`: share data that is here."""

from __future__ import annotations

from typing import Annotated

import typer

from livestream.cli import options


def seed(  # noqa: PLR0917 - the signature is the interface.
    torrent: Annotated[list[str], typer.Argument(help=".torrent files")],
    data: Annotated[str, typer.Option("--data", help="folder that the data is in")] = ".",
    seed_ratio: Annotated[float | None, typer.Option(min=0, help="stop at this ratio")] = None,
    seed_time: Annotated[str | None, typer.Option(help="stop after so long")] = None,
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
    """Share torrents whose data is here, until Ctrl-C or a goal."""
    from pathlib import Path

    from livestream.cli.progress import make_screen
    from livestream.runtime.address import parse_address
    from livestream.runtime.loop import run_to_end
    from livestream.runtime.transfers import TransferOptions, run

    code = run_to_end(
        run(
            TransferOptions(
                sources=tuple(torrent),
                folder=Path(data),
                is_seeding=True,
                seed_ratio=seed_ratio,
                seed_time_s=options.parse_duration(seed_time) if seed_time else None,
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
        )
    )
    raise typer.Exit(code)
