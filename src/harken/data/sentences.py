"""A document cut into sentences, by rule."""

from __future__ import annotations

import re

_ABBREVIATIONS = frozenset(  # those that a sentence seldom ends with
    {"mr", "mrs", "ms", "dr", "prof", "st", "rev", "gen", "col", "lt", "sgt", "capt", "gov", "sen", "rep", "messrs"}
    | {"vs", "e.g", "i.e", "cf", "al", "fig", "eq", "vol", "pp", "u.s", "u.k", "u.n"}
)
_OPENING, _CLOSING = r"\"'(\[{«“‘¿¡", r"\"')\]}»”’"
_END = re.compile(  # what was read once is not tried again (++, *+): any text takes time in proportion to its length
    rf"""
    (?<=\s) [.!?]++ (?:\s["')\]](?=\s))? \s++ |  # a stop that stands alone, in text cut into tokens
    (?<![.!?…]) (?P<stop>[.!?…]++[{_CLOSING}]*+) \s++ (?=[{_OPENING}]*+(?P<next>\w)) |
    [。！？]++ [」』”’）]*+ \s*+  # no white space is needed in Chinese or Japanese
    """,
    re.VERBOSE,
)
_LONGEST = 20  # characters that a word before a stop is looked for in


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, without the white space around them; none is empty.

    A text of several lines has one sentence per line. Else a sentence ends behind ``.``, ``!``, ``?`` or ``…``, and
    what closes a quotation or bracket, when white space and then no small letter follow; not behind an abbreviation
    such as "Dr." or an initial. In text cut into tokens it ends behind a stop that stands alone, whatever follows.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) != 1:
        return lines
    sentences, start, line = [], 0, lines[0]
    for match in _END.finditer(line):
        if match["stop"] and (match["next"].islower() or _abbreviates(line, match)):
            continue
        sentences.append(line[start : match.end()].strip())
        start = match.end()
    return [sentence for sentence in [*sentences, line[start:].strip()] if sentence]


def _abbreviates(line: str, match: re.Match[str]) -> bool:
    """Whether the stop belongs to the word before it."""
    if match["stop"] != ".":
        return False
    before = line[max(0, match.start() - _LONGEST) : match.start()]
    word = re.split(rf"[\s{_OPENING}]", before)[-1]
    return word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isupper() and word != "I")
