"""Train `harken.Classifier` on the speed benchmark's sentences, with the defaults of text, in a process of its own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import lightning.pytorch  # noqa: F401  (imported before the clock starts)

import harken
from benchmarks.peers.text_rows import pairs, rate


def main() -> None:
    """Read the options, train, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="TSV without header: text, 0 or 1; may be .gz")
    parser.add_argument("--rows", type=int, help="only so many")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="default: print it")
    options = parser.parse_args()
    texts, labels = pairs(options.data, options.rows)
    model = harken.Classifier(epochs=options.epochs, seed=options.seed, show_examples=0)
    model.fit(texts, labels, validation=0.0)
    seconds = [epoch.train_seconds for epoch in model.history_]
    report = {
        "rate": rate(len(texts), seconds),
        "seconds": seconds,
        "losses": [epoch.train_loss for epoch in model.history_],
        "parameters": sum(p.numel() for p in model.model.parameters()),
        "version": harken.__version__,
    }
    text = json.dumps(report, indent=1)
    if options.json:
        options.json.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
