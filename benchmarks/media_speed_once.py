"""Pictures or clips a second, in training and in answering, and which part of the model takes how much of the time.

Rates are whole: `fit`'s epochs after the first, and `predict` on paths, decoding included. Shares are measured part by
part on the same batches, each forward and backward (training) or forward (answering).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401  (imported before the clock starts)
import torch
from torch import Tensor

import harken
from benchmarks.harness import busy
from benchmarks.media import apparel, digits
from harken.data.batching import ModelInputs
from harken.data.inputs import as_inputs
from harken.models.convolutional import SpectrogramFrontend
from harken.training.rows import label_rows
from harken.training.sequence import labelled_batches

ROWS, EPOCHS, BATCHES, TRAINED = 1_600, 3, 12, 32


def main() -> None:
    """Read the options, train, measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("image", "audio"), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    idle = busy()
    train = (apparel() if options.kind == "image" else digits()).train
    chosen = torch.linspace(0, len(train.X) - 1, min(ROWS, len(train.X))).long().tolist()  # over all of them
    X = [train.X[row] for row in chosen]
    columns = train.y if isinstance(train.y, dict) else {"digit": train.y}
    y = {name: [column[row] for row in chosen] for name, column in columns.items()}
    model = harken.Classifier(
        input=options.kind, seed=options.seed, show_examples=0, epochs=EPOCHS, min_steps=0, batch_size=TRAINED
    )
    model.fit(X, y, validation=0)
    seconds = [epoch.train_seconds for epoch in model.history_][1:]
    report: dict[str, Any] = {"others": idle, "train_rate": len(X) / statistics.median(seconds)}
    model.predict(X[:64])
    start = time.perf_counter()
    model.predict(X)
    report["predict_rate"] = len(X) / (time.perf_counter() - start)

    start = time.perf_counter()
    inputs = as_inputs(X, model._reading(), "classify")
    report["decode_rate"] = len(inputs) / (time.perf_counter() - start)
    rows = label_rows(inputs, y, None, model._reading(), "classify")
    batches = [batch for _, batch in zip(range(BATCHES), labelled_batches(model.predictor, rows), strict=False)]
    for backward in (True, False):
        report["train_shares" if backward else "predict_shares"] = shares(model, batches, backward)
    options.json.write_text(json.dumps(report))


def shares(model: harken.Classifier, batches: list[Any], backward: bool) -> dict[str, float]:
    """Seconds a row of each part, from what it reads in the model."""
    network, found = model.model, dict.fromkeys(("spectrogram", "convolution", "recurrence", "all"), 0.0)
    rows = 0
    for inputs in _cut(batches) if backward else [batch.inputs for batch in batches]:
        rows += len(inputs.lengths)
        with torch.no_grad():
            x = network.embed(inputs)
            steps = network.frontend.encode(x, inputs)
        if isinstance(network.frontend, SpectrogramFrontend):
            found["spectrogram"] += _timed(lambda inputs=inputs: network.frontend.embed(inputs), None, False)
        found["convolution"] += _timed(lambda y, i=inputs: network.frontend.encode(y, i).x, x, backward)
        found["recurrence"] += _timed(lambda y, s=steps: network.recurrent(y, s.lengths).outputs, steps.x, backward)
        found["all"] += _timed(
            lambda y, i=inputs: torch.cat(list(network.forward_embedded(y, i).logits.values()), 1), x, backward
        )
    return {name: value / rows for name, value in found.items()}


def _cut(batches: list[Any]) -> list[ModelInputs]:
    """Some batches as large as those of training, each padded to its own longest row."""
    parts = []
    for batch in batches:
        values, lengths, _ = batch.inputs
        for rows in torch.split(torch.arange(len(lengths)), TRAINED)[::2]:
            parts.append(ModelInputs(values[rows, : int(lengths[rows].max())], lengths[rows], None))
    return parts


def _timed(function: Callable[..., Tensor], x: Tensor | None, backward: bool) -> float:
    """Seconds, the best of three."""
    best = float("inf")
    for _ in range(3):
        leaf = None if x is None else x.detach().requires_grad_(backward)
        start = time.perf_counter()
        with torch.set_grad_enabled(backward):
            y = function() if leaf is None else function(leaf)
        if backward and y.requires_grad:
            y.backward(torch.ones_like(y))
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
