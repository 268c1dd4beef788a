"""``harken evaluate``: how well a saved run answers rows whose answers are known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli import autoencoder
from harken.cli.answers import check_out
from harken.cli.examples import READING as EXAMPLES
from harken.cli.examples import read_file, with_known_labels
from harken.cli.options import ANSWERING, READING, Debug, Json, Run, refuse_useless, takes
from harken.cli.output import chatter_aside, print_json, print_metrics, print_table, said_once, say, working
from harken.cli.runs import open_run
from harken.cli.texts import warn_of_skipped
from harken.errors import DataError, UsageError

if TYPE_CHECKING:
    from harken.data.labels import Head
    from harken.estimators.language_model import LanguageModel
    from harken.estimators.seq2seq import Seq2Seq
    from harken.estimators.sequence import SequenceEstimator
    from harken.training.metrics import Report

EXAMPLE = "harken evaluate runs/mine --data test.csv"

MOST_LINES = 50  # classes that are printed one by one
MOST_CROSSED = 20  # classes of a confusion matrix that is printed
ONE_CLASS = ("binary", "classes", "tags")  # kinds of heads whose answer is one class
OF_A_TEXT = ("perplexity", "bits_per_character", "loss", "tokens", "characters", "unknown_share")  # as printed
_OPTIONS = dict.fromkeys(("target", "label", "normal", "label_delimiter", "weight", *READING, *EXAMPLES, *ANSWERING))


@takes(*(name for name in _OPTIONS if name != "key"), of_a_run=True)
def evaluate(
    run: Run,
    *,
    data: Annotated[str, typer.Option(metavar="FILE", help="Rows with their answers; or running text.")],
    confusion: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw who is taken for whom in this .png file (classes and tags)."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
    options: dict[str, Any],
) -> None:
    """Measure a run on rows with known answers, or a language model on a text."""
    from harken.data.unused import refuse_unused

    if confusion is not None:
        check_out(confusion, data, (".png",), "--confusion")
    refuse_unused(data, options)
    with chatter_aside(as_json):
        estimator = open_run(run, options, numbered=True)
        match estimator.task:
            case "seq2seq":
                result = _pairs(estimator, data, confusion, as_json)
            case "language-model":
                refuse_useless(options, "evaluate", "a text", keep=("encoding",))
                result = _text(estimator, data, confusion, as_json)
            case "autoencoder":
                result = autoencoder.evaluate(estimator, data, confusion, as_json)
            case _:
                result = _examples(estimator, data, confusion, as_json, require_weights="weight" in options)
    if as_json:
        print_json({"data": data, **result})


def _pairs(estimator: Seq2Seq, data: str, confusion: Path | None, as_json: bool) -> dict[str, Any]:
    from harken.data.sources import read_pairs

    _refuse_confusion(confusion)
    with working(f"Reading {data}"):
        pairs = read_pairs(data, estimator.config.data)
    warn_of_skipped(pairs)
    with working(f"Answering {len(pairs.sources)} rows"):
        metrics = estimator.evaluate(pairs.sources, pairs.targets or [])
    if not as_json:
        print_metrics(metrics)
    return {"skipped": pairs.skipped, **metrics}


def _text(estimator: LanguageModel, data: str, confusion: Path | None, as_json: bool) -> dict[str, Any]:
    _refuse_confusion(confusion)
    with working(f"Reading {data}"):
        found = estimator.evaluate(Path(data))
    found["unknown_share"] = found["unknown"] / found["tokens"]
    if not as_json:
        print_metrics({name: found[name] for name in OF_A_TEXT})
    return found


def _refuse_confusion(confusion: Path | None) -> None:
    if confusion is not None:
        raise UsageError("--confusion is about classes, and this run writes texts: leave it out")


def _examples(
    estimator: SequenceEstimator, data: str, confusion: Path | None, as_json: bool, *, require_weights: bool
) -> dict[str, Any]:
    heads, reading = estimator.heads_, estimator.config.data
    if confusion is not None and not any(head.kind in ONE_CLASS for head in heads):
        raise UsageError("--confusion is about answers that are one class, and this run has none: leave it out")
    examples = read_file(data, reading, estimator.task, require_weights=require_weights)
    if examples.weights is not None:
        say(f"rows count by their weights in column {reading.weight!r}")
    examples = with_known_labels(examples, heads, data, skip_bad_rows=reading.skip_bad_rows)
    with working(f"Answering {len(examples)} rows"):
        try:
            evaluation = estimator.evaluate_examples(examples)
        except DataError as error:
            raise DataError(f"{data}: {error}") from None
    if not as_json:
        for report in evaluation.reports:
            if len(heads) > 1 and report.lines:
                print(f"\n{report.head.name}")
            _print(report)
        print_metrics(said_once(evaluation.metrics))
        for sentence in _calibration(heads, evaluation.metrics):
            print(sentence)
    if confusion is not None:
        _draw(evaluation.reports, confusion)
    return {
        "skipped": examples.skipped,
        **evaluation.metrics,
        "heads": {report.head.name: _plain(report) for report in evaluation.reports},
    }


def _print(report: Report) -> None:
    """Precision, recall and F1 of every class, their means, and the confusion matrix where it is small."""
    if not report.lines:
        return
    lines = [(str(line.label), *_shares(line[1:4]), f"{line.support:,.6g}") for line in report.lines]
    means = ("mean over classes", *_shares(_means(report)), "")
    print_table(("class", "precision", "recall", "F1", _counted(report)), [*lines[:MOST_LINES], means])
    if len(lines) > MOST_LINES:
        print(f"… and {len(lines) - MOST_LINES:,} classes more: --json has them all")
    if report.confusion is not None and len(lines) <= MOST_CROSSED:
        names = [str(label) for label in report.head.classes]
        rows = [(name, *map(str, row)) for name, row in zip(names, report.confusion.tolist(), strict=True)]
        print_table(("is ↓   answered →", *names), rows)


def _counted(report: Report) -> str:
    return "steps" if report.head.kind == "tags" else "rows"


def _shares(values: Sequence[float]) -> list[str]:
    return [f"{value:.2%}" for value in values]


def _means(report: Report) -> list[float]:
    """Precision, recall and F1 averaged over the classes that occur, in truth or in answers."""
    lines = report.lines
    if report.confusion is not None:
        there = report.confusion.sum(0) + report.confusion.sum(1) > 0
        lines = [line for line, is_there in zip(lines, there, strict=True) if is_there]
    return [sum(column) / len(lines) for column in list(zip(*lines, strict=True))[1:4]]


def _draw(reports: list[Report], path: Path) -> None:
    import torch

    from harken.explain.confusion import draw_confusion

    drawn = [report for report in reports if report.confusion is not None]
    if not drawn:
        raise DataError("there is no confusion matrix to draw: too many classes, or no row with a label")
    for report in drawn:
        name = re.sub(r"[^\w.-]", "_", report.head.name)
        file = path if len(drawn) == 1 else path.with_stem(f"{path.stem}-{name}")
        classes = [str(label) for label in report.head.classes]
        draw_confusion(torch.from_numpy(report.confusion), classes, file, counted=_counted(report))
        say(f"wrote {file}")


def _calibration(heads: Sequence[Head], metrics: dict[str, float | int]) -> Iterator[str]:
    """What the expected calibration error means."""
    for head in heads:
        several = len(heads) > 1
        error = metrics.get(f"{head.name}_calibration_error" if several else "calibration_error")
        if error is not None:
            whose = f" of {head.name}" if several else ""
            points = f"{100 * error:.1f} points"
            yield f"calibration{whose}: probability and share of right answers differ by {points} on average"


def _plain(report: Report) -> dict[str, Any]:
    confusion = None if report.confusion is None else report.confusion.tolist()
    return {"kind": report.head.kind, "classes": [line._asdict() for line in report.lines], "confusion": confusion}
