"""Paths: whatever they are called, they stay below the folder and apart from each other."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        (["CON"], ("_CON",)),
        (["aux.tar.gz"], ("_aux.tar.gz",)),
        (["com1", "LPT9.txt"], ("_com1", "_LPT9.txt")),
        (["con .txt"], ("_con .txt",)),
        (["CONIN"], ("CONIN",)),
        (["end."], ("end",)),
        (["end. . "], ("end",)),
        (["..."], ("_",)),
        ([" "], ("_",)),
        ([" front"], (" front",)),
        (["a/../../b"], ("a_.._.._b",)),
        (["", "..", ".", "a"], ("_", "a")),
        (["back\\slash:colon"], ("back_slash_colon",)),
        (["tab\tbell\x07"], ("tab_bell_",)),
        (["gpj.\u202eexe"], ("gpj._exe",)),
        (["lone\ud800surrogate"], ("lone_surrogate",)),
        ([" " * 300 + "x"], ("_",)),
        (["." * 300 + "x"], ("_.x",)),
        ([], ("_",)),
    ],
)
def test_names_that_file_systems_refuse_are_changed(
    path: list[str], cleaned: tuple[str, ...]
) -> None:
    assert clean_paths([path]) == [cleaned]


def test_a_name_is_cut_by_bytes_between_letters() -> None:
    for letter in ("a", "ü", "€", "😀"):
        cleaned = clean_component(letter * 300)
        assert 236 <= len(cleaned.encode()) <= 240
        assert set(cleaned) == {letter}


def test_long_names_that_are_cut_to_the_same_stay_apart() -> None:
    first, second = clean_paths([["x" * 300 + "1"], ["x" * 300 + "2"]])
    assert first != second
    assert len(second[0].encode()) <= 255


def test_names_that_differ_only_in_the_form_of_their_accents_get_a_suffix() -> None:
    composed, decomposed = "\u00e9.txt", "e\u0301.txt"
    assert clean_paths([[composed], [decomposed]]) == [(composed,), ("e\u0301.1.txt",)]
    assert clean_paths([["stra\u00dfe"], ["STRASSE"]]) == [("stra\u00dfe",), ("STRASSE.1",)]


def test_a_folder_that_is_a_file_too_is_moved_with_all_that_is_in_it() -> None:
    paths = [["a"], ["a", "b"], ["A", "b"], ["a", "c"], ["a.1"]]
    assert clean_paths(paths) == [
        ("a",), ("a.1", "b"), ("a.1", "b.1"), ("a.1", "c"), ("a.1.1",)
    ]  # fmt: skip


def test_folders_keep_their_own_case() -> None:
    assert clean_paths([["A", "x"], ["a", "y"]]) == [("A", "x"), ("a", "y")]


def test_many_files_of_one_name_in_a_deep_folder_take_one_pass() -> None:
    """Each used to try all suffixes before its own: hours for 100,000 files."""
    cleaned = clean_paths([[*["d"] * 63, "a.txt"]] * 20_000)
    assert len(set(cleaned)) == 20_000
    assert cleaned[-1][-1] == "a.19999.txt"
