"""Inputs with their labels out of a file or a data frame.

    read_table  →  columns.Table  →  kinds.choose_columns  →  rows of inputs, labels, weights, keys  →  Examples

A bad row is found in whatever column it is bad, and left out, or complained of, once and here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harken.config import ExamplesConfig
from harken.data.answers import as_labels, match_rows
from harken.data.columns import Table, floats, is_list, is_text
from harken.data.decoding import take_rows
from harken.data.inputs import Inputs, as_inputs, refuse_tags, too_long
from harken.data.kinds import choose_columns, named_columns, told_task
from harken.data.label_columns import match_tags, read_answers, refuse_missing
from harken.data.labels import Labels
from harken.data.long_form import gather
from harken.data.media import Media, is_media, read_files
from harken.data.opening import texts
from harken.data.ragged import Ragged
from harken.data.steps import Steps, read_steps, unfit
from harken.data.tables import read_table
from harken.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows to learn from, or to answer.

    Attributes:
        inputs: what a model reads.
        labels: the answers; None where there are none, or none were wanted.
        weights: how much each row counts; None where no column says so, or no labels were wanted.
        keys: the key column's values as they are, or the ids of a file in long form; else None.
        rows: where each row stood, counted from 0; in long form, where each series stood among them.
        skipped: how many bad rows, or series, were left out.
        described: what was found in the file, a sentence each.
        config: the config with what was told from the data filled in: with it another file is read in the same way.
    """

    inputs: Inputs
    labels: Labels | None
    weights: list[float] | None
    keys: list[Any] | None
    rows: list[int]
    skipped: int
    described: list[str]
    config: ExamplesConfig

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Tensor | Iterable[int]) -> Examples:
        """The rows ``indices``, in that order; how many were skipped stays."""
        chosen = [int(row) for row in indices]
        return replace(
            self,
            inputs=self.inputs.take(chosen),
            labels=None if self.labels is None else self.labels.take(chosen),
            weights=None if self.weights is None else [self.weights[row] for row in chosen],
            keys=None if self.keys is None else [self.keys[row] for row in chosen],
            rows=[self.rows[row] for row in chosen],
        )


def read_examples(
    source: str | Path | object,
    config: ExamplesConfig | None = None,
    task: str | None = None,
    *,
    require_labels: bool = True,
    require_weights: bool = True,
) -> Examples:
    """Read inputs and labels from a file or a table.

    Args:
        source: what `harken.data.tables.read_table` takes; a `Table` is not read again.
        config: columns, limits, what to do with bad rows; None: nothing is named. Columns and kind of input that it
            does not name are told from the data.
        task: classify, regress or tag; None: told from the labels.
        require_labels: False: the rows are to be answered: labels and weights are not looked at, keys may be missing,
            and a null input is an empty one.
        require_weights: False: the column of weights may be missing; every row counts as much then. Rows that a model
            is trained on have their weights in a column, others need not.

    Raises:
        DataError: what cannot be read, with its place; ``config.skip_bad_rows`` counts bad rows instead, unless
            nothing is left.
        ConfigError: an encoding or a delimiter that does not exist.
        UsageError: neither a path nor a table.
    """
    config = config or ExamplesConfig()
    table = read_table(source, config, named_columns(config), require_labels=require_labels)
    config, described = choose_columns(table, config, task, require_labels=require_labels)
    names = table.labels or config.label
    there = tuple(name for name in names if name in table.there)
    task = task or told_task(table, config, names if require_labels else there)
    refuse_tags(config.input, task, table.name)
    names = names if require_labels else ()
    weight = config.weight if require_labels and (require_weights or config.weight in table.there) else None
    if config.id is not None and table.fixed is None:
        table = _gathered(table, config, task, names, weight, require_labels)

    rows: list[Any] | Ragged
    channels: tuple[str, ...] = ()
    if config.image or config.audio:
        rows, rate, problems = _files(table, config, nullable=not require_labels)
        config = config if rate is None else config.model_copy(update={"sample_rate": rate})
    else:
        rows, channels, problems = _input_rows(table, config, nullable=not require_labels)
    answers = {name: read_answers(table, name, config, task, problems) for name in names}
    if require_labels:
        refuse_missing(table, answers, problems)
    weights = None if weight is None else _weights(table, weight, problems)
    if task == "tag":
        match_tags(rows.lengths.tolist() if isinstance(rows, Ragged) else list(map(len, rows)), answers, problems)
    table, kept = table.without(problems, config.skip_bad_rows)
    if problems:
        chosen = torch.from_numpy(kept)
        if isinstance(rows, Ragged):
            rows = take_rows(rows, chosen) if is_media(config.input) else rows.take(chosen)
        else:
            rows = [rows[row] for row in kept]
        for name, column in answers.items():
            answers[name] = column[kept] if isinstance(column, np.ndarray) else [column[row] for row in kept]
        weights = None if weights is None else weights[kept]

    try:
        inputs = as_inputs(rows, config, task, channels)
        labelled = any(answer is not None for column in answers.values() for answer in column)
        labels = match_rows(inputs, as_labels(answers, task), task) if labelled else None
    except DataError as error:
        raise DataError(f"{table.name}: {error}") from None
    return Examples(
        inputs,
        labels,
        None if weights is None else weights.tolist(),
        _keys(table, config, require_labels),
        table.numbers.tolist(),
        table.skipped,
        [*described, *table.described],
        config,
    )


