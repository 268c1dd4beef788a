"""Answers on their way to a file: written beside it, then renamed, so that nobody sees half a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harken.errors import UsageError
from harken.files import beside

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")


def check_out(out: Path, data: str | None, suffixes: Sequence[str] = SUFFIXES, option: str = "--out") -> None:
    """Refuse, before any work, a file that could not be written or must not be.

    Args:
        out: the file.
        data: the file that is read.
        suffixes: of files that can be written.
        option: that named the file.

    Raises:
        UsageError: unknown suffix, a folder, or the file that is being read.
    """
    if out.suffix.lower() not in suffixes:
        raise UsageError(f"{option} {out} does not end in {' or '.join(suffixes)}")
    if out.is_dir():
        raise UsageError(f"{option} {out} is a folder: name a file")
    if data is not None and out.exists() and Path(data).exists() and out.samefile(data):
        raise UsageError(f"{option} {out} is the file that is read: name another one")


def leave_out_key(estimator: Any, options: Mapping[str, Any], ours: Collection[str]) -> None:
    """Name rows by their number where the run's own key is called as a column of answers, and nobody typed it."""
    if "key" not in options and estimator.config.data.key in ours:
        estimator.config = estimator.config.override(key=None)


def row_names(
    column: str | None, keys: Sequence[Any] | None, rows: Sequence[int], ours: Collection[str], out: Path | None
) -> tuple[str, Sequence[Any]]:
    """What rows are called, beside their answers: the name of the column, and a name for each.

    Args:
        column: that holds the keys.
        keys: None: there are none, and rows are called by their number.
        rows: the numbers.
        ours: names of columns of answers.
        out: the file that is to be written.

    Raises:
        UsageError: the keys' column is called as one of ours.
    """
    name = (column if keys is not None else None) or "row"
    if name in ours:
        raise UsageError(f"--key {name} is the name of a column of answers: rename the key's column")
    return name, storable(rows if keys is None else keys, out)


def storable(keys: Sequence[Any], out: Path | None) -> Sequence[Any]:
    """The keys as the file that is to be written can hold them: as they are, or all of them as texts.

    A Parquet column has one type; the keys of JSON Lines may have several. Asked before the texts are answered.
    """
    if out is None or out.suffix.lower() != ".parquet":
        return keys
    import pyarrow as pa

    try:
        _write_parquet(pa.BufferOutputStream(), {"key": keys})
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return [None if key is None else _text(key) for key in keys]
    return keys


def _text(key: Any) -> str:
    """A key as JSON writes it, but a text as it is."""
    return json.dumps(key, ensure_ascii=False) if isinstance(key, bool | list | dict) else str(key)


def write_answers(out: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write equally long columns in the format that the suffix names."""
    rows = zip(*columns.values(), strict=True)
    with beside(out) as temporary:
        match out.suffix.lower():
            case ".parquet":
                _write_parquet(temporary, columns)
            case ".jsonl":
                with temporary.open("w", encoding="utf-8") as file:
                    for row in rows:
                        record = dict(zip(columns, row, strict=True))
                        file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
            case suffix:
                with temporary.open("w", encoding="utf-8", newline="") as file:
                    writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
                    writer.writerow(columns)
                    writer.writerows(rows)


def _write_parquet(where: Path | pa.BufferOutputStream, columns: Mapping[str, Sequence[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), where)
