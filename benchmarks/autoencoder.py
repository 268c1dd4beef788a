"""Autoencoders: exactness on an exercise, anomalies in heartbeats, embeddings of ragged recordings.

ECG5000: only class 1 of the official training split is learned from. Options were chosen on that split alone: 58 rows
of class 1 were held out, and its 208 rows of other classes told what a score is worth (docs/log.md). The test split is
read by one evaluation for each seed. The peers learn from the same rows; PCA's size is chosen as ours was.

JapaneseVowels: no label is learned from; a test row gets the label of the nearest training row. Options were chosen on
90 of the 270 training rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from benchmarks.harness import Row, Run, Store, Values, claim, main
from benchmarks.labelled import Labelled, split
from harken import Autoencoder
from harken.data.inputs import Inputs, as_inputs
from harken.data.ragged import Ragged

VERSION = 1
Array = npt.NDArray[np.float64]

EXACT: Values = {"hidden_size": 32, "latent_size": 16, "epochs": 40, "min_steps": 6000, "learning_rate": 0.01}
QUICK: Values = {"epochs": 4, "min_steps": 200}
VOWELS: Values = {"latent_size": 64, "weight_decay": 1.0}
COMPONENTS = (2, 4, 8, 16, 32)  # of PCA


def benchmark(store: Store, quick: bool) -> list[Row]:
    """Five seeds, of embeddings three; quick: one, trained for seconds."""
    torch.set_num_threads(1)
    short = QUICK if quick else {}
    seeds = range(1 if quick else 5)
    rows = exercises(store, range(1 if quick else 3))
    rows += heartbeats(store, short, seeds)
    return rows + vowels(store, short, range(1 if quick else 3))


# Exercises


def exercises(store: Store, seeds: range) -> list[Row]:
    """The largest error of any value of rows that were learned from, in their own units."""
    ramp = np.arange(5)[:, None] * [0.1, 0.1]
    random = np.random.default_rng(0)
    steps = np.linspace(0, 1, 6)[:, None, None, None]
    film = random.uniform(size=(8, 8, 3)) * (1 - steps) + random.uniform(size=(8, 8, 3)) * steps  # (6, 8, 8, 3)
    cases: dict[str, list[Array]] = {
        "ramp of 5 steps × 2": [ramp],
        "ramps of 5 and 3 steps × 2 in one batch": [ramp, ramp[:3]],
        "samples of 6 and 4 steps × 8 × 8 × 3": [film, film[::-1][:4]],
    }

    def largest(rows: list[Array], seed: int) -> Values:
        rebuilt = Autoencoder(**EXACT, seed=seed).fit(rows, validation=0).reconstruct(rows)
        assert [a.shape for a in rows] == [b.shape for b in rebuilt]
        return {"largest_error": max(float(np.abs(a - b).max()) for a, b in zip(rows, rebuilt, strict=True))}

    found = []
    for name, rows in cases.items():
        runs = [store.measure(name, EXACT, seed, lambda r=rows, s=seed: largest(r, s)) for seed in seeds]
        values = [run.value["largest_error"] for run in runs]
        found.append(claim(f"{name}: largest error", values, 1e-3, "", at_most=True, runs=runs))
    return found


# Heartbeats


def heartbeats(store: Store, short: Values, seeds: range) -> list[Row]:
    """ROC-AUC of class 1 against the rest on the official test split, by who was trained on class 1 alone."""
    data = split("ECG5000")
    truth = np.array([str(label) for label in data.train.y])
    normal = dense(data.train.X)[truth == "1"]
    ways: dict[str, Callable[[int], Values]] = {
        "harken": lambda seed: harken_auc(normal, data.test, short, seed),
        "PCA": lambda seed: pca_auc(dense(data.train.X), truth == "1", data.test),
        "isolation forest": lambda seed: forest_auc(normal, data.test, seed),
    }
    found = []
    for way, measured in ways.items():
        settings = {"data": "ECG5000", **(short if way == "harken" else {})}
        runs = [
            store.measure(way, settings, seed, lambda m=measured, s=seed: m(s))
            for seed in (seeds if way != "PCA" else range(1))
        ]
        values = [run.value["roc_auc"] for run in runs]
        name = {"PCA": f"PCA of {runs[0].value.get('components')} components"}.get(way, way)
        goal = 0.95 if way == "harken" else None
        found.append(claim(f"ECG5000, class 1 against the rest: {name}, ROC-AUC", values, goal, "", runs=runs))
    return found


def dense(X: Any) -> Array:
    """Rows of one channel and one length, (n, T)."""
    rows = X.rows if isinstance(X, Inputs) else None
    if isinstance(rows, Ragged):
        return rows.pad()[0].squeeze(-1).double().numpy()
    return np.asarray(X, dtype=np.float64).squeeze(-1)


def auc(test: Labelled, scores: Array) -> float:
    """Of scores that are higher for class 1."""
    return float(roc_auc_score([str(label) == "1" for label in test.y], scores))


def harken_auc(normal: Array, test: Labelled, short: Values, seed: int) -> Values:
    """All options are the defaults."""
    began = time.perf_counter()
    model = Autoencoder(**short, seed=seed).fit(normal, validation=0)
    trained = time.perf_counter() - began
    metrics = model.evaluate(dense(test.X), [str(label) == "1" for label in test.y])
    return {**metrics, "train_seconds": trained}


def pca_auc(rows: Array, normal: npt.NDArray[np.bool_], test: Labelled) -> Values:
    """Minus the squared distance from the plane; how many components, as our options were chosen."""
    held = np.random.default_rng(0).permutation(int(normal.sum()))[:58]
    kept = np.setdiff1d(np.arange(int(normal.sum())), held)
    good = rows[normal]

    def scores(pca: PCA, X: Array) -> Array:
        return -np.square(X - pca.inverse_transform(pca.transform(X))).sum(1)

    def chosen_by(components: int) -> float:
        pca = PCA(components, random_state=0).fit(good[kept])
        judged = np.concatenate([good[held], rows[~normal]])
        return float(roc_auc_score(np.arange(len(judged)) < len(held), scores(pca, judged)))

    best = max(COMPONENTS, key=chosen_by)
    return {"roc_auc": auc(test, scores(PCA(best, random_state=0).fit(good), dense(test.X))), "components": best}


def forest_auc(normal: Array, test: Labelled, seed: int) -> Values:
    """scikit-learn's defaults."""
    forest = IsolationForest(random_state=seed).fit(normal)
    return {"roc_auc": auc(test, forest.score_samples(dense(test.X)))}


