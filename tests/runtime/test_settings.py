"""config.toml and LIVESTREAM_*: which beats which, and clear errors for what is neither."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.errors import UsageError
from livestream.runtime.settings import CONFIG_VARIABLE, SHARED, Defaults, Shape, defaults

COMMANDS = {
    "watch": {
        "max-up": Shape.ONE,
        "tracker": Shape.MANY,
        "quiet": Shape.FLAG,
        "player": Shape.ONE,
    },
    "create": {"tracker": Shape.MANY, "output": Shape.ONE},
    "tracker": {"listen": Shape.ONE},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def read(config: Path, text: str | bytes = "", **environment: str) -> Defaults:
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    return defaults(COMMANDS, {CONFIG_VARIABLE: str(config), **environment})


def test_a_table_beats_the_top_wherever_they_stand(config: Path) -> None:
    found = read(config, 'max-up = "1M"\nquiet = true')
    assert found["watch"] == {"max-up": "1M", "quiet": True}
    assert read(config, 'max_up = "1M"\n[watch]\nmax-up = 2')["watch"] == {"max-up": "2"}


def test_the_environment_beats_the_file_and_its_narrower_name_the_wider(config: Path) -> None:
    file = '[watch]\nmax-up = "1M"'
    assert read(config, file, LIVESTREAM_MAX_UP="2M")["watch"]["max-up"] == "2M"
    both = read(config, file, LIVESTREAM_MAX_UP="2M", LIVESTREAM_WATCH_MAX_UP="3M")
    assert both["watch"]["max-up"] == "3M"
    assert read(config, file, LIVESTREAM_MAX_UP="")["watch"]["max-up"] == "1M"


def test_lists_and_flags_are_read_from_text_and_from_toml(config: Path) -> None:
    assert read(config, 'tracker = "http://a"')["watch"]["tracker"] == ["http://a"]
    assert read(config, 'tracker = ["a", "b"]')["watch"]["tracker"] == ["a", "b"]
    found = read(config, LIVESTREAM_TRACKER="a b", LIVESTREAM_QUIET="Yes")
    assert found["watch"] == {"tracker": ["a", "b"], "quiet": True}
    assert read(config, "quiet = true", LIVESTREAM_QUIET="0")["watch"]["quiet"] is False


def test_the_trackers_of_this_machine_do_not_slip_into_torrents(config: Path) -> None:
    assert read(config, 'tracker = ["a"]', LIVESTREAM_TRACKER="b")["create"] == {}
    own = read(config, '[create]\ntracker = ["a"]')
    assert own["create"] == {"tracker": ["a"]}


def test_a_command_may_be_named_as_an_option_is(config: Path) -> None:
    found = read(config, '[tracker]\nlisten = "127.0.0.1:1"')
    assert found["tracker"] == {"listen": "127.0.0.1:1"}
    assert found["watch"] == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max-upp = 1", "nearest is max-up"),
        ("[watch]\nplayr = 1", "nearest is player"),
        ("[wach]\nplayer = 1", "nearest is watch"),
        ("player = 'mpv'", r"table, for example \[watch\]"),
        ("output = 'x'", r"\[create\]"),
        ("quiet = 'maybe'", "true or false"),
        ("quiet = 1", "true or false"),
        ("max-up = true", "one value"),
        ("max-up = ['1M']", "one value"),
        ("max-up", "no TOML"),
        (b"max-up = '\xff'", "no TOML"),
        ("x = " + "[" * 5_000, "no TOML"),
        ("#" * 2_000_000, "too long"),
    ],
    ids=range(13),
)
def test_what_is_wrong_in_the_file_is_said_with_its_name(
    config: Path, text: str | bytes, says: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        read(config, text)
    assert str(config) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_flag_in_the_environment_that_is_neither_true_nor_false_is_an_error(config: Path) -> None:
    with pytest.raises(UsageError, match="LIVESTREAM_QUIET=maybe"):
        read(config, LIVESTREAM_QUIET="maybe")


def test_variables_of_other_kinds_are_nobodys_options(config: Path) -> None:
    """Commands run by --on-done inherit some."""
    others = {"LIVESTREAM_NAME": "x", "LIVESTREAM_PLAYER": "x", "LIVESTREAM_DATA_DIR": "x"}
    assert read(config, "", **others) == {command: {} for command in COMMANDS}


def test_no_file_is_fine_but_a_named_one_must_be_there(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config.parent))
    assert defaults(COMMANDS, {}) == {command: {} for command in COMMANDS}
    with pytest.raises(UsageError, match=CONFIG_VARIABLE):
        defaults(COMMANDS, {CONFIG_VARIABLE: str(config)})


@given(st.text(max_size=60), st.sampled_from(SHARED))
def test_any_text_is_a_configuration_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, text: str, key: str
) -> None:
    config = tmp_path_factory.getbasetemp() / "any.toml"
    for candidate in (text, f"{key} = {text}", f"[watch]\n{text} = 1"):
        try:
            read(config, candidate)
        except UsageError:
            continue
