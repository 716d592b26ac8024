"""`livestream publish`: put a source on the air."""

from __future__ import annotations

from typing import Annotated

import typer

from livestream.cli import options


def publish(  # noqa: PLR0917 - the signature is the interface.
    source: Annotated[
        str,
        typer.Argument(help="a video file, - for stdin, a URL, or test: a picture with a clock"),
    ] = "test",
    name: Annotated[
        str, typer.Option(help="the channel's name; its key is kept under it")
    ] = "live",
    key: Annotated[str | None, typer.Option(help="file with the channel's private key")] = None,
    copy: Annotated[bool, typer.Option("--copy", help="pass H.264 and AAC through")] = False,
    encode: Annotated[bool, typer.Option("--encode", help="encode in any case")] = False,
    bitrate: Annotated[str | None, typer.Option(help="of the encoded video, e.g. 2.5M")] = None,
    size: Annotated[str | None, typer.Option(help="of the encoded video, e.g. 1280x720")] = None,
    fps: Annotated[str | None, typer.Option(help="at most so many frames a second")] = None,
    gop: Annotated[str, typer.Option(help="from key frame to key frame, when encoded")] = "1s",
    loop: Annotated[bool, typer.Option("--loop", help="start a file again when it ends")] = False,
    listen: options.Listen = None,
    tracker: options.Trackers = None,
    transport: options.TransportName = "auto",
    max_up: options.MaxUp = None,
    stats: options.Stats = None,
    quiet: options.Quiet = False,
) -> None:
    """Put a live video on the air; the link is the first line on stdout."""
    from fractions import Fraction

    from livestream.errors import UsageError
    from livestream.runtime.address import parse_address
    from livestream.runtime.loop import run_to_end
    from publisher.broadcast import BroadcastOptions, run
    from publisher.feed import FeedMode, FeedOptions

    if copy and encode:
        raise UsageError("--copy and --encode exclude each other. Give one, or none for auto.")
    mode = FeedMode.COPY if copy else FeedMode.ENCODE if encode else FeedMode.AUTO
    width, height = options.parse_size(size) if size else (None, None)
    try:
        rate = Fraction(fps) if fps else None
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"--fps {fps}: not a number. For example 30 or 30000/1001.") from error
    feed = FeedOptions(
        mode=mode,
        bitrate_bps=options.parse_rate(bitrate) if bitrate else None,
        width=width,
        height=height,
        fps=rate,
        gop_us=int(options.parse_duration(gop) * 1e6),
        loop=loop,
    )
    code = run_to_end(
        run(
            BroadcastOptions(
                source=source,
                name=name,
                key_file=key,
                feed=feed,
                listen=parse_address(listen) if listen else None,
                upload_bps=options.parse_rate(max_up) if max_up else None,
                trackers=tuple(tracker or ()),
                transport=options.parse_transport(transport, is_live=True),
                stats_file=stats,
                is_quiet=quiet,
            )
        )
    )
    raise typer.Exit(code)
