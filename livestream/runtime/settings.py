"""Defaults that people set once: `config.toml` and `LIVESTREAM_*`; the command line beats both.

At the top of the file stand the options that commands share; a table named after a command holds
options of that command alone, and beats the top. The environment likewise: `LIVESTREAM_MAX_UP`
is for every command, `LIVESTREAM_PUBLISH_MAX_UP` for one, and either beats the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Final

import platformdirs

from livestream.errors import UsageError

__all__ = ["CONFIG_VARIABLE", "SHARED", "Commands", "Defaults", "Shape", "defaults"]

CONFIG_VARIABLE: Final = "LIVESTREAM_CONFIG"  # Another file than the platform's.
CONFIG_BYTES_MAX: Final = 1 << 20
SHARED: Final = (
    "listen",
    "peer",
    "tracker",
    "transport",
    "max-up",
    "max-down",
    "http",
    "stats",
    "verbose",
    "quiet",
)
# The trackers of a new torrent are part of it; what this machine uses is not to slip in.
UNSHARED: Final = (("create", "tracker"),)
_PREFIX: Final = "LIVESTREAM"
_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")


class Shape(Enum):
    """How often an option takes a value."""

    FLAG = "true or false"
    ONE = "one value"
    MANY = "a list of values"


Commands = Mapping[str, Mapping[str, Shape]]
"Each command's options by their long names, without dashes in front."

Value = bool | str | list[str]
Defaults = dict[str, dict[str, Value]]
"Values by command and option, named as in `Commands`."


def defaults(commands: Commands, environment: Mapping[str, str]) -> Defaults:
    """Return what the file and the environment say; the environment beats the file.

    Raises:
        UsageError: the file cannot be read, names an option that is none, or a value of either
            has the wrong shape.
    """
    found: Defaults = {command: {} for command in commands}
    path = _path(environment)
    for where, key, value in _entries(_read(path, is_named=CONFIG_VARIABLE in environment), found):
        for command, shape in _shapes(path, where, key, commands).items():
            found[command][key] = _from_file(value, shape, f"{path}: {key}")
    for command, options in commands.items():
        for key, shape in options.items():
            text = _from_environment(environment, command, key)
            if text is not None:
                name, given = text
                found[command][key] = _from_text(given, shape, name)
    return found


def _path(environment: Mapping[str, str]) -> Path:
    given = environment.get(CONFIG_VARIABLE)
    return Path(given) if given else platformdirs.user_config_path("livestream") / "config.toml"


def _read(path: Path, *, is_named: bool) -> dict[str, object]:
    try:
        data = path.read_bytes()[: CONFIG_BYTES_MAX + 1]
        if len(data) > CONFIG_BYTES_MAX:
            raise UsageError(f"{path} is too long to be a configuration.")
        return tomllib.loads(data.decode())
    except (FileNotFoundError, NotADirectoryError):
        if not is_named:
            return {}
        raise UsageError(f"{path} is not there. Correct {CONFIG_VARIABLE}, or unset it.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:  # Bad TOML and bad UTF-8 are ValueErrors.
        raise UsageError(f"{path} is no TOML: {str(error)[:200]}.") from error


def _entries(tree: dict[str, object], tables: Defaults) -> list[tuple[str, str, object]]:
    """Return (command or "", option, value), those of a single command last: they win."""
    shared: list[tuple[str, str, object]] = []
    own: list[tuple[str, str, object]] = []
    for key, value in tree.items():
        if isinstance(value, dict) and key in tables:
            own += [(key, _dashed(name), each) for name, each in value.items()]
        else:
            shared.append(("", _dashed(key), value))
    return shared + own


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _shapes(path: Path, command: str, key: str, commands: Commands) -> dict[str, Shape]:
    """Return whom an entry of the file is for, and its shape there. Raises UsageError."""
    if command and key in commands[command]:
        return {command: commands[command][key]}
    if not command and key in SHARED:
        return {
            name: options[key]
            for name, options in commands.items()
            if key in options and (name, key) not in UNSHARED
        }
    owners = [name for name, options in commands.items() if key in options and not command]
    if owners:
        raise UsageError(f"{path}: {key} belongs in a table, for example [{owners[0]}].")
    known = list(commands[command]) if command else [*SHARED, *commands]
    near = get_close_matches(key, known, 1, 0.0)
    where = f"[{command}] of {path}" if command else str(path)
    hint = f" The nearest is {near[0]}." if near else ""
    raise UsageError(f"{where}: there is no option {key[:60]!r}.{hint}")


def _from_file(value: object, shape: Shape, what: str) -> Value:
    if shape is Shape.FLAG and isinstance(value, bool):
        return value
    if shape is Shape.ONE and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if shape is Shape.MANY and isinstance(value, str):
        return [value]
    if shape is Shape.MANY and isinstance(value, list):
        return [str(each) for each in value]
    raise UsageError(f"{what} must be {shape.value}.")


def _from_environment(
    environment: Mapping[str, str], command: str, key: str
) -> tuple[str, str] | None:
    """Return the variable and its value. One that is empty is as good as none."""
    option = key.upper().replace("-", "_")
    names = [f"{_PREFIX}_{command.upper()}_{option}"]
    if key in SHARED and (command, key) not in UNSHARED:
        names.append(f"{_PREFIX}_{option}")
    return next(((name, environment[name]) for name in names if environment.get(name)), None)


def _from_text(text: str, shape: Shape, name: str) -> Value:
    if shape is Shape.MANY:
        return text.split()
    if shape is Shape.ONE:
        return text
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    raise UsageError(f"{name}={text[:60]}: must be true or false.")
