"""Columns of a file become rows of steps.

    a column of lists                 one row = one list, of numbers (T,) or of equally long lists (T, D)
    several columns of lists          the channels of one series, equally long
    several columns of numbers        wide form: one column = one step of a series (T,), which ends at its last value

A missing value, null or an empty cell, is NaN; what becomes of it is `ExamplesConfig.missing`. Unlike what comes from
Python, a file's bad rows may be skipped, so all of them are found, and not only the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harken.config import ExamplesConfig
from harken.data.columns import Table, floats, is_list, is_number, is_text, joined
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


class Steps(NamedTuple):
    """Rows of steps, and what is wrong with some of them."""

    rows: Ragged  # values (N, D) float32, or (N,) int64 of ids
    problems: dict[int, str]
    channels: tuple[str, ...] = ()


def read_steps(
    table: Table, names: Sequence[str], option: str, *, whole: bool = False, nullable: bool = False
) -> Steps:
    """The rows of a series in one column of lists, or in several columns.

    Args:
        table: the rows.
        names: the columns.
        option: which option named them.
        whole: the numbers are ids.
        nullable: a null instead of a list is an empty row.

    Raises:
        DataError: columns that hold no numbers.
    """
    import pyarrow as pa

    columns = [table.column(name, option) for name in names]
    if nullable:
        columns = [c.fill_null(pa.scalar([], c.type)) if is_list(c.type) else c for c in columns]
    if len(columns) > 1 and not any(is_list(column.type) for column in columns):
        return _wide(table, dict(zip(names, columns, strict=True)), whole)
    problems: dict[int, str] = {}
    parts = [_from_lists(table, name, column, whole, problems) for name, column in zip(names, columns, strict=True)]
    if len(parts) == 1:
        return Steps(parts[0], problems)
    if whole:
        raise DataError(f"{table.name}: ids are one column of lists, and {len(names)} are named: choose one")
    lengths = parts[0].lengths
    for name, part in zip(names[1:], parts[1:], strict=True):
        for row in (part.lengths != lengths).nonzero().flatten().tolist():
            problem = f"{name!r} has {int(part.lengths[row])} steps, and {names[0]!r} has {int(lengths[row])}"
            problems.setdefault(row, f"{problem}: the channels of a series must be equally long")
    good = torch.ones(len(table), dtype=torch.bool)
    good[list(problems)] = False
    parts = [_emptied(part, good) for part in parts]
    return Steps(Ragged(torch.cat([part.values for part in parts], 1), parts[0].offsets), problems, tuple(names))


def unfit(steps: Steps, config: ExamplesConfig) -> dict[int, str]:
    """Rows that are too long, or hold a value that is infinite, or missing where that is refused."""
    values, offsets = steps.rows.values, steps.rows.offsets
    problems = {}
    if config.truncate is None:
        for row in (steps.rows.lengths > config.max_steps).nonzero().flatten().tolist():
            problem = f"the row has {int(steps.rows.lengths[row]):,} steps, more than max_steps ({config.max_steps:,})"
            problems[row] = f"{problem}: raise the option, or --truncate the rows"
    if not values.is_floating_point():
        return problems
    wrong = values.isinf() if config.missing != "refuse" else ~values.isfinite()  # (N, D)
    where = wrong.nonzero()  # (number of wrong values, 2)
    rows = torch.searchsorted(offsets, where[:, 0].contiguous(), right=True) - 1
    for row, (step, channel) in zip(rows.tolist(), where.tolist(), strict=True):
        within = step - int(offsets[row])
        if row not in problems and within < (config.truncate or within + 1):
            place = f"step {within}"
            if values.shape[1] > 1:
                place += f" of channel {repr(steps.channels[channel]) if steps.channels else channel}"
            missing = "is missing (NaN): --missing carry, linear or mean fills it"
            wrong_how = missing if values[step, channel].isnan() else "is infinite, or beyond what float32 holds"
            problems[row] = f"{place} (counted from 0) {wrong_how}"
    return problems


def _emptied(rows: Ragged, good: Tensor) -> Ragged:
    """The rows, with no steps in those that are not good."""
    kept = torch.repeat_interleave(good, rows.lengths)
    return Ragged(rows.values[kept], offsets_from_lengths(rows.lengths * good))


# Columns of lists


def _from_lists(table: Table, name: str, column: pa.ChunkedArray, whole: bool, problems: dict[int, str]) -> Ragged:
    """A column of lists as values (N, D) float32, or (N,) int64 of ids; problems are added to those that are known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array, spelled = _lists(column, name) if is_text(column.type) else (joined(column), {})
    if not is_list(array.type):
        raise DataError(
            f"{table.name}: column {name!r} holds {array.type}, and a series is a column of lists of numbers, or "
            "several columns of numbers: name them all, or say --id for a file whose rows are the steps"
        )
    array = array.cast(pa.large_list(array.type.value_type))
    wrong = dict.fromkeys(np.flatnonzero(array.is_null()).tolist(), f"{name!r} is null") | spelled
    nested, width = is_list(array.type.value_type), 1
    if nested:
        width, odd = _width(array, name)
        wrong = odd | wrong
        good = pa.array(np.isin(np.arange(len(array)), list(wrong), invert=True))
        array = pc.if_else(good, array, pa.scalar([], array.type)) if wrong else array
    numbers = array.flatten().flatten() if nested else array.flatten()
    if pa.types.is_null(numbers.type):  # nothing but empty lists
        numbers = numbers.cast(pa.int64())
    if not (pa.types.is_integer(numbers.type) if whole else is_number(numbers.type)) or (whole and nested):
        wanted = "ids are lists of whole numbers" if whole else "a series is a list of numbers"
        raise DataError(f"{table.name}: column {name!r} holds {array.type}, and {wanted}")
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    if whole:
        owners = np.repeat(np.arange(len(array)), lengths)
        nulls = np.flatnonzero(numbers.is_null())
        wrong |= {int(owners[step]): f"{name!r} holds a null, and ids are whole numbers" for step in nulls}
        numbers = numbers.fill_null(0).cast(pa.int64())
    else:
        numbers = numbers.cast(pa.float32(), safe=False).fill_null(float("nan"))
    for row, problem in wrong.items():
        problems.setdefault(row, problem)
    inner = numbers if whole else pa.FixedSizeListArray.from_arrays(numbers, width)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return Ragged.from_arrow(pa.LargeListArray.from_arrays(pa.array(offsets), inner))


