"""Everything has ink, and nothing is drawn that no font has."""

import pytest

from harken.explain.labels import drawable, fonts_for, running, shortened, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" ", "␣"),
        ("a b", "a␣b"),
        ("\t", "⇥"),
        ("\n", "⏎"),
        ("\r", "\\r"),
        ("\u00a0", "U+00A0"),
        ("\u200b", "U+200B"),
        ("\u202e", "U+202E"),  # turns the rest of a line around
        ("\x1b", "U+001B"),
        ("\u0301", "◌\u0301"),
        ("é", "é"),
        ("中", "中"),
        ("", ""),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" a\n b\u00a0c\u0301 ", " a\n b\u00a0c\u0301 "),
        ("می\u200cخواهم 👩\u200d🔬", "می\u200cخواهم 👩\u200d🔬"),
        ("\x1b[31m\u202eabc\t\r\u2028\x00", "U+001B[31mU+202Eabc⇥\\rU+2028U+0000"),
        ("", ""),
    ],
)
def test_running(text: str, shown: str) -> None:
    assert running(text) == shown


def test_shortened() -> None:
    assert shortened("abcd", 4) == "abcd"
    assert shortened("abcde", 4) == "abc…"


def test_the_signs_are_in_the_font_that_comes_with_matplotlib() -> None:
    families, missing = fonts_for(["␣⇥⏎◌…→\\U+0123456789ABCDEF\N{REPLACEMENT CHARACTER}□"])
    assert families == ["DejaVu Sans Mono"]
    assert not missing


def test_a_character_that_no_font_has_is_named() -> None:
    unassigned = "\U000e0fff"
    families, missing = fonts_for(["a" + unassigned, "𝔄"])  # the second is in another font of matplotlib's
    assert missing == {unassigned}
    assert len(families) > 1
    assert not any("Last Resort" in family for family in families)
    assert drawable("a" + unassigned, missing) == "aU+E0FFF"
