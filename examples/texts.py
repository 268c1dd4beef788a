"""Classify texts, and see which words decided: attention pooling beside self-attention, words beside bytes.

    python examples/texts.py
    python examples/texts.py --train reviews.csv --test more.csv --text review --label stars

System 3 of the design: embedding → bidirectional LSTM → attention that returns its weights → one label. Without
``--train`` the reviews are made here: what stands behind "but" decides, so that counting words cannot tell.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path
from tempfile import mkdtemp

import harken

WAYS = {
    "words, attention": {},
    "words, self-attention": {"pooling": "self-attention", "num_heads": 2},
    "bytes, attention": {"tokens": "byte", "embedding_size": 8},
}
SIZE = {"embedding_size": 32, "hidden_size": 32, "dropout": 0.2, "word_dropout": 0, "epochs": 6, "learning_rate": 0.01}


def write_reviews(folder: Path, rows: int) -> tuple[Path, Path]:
    """Two tables, of different rows such as "the plot is dull, but the cast is warm", good; the second of 200."""
    rng = random.Random(0)
    words = {"good": ["warm", "funny", "clever", "moving", "bright"], "bad": ["dull", "slow", "noisy", "flat", "cold"]}
    parts = ["plot", "cast", "music", "ending", "script", "humour", "pace", "voice"]
    reviews: dict[str, str] = {}
    while len(reviews) < rows + 200:
        (first, weak), (second, strong) = zip(rng.sample(parts, 2), rng.choices([*words], k=2), strict=True)
        clauses = f"the {first} is {rng.choice(words[weak])}, but the {second} is {rng.choice(words[strong])}"
        reviews[clauses] = strong
    for name, part in (("train.csv", slice(200, None)), ("test.csv", slice(200))):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([("review", "verdict"), *list(reviews.items())[part]])
    return folder / "train.csv", folder / "test.csv"


def main(arguments: list[str] | None = None) -> None:
    """Train each way on one table, test it on another, and see where the words were looked at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help="table of texts and labels; default: one that is made here")
    parser.add_argument("--test", type=Path, help="table to test on; default: the one to train on")
    parser.add_argument("--text", help="column of texts; default: told from the table")
    parser.add_argument("--label", help="column of labels; default: told from the table")
    options = parser.parse_args(arguments)
    if options.train is None:
        options.train, options.test = write_reviews(Path(mkdtemp()), 1_500)

    columns = harken.SequenceRun().override(text=options.text, label=options.label or ()).data
    training = harken.read_examples(options.train, columns, "classify")
    testing = harken.read_examples(options.test or options.train, training.config, "classify")
    print("\n".join(training.described))
    for name, way in WAYS.items():
        model = harken.Classifier(**(SIZE | way)).fit_examples(training)
        accuracy = model.evaluate_examples(testing).metrics["accuracy"]
        print(f"\n{name}: accuracy {accuracy:.1%} on {len(testing)} texts")
        reading = model.explain(testing.inputs.take([0]))[0]
        looked = sorted(zip(reading.weights.mean(0).tolist(), reading.steps, strict=True), reverse=True)
        print(f"  {reading.source} → {reading.title}, looked at", *(f"{step!r} {w:.2f}" for w, step in looked[:3]))
        print(" ", model.believe(testing.inputs.take(range(min(100, len(testing))))).sentence())


if __name__ == "__main__":
    main()