# Vowels


def vowels(store: Store, short: Values, seeds: range) -> list[Row]:
    """Share of test rows whose nearest training row has their label."""
    data = split("JapaneseVowels")
    train, test = (as_series(part.X) for part in (data.train, data.test))
    labels, truth = (np.array([str(label) for label in part.y]) for part in (data.train, data.test))

    def ours(seed: int) -> Values:
        model = Autoencoder(**{**VOWELS, **short}, seed=seed).fit(data.train.X, validation=0)
        return nearest(distances(model.transform(data.test.X), model.transform(data.train.X)), labels, truth)

    def means() -> Values:
        a, b = (np.stack([row.mean(0) for row in rows]) for rows in (test, train))
        return nearest(distances(a, b), labels, truth)

    def warped() -> Values:
        return nearest(np.stack([dtw(row, train) for row in test]), labels, truth)

    name = {"data": "JapaneseVowels"}
    runs: dict[str, list[Run]] = {
        "latent space": [
            store.measure("latent", {**name, **VOWELS, **short}, seed, lambda s=seed: ours(s)) for seed in seeds
        ],
        "dynamic time warping": [store.measure("dtw", name, 0, warped)],
        "mean over the steps": [store.measure("means", name, 0, means)],
    }
    return [
        claim(
            f"JapaneseVowels, 1-NN: {way}, accuracy", [run.value["accuracy"] for run in found], None, "share",
            runs=found,
        )
        for way, found in runs.items()
    ]  # fmt: skip


def as_series(X: Any) -> list[Array]:
    """Every row as an array (T, D)."""
    rows = X.rows if isinstance(X, Inputs) else as_inputs(X, Autoencoder().config.data.reading(), "classify").rows
    assert isinstance(rows, Ragged)
    return [rows[row].double().numpy() for row in range(len(rows))]


def nearest(apart: Array, labels: npt.NDArray[np.str_], truth: npt.NDArray[np.str_]) -> Values:
    """Distances (m, n) → accuracy of the nearest row's label."""
    return {"accuracy": float((labels[apart.argmin(1)] == truth).mean())}


def distances(a: Array, b: Array) -> Array:
    """Squared Euclidean, (m, n)."""
    return np.square(a[:, None] - b[None]).sum(-1)


def dtw(row: Array, others: list[Array]) -> Array:
    """Dependent multivariate DTW of one row (T, D) to each of others, without a window: (n,) sums of squared distances.

    All others at once: cell (i, j) of the table of each is one sum over the batch, and each ends at its own length.
    """
    longest = max(map(len, others))
    padded = np.stack([np.pad(other, ((0, longest - len(other)), (0, 0))) for other in others])  # (n, L, D)
    cost = np.square(row[:, None, None] - padded.transpose(1, 0, 2)[None]).sum(-1)  # (T, L, n)
    before = np.full((longest + 1, len(others)), np.inf)
    before[0] = 0
    for line in cost:
        now = np.full_like(before, np.inf)
        for step in range(longest):
            now[step + 1] = line[step] + np.minimum(np.minimum(before[step + 1], now[step]), before[step])
        before = now
    return before[[len(other) for other in others], np.arange(len(others))]


if __name__ == "__main__":
    main("autoencoder", VERSION, benchmark)
