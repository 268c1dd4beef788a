"""Files in long form, a row for each step, gathered into a row for each series.

id  time  x    y    label          id  x           y           label
a   1     0.5  1.5  up       →     a   [0.5, 0.6]  [1.5, 1.4]  up
a   2     0.6  1.4  up             b   [0.1]       [0.2]       down
b   1     0.1  0.2  down
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from harken.data.columns import Table, floats, is_text, joined, nothing_left
from harken.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def gather(
    table: Table,
    id: str,
    time: str | None,
    *,
    numbers: Sequence[str],
    steps: Sequence[str],
    constant: Sequence[str],
    skip_bad_rows: bool,
) -> Table:
    """Rows with one id become one row, whose lists are in order of time.

    Args:
        table: a row for each step.
        id: the column that names the series; they stay in the order in which they begin.
        time: the column that sorts the steps: numbers, or ISO dates and times; two steps of a series cannot have one
            time. None: the steps stay in the order of the rows.
        numbers: columns that become lists of numbers.
        steps: columns that become lists of whatever they hold.
        constant: columns with one value, or none, in all rows of a series.
        skip_bad_rows: leave series with a bad row out, and rows without an id, and count them, instead of stopping
            at the first.

    Raises:
        DataError: columns that are not there, or bad rows.
    """
    import pyarrow as pa

    codes, ids = _codes(table.column(id, "id"))
    problems = dict.fromkeys(np.flatnonzero(codes < 0).tolist(), f"the id (column {id!r}) is missing")
    ranks, described = np.zeros(len(table)), "order of the steps: as the rows stand"
    if time is not None:
        ranks, how, wrong = _ranks(table, time)
        described = f"order of the steps: by column {time!r}, as {how}"
        _add(problems, wrong)
        missing = np.flatnonzero(np.isnan(ranks)).tolist()
        _add(problems, dict.fromkeys(missing, f"the time (column {time!r}) is missing"))
        _add(problems, _twice(table, codes, ranks, ids, time))
    cells = {}
    for name in numbers:
        cells[name], wrong = _numbers(table, name)
        _add(problems, wrong)
    first = np.full(len(ids) + 1, len(table))  # the row in which each series begins; the last: rows without an id
    np.minimum.at(first, codes, np.arange(len(table)))
    known = {}
    for name in constant:
        known[name], wrong = _constant(table, codes, ids, name, first)
        _add(problems, wrong)
    if problems and not skip_bad_rows:
        table.without(problems, skip_bad_rows)
    good = np.ones(len(ids) + 1, dtype=bool)
    good[[-1, *codes[list(problems)]]] = False
    if not good.any():
        raise nothing_left(table.name, len(table), table.place(min(problems)), problems[min(problems)])
    order = np.lexsort((ranks, codes))  # stable, so that rows without a time stay as they are
    order = order[good[codes[order]]]
    kept = np.flatnonzero(good)
    lengths = np.bincount(codes[order], minlength=len(ids))[kept]
    begins = pa.array(np.concatenate([[0], np.cumsum(lengths)]))
    columns = {id: joined(table.column(id, "id")).take(pa.array(first[kept]))}
    columns |= {name: joined(table.column(name, "label")).take(pa.array(rows[kept])) for name, rows in known.items()}
    cells |= {name: joined(table.column(name, "label")) for name in steps}
    for name, values in cells.items():
        columns[name] = pa.LargeListArray.from_arrays(begins, values.take(pa.array(order)))
    return Table(
        table.name,
        pa.table(columns),
        table.there,
        numbers=kept,
        lines=None if table.lines is None else table.lines[first[kept]],
        skipped=table.skipped + len(ids) - len(kept) + int((codes < 0).sum()),
        written=table.written,
        ids=[ids[code] for code in kept],
        described=(*table.described, described),
    )


def _add(problems: dict[int, str], more: dict[int, str]) -> None:
    """The first complaint about a row stays."""
    for row, problem in more.items():
        problems.setdefault(row, problem)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[Any]]:
    """Each cell as the number of its value, in the order in which values begin; -1 where there is none."""
    encoded = joined(_filled(column)).dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with null where a text is empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not is_text(column.type):
        return column
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, trimmed.type), trimmed)


def _ranks(table: Table, time: str) -> tuple[np.ndarray, str, dict[int, str]]:
    """What to sort by, (n,) float64 with NaN where there is none, what it is, and the rows in which it is wrong."""
    column = table.column(time, "time")
    values, bad = floats(column)
    if not bad.any():
        return values, "numbers", {}
    codes, texts = _codes(column)
    instants = {text: instant for text in texts if (instant := _instant(str(text))) is not None}
    ordered = sorted(instants, key=lambda text: (instants[text], text))  # the text for what is finer than microseconds
    places = dict(zip(ordered, range(len(ordered)), strict=True))
    ranks = np.array([places.get(text, np.nan) for text in [*texts, None]])[codes]
    numbers, dates = (~np.isnan(values)).sum(), (~np.isnan(ranks)).sum()
    wanted = "a number or an ISO date or time, such as 2024-05-31 or 2024-05-31T09:30"
    if not numbers and not dates:
        raise DataError(
            f"{table.name}: column {time!r} holds {str(column[int(bad.argmax())])!r}, and no cell is {wanted}: write "
            "the times so, or give --id without --time where the rows stand in order"
        )
    ranks, how = (ranks, "dates and times") if dates > numbers else (values, "numbers")
    wrong = np.flatnonzero(np.isnan(ranks) & (codes >= 0)).tolist()
    rule = f"(column {time!r}) is not {wanted}" if dates > numbers else f"(column {time!r}) is not a number"
    return ranks, how, {row: f"the time {str(column[row])!r} {rule}" for row in wrong}


def _instant(text: str) -> datetime | None:
    """The moment that an ISO date or time names; 2024 and 2024-05 begin with their first day."""
    if re.fullmatch(r"\d{4}(-\d\d)?", text):
        text = f"{text}-01-01"[:10]
    elif re.match(r"\d\d:\d\d", text):
        text = f"1970-01-01T{text}"
    elif not re.match(r"\d{4}-", text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _numbers(table: Table, name: str) -> tuple[pa.Array, dict[int, str]]:
    """A column's numbers, whole ones as such, and the rows in which there is none."""
    import pyarrow as pa

    column = table.column(name, "series")
    values, bad = floats(column)
    problems = {row: f"{str(column[row])!r} in column {name!r} is not a number" for row in np.flatnonzero(bad).tolist()}
    whole = not bad.any() and bool((values == np.floor(values)).all()) and bool((np.abs(values) < 2**53).all())
    return pa.array(values.astype(np.int64) if whole else values), problems


