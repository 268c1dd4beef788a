"""Train harken once on a file of pairs, in a process of its own, and report.

Three purposes, which look at the held-out rows differently; in none do they choose anything:

    score   they are evaluated once, after training. Validation rows are a few *training* rows.
    curve   they are evaluated after every epoch, and the values are only drawn.
    race    the same, against the clock.

Seconds count all of `fit` but the answering of held-out rows after every epoch: training, tokenizers, the run folder.
Imports and reading the file are not counted. The peers count training alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401  (imported before the clock starts)
import matplotlib.pyplot  # noqa: F401

import harken
from benchmarks.pairs import Pairs, split

# Of the exercise: sizes, batch, clipping and the reversed source. All else is harken's own default.
EXERCISE = {"embedding_size": 16, "hidden_size": 256, "batch_size": 128, "clip_norm": 5.0, "reverse_source": True}
SEEN_ROWS = 1000  # training rows to validate on, where the held-out ones must not be looked at


def main() -> None:
    """Read the options, train, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("dates", "addition"), default="dates")
    parser.add_argument("--purpose", choices=("score", "curve", "race"), default="score")
    parser.add_argument("--kind", choices=("plain", "peeky", "attention"), default="attention")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, help="use only this many training and held-out rows, to try it")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="another option of harken")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    extra = {name: json.loads(value) for name, value in (item.split("=", 1) for item in options.set)}

    data = split(options.data)
    train, test, unseen = (_head(part, options.rows) for part in (data.train, data.test, data.unseen))
    validation = _head(train, SEEN_ROWS) if options.purpose == "score" else test
    model = harken.Seq2Seq(
        **EXERCISE | {"kind": options.kind, "epochs": options.epochs, "seed": options.seed, "show_examples": 0} | extra
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        model.fit(
            train.sources, train.targets, validation=(validation.sources, validation.targets), out=Path(folder) / "run"
        )
        seconds = time.perf_counter() - start
        history = _history(Path(folder) / "run" / "history.csv")
    spent = seconds - sum(row["seconds"] for row in history)  # tokenizers, the bundle, the picture: counted first
    epochs = []
    for row in history:
        spent += row["train_seconds"]
        epochs.append({"epoch": int(row["epoch"]), "exact_match": row["exact_match"], "seconds": spent})
    report: dict[str, Any] = {"epochs": epochs, "parameters": sum(p.numel() for p in model.model.parameters())}
    if options.purpose == "score":
        report["exact_match"] = model.evaluate(test.sources, test.targets)["exact_match"]
        report["unseen_exact_match"] = model.evaluate(unseen.sources, unseen.targets)["exact_match"]
    options.json.write_text(json.dumps(report))


def _head(pairs: Pairs, rows: int | None) -> Pairs:
    return Pairs(pairs.sources[:rows], pairs.targets[:rows])


def _history(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
