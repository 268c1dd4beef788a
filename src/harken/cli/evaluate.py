"""``harken evaluate``: how well a saved run answers rows whose answers are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harken.cli.answers import check_out
from harken.cli.examples import READING as EXAMPLES
from harken.cli.examples import read_file
from harken.cli.options import ANSWERING, READING, Debug, Json, Run, takes
from harken.cli.output import chatter_aside, print_json, print_metrics, print_table, say, working
from harken.cli.runs import open_run
from harken.cli.texts import warn_of_skipped
from harken.errors import UsageError

if TYPE_CHECKING:
    from harken.estimators.seq2seq import Seq2Seq
    from harken.estimators.sequence import SequenceEstimator
    from harken.training.metrics import Report

EXAMPLE = "harken evaluate runs/mine --data test.csv"

MOST_LINES = 50  # classes that are printed one by one
_OPTIONS = dict.fromkeys(("target", "label", *READING, *EXAMPLES, *ANSWERING))


@takes(*(name for name in _OPTIONS if name != "key"), of_a_run=True)
def evaluate(
    run: Run,
    *,
    data: Annotated[str, typer.Option(metavar="FILE", help="Rows with their answers.")],
    confusion: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw who is taken for whom in this .png file (classes and tags)."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
    options: dict[str, Any],
) -> None:
    """Measure a run on rows with known answers."""
    if confusion is not None:
        check_out(confusion, data, (".png",))
    with chatter_aside(as_json):
        estimator = open_run(run, {"key": None, **options})  # scores name no rows
        answer = _pairs if estimator.task == "seq2seq" else _examples
        result = answer(estimator, data, confusion, as_json)
    if as_json:
        print_json({"data": data, **result})


def _pairs(estimator: Seq2Seq, data: str, confusion: Path | None, as_json: bool) -> dict[str, Any]:
    from harken.data.sources import read_pairs

    if confusion is not None:
        raise UsageError("--confusion is about classes, and this run writes texts: leave it out")
    with working(f"Reading {data}"):
        pairs = read_pairs(data, estimator.config.data)
    warn_of_skipped(pairs)
    with working(f"Answering {len(pairs.sources)} rows"):
        metrics = estimator.evaluate(pairs.sources, pairs.targets or [])
    if not as_json:
        print_metrics(metrics)
    return {"skipped": pairs.skipped, **metrics}


def _examples(estimator: SequenceEstimator, data: str, confusion: Path | None, as_json: bool) -> dict[str, Any]:
    examples = read_file(data, estimator.config.data, estimator.task)
    with working(f"Answering {len(examples.inputs)} rows"):
        evaluation = estimator.evaluate_examples(examples)
    if confusion is not None:
        _draw(evaluation.reports, confusion)
    if not as_json:
        for report in evaluation.reports:
            _print(report, several=len(evaluation.reports) > 1)
        print_metrics({name: value for name, value in evaluation.metrics.items() if name != "score"})
        for sentence in _calibration(evaluation.metrics):
            print(sentence)
    heads = {report.head.name: list(_lines(report)) for report in evaluation.reports}
    return {"skipped": examples.skipped, **evaluation.metrics, "heads": heads}


def _print(report: Report, *, several: bool) -> None:
    """Precision, recall and F1 of every class, and the confusion matrix where it is small."""
    if not report.lines:
        return
    if several:
        print(f"\n{report.head.name}")
    lines = [(str(line.label), *(f"{v:.2%}" for v in line[1:4]), f"{line.support:,.6g}") for line in report.lines]
    print_table(("class", "precision", "recall", "F1", "rows"), lines[:MOST_LINES])
    if len(lines) > MOST_LINES:
        print(f"… and {len(lines) - MOST_LINES} classes more: --json has them all")
    if report.confusion is not None and len(lines) <= 20:
        names = [str(label) for label in report.head.classes]
        rows = [(name, *map(str, row)) for name, row in zip(names, report.confusion.tolist(), strict=True)]
        print_table(("is ↓   answered →", *names), rows)


def _draw(reports: list[Report], path: Path) -> None:
    import torch

    from harken.explain.confusion import draw_confusion

    drawn = [report for report in reports if report.confusion is not None]
    if not drawn:
        raise UsageError("--confusion needs a head that chooses one class: leave it out")
    for report in drawn:
        file = path if len(drawn) == 1 else path.with_stem(f"{path.stem}-{report.head.name}")
        draw_confusion(torch.from_numpy(report.confusion), [str(label) for label in report.head.classes], file)
        say(f"wrote {file}")


def _calibration(metrics: dict[str, float | int]) -> Iterator[str]:
    """What the expected calibration error means."""
    for name, error in metrics.items():
        if name.endswith("calibration_error"):
            head = name.removesuffix("calibration_error").rstrip("_")
            print_for = f" of {head}" if head else ""
            yield f"calibration{print_for}: an answer's probability is off by {error:.1%} on average (15 bins)"


def _lines(report: Report) -> Iterator[dict[str, Any]]:
    for line in report.lines:
        yield line._asdict()
