"""The two files of pairs that the benchmarks read, and how they are split."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT
from harken.config import DataConfig
from harken.data.sources import read_pairs

DATA = Path(os.environ.get("HARKEN_DATA", ROOT.parent / "shared" / "data"))
FILES = {"dates": DATA / "dates" / "date.txt.gz", "addition": DATA / "addition" / "addition.txt.gz"}
HELD_OUT = 5000


@dataclass(frozen=True)
class Pairs:
    """Rows that belong together."""

    sources: list[str]
    targets: list[str]


@dataclass(frozen=True)
class Split:
    """What is trained on, what is held out, and the part of it that never occurs in training."""

    train: Pairs
    test: Pairs
    unseen: Pairs


def split(name: str) -> Split:
    """Permute with `numpy.random.seed(1984)` and hold the last 5,000 rows out, as this exercise is always split.

    Repeated rows fall on both sides: 3,595 of the 5,000 held-out dates never occur in training, and are reported
    apart.
    """
    pairs = read_pairs(FILES[name], DataConfig(delimiter="_"))
    targets = pairs.targets or []
    order = np.random.RandomState(1984).permutation(len(targets)).tolist()
    seen = {pairs.sources[row] for row in order[:-HELD_OUT]}

    def take(rows: list[int]) -> Pairs:
        return Pairs([pairs.sources[row] for row in rows], [targets[row] for row in rows])

    held_out = order[-HELD_OUT:]
    return Split(
        train=take(order[:-HELD_OUT]),
        test=take(held_out),
        unseen=take([row for row in held_out if pairs.sources[row] not in seen]),
    )
