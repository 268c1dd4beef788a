"""The texts that a verb is asked about: typed, in a file, or on standard input one per line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harken.cli.output import say
from harken.config import DataConfig, ExamplesConfig
from harken.data.rows import is_empty
from harken.errors import DataError, UsageError

if TYPE_CHECKING:
    from harken.data.sources import Pairs

MOST_PIECES = 8  # of what is unknown, that are named


def read_texts(typed: list[str] | None, data: str | None, config: DataConfig, *, require_key: bool = True) -> Pairs:
    """Rows to answer, as they were typed; ``targets`` of the result are not looked at.

    Raises:
        UsageError: no text at all, texts in two places, or a typed text that is empty or not UTF-8.
        DataError: what `read_pairs` finds wrong with the rows.
    """
    from harken.data.sources import read_pairs

    if typed and data:
        raise UsageError("texts were typed and --data was given: leave one of them out")
    if data:
        pairs = read_pairs(data, config, require_target=False, require_key=require_key)
    else:
        lines = typed_or_piped(typed, config)
        alone = config.model_copy(update={"key": None})  # such texts have no columns beside themselves
        try:
            pairs = read_pairs({config.source: lines}, alone, require_target=False)
        except DataError as error:
            place = "the typed texts" if typed else "standard input"
            raise DataError(str(error).replace("the table", place, 1)) from None
    warn_of_skipped(pairs)
    return pairs


def typed_or_piped(typed: list[str] | None, config: DataConfig | ExamplesConfig | None) -> list[str]:
    """What was typed, else the lines of standard input.

    Args:
        config: whether white space is ignored; None: it is not.

    Raises:
        UsageError: neither, or a typed text that is empty or not UTF-8.
        DataError: standard input that is empty or not UTF-8.
    """
    return _checked(typed, config) if typed else _standard_input()


def warn_of_skipped(pairs: Pairs) -> None:
    """Say how many rows ``--skip-bad-rows`` left out."""
    if pairs.skipped:
        say(f"warning: rows that cannot be read and were skipped: {pairs.skipped}")


def check_answerable(tokenizer: Any, texts: list[str], config: DataConfig, strict: bool) -> None:
    """Warn of texts that are empty, and of pieces that the tokenizer has never seen.

    Raises:
        DataError: there are some and ``strict`` was asked for.
    """
    empty = rows = 0
    pieces: dict[str, None] = {}  # a set that remembers the order
    for text in texts:
        unknown = tokenizer.unknown(text.strip() if config.strip else text)
        pieces |= dict.fromkeys(unknown)
        rows += bool(unknown)
        empty += is_empty(text, config)
    warn_of_empty(empty, len(texts), "texts", strict)
    warn_of_unknown(rows, len(texts), list(pieces), "texts", strict)


def warn_of_empty(empty: int, rows: int, noun: str, strict: bool) -> None:
    """Say how many of the rows hold nothing.

    Raises:
        DataError: there are some and ``strict`` was asked for.
    """
    sentence = f"empty {noun}: {empty} of {rows}"
    if empty and strict:
        raise DataError(f"{sentence}: leave --strict out to get the model's answer to nothing")
    if empty:
        say(f"warning: {sentence}; each gets the model's answer to nothing")


def warn_of_unknown(
    unknown: int, rows: int, pieces: Sequence[object], noun: str, strict: bool, fate: str = "it is read as unknown"
) -> None:
    """Say how many of the rows hold something that training never showed, some of it, and what becomes of it.

    Raises:
        DataError: there are some and ``strict`` was asked for.
    """
    some = ", ".join(map(repr, pieces[:MOST_PIECES])) + (", …" if len(pieces) > MOST_PIECES else "")
    sentence = f"{noun} with something that training never showed: {unknown} of {rows} ({some})"
    if unknown and strict:
        raise DataError(f"{sentence}: leave --strict out to answer all the same")
    if unknown:
        say(f"warning: {sentence}; {fate}")


def check_unicode(text: str, name: str) -> str:
    """A typed text.

    Raises:
        UsageError: it is not UTF-8.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):  # how Python shows bytes it cannot read
        raise UsageError(f"{name} ({text!r}) is not UTF-8: check the terminal's encoding")
    return text


def piped() -> str:
    """All of standard input.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"line {line} of standard input is not UTF-8: convert it with iconv -t UTF-8") from None


def _checked(typed: list[str], config: DataConfig | ExamplesConfig | None) -> list[str]:
    for number, text in enumerate(typed, start=1):
        if not text or (config is not None and is_empty(text, config)):
            raise UsageError(f"text {number} is empty ({text!r}): type something to answer")
        check_unicode(text, f"text {number}")
    return typed


def _standard_input() -> list[str]:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("there is nothing to answer: type texts, give --data FILE, or pipe lines in")
    text = piped()
    if not text:
        raise DataError("standard input is empty: pipe in one text per line")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]  # not at U+2028 and its like
