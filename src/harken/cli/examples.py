"""Rows that a classifier, regressor or tagger is asked about: in a file, typed, or on standard input one per line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harken.cli.output import say, working
from harken.cli.texts import typed_or_piped
from harken.config import ExamplesConfig
from harken.errors import UsageError

if TYPE_CHECKING:
    from harken.data.examples import Examples
    from harken.estimators.sequence import SequenceEstimator

READING = (
    "text", "series", "vectors", "words", "id", "time", "weight", "key", "delimiter", "header", "encoding",
    "skip_bad_rows", "max_characters", "truncate", "max_steps",
)  # fmt: skip
"""Fields about a file of rows."""


def read_asked(estimator: SequenceEstimator, typed: list[str] | None, data: str | None) -> Examples:
    """Rows to answer; labels among them are not looked at.

    Raises:
        UsageError: no row at all, rows in two places, or typed rows for a model that reads no text.
        DataError: what `read_examples` finds wrong with the rows.
    """
    from harken.data.examples import Examples
    from harken.data.inputs import as_inputs
    from harken.data.sentences import split_sentences

    if typed and data:
        raise UsageError("texts were typed and --data was given: leave one of them out")
    if data:
        return read_file(data, estimator.config.data, estimator.task, require_labels=False)
    kind, reading = estimator.predictor.encoder.kind, estimator.config.data
    if kind not in ("text", "sentences", "words"):
        raise UsageError(f"this model reads {kind}, which cannot be typed: give a file of rows with --data")
    lines = typed_or_piped(typed, reading)
    match kind:
        case "text":
            inputs = as_inputs(lines, reading, estimator.task)
        case "sentences":
            inputs = as_inputs([split_sentences(line) for line in lines], reading, estimator.task)
        case _:
            inputs = as_inputs([line.split() for line in lines], reading, estimator.task)
    return Examples(inputs, None, None, None, list(range(len(lines))), 0, [], reading)


def read_file(data: str, config: ExamplesConfig, task: str, *, require_labels: bool = True) -> Examples:
    """The rows of a file; says how many were left out."""
    from harken.data.examples import read_examples

    with working(f"Reading {data}"):
        examples = read_examples(data, config, task, require_labels=require_labels)
    if examples.skipped:
        say(f"warning: rows that cannot be read and were skipped: {examples.skipped}")
    return examples
