"""`livestream tracker`: a tracker for a closed network."""

from __future__ import annotations

from typing import Annotated

import typer

from livestream.cli import options


def tracker(
    listen: options.Listen = None,
    allow: Annotated[
        str | None, typer.Option(help="file of info-hashes in hex, one a line; only these")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Run a tracker, over HTTP and UDP on one port; its URLs go to stdout."""
    from livestream.machine import Address
    from livestream.runtime.address import parse_address
    from livestream.runtime.loop import run_to_end
    from livestream.runtime.tracking import run

    address = parse_address(listen) if listen else Address("0.0.0.0", 6969)  # noqa: S104
    raise typer.Exit(run_to_end(run(address, allow, is_quiet=quiet)))
