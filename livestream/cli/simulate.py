"""`livestream simulate`."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["simulate"]


def simulate(  # noqa: PLR0917 - the signature is the interface.
    scenario: Annotated[str, typer.Argument(help="L0 or another by name, or a TOML or JSON file")],
    viewers: Annotated[
        int | None, typer.Option(help="how many; the scenario's if not given")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="of simulated time")] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="what chance begins with; may repeat")
    ] = None,
    links: Annotated[
        str, typer.Option(help="messages: a model; packets: QUIC or µTP; quic; utp")
    ] = "messages",
    design: Annotated[str, typer.Option(help="trees, pull, random or tree")] = "trees",
    sweep: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE,VALUE… of the scenario; may repeat")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="run on a Dask cluster, tcp://HOST:PORT")
    ] = None,
    json: Annotated[str | None, typer.Option(help="write the figures here; - for stdout")] = None,
    plot: Annotated[str | None, typer.Option(help="draw a picture, FILE.png")] = None,
    is_quiet: Annotated[bool, typer.Option("-q", "--quiet", help="say nothing but errors")] = False,
) -> None:
    """Run a whole swarm in virtual time: the code that you run, on lines that are made up."""
    from livestream.cli.simulation import SimulateOptions, run

    options = SimulateOptions(
        scenario=scenario,
        viewers=viewers,
        seconds=seconds,
        seeds=tuple(seed or (1,)),
        links=links,
        design=design,
        sweeps=tuple(sweep or ()),
        scheduler=scheduler,
        json_file=json,
        plot_file=plot,
        is_quiet=is_quiet,
    )
    raise typer.Exit(run(options))
