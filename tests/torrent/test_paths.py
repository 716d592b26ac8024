"""Paths: whatever they are called, they stay below the folder and apart from each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from livestream.torrent.paths import clean_component, clean_paths

NASTY = st.sampled_from(
    ["..", ".", "", "/", "a/b", "C:", "con", "NUL.txt", "a\x00b", "A", "a", " "]
)


@given(st.lists(st.lists(st.text(max_size=8) | NASTY, max_size=4), max_size=12))
def test_no_path_escapes_or_meets_another(paths: list[list[str]]) -> None:
    cleaned = clean_paths(paths)
    assert len(cleaned) == len(paths)
    folded = ["/".join(path).casefold() for path in cleaned]
    assert len(set(folded)) == len(folded)
    for path in cleaned:
        assert path
        for part in path:
            assert part not in ("", ".", "..")
            assert "/" not in part
            assert "\x00" not in part
    for one in folded:
        assert not any(other.startswith(one + "/") for other in folded), "a file is no folder"


def test_windows_device_names_are_defused() -> None:
    assert clean_component("CON") == "_CON"
    assert clean_component("nul.txt") == "_nul.txt"
    assert clean_component("console") == "console"


def test_a_long_name_keeps_its_extension_and_fits_a_file_system() -> None:
    cleaned = clean_component("ü" * 300 + ".mkv")
    assert cleaned.endswith(".mkv")
    assert len(cleaned.encode()) <= 255


def test_names_that_differ_only_in_case_get_a_suffix() -> None:
    assert clean_paths([["a.txt"], ["A.txt"]]) == [("a.txt",), ("A.1.txt",)]


def test_an_honest_name_is_left_as_it_is() -> None:
    assert clean_paths([["Ünï", "c o d e (1).tar.gz"]]) == [("Ünï", "c o d e (1).tar.gz")]
