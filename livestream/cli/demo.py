"""`livestream demo`: a publisher, three viewers and a page on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from livestream.cli import options


def demo(
    source: Annotated[str, typer.Argument(help="what to publish; none: a test picture")] = "test",
    viewers: Annotated[int, typer.Option(min=1, max=20, help="how many viewers")] = 3,
    player: Annotated[str, typer.Option(help="what shows the page; none: just print it")] = "auto",
    duration: Annotated[str | None, typer.Option(help="stop after so long")] = None,
    http: options.Http = None,
) -> None:
    """Show it all on this machine: no account, no camera, no internet."""
    from livestream.runtime.loop import run_to_end
    from viewer.demo import DemoOptions, run

    seconds = options.parse_duration(duration) if duration else None
    code = run_to_end(run(DemoOptions(source, viewers, player, seconds, http)))
    raise typer.Exit(code)
