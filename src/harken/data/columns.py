"""What every reader of examples yields: Arrow columns, and where a person finds each row."""

from __future__ import annotations

import difflib
import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harken.config import ExamplesConfig, InputKind
from harken.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:nan|inf|infinity))$"
SKIPPING = "(--skip-bad-rows leaves such rows out)"


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equally many rows.

    Attributes:
        name: the file, or "the table".
        columns: the rows that could be read, of the columns that were wanted.
        there: the names of all columns.
        numbers: (n,) int64, where each of them stood among all rows, counted from 0.
        lines: (n,) int64, the line at which each begins; None where there are no lines.
        skipped: how many bad rows were left out.
        written: the cells are texts as somebody wrote them, so that numbers have to be told from texts.
        fixed: the kind of input, where the format itself has an input: it is the first column, and the labels are
            named in ``labels``.
        labels: see ``fixed``.
        task: regress or tag, where the format says so.
        unreadable: column → why Arrow cannot hold it.
        ids: what each row is called, where rows of a file were gathered into series.
        described: what the reader found out by itself, a sentence each.
        folder: that of the file, where its paths begin and may lead; None: of no file.
    """

    name: str
    columns: pa.Table
    there: tuple[str, ...]
    numbers: np.ndarray
    lines: np.ndarray | None = None
    skipped: int = 0
    written: bool = False
    fixed: InputKind | None = None
    labels: tuple[str, ...] = ()
    task: str | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)
    ids: Sequence[Any] | None = None
    described: tuple[str, ...] = ()
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def column(self, name: str, option: str) -> pa.ChunkedArray:
        """One column in one of the types that `plain` leaves.

        Raises:
            DataError: no column or several of this name, or one that cannot be read; ``option`` names the way out.
        """
        if self.there.count(name) > 1:
            raise DataError(f"{self.name} has {self.there.count(name)} columns called {name!r}: rename all but one")
        if name in self.unreadable:
            raise DataError(f"{self.name}: column {name!r} cannot be read: {self.unreadable[name]}")
        if name not in self.there:
            raise DataError(f"{self.name} has no column {name!r}, {way_out(name, self.there, option)}")
        return self.plain(self.columns.column_names.index(name))

    def plain(self, position: int) -> pa.ChunkedArray:
        """A column, its many Arrow types brought down to few: numbers, bool, texts, lists of them."""
        import pyarrow as pa

        column = self.columns.column(position)
        wanted, given = _plain(column.type), str(column.type)
        if column.type == wanted:
            return column
        try:
            if "list_view" in given or ("dictionary" in given and "view" in given):  # Arrow casts these wrongly or not
                return pa.chunked_array([pa.array(column.to_pylist(), wanted)])
            return column.cast(wanted)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            name = self.columns.column_names[position]
            raise DataError(f"{self.name}: column {name!r} ({column.type}) cannot be read: {error}") from None

    def place(self, row: int) -> str:
        """Where a person finds a row: "line 3"."""
        place = f"row {self.numbers[row]} (counted from 0)" if self.lines is None else f"line {self.lines[row]}"
        return place if self.ids is None else f"id {self.ids[row]!r} (it begins in {place})"

    def without(self, problems: Mapping[int, str], skip_bad_rows: bool) -> tuple[Table, np.ndarray]:
        """The table without its bad rows, and the rows (int64) that are left.

        Args:
            problems: row → what is wrong with it.
            skip_bad_rows: False: complain of the first instead.

        Raises:
            DataError: a bad row where none is skipped, or no other ones.
        """
        if not problems:
            return self, np.arange(len(self))
        first = min(problems)
        if not skip_bad_rows:
            raise DataError(f"{self.name}, {self.place(first)}: {problems[first]} {SKIPPING}")
        good = np.ones(len(self), dtype=bool)
        good[list(problems)] = False
        if not good.any():
            raise nothing_left(self.name, len(self) + self.skipped, self.place(first), problems[first])
        lines = None if self.lines is None else self.lines[good]
        kept = replace(
            self,
            columns=self.columns.filter(good),
            numbers=self.numbers[good],
            lines=lines,
            ids=None if self.ids is None else [called for called, keep in zip(self.ids, good, strict=True) if keep],
            skipped=self.skipped + len(problems),
        )
        return kept, np.flatnonzero(good)


def nothing_left(name: str, rows: int, place: str, problem: str) -> DataError:
    """The complaint when every row is bad."""
    return DataError(f"{name} has no row that can be read: all {rows} of them are bad, such as {place}: {problem}")


def way_out(name: str, there: Sequence[str], option: str) -> str:
    """What there is instead of what an option names, and the nearest of it."""
    known = ", ".join(map(repr, there[:20])) + (", …" if len(there) > 20 else "")
    near = difflib.get_close_matches(name, there, n=1)
    return f"only {known}: " + (f"did you mean --{option} {near[0]}?" if near else f"choose one with --{option}")


def _plain(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    if types.is_dictionary(kind):
        return _plain(kind.value_type)
    if types.is_decimal(kind):
        return pa.float64()
    if types.is_float16(kind):
        return pa.float32()
    if types.is_fixed_size_list(kind) and is_number(kind.value_type):
        return pa.list_(_plain(kind.value_type), kind.list_size)  # vectors all of one width: their layout is kept
    if any(is_a(kind) for is_a in (types.is_list, types.is_large_list, types.is_fixed_size_list)) or (
        types.is_list_view(kind) or types.is_large_list_view(kind)
    ):
        return pa.large_list(_plain(kind.value_type))
    if (types.is_primitive(kind) and not types.is_temporal(kind)) or types.is_null(kind) or types.is_nested(kind):
        return kind
    if is_text(kind):
        return kind
    return pa.large_string()  # texts of all sorts, dates and times in their ISO spelling


class Kept:
    """Which rows of a file are good: one count for all formats that are read line by line."""

    def __init__(self, name: str, config: ExamplesConfig) -> None:
        self.name = name
        self.numbers, self.lines = array("q"), array("q")
        self._skip = config.skip_bad_rows
        self._count = 0
        self._bad: tuple[str, str] | None = None  # the first: its place, and what is wrong

    def keep(self, line: int) -> None:
        """A good row that begins at ``line``."""
        self.numbers.append(self._count)
        self.lines.append(line)
        self._count += 1

    def refuse(self, line: int, problem: str) -> None:
        """A bad row, with the line that is wrong.

        Raises:
            DataError: bad rows are not skipped.
        """
        if not self._skip:
            raise DataError(f"{self.name}, line {line}: {problem} {SKIPPING}")
        self._bad = self._bad or (f"line {line}", problem)
        self._count += 1

    def check(self) -> None:
        """Complain where nothing was kept.

        Raises:
            DataError: no rows, or none that is good.
        """
        if self._count == 0:
            raise DataError(f"{self.name} is empty: it has no rows")
        if self._bad and not self.numbers:
            raise nothing_left(self.name, self._count, *self._bad)

    def table(self, columns: pa.Table, there: Iterable[str], *, written: bool = False) -> Table:
        """The rows that were kept; the arguments are `Table`'s."""
        numbers, lines = (np.frombuffer(cells, dtype=np.int64) for cells in (self.numbers, self.lines))
        return Table(self.name, columns, tuple(there), numbers, lines, self._count - len(numbers), written)


