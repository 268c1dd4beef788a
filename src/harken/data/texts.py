"""Texts that come from Python, checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harken.config import DataConfig
from harken.errors import DataError


def check_pairs(sources: Sequence[str], targets: Sequence[str], config: DataConfig) -> tuple[list[str], list[str]]:
    """Both columns as lists of equally many texts.

    Raises:
        DataError: unequal numbers, or a text that `check_texts` refuses.
    """
    sources, targets = (
        check_texts(name, texts, config) for name, texts in (("sources", sources), ("targets", targets))
    )
    if len(sources) != len(targets):
        raise DataError(f"there are {len(sources)} sources and {len(targets)} targets: give one target for each source")
    return sources, targets


def check_texts(name: str, texts: Sequence[str], config: DataConfig) -> list[str]:
    """A column as a list, whatever holds it: list, array, Arrow or data frame column; stripped if the config says so.

    Raises:
        DataError: something that is no text, or one longer than ``max_characters``; says which row.
    """
    longest, rows = config.max_characters, list_texts(name, texts)
    for row, text in enumerate(rows):
        if len(text) > longest:
            raise DataError(
                f"{name}[{row}] has {len(text):,} characters, "
                f"more than max_characters ({longest:,}): shorten it or raise the option"
            )
    return [text.strip() for text in rows] if config.strip else rows


def list_texts(name: str, texts: Sequence[str]) -> list[str]:
    """The same of any length, as they are.

    Raises:
        DataError: something that is no text; says which row.
    """
    if isinstance(texts, str | Mapping):
        raise DataError(f"{name} is one {type(texts).__name__}: give a list of texts")
    rows: list[str] = texts.to_pylist() if hasattr(texts, "to_pylist") else list(texts)  # an Arrow column, or any other
    for row, text in enumerate(rows):
        if not isinstance(text, str):
            raise DataError(f"{name}[{row}] is {type(text).__name__} ({text!r:.40}): every text must be a str")
    return rows
