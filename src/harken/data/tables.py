"""Files and frames with columns, read column by column: a million rows take little more than their text.

CSV, TSV, text lines, JSON Lines, Parquet, data frames  →  columns.Table
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harken.config import ExamplesConfig
from harken.data.arrays import read_npz
from harken.data.columns import Kept, Table, spells_number
from harken.data.conll import read_conll
from harken.data.folders import read_folder
from harken.data.opening import (
    CSV_DELIMITERS,
    arrow_table,
    as_delimiter,
    csv_records,
    one_line,
    read_lines,
    read_parquet,
    read_text,
    suffix,
)
from harken.data.timeseries import read_ts
from harken.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 20_000  # rows that are held as Python texts at once
_FIRST = {True: "header", False: "first row"}

Cells = tuple[int, list[str] | str]  # the line a row begins at, and its cells or what is wrong with it


def read_table(
    source: str | Path | object,
    config: ExamplesConfig,
    wanted: Collection[str] | None = None,
    *,
    require_labels: bool = True,
) -> Table:
    """A file, a data frame or a dict of columns.

    Args:
        source: a path, whose suffix decides: .ts, .npz, .conll, .conllu, .csv, .tsv, .jsonl, .ndjson, .parquet;
            anything else is text lines. All of them may be gzipped. Or a folder, see `read_folder`. Or a table:
            anything with the Arrow PyCapsule interface (pandas, Polars, DuckDB, PyArrow), or a dict of columns.
        config: delimiter, header, encoding, what to do with bad rows; for .ts, .npz and CoNLL the columns too.
        wanted: the only columns to keep, where columns have names; None: all.
        require_labels: False: labels that the format itself has are not looked at, and a CoNLL file may lack them.

    Raises:
        DataError: what cannot be read, with its place.
        UsageError: neither a path nor a table.
    """
    if isinstance(source, Table):
        return source
    if not isinstance(source, str | Path):
        table = arrow_table(source)
        return _from_arrow("the table", table, table.column_names)
    if Path(source).is_dir():
        return read_folder(Path(source), config)
    table = _file(source, config, wanted, require_labels)
    return replace(table, folder=Path(source).parent)


def _file(source: str | Path, config: ExamplesConfig, wanted: Collection[str] | None, require_labels: bool) -> Table:
    path, name = Path(source), str(source)
    kind = suffix(path)
    if kind == ".ts":
        return read_ts(path, config, require_labels)
    if kind == ".npz":
        return read_npz(path, config, require_labels)
    if kind in (".conll", ".conllu"):
        return read_conll(path, config, require_labels)
    if kind == ".parquet":
        return _from_arrow(name, *read_parquet(path, wanted))
    if kind in (".jsonl", ".ndjson"):
        return _json(name, read_lines(path, config.encoding)[0], config, wanted)
    if kind in CSV_DELIMITERS:
        lines, size = read_lines(path, config.encoding)
        delimiter = as_delimiter(config.delimiter, CSV_DELIMITERS[kind])
        return _written(name, csv_records(name, lines, size, delimiter), config, wanted, config.header)
    return _text_lines(name, read_text(path, config.encoding), config, wanted)


def _from_arrow(name: str, table: pa.Table, there: Sequence[str]) -> Table:
    import pyarrow as pa

    if table.num_rows == 0:
        raise DataError(f"{name} is empty: it has no rows")
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise DataError(f"{name} is damaged: {one_line(error)}") from None
    return Table(name, table, tuple(there), np.arange(table.num_rows))


# Cells of text


def _text_lines(name: str, text: str, config: ExamplesConfig, wanted: Collection[str] | None) -> Table:
    """Lines of a file of no special kind: cells between delimiters if the first line has one, else each is a text."""
    lines = text.removesuffix("\n").split("\n") if text else []  # splitlines would also cut at form feeds and U+2028
    lines = [line.removesuffix("\r") for line in lines]
    delimiter = as_delimiter(config.delimiter, "\t")
    if delimiter not in next((line for line in lines if line.strip()), ""):
        rows: Iterator[Cells] = ((number, [line]) for number, line in enumerate(lines, start=1))
        return _written(name, chain([(0, [config.words or config.text or "text"])], rows), config, wanted, header=True)
    rows = ((number, line.split(delimiter)) for number, line in enumerate(lines, start=1) if line.strip())
    return _written(name, rows, config, wanted, header=False)


def _written(
    name: str, rows: Iterable[Cells], config: ExamplesConfig, wanted: Collection[str] | None, header: bool
) -> Table:
    """Rows of cells as columns of texts; without a header the columns are called 1, 2, …."""
    import pyarrow as pa

    names: list[str] = []
    picked: list[int] = []
    blocks: list[list[pa.Array]] = []
    block: list[list[str]] = []
    kept = Kept(name, config)

    def close() -> None:
        blocks.append([pa.array([cells[column] for cells in block], pa.large_string()) for column in picked])
        block.clear()

    for line, cells in rows:
        if isinstance(cells, str):
            kept.refuse(line, cells)
            continue
        if not names:
            names = [cell.strip() for cell in cells] if header else [str(n) for n in range(1, len(cells) + 1)]
            picked = [column for column, called in enumerate(names) if wanted is None or called in wanted]
            if header:
                _check_header(name, line, names, config)
                continue
        if len(cells) != len(names):
            hint = "" if len(names) > 1 or ";" not in names[0] else ': say --delimiter ";" if that separates columns'
            kept.refuse(line, f"the row has {len(cells)} cells, and the {_FIRST[header]} has {len(names)}{hint}")
            continue
        kept.keep(line)
        block.append(cells)
        if len(block) == _BLOCK:
            close()
    kept.check()
    if block:
        close()
    columns = [pa.chunked_array(list(chunks)) for chunks in zip(*blocks, strict=True)]
    table = pa.Table.from_arrays(columns, [names[column] for column in picked])
    return kept.table(table, names, written=True)


def _check_header(name: str, line: int, names: Sequence[str], config: ExamplesConfig) -> None:
    """Refuse a first row of numbers, which would be lost as a header."""
    spelled = [called for called in names if called]
    counted = spelled in ([str(n + first) for n in range(len(spelled))] for first in (0, 1))  # as pandas calls columns
    known = len(config.series) > 1 and {*config.series} <= {*names}
    if line and spelled and all(map(spells_number, spelled)) and not counted and not known:
        shown = ", ".join(spelled[:5]) + (", …" if len(spelled) > 5 else "")
        raise DataError(
            f"{name}, line {line}: the header names its columns {shown}, all of them numbers: say --no-header if it is "
            "a row, and the columns are called 1, 2, …, or give a name letters if it is a header"
        )


# JSON


def _json(name: str, lines: Iterable[str], config: ExamplesConfig, wanted: Collection[str] | None) -> Table:
    """One JSON object per line; a column that a row lacks is null there."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    there: dict[str, None] = {}
    kept = Kept(name, config)
    for line, content in enumerate(lines, start=1):
        if not content.strip():
            continue
        problem, row = _object(content)
        if problem:
            kept.refuse(line, problem)
            continue
        there.update(dict.fromkeys(row))
        for column in row:
            if column not in columns and (wanted is None or column in wanted):
                columns[column] = [None] * len(kept.numbers)
        for column, values in columns.items():
            values.append(row.get(column))
        kept.keep(line)
    kept.check()
    arrays, unreadable = {}, {}
    for column, values in columns.items():
        try:
            arrays[column] = _array(values)
        except (pa.ArrowException, OverflowError) as error:
            line = kept.lines[_culprit(values)]
            unreadable[column] = f"line {line} has a value of another kind than the lines before ({one_line(error)})"
    return replace(kept.table(pa.table(arrays), there), unreadable=unreadable)


def _object(content: str) -> tuple[str, dict[str, Any]]:
    """What is wrong with a line of JSON, and its object."""
    try:
        value = json.loads(content)
    except (json.JSONDecodeError, RecursionError) as error:
        return f"not valid JSON: {error}", {}
    if "\\ud" in content.lower() and any(0xD800 <= ord(c) < 0xE000 for c in json.dumps(value, ensure_ascii=False)):
        return "it holds half of a surrogate pair, which is no character", {}
    return ("", value) if isinstance(value, dict) else ("not a JSON object", {})


def _array(values: list[Any]) -> pa.Array:
    """Values of one type, or scalars of several as their text."""
    import pyarrow as pa

    kinds = {type(value) for value in values} - {type(None)}
    if str in kinds and kinds <= {str, int, float, bool}:
        values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pa.array(values)


def _culprit(values: list[Any]) -> int:
    """The first row with which the column cannot be an array."""
    good, bad = 0, len(values)  # the first `good` rows can, the first `bad` cannot
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            _array(values[:middle])
            good = middle
        except Exception:  # whatever it was that failed for all of them
            bad = middle
    return bad - 1
