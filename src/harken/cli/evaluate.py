"""``harken evaluate``: how well a saved run answers rows whose answers are known."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from harken.cli.options import ANSWERING, READING, Debug, Json, Run, takes
from harken.cli.output import chatter_aside, print_json, print_metrics, working
from harken.cli.runs import open_run
from harken.cli.texts import warn_of_skipped

EXAMPLE = "harken evaluate runs/mine --data test.csv"


@takes("target", *(name for name in READING if name != "key"), *ANSWERING, of_a_run=True)
def evaluate(
    run: Run,
    *,
    data: Annotated[str, typer.Option(metavar="FILE", help="Rows with their answers.")],
    as_json: Json = False,
    debug: Debug = False,
    options: dict[str, Any],
) -> None:
    """Measure a run on rows with known answers."""
    from harken.data.sources import read_pairs

    with chatter_aside(as_json):
        estimator = open_run(run, {"key": None, **options})  # scores name no rows
        with working(f"Reading {data}"):
            pairs = read_pairs(data, estimator.config.data)
        warn_of_skipped(pairs)
        with working(f"Answering {len(pairs.sources)} rows"):
            metrics = estimator.evaluate(pairs.sources, pairs.targets or [])
    if as_json:
        print_json({"data": data, "skipped": pairs.skipped, **metrics})
    else:
        print_metrics(metrics)
