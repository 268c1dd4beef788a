"""The labelled data that the benchmarks read, and how each is split: train, validation where there is one, test.

The test rows are read here and handed to one evaluation; nothing is chosen on them.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.pairs import DATA
from harken.config import ExamplesConfig
from harken.data.examples import Examples, read_examples
from harken.data.synthetic import adding

FOLDS = 10


@dataclass(frozen=True)
class Labelled:
    """Inputs and answers, row by row."""

    X: Any
    y: list[Any]


@dataclass(frozen=True)
class Split:
    """What is learned from, what chooses the best epoch (None: nothing, the last one counts), what is measured once."""

    task: str
    train: Labelled
    validation: Labelled | None
    test: Labelled


def split(name: str, fold: int = 0) -> Split:
    """One of `SETS`; ``fold`` counts for movie reviews alone."""
    return SETS[name](fold)


def _sst2(fold: int) -> Split:
    def part(name: str) -> Labelled:
        with gzip.open(DATA / "sst2" / f"{name}.tsv.gz", "rt", encoding="utf-8") as file:
            rows = [line.rstrip("\n").split("\t") for line in file]
        return Labelled([text for text, _ in rows], [int(label) for _, label in rows])

    return Split("classify", part("train"), part("dev"), part("test"))


def _trec(fold: int) -> Split:
    def part(name: str) -> Labelled:
        with zipfile.ZipFile(DATA / "trec" / "qc.zip") as archive:
            lines = archive.read(f"qc/{name}.txt").decode("latin-1").splitlines()
        rows = [line.split(" ", 1) for line in lines if line.strip()]
        return Labelled([text for _, text in rows], [label.partition(":")[0] for label, _ in rows])

    return Split("classify", part("train"), None, part("test"))


def movie_reviews() -> list[tuple[list[str], str, int]]:
    """(sentences, label, fold) of every document."""
    found = []
    with zipfile.ZipFile(DATA / "movie_reviews" / "movie_reviews.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".txt") and "/cv" in name:
                sentences = [line.strip() for line in archive.read(name).decode("latin-1").splitlines() if line.strip()]
                place = name.rsplit("/", 1)
                found.append((sentences, place[0].rsplit("/", 1)[-1], int(place[1][2])))
    return found


def _reviews(hierarchical: bool) -> Callable[[int], Split]:
    def split(fold: int) -> Split:
        rows = movie_reviews()

        def part(held_out: bool) -> Labelled:
            chosen = [(sentences, label) for sentences, label, k in rows if (k == fold) == held_out]
            texts: list[Any] = [sentences if hierarchical else "\n".join(sentences) for sentences, _ in chosen]
            return Labelled(texts, [label for _, label in chosen])

        return Split("classify", part(False), None, part(True))

    return split


def _archive(name: str) -> Callable[[int], Split]:
    def split(fold: int) -> Split:
        train, test = (_labelled(read_examples(DATA / "ucr" / f"{name}_{part}.ts.gz", ExamplesConfig(), "classify"))
                       for part in ("TRAIN", "TEST"))  # fmt: skip
        return Split("classify", train, None, test)

    return split


def _ecg5000(fold: int) -> Split:
    """The test set of these files is one row short of the archive's 4,500 (see SOURCE.txt)."""
    train = _labelled(read_examples(DATA / "ucr" / "ECG5000_TRAIN.ts.gz", ExamplesConfig(), "classify"))
    with np.load(DATA / "ucr" / "ECG5000_TEST_4499of4500.npz", allow_pickle=False) as arrays:
        X, y = arrays["X"], arrays["y"]
    kind = type(train.y[0])
    return Split(
        "classify", train, None, Labelled(X[:, :, None].astype(np.float32), [kind(label) for label in y.tolist()])
    )


def _tags(fold: int) -> Split:
    train, dev, test = (
        _labelled(read_examples(DATA / "ud_english_ewt" / f"en_ewt-ud-{part}.conllu.gz", ExamplesConfig(), "tag"))
        for part in ("train", "dev", "test")
    )
    return Split("tag", train, dev, test)


def _adding(fold: int) -> Split:
    """5,000 rows to learn from, 1,000 to choose by, 2,000 to measure; T from 200 to 400."""
    train, validation, test = (Labelled(*adding(rows, seed)) for rows, seed in ((5_000, 1), (1_000, 2), (2_000, 3)))
    return Split("regress", train, validation, test)


def _labelled(examples: Examples) -> Labelled:
    assert examples.labels is not None
    return Labelled(examples.inputs, next(iter(examples.labels.columns.values())))


SETS: dict[str, Callable[[int], Split]] = {
    "sst2": _sst2,
    "trec": _trec,
    "reviews-flat": _reviews(hierarchical=False),
    "reviews-sentences": _reviews(hierarchical=True),
    "adding": _adding,
    "JapaneseVowels": _archive("JapaneseVowels"),
    "ItalyPowerDemand": _archive("ItalyPowerDemand"),
    "BasicMotions": _archive("BasicMotions"),
    "ECG5000": _ecg5000,
    "ewt": _tags,
}
