"""`livestream channel`: the channels that this machine can publish."""

from __future__ import annotations

import json
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="Make, list and show the channels that this machine can publish.")
AsJson = Annotated[bool, typer.Option("--json", help="as JSON")]


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="what to call it")],
    key: Annotated[str | None, typer.Option(help="file with, or for, its private key")] = None,
) -> None:
    """Make a channel; its link (without addresses) goes to stdout."""
    from livestream.discovery.link import ChannelLink
    from livestream.runtime.channels import ChannelStore

    stored = ChannelStore().create(name, key)
    typer.echo(str(ChannelLink(stored.public_key, name)))
    typer.echo(
        f"Its private key is in {stored.key_path}. Whoever has it is the publisher.", err=True
    )


@app.command("list")
def list_channels(as_json: AsJson = False) -> None:
    """List the channels of this machine."""
    from livestream.runtime.channels import ChannelStore

    store = ChannelStore()
    rows = [{"name": name, "key": store.open(name).public_key.hex()} for name in store.names()]
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        for row in rows:
            typer.echo(f"{row['name']}  {row['key']}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="which channel")], as_json: AsJson = False
) -> None:
    """Show one channel: its key, and where it was last on the air."""
    from livestream.discovery.link import ChannelLink
    from livestream.runtime.channels import ChannelStore

    stored = ChannelStore().open(name)
    link = str(ChannelLink(stored.public_key, name))
    if as_json:
        fields = {"name": name, "key": stored.public_key.hex(), "link": link, "port": stored.port}
        typer.echo(json.dumps(fields))
    else:
        typer.echo(link)
        typer.echo(f"Port {stored.port or 'not chosen yet'}, key in {stored.key_path}.", err=True)
