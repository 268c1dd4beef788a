"""Labels, values and tags: how good harken is on ten sets, each with the defaults of its kind of input.

One configuration per kind (`harken.config.recipes`), chosen on validation splits of the training rows; the test rows
are evaluated once a run. Anchors are published numbers of other models, from the sets' SOURCE.txt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.harness import Row, Run, Store, claim, main, run_script
from harken.config import RECIPES, RunConfig

VERSION = 1
# set → what is claimed: name of the number, goal, unit, whether smaller is better.
CLAIMS = {
    "sst2": ("SST-2, sentences only, no pretrained vectors: accuracy", "accuracy", 0.81, "share", False),
    "trec": ("TREC-6: accuracy", "accuracy", 0.91, "share", False),
    "JapaneseVowels": ("JapaneseVowels: accuracy", "accuracy", 0.985, "share", False),
    "ItalyPowerDemand": ("ItalyPowerDemand: accuracy", "accuracy", 0.962, "share", False),
    "ECG5000": ("ECG5000: accuracy", "accuracy", 0.94, "share", False),
    "BasicMotions": ("BasicMotions: accuracy", "accuracy", 0.975, "share", False),
    "ewt": ("UD English EWT, UPOS: accuracy", "accuracy", 0.94, "share", False),
    "adding": ("adding problem, T from 200 to 400: squared error", "mse", 1e-3, "", True),
}
KINDS = {
    "sst2": ("text", "classify"),
    "trec": ("text", "classify"),
    "reviews-flat": ("text", "classify"),
    "reviews-sentences": ("sentences", "classify"),
    "ewt": ("words", "tag"),
    "adding": ("series", "regress"),
}  # the others are series
FEW = ("ewt", "adding")  # 3 seeds: a run takes minutes
FOLDS = 10
CHUNKS = ("all", "first", "mean")


def benchmark(store: Store, quick: bool) -> list[Row]:
    """All of it; quick: one seed, and one fold."""
    rows = []
    for name, (text, number, goal, unit, at_most) in CLAIMS.items():
        seeds = range(1 if quick else 3 if name in FEW else 5)
        runs = [_run(store, name, seed) for seed in seeds]
        rows.append(claim(text, [run.value[number] for run in runs], goal, unit, at_most=at_most, runs=runs))
        rows.append(_reported(f"{name}: seconds of training", runs, "fit_seconds", "s"))
        if name in ("ECG5000", "sst2"):
            other = "macro_f1" if name == "ECG5000" else "calibration_error"
            rows.append(_reported(f"{name}: {other.replace('_', ' ')}", runs, other, "share"))
    return rows + reviews(store, range(1 if quick else FOLDS)) + chunks(store, range(1 if quick else FOLDS))


def reviews(store: Store, folds: Sequence[int]) -> list[Row]:
    """Movie reviews, ten folds, one seed: flat text, and sentences in documents."""
    flat, deep = ([_run(store, name, 0, fold) for fold in folds] for name in ("reviews-flat", "reviews-sentences"))
    reached = _mean(flat)
    return [
        claim("movie reviews, flat text: accuracy", [r.value["accuracy"] for r in flat], None, "share", runs=flat),
        claim(
            "movie reviews, sentences in documents: accuracy (goal: the flat one)",
            [run.value["accuracy"] for run in deep],
            reached,
            "share",
            runs=deep,
        ),
    ]


def chunks(store: Store, folds: Sequence[int]) -> list[Row]:
    """Movie reviews as vectors of 200-word chunks, through Parquet and the command line."""
    runs: dict[str, list[Run]] = {}
    for which in CHUNKS:
        script = ("benchmarks/chunks_once.py", "--which", which)
        runs[which] = [
            store.measure(
                f"chunks: {which}", {"fold": fold}, 0, lambda f=fold, s=script: run_script(*s, "--fold", str(f))
            )
            for fold in folds
        ]
    best = max(_mean(runs["first"]), _mean(runs["mean"]))
    return [
        claim(
            f"movie reviews as chunk vectors, {name}: accuracy",
            [run.value["accuracy"] for run in runs[which]],
            best if which == "all" else None,
            "share",
            runs=runs[which],
        )
        for which, name in (
            ("first", "first chunk only"),
            ("mean", "mean of chunks"),
            ("all", "all chunks (goal: both)"),
        )
    ]


def _run(store: Store, name: str, seed: int, fold: int | None = None) -> Run:
    options = [] if fold is None else ["--fold", str(fold)]
    command = ("benchmarks/label_once.py", "--data", name, "--seed", str(seed), *options)
    kind, task = KINDS.get(name, ("series", "classify"))
    settled = RunConfig.build({"task": task}).settled(kind)
    recipe = {option: getattr(getattr(settled, settled.option_names()[option]), option) for option in RECIPES[kind]}
    settings = {**({} if fold is None else {"fold": fold}), "recipe": json.dumps(recipe)}
    return store.measure(name, settings, seed, lambda: run_script(*command))


def _reported(text: str, runs: Sequence[Run], number: str, unit: str) -> Row:
    return claim(text, [run.value[number] for run in runs], None, unit, runs=runs)


def _mean(runs: Sequence[Run]) -> float:
    return sum(run.value["accuracy"] for run in runs) / len(runs)


if __name__ == "__main__":
    main("classification", VERSION, benchmark)
