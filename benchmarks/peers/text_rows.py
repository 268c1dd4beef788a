"""What the sides of `benchmarks/classification_speed.py` share: the sentences, their batches, the report.

It imports nothing of harken, and NumPy alone of the rest: each side turns the arrays into its own kind.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
WORD = re.compile(r"\w+|[^\w\s]+")
PAD, UNKNOWN = 0, 1


class Batch(NamedTuple):
    """Right-padded."""

    ids: Ints  # (B, T)
    lengths: Ints  # (B,)
    labels: Ints  # (B,)


@dataclass(frozen=True)
class Rows:
    """All of them, and what a batch of them looks like."""

    ids: Sequence[Ints]
    labels: Ints
    vocabulary: int
    batch: int
    multiple: int  # T of a batch is a multiple of it

    def batches(self, draw: np.random.Generator) -> list[Batch]:
        """Rows of like length together, in an order of their own at each call; the shapes are the same at each."""
        noise = draw.random(len(self.ids))
        order = np.lexsort((noise, [len(ids) for ids in self.ids]))
        chunks = [order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        return [self.pad(chunks[place]) for place in draw.permutation(len(chunks))]

    def pad(self, places: Ints) -> Batch:
        """The rows at these places, padded to the next multiple of their longest."""
        lengths = np.array([len(self.ids[place]) for place in places])
        width = -(-int(lengths.max()) // self.multiple) * self.multiple
        ids = np.full((len(places), width), PAD)
        for row, place in enumerate(places):
            ids[row, : lengths[row]] = self.ids[place]
        return Batch(ids, lengths, self.labels[places])


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options of all peers."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="TSV without header: text, 0 or 1; may be .gz")
    parser.add_argument("--rows", type=int, help="only so many")
    parser.add_argument("--vocabulary", type=int, default=20_000)
    parser.add_argument("--embedding", type=int, default=100)
    parser.add_argument("--hidden", type=int, default=100, help="of each direction")
    parser.add_argument("--attention", type=int, default=200, help="hidden units of the additive attention")
    parser.add_argument("--dropout", type=float, default=0.5, help="on the embeddings and on the pooled vector")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--multiple", type=int, default=1, help="pad batches to a multiple of so many steps")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="default: print it")
    return parser


def pairs(path: Path, rows: int | None) -> tuple[list[str], list[int]]:
    """Texts and labels."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        found = [line.rstrip("\n").split("\t") for line in file][:rows]
    return [text for text, _ in found], [int(label) for _, label in found]


def read(options: argparse.Namespace) -> Rows:
    """The file as ids: words and runs of punctuation, in small letters, the most frequent ones known."""
    texts, labels = pairs(options.data, options.rows)
    words = [WORD.findall(text.lower()) for text in texts]
    counts = Counter(word for row in words for word in row)
    known = {word: place for place, (word, _) in enumerate(counts.most_common(options.vocabulary - 2), start=2)}
    ids = [np.array([known.get(word, UNKNOWN) for word in row]) for row in words]
    return Rows(ids, np.array(labels), len(known) + 2, options.batch, options.multiple)


def rate(rows: int, seconds: Sequence[float]) -> float:
    """Examples a second, the median over the epochs after the first, which compiles and warms up."""
    return rows / statistics.median(seconds[1:] or seconds)


def report(options: argparse.Namespace, rows: Rows, seconds: Sequence[float], **more: Any) -> None:
    """Write it, or print it."""
    text = json.dumps({"rate": rate(len(rows.ids), seconds), "seconds": list(seconds), **more}, indent=1)
    if options.json:
        options.json.write_text(text)
    else:
        print(text)
