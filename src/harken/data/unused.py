"""Options about a file that its format has no use for.

What a model was trained with may be of no use to another file that it answers; what somebody says of this file must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harken.data.arrays import array_names
from harken.data.columns import way_out
from harken.data.opening import suffix
from harken.errors import DataError

_CONLL = ("id", "time", "delimiter", "header")
_JSON = ("delimiter", "header")
UNUSED: dict[str, tuple[str, ...]] = {
    ".ts": ("series", "vectors", "label", "id", "time", "delimiter", "header"),
    ".npz": ("id", "time", "delimiter", "header", "encoding"),
    ".conll": _CONLL,
    ".conllu": _CONLL,
    ".jsonl": _JSON,
    ".ndjson": _JSON,
    ".parquet": (*_JSON, "encoding"),
}
"""Suffix of a file → options that change nothing in how it is read; a format that is not here has a use for all."""

_FOR = {
    **dict.fromkeys(("series", "vectors"), "files that have names for what they hold"),
    **dict.fromkeys(("id", "time"), "tables in long form"),
    "delimiter": "CSV, TSV and text lines",
    "header": "CSV and TSV",
    "encoding": "files of text",
}


def refuse_unused(source: str, given: Mapping[str, Any], *, beside: object = None) -> None:
    """Refuse an option that changes nothing in how a file is read, or that names an array that is not there.

    Args:
        source: a file.
        given: option → value, of those that somebody has set for it.
        beside: another file that is read with the same options, if it is a text: one that it has a use for is fine.

    Raises:
        DataError: there is one; says what it is for, or what there is to name.
    """
    path = Path(source)
    kind = suffix(path)
    other = suffix(Path(beside)) if isinstance(beside, str) else kind
    for option in UNUSED.get(kind, ()):
        if option not in given or option not in UNUSED.get(other, ()):
            continue
        if option == "label":
            raise DataError(
                f"{source}: label ({', '.join(map(repr, given[option]))}) names nothing in a {kind} file, whose labels "
                "have no name: leave it out"
            )
        raise DataError(
            f"{source}: {option} ({given[option]!r}) does nothing for a {kind} file: it is for {_FOR[option]}, so "
            "leave it out"
        )
    if kind == other == ".npz":
        _refuse_absent(path, given)


def _refuse_absent(path: Path, given: Mapping[str, Any]) -> None:
    """Refuse names of series and labels that no array has."""
    asked = [(name, option) for option in ("series", "label") for name in given.get(option, ())]
    there = array_names(path) if asked else ()
    for name, option in asked:
        if there and name not in there:
            raise DataError(f"{path} has no array {name!r}, {way_out(name, there, option)}")
