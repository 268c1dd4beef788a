"""Which of a table's columns are the input and the label, told from their names and contents."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harken.config import INPUT_COLUMNS, ExamplesConfig, InputKind
from harken.data.columns import Table, holds_numbers, is_list, is_number, is_text, joined
from harken.data.inputs import kind_of_lists, sample_of
from harken.data.media import is_media, kind_of_files
from harken.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_LABELS = (("label", "labels", "class", "target"), ("y",), ("stars", "category", "sentiment", "tag", "tags"))
"""A column called so is the answer; a later group counts only where an earlier one has none."""
_TEXTS = ("text", "sentence", "review", "document")
_INDEX = ("", "id", "index", "unnamed: 0")  # numbers that count rows
_OF_TEXTS = ("text", "sentences", "words")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
ONE_COLUMN = tuple(name for name in INPUT_COLUMNS if name != "series")
"""Options that name the input where it is one column; a series may be several."""
_VECTOR = 32  # as wide as this, a list of lists is vectors of a document, else channels of a series


class Guess:
    """The columns of one table that the user has not spoken for, and what they could be."""

    def __init__(self, table: Table, config: ExamplesConfig, task: str | None) -> None:
        self.table = table
        self.config = config
        self.task = task

    @cached_property
    def free(self) -> dict[str, pa.ChunkedArray]:
        """Name → column, of those that could be anything."""
        config = self.config
        spoken = {getattr(config, name) for name in (*ONE_COLUMN, "weight", "id", "time", "key")}
        spoken |= {*config.series, *config.label}
        columns = {}
        for position, name in enumerate(map(str, self.table.columns.column_names)):
            index = name.startswith("__index_level_")  # of a pandas frame
            if name not in spoken and self.table.there.count(name) == 1 and not index:
                with contextlib.suppress(DataError):  # of a type that is no input and no label
                    columns[name] = self.table.plain(position)
        return columns

    # Labels

    def named_labels(self, require_labels: bool) -> tuple[str, ...]:
        """The label, if a column is called as labels are."""
        for group in _LABELS:
            found = [name for name in self.free if name.lower() in group]
            if len(found) == 1 and group == ("y",) and self._is_channel(found[0]):
                continue
            if len(found) > 1 and require_labels:
                raise self._doubt("the label", found, "label")
            if len(found) == 1:
                return (found[0],)
        return ()

    def _is_channel(self, name: str) -> bool:
        """Whether a column called y goes with another called x."""
        pair = [column for called, column in self.free.items() if called == name or called.lower() == "x"]
        return len(pair) == 2 and (all(map(self._holds_numbers, pair)) or all(is_list(c.type) for c in pair))

    def _holds_numbers(self, column: pa.ChunkedArray) -> bool:
        return holds_numbers(column, self.table.written, mostly=True)

    def other_labels(self, columns: Mapping[str, Any], require_labels: bool) -> tuple[str, ...]:
        """The label, if only one column that is not input can be it."""
        spoken = {name for value in columns.values() for name in ((value,) if isinstance(value, str) else value)}
        others = {name: column for name, column in self.free.items() if name not in spoken}
        lists = [name for name, column in others.items() if is_list(column.type)]
        scalars = [name for name in others if name not in lists]
        tags = self.task == "tag" or self.config.words is not None or "words" in columns
        candidates = (lists if tags else []) or [name for name in scalars if _has_few_values(others[name])] or scalars
        if len(candidates) == 1:
            return (candidates[0],)
        if not require_labels:
            return ()
        if candidates:
            raise self._doubt("the label", candidates, "label")
        of_folder = self.table.folder is not None and str(self.table.folder) == self.table.name
        raise DataError(
            f"{self.table.name} has no column that could be the label, only {listed(self.table.there)}: "
            + ("put the files of each class into a folder of their own" if of_folder else "name it with --label")
        )

    # Inputs

    def named_input(self) -> tuple[InputKind, dict[str, Any], str] | None:
        """The kind of the input that the user named, and how it is found."""
        config, kind = self.config, self.config.input
        if config.text is not None:
            column = self.table.column(config.text, "text")
            told: InputKind = "words" if self.task == "tag" else "text"
            if is_list(column.type) and is_text(column.type.value_type):
                told = kind_of_lists(sample(column), self.task)
            self._check(kind, ("text", "sentences", "words"), "text")
            return kind or told, {}, f"column {config.text!r}"
        if config.words is not None:
            self._check(kind, ("words", "sentences"), "words")
            return kind or "words", {}, f"column {config.words!r}"
        if config.vectors is not None:
            self._check(kind, ("vectors", "series"), "vectors")
            return kind or "vectors", {}, f"column {config.vectors!r}"
        if config.series:
            self._check(kind, ("series", "vectors", "ids", "spectrogram"), "series")
            return kind or "series", {}, self._shape(config.series)
        if config.image is not None:
            self._check(kind, ("image",), "image")
            return "image", {}, f"column {config.image!r}"
        if config.audio is not None:
            self._check(kind, ("audio", "spectrogram"), "audio")
            told = kind_of_files(sample(self.table.column(config.audio, "audio"))) or "audio"
            return kind or ("audio" if told == "image" else told), {}, f"column {config.audio!r}"
        return None

    def _check(self, kind: InputKind | None, possible: Sequence[InputKind], option: str) -> None:
        if kind is not None and kind not in possible:
            raise DataError(
                f"input ({kind!r}) cannot be read from the column that --{option} names: "
                f"that is {' or '.join(filter(None, (', '.join(possible[:-1]), possible[-1])))}"
            )

    def input(self, labels: Sequence[str]) -> tuple[InputKind, dict[str, Any], str]:
        """The kind and the columns of the input, and how it is found."""
        rest = {name: column for name, column in self.free.items() if name not in labels}
        numbers = [name for name, column in rest.items() if self._holds_numbers(column)]
        if self.config.id is not None:
            if not numbers:
                raise DataError(f"{self.table.name} has no columns of numbers beside the id: --series names the values")
            how = f"{self._shape(numbers)} of rows with one {self.config.id!r} (long form)"
            return self.config.input or "series", {"series": tuple(numbers)}, how
        wanted = self.config.input
        paths = self._paths(rest)
        if len(paths) > 1 and (wanted is None or is_media(wanted)):
            raise self._doubt("the input", list(paths), _option(next(iter(paths.values()))))
        if paths and wanted in (None, *paths.values()):
            ((name, told),) = paths.items()
            return told, {_option(told): name}, f"files of column {name!r}"
        lists = {name: kind for name, column in rest.items() if (kind := self._kind_of_list(column)) is not None}
        if is_media(wanted) and not (wanted == "spectrogram" and lists):  # frames may stand in the table itself
            raise DataError(
                f"{self.table.name} has no column of paths of {wanted} files, only {listed(self.table.there)}: "
                f"name it with --{_option(wanted)}"  # type: ignore[arg-type]  # not None
            )
        steps = self._columns_of_steps(rest)
        texts = self._texts(
            {name: rest[name] for name in rest if name not in {*lists, *steps}}, bool(lists) or len(numbers) > 1
        )
        if wanted in _OF_TEXTS:
            lists = {name: kind for name, kind in lists.items() if kind in _OF_TEXTS}
        elif wanted is not None:
            lists, texts = {name: kind for name, kind in lists.items() if kind not in _OF_TEXTS}, []
        if len(lists) > 1 and set(lists.values()) == {"series"} and not texts:
            return "series", {"series": tuple(lists)}, f"the columns {listed(lists)} as channels"
        if len(lists) + len(texts) > 1:
            raise self._doubt("the input", [*lists, *texts], "text" if texts else _option(next(iter(lists.values()))))
        if lists:
            name, kind = next(iter(lists.items()))
            option = "series" if wanted == "spectrogram" else _option(wanted or kind)
            return wanted or kind, {option: (name,) if option == "series" else name}, f"column {name!r}"
        if texts:
            kind = wanted or ("words" if self.task == "tag" else "text")
            return kind, {"words" if kind == "words" else "text": texts[0]}, f"column {texts[0]!r}"
        return self._series([name for name in numbers if name not in steps], steps)

    def _paths(self, columns: Mapping[str, pa.ChunkedArray]) -> dict[str, InputKind]:
        """Columns of paths of pictures or recordings, and of which."""
        found = {name: kind_of_files(sample(column)) for name, column in columns.items() if is_text(column.type)}
        return {name: kind for name, kind in found.items() if kind is not None}

    def _columns_of_steps(self, rest: Mapping[str, pa.ChunkedArray]) -> tuple[str, ...]:
        """The columns id and time, if that is what they are called and ids come again."""
        found = [next((name for name in rest if name.lower() == called), None) for called in ("id", "time")]
        names = tuple(name for name in found if name is not None)
        return names if len(names) == 2 and len(rest[names[0]].unique()) < len(self.table) else ()

    def long_form_unasked(self) -> list[str]:
        """A hint where the user named the series of a file that may have a row for each step, but no id."""
        pair = [next((name for name in self.table.there if name.lower() == called), None) for called in ("id", "time")]
        told = {*self.config.series, *self.config.label, self.config.weight, self.config.key, self.config.time}
        if not self.config.series or self.config.id is not None or None in pair or pair[0] in told:
            return []
        if is_list(self.table.column(self.config.series[0], "series").type):
            return []
        if pair[0] in self.free and len(self.free[pair[0]].unique()) == len(self.table):
            return []
        id, time = pair
        return [
            f"read in wide form, a series in every row: if a row is one step, --id {id} --time {time} gathers the rows "
            "with one id"
        ]

    def _series(self, numbers: Sequence[str], steps: Sequence[str]) -> tuple[InputKind, dict[str, Any], str]:
        """Numbers of a table in long form if there are columns of steps, else in wide form."""
        if steps and numbers:
            id, time = steps
            how = f"{self._shape(numbers)} of rows with one {id!r} (long form)"
            return "series", {"series": tuple(numbers), "id": id, "time": time}, how
        values = tuple(name for name in numbers if name.lower() not in _INDEX)
        if len(values) < 2 or self.config.input in _OF_TEXTS:
            options = "--series" if self.config.input == "series" else "--text, --series, --vectors or --words"
            raise DataError(
                f"{self.table.name} has no column that could be the input, only {listed(self.table.there)}: "
                f"name it with {options}{self._why_no_text(values)}"
            )
        return self.config.input or "series", {"series": values}, f"{self._shape(values)}, a step each (wide form)"

    def _why_no_text(self, numbers: Sequence[str]) -> str:
        """What is to be known where there are columns of numbers, and texts were looked for."""
        if not numbers or self.config.input not in (None, *_OF_TEXTS):
            return ""
        hold = f"column {numbers[0]!r} holds" if len(numbers) == 1 else f"columns {listed(numbers)} hold"
        called = next((name for name in numbers if name.lower() in _TEXTS), numbers[0])
        return f"; {hold} numbers, and --text {called} reads them as texts"

    def _shape(self, names: Sequence[str]) -> str:
        if len(names) == 1:
            return f"column {names[0]!r}"
        if len(names) > 4:
            return f"{len(names)} columns from {names[0]!r} to {names[-1]!r}"
        return f"columns {listed(names)}"

    def _kind_of_list(self, column: pa.ChunkedArray) -> InputKind | None:
        """What a column of lists holds; None for other columns."""
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = sample(column)
        if is_text(column.type):
            spelled = [cell for cell in cells if cell]
            if not spelled or not all(cell.strip()[:1] == "[" and cell.strip()[-1:] == "]" for cell in spelled):
                return None
            return "series" if any(set(cell) & set(".-") for cell in spelled) else "ids"
        if not is_list(column.type):
            return None
        inner = column.type.value_type
        if is_list(inner):
            width = max((len(step) for row in cells for step in row or [] if step), default=0)
            return "vectors" if width >= _VECTOR else "series"
        if is_text(inner):
            return kind_of_lists(cells, self.task)
        if not is_number(inner):
            return None
        natural = pa.types.is_integer(inner) and (pc.min(joined(column).flatten()).as_py() or 0) >= 0
        return "ids" if natural else "series"

    def _texts(self, columns: Mapping[str, pa.ChunkedArray], beside_series: bool) -> list[str]:
        """The columns of text that could be the input: one, several that are alike, or none."""
        facts = {}
        for name, column in columns.items():
            cells = [cell for cell in sample(column) if cell and cell.strip()] if is_text(column.type) else []
            if cells and not _DATE.match(cells[0]) and not self._holds_numbers(column):
                words = sum(len(cell.split()) for cell in cells) / len(cells)
                distinct = len(set(cells)) / len(cells) >= 0.3
                facts[name] = (distinct or words >= 5, words, sum(map(len, cells)) / len(cells))
        texts = [name for name, (is_one, _, _) in facts.items() if is_one]
        if not texts and len(facts) == 1:
            texts = list(facts)
        if beside_series:  # single words name its rows or their classes
            texts = [name for name in texts if facts[name][1] >= 2]
        if any(facts[name][1] >= 2 for name in texts):  # beside sentences, names and hashes are none
            texts = [name for name in texts if facts[name][1] >= 2]
        called = [name for name in texts if name.lower() in _TEXTS]
        if len(called) == 1:
            return called
        texts = sorted(texts, key=lambda name: -facts[name][2])
        return texts[:1] if len(texts) > 1 and facts[texts[0]][2] >= 4 * facts[texts[1]][2] else texts

    def _doubt(self, what: str, candidates: Sequence[str], option: str) -> DataError:
        near = f"--{option} {candidates[0]}"
        return DataError(
            f"{self.table.name}: {what} could be each of the columns {listed(candidates)}: choose one, as with {near}"
        )


def sample(column: pa.ChunkedArray) -> list[Any]:
    """Some cells, from the first to the last."""
    places = sample_of(len(column))
    return (column if len(places) == len(column) else column.take(places)).to_pylist()  # type: ignore[no-any-return]


def _has_few_values(column: pa.ChunkedArray) -> bool:
    """So few that they could be classes."""
    import pyarrow as pa

    if not (is_text(column.type) or is_number(column.type) or pa.types.is_boolean(column.type)):
        return False
    return 2 * len(column.unique()) <= max(4, len(column))


def _option(kind: InputKind) -> str:
    """The option that names a column of this kind."""
    options = {"ids": "series", "sentences": "text", "spectrogram": "audio"}
    return options.get(kind, kind)


def listed(names: Iterable[str]) -> str:
    """Names of columns for a message."""
    names = list(names)
    return ", ".join(map(repr, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
