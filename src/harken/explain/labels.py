"""Tokens as people can read them: a space, a line break or an unprintable character is shown, never implied."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_SHOWN = {" ": "␣", "\t": "⇥", "\n": "⏎", "\r": "\\r"}
_ALLOWED = "\n\u200c\u200d"  # the last two join and part letters in Persian, in Hindi, and in emoji
_MONO = "DejaVu Sans Mono"  # comes with matplotlib and has all signs of this file
_NO_LETTERS = ("last resort", "emoji")  # fonts of boxes, and of coloured bitmaps that Agg cannot draw


def visible(text: str) -> str:
    """Every character of ``text`` as something with ink: ``␣`` for a space, ``U+200B`` for what has none."""
    return "".join(map(_visible, text))


def running(text: str) -> str:
    """A text to read, not to inspect: spaces and line breaks stay, what acts unseen (escapes, bidi marks) is shown."""
    return "".join(map(_harmless, text))


def one_line(text: str) -> str:
    """`running` on one line, with single spaces."""
    return " ".join(running(text).split())


def shortened(text: str, longest: int) -> str:
    """At most ``longest`` characters, the last of them an ellipsis where something is left out."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def fonts_for(texts: Iterable[str]) -> tuple[list[str], set[str]]:
    """Font families that together draw ``texts``, and the characters that no font of this machine has.

    Matplotlib draws a missing character as a box and warns; a picture here names it by its code instead.
    """
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    families = [_MONO]
    needed = {character for text in texts for character in text}
    missing = {c for c in needed if ord(c) not in FT2Font(font_manager.findfont(_MONO)).get_charmap()}
    for font in font_manager.fontManager.ttflist if missing else ():
        upright = font.style == "normal" and font.weight in (400, "normal", "regular", "book")
        if not upright or any(word in font.name.lower() for word in _NO_LETTERS):
            continue
        try:
            characters = FT2Font(font.fname).get_charmap()
        except (RuntimeError, OSError):  # a font that FreeType cannot read, or that was uninstalled
            continue
        if found := {c for c in missing if ord(c) in characters}:
            families.append(font.name)
            missing -= found
        if not missing:
            break
    return families, missing


def drawable(text: str, missing: set[str]) -> str:
    """``text`` with the characters that no font has replaced by their codes."""
    return "".join(_code(c) if c in missing else c for c in text)


def boxed(text: str, missing: set[str]) -> str:
    """``text`` with a box for each character that no font has: in a line that is to stay as long as it is."""
    return text.translate(dict.fromkeys(map(ord, missing), "□"))


def _visible(character: str) -> str:
    if character in _SHOWN:
        return _SHOWN[character]
    category = unicodedata.category(character)
    if category[0] in "CZ":  # control, format, unassigned; other white space
        return _code(character)
    return f"◌{character}" if category[0] == "M" else character  # an accent needs something to sit on


def _harmless(character: str) -> str:
    category = unicodedata.category(character)
    acts = category[0] == "C" or category in ("Zl", "Zp")  # control, format, unassigned; other line breaks
    return _visible(character) if acts and character not in _ALLOWED else character


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"
