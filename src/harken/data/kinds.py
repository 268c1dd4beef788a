"""What the user did not say, told from the columns: kind of input, columns, task. What is in doubt is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from harken.config import TASKS, ExamplesConfig, LanguageModelRun, RunConfig, Seq2SeqRun, SequenceRun
from harken.data.columns import Table, floats, holds_numbers, is_list
from harken.data.guessing import ONE_COLUMN, Guess, listed, sample
from harken.data.media import is_media
from harken.data.opening import suffix
from harken.data.tables import read_table
from harken.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


class Choice(NamedTuple):
    """What a table's columns are."""

    config: ExamplesConfig  # the user's, with the kind and the columns filled in
    described: tuple[str, ...]  # what was found, a sentence each


def choose_columns(table: Table, config: ExamplesConfig, task: str | None, *, require_labels: bool = True) -> Choice:
    """Fill in the kind of input and the columns of input and labels.

    Args:
        table: the rows.
        config: what the user said stays.
        task: classify, regress or tag; None: not known yet.
        require_labels: False: labels that cannot be told are none.

    Raises:
        DataError: several columns could be meant, or none; names them and the option.
    """
    if table.fixed is not None:
        return _fixed(table, config)
    guess = Guess(table, config, task)
    labels = config.label or guess.named_labels(require_labels)
    kind, columns, how = guess.named_input() or guess.input(labels)
    config = config.model_copy(update={"input": kind, **columns})
    if not labels:
        labels = guess.other_labels(columns, require_labels)
    described = [f"input: {kind}, {how}"]
    if is_media(kind) and config.key is None:
        config = config.model_copy(update={"key": config.image or config.audio})  # a file is called by its path
    if labels:
        described.append(f"label: {'columns' if len(labels) > 1 else 'column'} {listed(labels)}")
    config = config.model_copy(update={"label": labels})
    described += guess.long_form_unasked()
    spoken = {getattr(config, name) for name in (*ONE_COLUMN, "weight", "id", "time", "key")}
    left = [name for name in table.columns.column_names if name not in spoken | {*config.series, *labels}]
    if left:
        described.append(f"not used: {'columns' if len(left) > 1 else 'column'} {listed(left)}")
    return Choice(config, tuple(described))


def named_columns(config: ExamplesConfig) -> set[str] | None:
    """The columns to read, if the user named all that matter; None: all of them are looked at."""
    inputs = {*config.series, *(getattr(config, name) for name in ONE_COLUMN)} - {None}
    if not inputs or not config.label:
        return None
    others = {config.weight, config.key, config.id, config.time}
    return {column for column in {*inputs, *config.label, *others} if column is not None}


def _fixed(table: Table, config: ExamplesConfig) -> Choice:
    """A format that tells by itself what it holds."""
    kind = config.input or table.fixed
    families = ({"series", "vectors", "ids", "spectrogram"}, {"text", "sentences"}, {"words", "sentences"})
    if not any({kind, table.fixed} <= family for family in families):
        raise DataError(f"{table.name} holds {table.fixed}, and input={kind} cannot be read from it")
    lacking: tuple[str, ...] = ("text", "words", "image", "audio")  # what names no column or array of such a file
    if table.fixed == "words":
        lacking = ("text", "series", "vectors", "image", "audio")
    elif table.fixed == "text":
        lacking = ("words", "image", "audio")
    for option in lacking:
        if column := getattr(config, option):
            raise DataError(
                f"{table.name} holds {table.fixed}, and {option} ({column!r}) names nothing in it: leave it out"
            )
    described = [f"input: {kind}"]
    update: dict[str, Any] = {"input": kind}
    if table.task == "tag":
        update |= {"words": table.there[0], "label": table.labels}
        described = [f"input: {kind}, column {table.there[0]!r}"]
    if table.labels:
        named = table.task == "tag" or len(table.labels) > 1  # else it is called as the config has it
        described.append("label: " + (f"{listed(table.labels)}, " if named else "") + "as the file has it")
    return Choice(config.model_copy(update=update), tuple(described))


def infer_task(source: str | Path | object, typed: Mapping[str, Any]) -> str:
    """What is to be learned from a file, where nobody says: seq2seq, classify, regress, tag or language-model.

    Options that only one kind of run has decide first; then the format; then whether columns are called source and
    target; then the labels: numbers with fractions, or nearly all different, are values. Plain text is running text
    only if an option says so that pairs of texts do not have.

    Args:
        source: what `harken.data.tables.read_table` takes; a `Table` is not read again.
        typed: the options that the user set, by flat name.

    Raises:
        DataError: what cannot be read, or columns that cannot be told.
    """
    for task, run in _TOLD_BY_OPTIONS.items():
        others = {name for other in TASKS.values() if other is not run for name in other.option_names()}
        if typed.keys() & (run.option_names().keys() - others):
            return task
    pairs, examples, text = (run.option_names().keys() for run in (Seq2SeqRun, SequenceRun, LanguageModelRun))
    kind = suffix(Path(source)) if isinstance(source, str | Path) and not Path(source).is_dir() else ".table"
    if kind not in _EXAMPLES and typed.keys() <= text and typed.keys() - pairs:
        return "language-model"
    asked = bool(typed.keys() & (examples - pairs))
    if not asked and kind not in _EXAMPLES:
        return "seq2seq"
    config = SequenceRun().override(**{name: value for name, value in typed.items() if name in examples}).data
    table = read_table(source, config, named_columns(config))
    if not asked and {"source", "target"} <= set(table.there):
        return "seq2seq"
    config = choose_columns(table, config, None).config
    return told_task(table, config, table.labels or config.label)


_TOLD_BY_OPTIONS: dict[str, type[RunConfig]] = {"seq2seq": Seq2SeqRun, "language-model": LanguageModelRun}
_EXAMPLES = {".ts", ".npz", ".conll", ".conllu", ".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".table"}


def told_task(table: Table, config: ExamplesConfig, names: Sequence[str]) -> str:
    """classify, regress or tag, by the columns of labels of a table whose input is known."""
    if table.task is not None:
        return table.task
    labels = [table.column(name, "label") for name in names]
    if config.input == "words" and all(_are_tags(table, config, column) for column in labels):
        return "tag"
    if labels and config.label_delimiter is None and all(_is_value(column, table.written) for column in labels):
        return "regress"
    return "classify"


def _are_tags(table: Table, config: ExamplesConfig, column: pa.ChunkedArray) -> bool:
    """Whether every row has as many labels as words."""
    words = sample(table.column(str(config.words or config.text), "words"))
    tags = sample(column)
    if any(isinstance(cell, int | float) for cell in tags):
        return False
    rows = zip(words, tags, strict=True)
    return all(_count(row) == _count(cell) for row, cell in rows if row is not None and cell is not None)


def _count(cell: str | list[Any]) -> int:
    return len(cell.split() if isinstance(cell, str) else cell)


def _is_value(column: pa.ChunkedArray, written: bool) -> bool:
    """Numbers that no one would take for classes."""
    if is_list(column.type):
        return str(column.type.value_type) in ("float", "double")
    if not holds_numbers(column, written):
        return False
    values = floats(column)[0]
    values = values[~np.isnan(values)]
    distinct, whole = len(np.unique(values)), bool((values == np.floor(values)).all())
    return 2 * distinct > len(values) and distinct > 20 if whole else 2 * distinct > len(values) or distinct > 20
