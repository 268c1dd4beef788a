"""Pairs of texts out of a file or a data frame.

Every kind of source is read into the same rows; one place, here, decides which of them are good:

    text lines, CSV, TSV, JSON Lines, Parquet, data frames  →  rows.Row  →  Pairs

Null reads as nothing: an answer that is empty makes a bad row, an input may be empty. Numbers read as their text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harken.config import DataConfig
from harken.data.opening import CSV_DELIMITERS, arrow_table, as_delimiter, read_lines, read_parquet, read_text, suffix
from harken.data.rows import Row, csv_rows, is_empty, json_rows, table_rows, text_rows
from harken.errors import DataError


@dataclass(frozen=True)
class Pairs:
    """Inputs and answers, each text as it stands in its cell, white space and all.

    Attributes:
        sources: the inputs.
        targets: the answers; None where there are none.
        keys: the key column's values as they are; None where no key was named, and for text lines.
        rows: where each pair stood, counted from 0; blank lines of CSV and JSON Lines do not count.
        skipped: how many bad rows were left out.
    """

    sources: list[str]
    targets: list[str] | None
    keys: list[Any] | None
    rows: list[int]
    skipped: int

    def __len__(self) -> int:
        return len(self.sources)


def read_pairs(
    source: str | Path | object, config: DataConfig, *, require_target: bool = True, require_key: bool = True
) -> Pairs:
    """Read pairs from a file or a table.

    Args:
        source: a path, or a table: anything with the Arrow PyCapsule interface (pandas, Polars, DuckDB, PyArrow) or a
            dict of columns. The path's suffix decides: .csv, .tsv, .jsonl, .ndjson, .parquet; anything else is text
            lines ``source<delimiter>target``, a tab by default. All but Parquet may be gzipped.
        config: names of the columns, delimiter, what to do with bad rows.
        require_target: False: answers may be missing, here and there or all of them; and text lines hold the input
            alone if the first one does.
        require_key: False: where the columns do not include ``config.key``, there are no keys.

    Raises:
        DataError: what cannot be read, with its place; ``config.skip_bad_rows`` counts bad rows instead, unless
            nothing is left or an open quote hides where the rows of a CSV file begin.
        ConfigError: a delimiter that CSV cannot have.
        UsageError: neither a path nor a table.
    """
    name = str(source) if isinstance(source, str | Path) else "the table"
    return _collect(name, _rows(name, source, config, require_target, require_key), config, require_target)


def _rows(name: str, source: object, config: DataConfig, require_target: bool, require_key: bool) -> Iterator[Row]:
    if not isinstance(source, str | Path):
        return table_rows(name, arrow_table(source), config, require_target, require_key)
    path = Path(source)
    kind = suffix(path)
    if kind == ".parquet":
        return table_rows(name, read_parquet(path)[0], config, require_target, require_key)
    if kind in CSV_DELIMITERS:
        delimiter = as_delimiter(config.delimiter, CSV_DELIMITERS[kind])
        return csv_rows(name, *read_lines(path), delimiter, config, require_target, require_key)
    if kind in (".jsonl", ".ndjson"):
        return json_rows(name, read_text(path), config, require_target, require_key)
    return text_rows(read_text(path), as_delimiter(config.delimiter, "\t"), config, require_target)


def _collect(name: str, stream: Iterator[Row], config: DataConfig, require_target: bool) -> Pairs:
    """Check the rows and keep the good ones."""
    rows = list(stream)
    if not rows:
        raise DataError(f"{name} is empty: it has no rows")
    if require_target and all(row.problem is None and is_empty(row.target or "", config) for row in rows):
        raise DataError(f"{name} holds no answers: its target ({config.target!r}) is empty in every row")
    numbers, sources, targets, keys = [], [], [], []
    for number, row in enumerate(rows):
        source, target = row.source or "", row.target or ""
        problem = row.problem or _problem(row, source, target, config, require_target)
        if problem is None:
            numbers.append(number)
            sources.append(source)
            targets.append(target)
            keys.append(row.key)
        elif not config.skip_bad_rows:
            raise DataError(f"{name}, {row.place}: {problem} (--skip-bad-rows leaves such rows out)")
    if not numbers:
        raise DataError(f"{name} has no row that can be read: all {len(rows)} of them are bad, such as {rows[0].place}")
    answered = require_target or any(row.target is not None for row in rows)
    keyed = any(key is not None for key in keys)
    return Pairs(sources, targets if answered else None, keys if keyed else None, numbers, len(rows) - len(numbers))


def _problem(row: Row, source: str, target: str, config: DataConfig, require_target: bool) -> str | None:
    if require_target and is_empty(target, config):
        return "the target is empty"
    if require_target and row.source is None:
        return "the source is null"
    for side, text in (("source", source), ("target", target)):
        if len(text) > config.max_characters:
            return f"the {side} has {len(text):,} characters, more than max_characters ({config.max_characters:,})"
        try:
            text.encode()
        except UnicodeEncodeError:
            return f"the {side} holds half of a surrogate pair, which is no character"
    return None
