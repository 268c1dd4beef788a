"""Every kind of source as one stream of rows, good and bad; what becomes of them is decided in `sources`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from harken.config import DataConfig, ExamplesConfig
from harken.data.opening import csv_records, texts
from harken.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

NO_DELIMITER = "there is no delimiter"  # how the problem of such a line begins


class Row(NamedTuple):
    """One row as it was read."""

    place: str  # where a person finds it: "line 3"
    source: str | None = None
    target: str | None = None
    key: Any = None
    problem: str | None = None  # why nothing could be read


def is_empty(text: str, config: DataConfig | ExamplesConfig) -> bool:
    """Whether a text holds nothing, or nothing but white space where that is ignored."""
    return not (text.strip() if config.strip else text)


def text_rows(text: str, delimiter: str, config: DataConfig, require_target: bool) -> Iterator[Row]:
    """Lines ``source<delimiter>target``; without ``require_target`` sources alone, if the first line is one."""
    # splitlines would also cut at form feeds and U+2028
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    while require_target and lines and is_empty(lines[-1], config):  # at the end; elsewhere a blank line is a bad row
        lines.pop()
    paired = require_target or delimiter in next((line for line in lines if not is_empty(line, config)), "")
    for number, line in enumerate(lines, start=1):
        place, times = f"line {number}", line.count(delimiter)
        if paired and times == 1:
            yield Row(place, *line.split(delimiter))
        elif not paired or not (require_target or line.strip()):
            yield Row(place, line)
        elif times == 0:
            yield Row(place, problem=f"{NO_DELIMITER} {delimiter!r} between source and target")
        else:
            yield Row(place, problem=f"the delimiter {delimiter!r} occurs {times} times, and must occur once")


def csv_rows(
    name: str,
    lines: Iterable[str],
    size: int,
    delimiter: str,
    config: DataConfig,
    require_target: bool,
    require_key: bool,
) -> Iterator[Row]:
    """CSV with a header; quoted cells may hold delimiters and line ends.

    Raises:
        ConfigError: a delimiter that CSV cannot have.
        DataError: columns that are not there, or a quote after which nobody can say where a row begins.
    """
    header: list[str] | None = None
    key: str | None = None
    for first, cells in csv_records(name, lines, size, delimiter):
        place = f"line {first}"
        if isinstance(cells, str):
            yield Row(place, problem=cells)
        elif header is None:
            header = [cell.strip() for cell in cells]
            key = _check_columns(name, header, config, require_target, require_key)
        elif len(cells) != len(header):
            yield Row(place, problem=f"the row has {len(cells)} cells, and the header has {len(header)}")
        else:
            row = dict(zip(header, cells, strict=True))
            yield Row(place, row[config.source], row.get(config.target), None if key is None else row[key])


class _Number(str):
    """A JSON number as it is written, so that 1.50 stays 1.50."""

    __slots__ = ()


def json_rows(name: str, text: str, config: DataConfig, require_target: bool, require_key: bool) -> Iterator[Row]:
    """One JSON object per line."""
    rows: list[tuple[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                value = json.loads(line, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
            except (json.JSONDecodeError, RecursionError) as error:
                value = f"not valid JSON: {error}"
            rows.append((f"line {number}", value))
    objects = [value for _, value in rows if isinstance(value, dict)]
    if objects:
        there = list(dict.fromkeys(k for value in objects for k in value))
        _check_columns(name, there, config, require_target, require_key)
    for place, value in rows:
        if not isinstance(value, dict):
            yield Row(place, problem=value if isinstance(value, str) else "not a JSON object")
            continue
        source, target, key = (value.get(name) for name in (config.source, config.target, config.key))
        strange = next((cell for cell in (source, target) if isinstance(cell, list | dict)), None)
        if strange is not None:
            yield Row(place, problem=f"a {type(strange).__name__} stands where a text is wanted")
            continue
        yield Row(place, _json_text(source), _json_text(target), json.loads(key) if isinstance(key, _Number) else key)


def _json_text(value: str | bool | None) -> str | None:
    return str(value).lower() if isinstance(value, bool) else value


def table_rows(
    name: str, table: pa.Table, config: DataConfig, require_target: bool, require_key: bool
) -> Iterator[Row]:
    """An Arrow table, whatever types its columns have, as long as they have a text."""
    names = [str(column) for column in table.column_names]
    key_column = _check_columns(name, names, config, require_target, require_key)

    def cells(column: str | None) -> Any:
        return table.column(names.index(column)) if column in names else None

    nothing: list[None] = [None] * table.num_rows
    target, key = cells(config.target), cells(key_column)
    sources = texts(name, config.source, cells(config.source))
    targets = nothing if target is None else texts(name, config.target, target)
    keys = nothing if key is None else key.to_pylist()
    for number, row in enumerate(zip(sources, targets, keys, strict=True)):
        yield Row(f"row {number} (counted from 0)", *row)


def _check_columns(
    name: str, there: Sequence[str], config: DataConfig, require_target: bool, require_key: bool
) -> str | None:
    """The key column, if there is one that is wanted; complains of columns that must be there and are not."""
    key = config.key
    if key is not None and not require_key and there.count(key) != 1:
        key = None
    wanted = {"source": config.source, "target": config.target if require_target else None, "key": key}
    for option, column in wanted.items():
        if column is not None and column not in there:
            known = ", ".join(map(repr, there[:20])) + (", …" if len(there) > 20 else "")
            raise DataError(f"{name} has no column {column!r}, only {known}: choose one of them with --{option}")
        if column is not None and there.count(column) > 1:
            raise DataError(f"{name} has {there.count(column)} columns called {column!r}: rename all but one")
    return key
