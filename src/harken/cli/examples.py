"""Rows that a classifier, regressor or tagger is asked about: in a file, typed, or on standard input one per line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harken.cli.output import say, working
from harken.cli.texts import MOST_PIECES, typed_or_piped, warn_of_empty, warn_of_unknown
from harken.config import ExamplesConfig
from harken.errors import DataError, UsageError

if TYPE_CHECKING:
    from harken.config import InputKind
    from harken.data.encoding import Encoder
    from harken.data.examples import Examples
    from harken.data.inputs import Inputs
    from harken.data.labels import Head
    from harken.estimators.sequence import SequenceEstimator

READING = (
    "text", "series", "vectors", "words", "image", "audio", "root", "id", "time", "key", "delimiter", "header",
    "encoding", "skip_bad_rows", "max_characters", "truncate", "max_steps", "max_pixels", "max_seconds",
)  # fmt: skip
"""Fields about a file of rows."""


def read_asked(
    estimator: SequenceEstimator, typed: list[str] | None, data: str | None, *, require_key: bool = False
) -> Examples:
    """Rows to answer; labels among them are not looked at.

    Raises:
        UsageError: no row at all, rows in two places, or typed rows for a model that reads no text.
        DataError: what `read_examples` finds wrong with the rows.
    """
    from harken.data.examples import Examples
    from harken.data.inputs import as_inputs
    from harken.data.media import is_media

    if typed and data:
        raise UsageError("texts were typed and --data was given: leave one of them out")
    reading, kind = estimator.config.data, estimator.predictor.encoder.kind
    if data:
        return read_file(data, reading, estimator.task, require_labels=False, require_key=require_key)
    if kind not in ("text", "sentences", "words") and not is_media(kind):
        raise UsageError(f"this model reads {kind}, which cannot be typed: give a file of rows with --data")
    lines = typed_or_piped(typed, reading)
    if is_media(kind):
        return _of_files(lines, kind, reading)
    try:
        inputs = as_inputs(lines, reading, estimator.task)
    except DataError as error:
        raise DataError(f"{'the typed texts' if typed else 'standard input'}: {error}") from None
    return Examples(inputs, None, None, None, list(range(len(lines))), 0, [], reading.model_copy(update={"key": None}))


def _of_files(paths: list[str], kind: InputKind, reading: ExamplesConfig) -> Examples:
    """Pictures or recordings whose paths were typed or piped: whoever did that may read any file."""
    from harken.data.examples import Examples
    from harken.data.inputs import as_inputs
    from harken.data.media import read_files

    if folder := next((path for path in paths if Path(path).is_dir()), None):
        raise UsageError(f"{folder} is a folder: name files, or give the folder with --data")
    media = read_files(paths, kind, reading, None)
    if media.problems and (not reading.skip_bad_rows or len(media.problems) == len(paths)):
        raise DataError(media.problems[min(media.problems)])
    kept = [row for row in range(len(paths)) if row not in media.problems]
    if media.problems:
        say(f"warning: files that cannot be read and were skipped: {len(media.problems)}")
    inputs = as_inputs(media.rows, reading.model_copy(update={"input": kind}), "classify").take(kept)
    reading = reading.model_copy(update={"key": reading.key or "path"})
    return Examples(inputs, None, None, [paths[row] for row in kept], kept, len(media.problems), [], reading)


def read_file(
    data: str,
    config: ExamplesConfig,
    task: str,
    *,
    require_labels: bool = True,
    require_key: bool = False,
    require_weights: bool = False,
) -> Examples:
    """The rows of a file; says how many were left out.

    Args:
        require_labels: False: labels are not looked at.
        require_key: False: the column of keys may be missing; ``config.key`` of what is returned is None then.
        require_weights: False: so may the column of weights.
    """
    from harken.data.examples import read_examples
    from harken.data.kinds import named_columns
    from harken.data.tables import read_table

    with working(f"Reading {data}"):
        table = read_table(data, config, named_columns(config), require_labels=require_labels)
        if config.key is not None and config.key not in table.there:
            if require_key:
                table.column(config.key, "key")
            config = config.model_copy(update={"key": None})
        wanted = {"require_labels": require_labels, "require_weights": require_weights}
        examples = read_examples(table, config, task, **wanted)
    if examples.skipped:
        say(f"warning: rows that cannot be read and were skipped: {examples.skipped}")
    return examples


# What a trained model has never seen


def warn_of_inputs(encoder: Encoder, inputs: Inputs, strict: bool) -> None:
    """Warn of rows that are empty, and of words, characters or numbers that training never showed.

    Raises:
        DataError: there are some and ``strict`` was asked for.
    """
    import torch

    encoded = encoder.encode(inputs)
    warn_of_empty(int((encoded.steps == 0).sum()), len(inputs), "rows", strict)
    if encoder.unknown_id is None:
        return
    read = encoded.pieces if encoded.values is None else encoded.values
    assert read is not None
    tokens = read.values[int(read.offsets[0]) : int(read.offsets[-1])]  # of all rows
    places = torch.nonzero(tokens == encoder.unknown_id).flatten()
    rows = torch.unique_consecutive(torch.searchsorted(torch.cumsum(encoded.steps, 0), places, right=True))
    fate = "of a word only its characters are read" if "characters" in encoder.tokenizers else "it is read as unknown"
    warn_of_unknown(len(rows), len(inputs), _unknown(encoder, inputs, rows.tolist()), "rows", strict, fate)


def _unknown(encoder: Encoder, inputs: Inputs, rows: Sequence[int]) -> list[Any]:
    """Some of what is unknown in rows that hold some, each once."""
    found: dict[Any, None] = {}
    contents: Any = inputs.rows
    for row in rows:
        match inputs.kind:
            case "text":
                found |= dict.fromkeys(encoder.tokenizers["input"].unknown(contents[row]))
            case "sentences":
                found |= dict.fromkeys(chain.from_iterable(map(encoder.tokenizers["input"].unknown, contents[row])))
            case "words":
                found |= dict.fromkeys(word for word in contents[row] if encoder.tokenizers["input"].unknown(word))
            case _:
                found |= dict.fromkeys(number for number in contents[row].tolist() if number not in encoder.ids)
        if len(found) > MOST_PIECES:
            break
    return list(found)


def with_known_labels(examples: Examples, heads: Sequence[Head], data: str, *, skip_bad_rows: bool) -> Examples:
    """The rows of a file whose labels the model can answer.

    Raises:
        DataError: one has another label, and bad rows are not skipped or nothing else is left; or there are no labels.
    """
    from harken.training.sequence import answers_of

    if examples.labels is None:
        raise DataError(f"{data} has no labels to compare the answers with: name their column with --label")
    problems: dict[int, str] = {}
    for head in heads:
        for row, label in _unseen(head, answers_of(head, examples.labels, len(heads))):
            known = ", ".join(map(repr, head.classes[:5])) + (", …" if len(head.classes) > 5 else "")
            problems.setdefault(row, f"the label {label!r} ({head.name}) is none that training had, only {known}")
    if not problems:
        return examples
    first = min(problems)
    kept = [row for row in range(len(examples)) if row not in problems]
    if not skip_bad_rows or not kept:
        place = f"{data}, row {examples.rows[first]} (counted from 0)"
        raise DataError(f"{place}: {problems[first]} (--skip-bad-rows leaves such rows out)")
    say(f"warning: rows with a label that training never had and that were skipped: {len(problems)}")
    return replace(examples.take(kept), skipped=examples.skipped + len(problems))


def _unseen(head: Head, column: Sequence[Any]) -> list[tuple[int, Any]]:
    """(row, label) of rows with a label that is no class of the head."""
    from harken.data.labels import encode

    if head.kind == "values":
        return []
    answers = [answer if isinstance(answer, list) else [answer] for answer in column]
    distinct = list(dict.fromkeys(label for answer in answers for label in answer if label is not None))
    places: Any = encode(replace(head, kind="classes"), distinct, strict=False)
    unknown = {label for label, place in zip(distinct, places.tolist(), strict=True) if place < 0}
    return (
        [(row, label) for row, answer in enumerate(answers) for label in answer if label in unknown] if unknown else []
    )
