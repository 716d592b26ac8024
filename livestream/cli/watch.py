"""`livestream watch`: watch a channel, and pass it on."""

from __future__ import annotations

from typing import Annotated

import typer

from livestream.cli import options


def watch(  # noqa: PLR0917 - the signature is the interface.
    channel: Annotated[str, typer.Argument(help="a link, a key, or the name of a known channel")],
    player: Annotated[str, typer.Option(help="auto, mpv, vlc, ffplay, browser or none")] = "auto",
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="file to write instead; - for stdout")
    ] = None,
    latency: Annotated[
        str | None,
        typer.Option(
            help="how far behind the capture to play at least",
            show_default="as near as pieces come in time, 0.6 to 3 s",
        ),
    ] = None,
    duration: Annotated[str | None, typer.Option(help="stop after so long")] = None,
    timeout: Annotated[str, typer.Option(help="how long to look for the channel")] = "30s",
    http: options.Http = None,
    listen: options.Listen = None,
    peer: options.Peers = None,
    tracker: options.Trackers = None,
    transport: options.TransportName = "auto",
    max_up: options.MaxUp = None,
    stats: options.Stats = None,
    quiet: options.Quiet = False,
) -> None:
    """Watch a live channel, and pass it on to others while you do."""
    from livestream.errors import UsageError
    from livestream.runtime.address import parse_address
    from livestream.runtime.channels import ChannelStore
    from livestream.runtime.loop import run_to_end
    from viewer.session import SessionOptions
    from viewer.watch import WatchOptions, run

    store = ChannelStore()
    link = store.resolve(channel)
    if link.name:
        store.remember(link)
    latency_s = options.parse_duration(latency) if latency is not None else None
    if latency_s is not None and not 0.2 <= latency_s <= 30:
        raise UsageError(f"--latency {latency}: give 0.2 to 30 seconds.")
    session = SessionOptions(
        link=link,
        latency_us=None if latency_s is None else int(latency_s * 1e6),
        listen=parse_address(listen) if listen else None,
        upload_bps=options.parse_rate(max_up) if max_up else None,
        peers=tuple(parse_address(text) for text in peer or ()),
        timeout_s=options.parse_duration(timeout),
        transport=options.parse_transport(transport, is_live=True),
    )
    code = run_to_end(
        run(
            WatchOptions(
                session=session,
                player=player,
                output=output,
                http=parse_address(http) if http else None,
                trackers=tuple(tracker or ()),
                duration_s=options.parse_duration(duration) if duration else None,
                stats_file=stats,
                is_quiet=quiet,
            )
        )
    )
    raise typer.Exit(code)
