"""``harken demo``: watch a network learn, with data made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from harken.cli.options import Debug, Json, takes
from harken.cli.output import INTERRUPTED, chatter_aside, print_json, print_metrics, print_table, say, show
from harken.config import Seq2SeqRun

EXAMPLE = "harken demo dates --quick --out runs/dates"

TRAINING_ROWS, UNSEEN_ROWS = 45_000, 5_000
RECIPE = {
    "embedding_size": 16,
    "hidden_size": 256,
    "reverse_source": True,
    "epochs": 4,
    "batch_size": 64,
}
QUICK = {"hidden_size": 64, "epochs": 4, "batch_size": 32, "learning_rate": 0.01}


@takes("seed")
def demo(
    name: Annotated[
        Literal["dates"], typer.Argument(metavar="NAME", help="dates: rewrite English dates as year-month-day.")
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the run. Default: runs/demo-dates, replaced each time."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run in the folder.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A few seconds on a small part of the data.")] = False,
    as_json: Json = False,
    debug: Debug = False,
    options: dict[str, Any],
) -> None:
    """Watch a network learn to rewrite dates.

    Then it is tested on dates that it has never seen, and what it looked at is drawn.
    """
    config = Seq2SeqRun().override(**RECIPE, **options)
    if quick:
        config = config.override(**QUICK)
    folder = out or Path("runs") / f"demo-{name}"
    with chatter_aside(as_json):
        result = _dates(config, folder, quick, overwrite=overwrite or out is None)
    if as_json:
        print_json(result)


def _dates(config: Seq2SeqRun, out: Path, quick: bool, *, overwrite: bool) -> dict[str, Any]:
    from harken.data.sources import Pairs
    from harken.data.synthetic import dates
    from harken.estimators.seq2seq import Seq2Seq
    from harken.explain.heatmap import draw
    from harken.training.run_folder import MAP

    shrink = 15 if quick else 1
    rows, unseen = TRAINING_ROWS // shrink, UNSEEN_ROWS // shrink
    sources, targets = dates(rows + unseen, config.training.seed)
    print(f"{rows:,} made-up dates to learn from and {unseen:,} unseen ones to test on")
    pairs = Pairs(sources[:rows], targets[:rows], None, list(range(rows)), 0)
    drawing = out / MAP
    estimator = Seq2Seq.from_config(config)
    estimator.fit_pairs(pairs, validation=None, out=out, overwrite=overwrite, show=show)
    if estimator.interrupted_:
        say(f"interrupted: {out} holds the best model so far")
        raise typer.Exit(INTERRUPTED)

    metrics = estimator.evaluate(sources[rows:], targets[rows:])
    print(f"\non {unseen:,} unseen dates:")
    print_metrics(metrics)
    examples = sources[rows : rows + 10]
    answers = estimator.predict(examples)
    expected = targets[rows : rows + 10]
    marks = ("✓" if answer == right else f"✗ {right}" for answer, right in zip(answers, expected, strict=True))
    print_table(("unseen date", "answer", ""), zip(examples, answers, marks, strict=True))
    draw(estimator.explain(examples[:1])[0], drawing)
    files = {"metrics": out / "metrics.json", "curves": out / "curves.png", "heat map": drawing}
    for what, file in files.items():
        print(f"{what}: {file}")
    return {**metrics, "files": files}