def _gathered(
    table: Table, config: ExamplesConfig, task: str, labels: Sequence[str], weight: str | None, require_key: bool
) -> Table:
    """Rows of a file in long form as rows of series."""
    if any(name is not None for name in (config.text, config.vectors, config.image, config.audio)):
        raise DataError(f"{table.name}: --id gathers rows of numbers or words: name them with --series or --words")
    key = config.key if require_key or config.key in table.there else None
    others = [name for name in (weight, key) if name is not None and name != config.id]
    for name, option in ((weight, "weight"), (key, "key")):
        if name is not None:
            table.column(name, option)
    steps = [config.words] if config.words is not None else []
    return gather(
        table,
        str(config.id),
        config.time,
        numbers=config.series,
        steps=[*steps, *labels] if task == "tag" else steps,
        constant=others if task == "tag" else [*labels, *others],
        skip_bad_rows=config.skip_bad_rows,
    )


def _input_rows(
    table: Table, config: ExamplesConfig, nullable: bool
) -> tuple[list[Any] | Ragged, tuple[str, ...], dict[int, str]]:
    """The inputs, the names of their channels and the bad rows; where ``nullable``, a null is an empty row."""
    named = config.series or tuple(name for name in (config.text, config.words, config.vectors) if name is not None)
    names = named if table.fixed is None else table.there[:1]
    if config.input in ("series", "vectors", "ids", "spectrogram"):
        option = "vectors" if config.vectors else "series"
        steps = read_steps(table, names, option, whole=config.input == "ids", nullable=nullable)
        return steps.rows, steps.channels, unfit(steps, config) | steps.problems
    name, option = names[0], "text" if config.words is None else "words"
    column = table.column(name, option)
    listed = is_list(column.type) and config.input != "text"
    rows: list[Any] = _lists(table, name, column) if listed else list(texts(table.name, name, column))
    if config.input == "words":
        rows = [cell.split() if isinstance(cell, str) else cell for cell in rows]
    problems = {}
    for row, cell in enumerate(rows):
        if cell is None:
            rows[row] = [] if listed or config.input == "words" else ""
            if not nullable:
                problems[row] = f"the input (column {name!r}) is null"
        elif isinstance(cell, list) and None in cell:
            problems[row] = f"the input (column {name!r}) holds a null"
        else:
            problem = too_long(len(cell) if isinstance(cell, str) else sum(map(len, cell)), config)
            if problem:
                problems[row] = f"the input has {problem}"
    return rows, (), problems


def _files(table: Table, config: ExamplesConfig, nullable: bool) -> Media:
    """The files that a column of paths names; where ``nullable``, a null is an empty row."""
    name, option = (config.image, "image") if config.input == "image" else (config.audio, "audio")
    column = table.column(str(name), option)
    cells = list(texts(table.name, str(name), column))
    media = read_files(cells, config.input, config, table.folder)  # type: ignore[arg-type]  # not None
    if config.input == "spectrogram":
        media = media._replace(problems=unfit(Steps(media.rows, {}), config) | media.problems)
    missing = {row: f"the input (column {name!r}) is null" for row, cell in enumerate(cells) if cell is None}
    return media if nullable else media._replace(problems=missing | media.problems)


def _lists(table: Table, name: str, column: pa.ChunkedArray) -> list[Any]:
    """A column of lists of texts."""
    import pyarrow as pa

    inner = column.type.value_type
    if not (is_text(inner) or pa.types.is_null(inner)):
        raise DataError(f"{table.name}: column {name!r} holds {column.type}, and must hold texts or lists of texts")
    return column.to_pylist()  # type: ignore[no-any-return]


def _weights(table: Table, name: str, problems: dict[int, str]) -> np.ndarray:
    """The weights (n,) float64; bad ones are added to the problems."""
    column = table.column(name, "weight")
    values, bad = floats(column)
    for row in np.flatnonzero(bad | ~np.isfinite(values) | (values < 0)).tolist():
        problems.setdefault(row, f"the weight {str(column[row])!r} (column {name!r}) is not a number that is 0 or more")
    return values


def _keys(table: Table, config: ExamplesConfig, required: bool) -> list[Any] | None:
    if config.key is not None and (required or table.there.count(config.key) == 1):
        return table.column(config.key, "key").to_pylist()  # type: ignore[no-any-return]
    return None if table.ids is None else list(table.ids)
