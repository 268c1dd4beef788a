"""Train harken once on labelled data, with the defaults of its kind of input, in a process of its own, and report.

The test rows are evaluated once, after training. Seconds are those of `fit` on one core; imports and reading are not
counted.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import lightning.pytorch  # noqa: F401  (imported before the clock starts)
import torch

import harken
from benchmarks.labelled import SETS, split

ESTIMATORS = {"classify": harken.Classifier, "regress": harken.Regressor, "tag": harken.Tagger}


def main() -> None:
    """Read the options, train, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=tuple(SETS), required=True)
    parser.add_argument("--fold", type=int, default=0, help="of movie reviews")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="another option of harken")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    extra = {name: json.loads(value) for name, value in (item.split("=", 1) for item in options.set)}

    torch.set_num_threads(1)  # runs go side by side, one on each core
    data = split(options.data, options.fold)
    # A set without validation rows of its own is learned whole: the schedule ends where it ends, the last epoch counts.
    validation = 0 if data.validation is None else (data.validation.X, data.validation.y)
    model = ESTIMATORS[data.task](**{"seed": options.seed, "show_examples": 0} | extra)
    start = time.perf_counter()
    model.fit(data.train.X, data.train.y, validation=validation)
    seconds = time.perf_counter() - start
    metrics = model.evaluate(data.test.X, data.test.y).metrics
    report = {
        **metrics,
        "fit_seconds": seconds,
        "epochs": len(model.history_),
        "best_epoch": None if model.best_epoch_ is None else model.best_epoch_.epoch,
        "validation": None if model.best_epoch_ is None else model.best_epoch_.valid,
        "parameters": sum(p.numel() for p in model.model.parameters()),
    }
    options.json.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
