"""Classify long documents that are given as vectors of their chunks, any number of them, from a Parquet file.

    python examples/documents.py
    python examples/documents.py --train vectors.parquet --test more.parquet

System 5 of the design: whatever embeds a passage (a sentence encoder, TF-IDF and an SVD, …) is run once, and its
vectors are written as a column of lists of lists; harken learns what the document says. Without ``--train`` the vectors
are made here: one chunk somewhere in a document decides, and all the others talk of something else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression

import harken

SIZE = 24  # of a chunk's vector


def write_documents(path: Path, rows: int, seed: int) -> Path:
    """Documents of 2 to 12 chunks: a list<list<float>> column ``chunks``, and ``label``."""
    rng = np.random.default_rng(seed)
    documents, labels = [], []
    for _ in range(rows):
        chunks = rng.normal(size=(rng.integers(2, 13), SIZE)).astype(np.float32)
        decides, label = rng.integers(len(chunks)), int(rng.integers(2))
        chunks[decides, 0] = 4.0  # "in conclusion"
        chunks[decides, 1] = 2.0 if label else -2.0  # for, or against
        documents.append(chunks.tolist())
        labels.append("for" if label else "against")
    pq.write_table(pa.table({"chunks": documents, "label": labels}), path)
    return path


def plain(make: Callable[[np.ndarray], np.ndarray], training: harken.Examples, testing: harken.Examples) -> float:
    """Accuracy of a logistic regression on the one vector that `make` gives for each document."""
    vectors = [np.stack([make(row.numpy()) for row in examples.inputs.rows]) for examples in (training, testing)]
    labels = [next(iter(examples.labels.columns.values())) for examples in (training, testing)]
    return LogisticRegression(max_iter=1000).fit(vectors[0], labels[0]).score(vectors[1], labels[1])


def main(arguments: list[str] | None = None) -> None:
    """Train on one file, test on another, beside the first chunk alone and the mean of the chunks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, help="Parquet file; default: one that is made here")
    parser.add_argument("--test", type=Path, help="Parquet file to test on; default: the one to train on")
    options = parser.parse_args(arguments)
    if options.train is None:
        folder = Path(mkdtemp())
        options.train = write_documents(folder / "train.parquet", 1_500, seed=0)
        options.test = write_documents(folder / "test.parquet", 300, seed=1)

    columns = harken.SequenceRun().override(input="vectors").data  # so narrow, they would be taken for a series
    training = harken.read_examples(options.train, columns, "classify")
    testing = harken.read_examples(options.test or options.train, training.config, "classify")
    print("\n".join(training.described))
    model = harken.Classifier(hidden_size=32, epochs=6, min_steps=0, learning_rate=0.01).fit_examples(training)
    print(f"first chunk alone: {plain(lambda chunks: chunks[0], training, testing):.1%}")
    print(f"mean of the chunks: {plain(lambda chunks: chunks.mean(0), training, testing):.1%}")
    print(f"LSTM over the chunks, attention: accuracy {model.evaluate_examples(testing).metrics['accuracy']:.1%}")

    reading = model.explain(testing.inputs.take([0]))[0]
    print(f"{reading.title}, of {len(reading.steps)} chunks it looked at {int(reading.weights[0].argmax())} most")
    print(model.believe(testing.inputs.take(range(min(100, len(testing))))).sentence())


if __name__ == "__main__":
    main()
