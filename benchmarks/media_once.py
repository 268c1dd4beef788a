"""Train harken once on pictures or recordings, in a process of its own, and report.

The test rows are evaluated once, after training. Seconds are those of `fit`, decoding included; imports and unpacking
are not counted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401  (imported before the clock starts)
import numpy as np
import torch

import harken
from benchmarks.labelled import Split
from benchmarks.media import SPEAKERS, apparel, digits, pitches, shapes_split
from harken.data.synthetic import shapes

SETS: dict[str, Callable[[int], Split]] = {
    "shapes": shapes_split,
    "occurring": lambda seed: shapes_split(seed, most=3),
    "apparel": apparel,
    "digits": lambda seed: digits(),
    "pitch": lambda seed: pitches(),
    **{f"without {speaker}": lambda seed, speaker=speaker: digits(speaker) for speaker in SPEAKERS},
}
ESTIMATORS = {"classify": harken.Classifier, "regress": harken.Regressor}
_LOOKED_AT = 300  # pictures whose weights are measured


def main() -> None:
    """Read the options, train, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=tuple(SETS), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of harken")
    parser.add_argument("--threads", type=int, default=1, help="0: as many as PyTorch takes by itself")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    extra = {name: json.loads(value) for name, value in (item.split("=", 1) for item in options.set)}

    if options.threads:
        torch.set_num_threads(options.threads)
    data = SETS[options.data](options.seed)
    kind = "image" if options.data in ("shapes", "occurring", "apparel") else "audio"
    model = ESTIMATORS[data.task](**{"input": kind, "seed": options.seed, "show_examples": 0} | extra)
    validation = 0 if data.validation is None else (data.validation.X, data.validation.y)
    start = time.perf_counter()
    model.fit(data.train.X, data.train.y, validation=validation)
    report: dict[str, Any] = {"fit_seconds": time.perf_counter() - start}
    report |= model.evaluate(data.test.X, data.test.y).metrics
    report |= {
        "epochs": len(model.history_),
        "best_epoch": None if model.best_epoch_ is None else model.best_epoch_.epoch,
        "parameters": sum(p.numel() for p in model.model.parameters()),
    }
    if options.data == "shapes":
        report["inside"] = inside(model, options.seed)
    if options.data == "pitch":
        values = np.array(data.test.y)
        report["mean_mse"] = float(((values - np.mean(data.train.y)) ** 2).mean())
    options.json.write_text(json.dumps(report))


def inside(model: harken.Classifier, seed: int) -> float:
    """Mean weight of a pixel inside the shape's box over that outside, median over pictures; pixels share a cell's."""
    found = shapes(_LOOKED_AT, 10 * seed + 3)
    ratios = []
    for reading, ((top, left, bottom, right),) in zip(model.explain(list(found.pictures)), found.boxes, strict=True):
        rows, columns = reading.grid
        size = len(reading.source)
        weights = reading.weights.mean(0).view(rows, columns)  # over heads
        weights = weights.repeat_interleave(size // rows, 0).repeat_interleave(size // columns, 1).numpy()
        box = np.zeros_like(weights, dtype=bool)
        box[top:bottom, left:right] = True
        ratios.append(weights[box].mean() / max(weights[~box].mean(), 1e-12))
    return float(np.median(ratios))


if __name__ == "__main__":
    main()