# What a column holds


def is_number(kind: pa.DataType) -> bool:
    """Whether values of this Arrow type are numbers; truth values are none."""
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this plain Arrow type are texts."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this plain Arrow type are lists."""
    import pyarrow as pa

    return bool(pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def joined(column: pa.ChunkedArray) -> pa.Array:
    """All chunks as one array."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def floats(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """A column of numbers, or of texts that spell some, as values (n,) float64 and which cells are neither (n,) bool.

    A cell that is null, empty or only white space is NaN; so is one that is no number.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    bad = np.zeros(len(column), dtype=bool)
    if is_text(column.type):
        trimmed = pc.utf8_trim_whitespace(column)
        spelled = pc.match_substring_regex(trimmed, _NUMBER)
        bad = pc.fill_null(pc.and_not(pc.not_equal(trimmed, ""), spelled), False).to_numpy(zero_copy_only=False)
        column = pc.if_else(spelled, trimmed, pa.scalar(None, trimmed.type))
    elif not is_number(column.type) and not pa.types.is_null(column.type) and not pa.types.is_boolean(column.type):
        return np.full(len(column), np.nan), ~column.is_null().to_numpy(zero_copy_only=False)
    values = column.cast(pa.float64(), safe=False) if column.type != pa.float64() else column
    return values.fill_null(float("nan")).to_numpy(zero_copy_only=False), bad


def spells_number(text: str) -> bool:
    """Whether a text is the spelling of a number, NaN and infinity among them."""
    return re.match(_NUMBER, text) is not None


def holds_numbers(column: pa.ChunkedArray, written: bool, *, mostly: bool = False) -> bool:
    """Whether a column holds numbers, or, where cells are ``written``, nothing but texts that spell some.

    With ``mostly`` half of the texts may spell none: such a column is meant to hold numbers, and the others are bad.
    """
    if is_number(column.type):
        return True
    if not written or not is_text(column.type):
        return False
    for cells in (column.slice(0, 100), column):  # the first ones: quickly, as most columns differ at once
        values, bad = floats(cells)
        numbers = len(bad) - int(np.isnan(values).sum())
        if bad.sum() > (numbers if mostly else 0):
            return False
    return numbers > 0


def as_written(cells: Sequence[str | None]) -> list[Any]:
    """Cells as what they spell, if all agree: whole numbers, else numbers, else texts as they are.

    Only the usual spelling of a number counts, so that 007 and 1.50 stay texts and no label changes its look.
    """
    distinct = {cell for cell in cells if cell is not None}
    for kind in (int, float):
        try:
            values = {cell: kind(cell) for cell in distinct}
        except ValueError:
            continue
        usual = all(str(value) == cell or f"{value:.0f}" == cell for cell, value in values.items())  # 1 beside 1.5
        if usual and all(map(math.isfinite, values.values())):
            return [None if cell is None else values[cell] for cell in cells]
    return list(cells)