def _width(array: pa.Array, name: str) -> tuple[int, dict[int, str]]:
    """How many values most steps have, and the rows that have others."""
    import pyarrow.compute as pc

    steps = array.flatten()
    widths = pc.fill_null(pc.list_value_length(steps), 0).to_numpy(zero_copy_only=False)
    width = int(np.bincount(widths).argmax()) if len(widths) else 1
    if width == 0:
        raise DataError(f"column {name!r} holds lists of empty lists: every step must have one value or more")
    if (widths == width).all():
        return width, {}
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    owners, begins = np.repeat(np.arange(len(array)), lengths), np.cumsum(lengths) - lengths
    rule = f"and most steps have {width}: every step must have a value for each channel"
    problems = {}
    for step in np.flatnonzero(widths != width)[::-1].tolist():  # so that a row's first one stays
        row = int(owners[step])
        problems[row] = f"step {step - begins[row]} (counted from 0) of {name!r} has {widths[step]} values, {rule}"
    return width, problems


def _lists(column: pa.ChunkedArray, name: str) -> tuple[pa.Array, dict[int, str]]:
    """Cells that spell lists, as ``[1, 2.5]`` or ``1 2.5``, as lists, and the rows that do not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bare = joined(pc.utf8_trim(column, " \t\r\n[]()"))
    parts = pc.split_pattern_regex(bare, r"[\s,;]+")
    empty = pc.fill_null(pc.equal(bare, ""), True).to_numpy(zero_copy_only=False)  # "" splits into one part
    lengths = pc.fill_null(pc.list_value_length(parts), 0).to_numpy(zero_copy_only=False)
    words = parts.flatten().filter(pa.array(~np.repeat(empty, lengths)))
    lengths = np.where(empty, 0, lengths)
    values, bad = floats(pa.chunked_array([words.cast(pa.large_string())]))
    owners = np.repeat(np.arange(len(bare)), lengths)
    rule = f"in column {name!r} is not a number"
    problems = {int(owners[i]): f"{words[i].as_py()!r} {rule}" for i in np.flatnonzero(bad)[::-1]}
    for row in np.flatnonzero(_decimal_commas(bare)).tolist():
        problems[row] = (
            f"{bare[row].as_py()[:40]!r} in column {name!r} has commas and other separators between its numbers: "
            "write decimal points, or separate all numbers in one way"
        )
    whole = not np.isinf(values).any() and not bad.any() and bool((values == np.floor(values)).all())
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]))
    numbers = pa.array(values.astype(np.int64) if whole else values)
    return pa.LargeListArray.from_arrays(offsets, numbers, mask=bare.is_null()), problems


def _decimal_commas(cells: pa.Array) -> np.ndarray:
    """Cells (n,) like ``0,5 0,75``, whose commas may be decimal ones: bare, where something else separates, too."""
    import pyarrow.compute as pc

    bare = pc.match_substring_regex(cells, r"[^\s,;],[^\s,;]")
    others = pc.match_substring_regex(cells, r"[^\s,;][\s;]+[^\s,;]")
    return pc.fill_null(pc.and_(bare, others), False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


# Wide form


def _wide(table: Table, columns: Mapping[str, pa.ChunkedArray], whole: bool) -> Steps:
    """One column = one step."""
    values = np.empty((len(table), len(columns)), dtype=np.float64 if whole else np.float32)
    problems: dict[int, str] = {}
    for step, (name, column) in enumerate(columns.items()):
        cells, bad = floats(column)
        with np.errstate(over="ignore"):  # becomes inf, which `unfit` refuses
            values[:, step] = cells
        for row in np.flatnonzero(bad).tolist():
            problems.setdefault(row, f"{str(column[row])!r} in column {name!r} is not a number")
        for row in np.flatnonzero(cells != np.floor(cells)).tolist() if whole else []:
            if not np.isnan(cells[row]):
                problems.setdefault(row, f"{cells[row]} in column {name!r} is not whole, and ids are")
    there = ~np.isnan(values)  # (n, steps)
    lengths = np.where(there.any(1), values.shape[1] - there[:, ::-1].argmax(1), 0)
    real = np.arange(values.shape[1]) < lengths[:, None]
    for row in np.flatnonzero((real & ~there).any(1)).tolist() if whole else []:
        problems.setdefault(row, "an id is missing before the last one")
    flat = torch.from_numpy(values[real])
    steps = flat.nan_to_num(0).long() if whole else flat[:, None]
    return Steps(Ragged(steps, offsets_from_lengths(torch.from_numpy(lengths))), problems)