def _twice(table: Table, codes: np.ndarray, ranks: np.ndarray, ids: list[Any], time: str) -> dict[int, str]:
    """Rows whose id has had their time before."""
    order = np.lexsort((ranks, codes))
    same = (np.diff(codes[order]) == 0) & (np.diff(ranks[order]) == 0) & (codes[order][1:] >= 0)
    problems = {}
    for place in np.flatnonzero(same).tolist():
        before, row = order[place], order[place + 1]
        problems[int(row)] = (
            f"id {ids[codes[row]]!r} has a second row with the time of {table.place(int(before))} (column {time!r}): "
            "a series has one row for each time"
        )
    return problems


def _constant(
    table: Table, codes: np.ndarray, ids: list[Any], name: str, first: np.ndarray
) -> tuple[np.ndarray, dict[int, str]]:
    """For each series a row that has its value in a column, and the rows that have another one."""
    cells, values = _codes(table.column(name, "label"))
    there = np.flatnonzero(cells >= 0)
    known = np.full(len(first), len(cells))
    np.minimum.at(known, codes[there], there)
    known = np.where(known < len(cells), known, first)
    problems = {}
    for row in there[cells[there] != cells[known[codes[there]]]].tolist():
        if codes[row] >= 0:
            before = int(known[codes[row]])
            problems[row] = (
                f"column {name!r} is {values[cells[row]]!r}, and {values[cells[before]]!r} in {table.place(before)}: "
                f"rows with one id ({ids[codes[row]]!r}) must agree"
            )
    return known, problems
