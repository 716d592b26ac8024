"""The command line: one typer app; whatever is heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

from livestream.cli import channel
from livestream.cli.create import create
from livestream.cli.demo import demo
from livestream.cli.download import download
from livestream.cli.info import info
from livestream.cli.publish import publish
from livestream.cli.seed import seed
from livestream.cli.simulate import simulate
from livestream.cli.tracker import tracker
from livestream.cli.verify import verify
from livestream.cli.watch import watch
from livestream.errors import UserError

__all__ = ["app", "run"]

app = typer.Typer(
    name="livestream",
    help="Live video that its viewers pass on to each other.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Plain help: rich alone takes longer to import than all the rest.
)
app.command()(publish)
app.command()(watch)
app.command()(demo)
app.command()(download)
app.command()(seed)
app.command()(create)
app.command()(info)
app.command()(verify)
app.command()(tracker)
app.command()(simulate)
app.add_typer(channel.app, name="channel")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"livestream {version('livestream')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Live video that its viewers pass on to each other."""


def _settings(group: object) -> dict[str, dict[str, object]]:
    """Return what config.toml and the environment say, by command and parameter."""
    import os

    from livestream.runtime.settings import Shape, defaults

    names: dict[str, dict[str, str]] = {}
    shapes: dict[str, dict[str, Shape]] = {}
    for command_name, command in group.commands.items() if isinstance(group, TyperGroup) else ():
        if isinstance(command, TyperGroup):
            continue
        names[command_name], shapes[command_name] = {}, {}
        for option in command.params:
            if not isinstance(option, TyperOption) or option.name in (None, "help"):
                continue
            long = max(option.opts, key=len).removeprefix("--")
            names[command_name][long] = option.name
            shapes[command_name][long] = (
                Shape.FLAG if option.is_flag else Shape.MANY if option.multiple else Shape.ONE
            )
    return {
        command_name: {names[command_name][long]: value for long, value in found.items()}
        for command_name, found in defaults(shapes, os.environ).items()
    }


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; errors become a line or two on stderr."""
    is_verbose = "-vv" in arguments
    words = [word for word in arguments if word != "-vv"]
    try:
        command = get_command(app)
        is_question = not words or "--help" in words or "--version" in words
        settings = {} if is_question else _settings(command)
        code = command(words, prog_name="livestream", default_map=settings)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except UserError as error:
        if is_verbose:
            traceback.print_exc()
        sys.stderr.write(f"livestream: {error}\n")
        return error.exit_code
    except Exception as error:
        if is_verbose:
            traceback.print_exc()
        sys.stderr.write(
            f"livestream: an error of its own: {type(error).__name__}: {error}\n"
            "Run it again with -vv and report what it prints.\n"
        )
        return 1
    return code if isinstance(code, int) else 0
