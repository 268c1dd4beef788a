"""Labels, values and tags: how good harken is on ten sets, each with the defaults of its kind of input.

One configuration per kind (`harken.config.recipes`), chosen on validation splits of the training rows; the test rows
are evaluated once a run. Anchors are published numbers of other models, from the sets' SOURCE.txt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from benchmarks.harness import Row, Run, Store, Values, claim, main, measure_all
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
CHUNKS = {"first": "first chunk only", "mean": "mean of chunks", "all": "all chunks (goal: both)"}
REVIEWS = ("reviews-flat", "reviews-sentences")


Job = tuple[str, int, int | None]  # set or input of chunks, seed, fold


def benchmark(store: Store, quick: bool) -> list[Row]:
    """All of it; quick: one seed, and one fold. Runs have one thread each, and there are as many at a time as cores."""
    folds = range(1 if quick else FOLDS)
    jobs: list[Job] = [(name, seed, None) for name in CLAIMS for seed in _seeds(name, quick)]
    jobs += [(f"chunks: {which}", 0, fold) for which in CHUNKS for fold in folds]
    jobs += [(name, 0, fold) for name in REVIEWS for fold in folds]
    found = measure_all(store, {job: (job[0], _settings(job), job[1], _command(job)) for job in jobs})
    rows = []
    for name, (text, number, goal, unit, at_most) in CLAIMS.items():
        runs = [found[name, seed, None] for seed in _seeds(name, quick)]
        rows.append(claim(text, [run.value[number] for run in runs], goal, unit, at_most=at_most, runs=runs))
        if name in ("ECG5000", "sst2"):
            other = "macro_f1" if name == "ECG5000" else "calibration_error"
            rows.append(_reported(f"{name}: {other.replace('_', ' ')}", runs, other, "share"))
        rows.append(_reported(f"{name}: seconds of training on one core", runs, "fit_seconds", "s"))
        rows.append(_reported(f"{name}: parameters", runs, "parameters", ""))
    return rows + _chunks(found, folds) + _reviews(found, folds)


def _reviews(found: Mapping[Job, Run], folds: Sequence[int]) -> list[Row]:
    """Movie reviews, ten folds, one seed: flat text, and sentences in documents."""
    flat, deep = ([found[name, 0, fold] for fold in folds] for name in REVIEWS)
    return [
        _reported("movie reviews, flat text: accuracy", flat, "accuracy", "share"),
        claim(
            "movie reviews, sentences in documents: accuracy (goal: the flat one)",
            [run.value["accuracy"] for run in deep],
            _mean(flat),
            "share",
            runs=deep,
        ),
    ]


def _chunks(found: Mapping[Job, Run], folds: Sequence[int]) -> list[Row]:
    """Movie reviews as vectors of 200-word chunks, through Parquet and the command line."""
    runs = {which: [found[f"chunks: {which}", 0, fold] for fold in folds] for which in CHUNKS}
    best = max(_mean(runs["first"]), _mean(runs["mean"]))
    return [
        claim(
            f"movie reviews as chunk vectors, {name}: accuracy",
            [run.value["accuracy"] for run in runs[which]],
            best if which == "all" else None,
            "share",
            runs=runs[which],
        )
        for which, name in CHUNKS.items()
    ]


def _seeds(name: str, quick: bool) -> range:
    return range(1 if quick else 3 if name in FEW else 5)


def _command(job: Job) -> tuple[str, ...]:
    name, seed, fold = job
    script, option = ("chunks_once", "--which") if name.startswith("chunks") else ("label_once", "--data")
    which = name.removeprefix("chunks: ")
    return (f"benchmarks/{script}.py", option, which, "--seed", str(seed), "--fold", str(fold or 0))


def _settings(job: Job) -> Values:
    """What a stored run must agree with: its fold, and the recipe of that day."""
    name, _, fold = job
    kind, task = KINDS.get(name, ("vectors" if name.startswith("chunks") else "series", "classify"))
    settled = RunConfig.build({"task": task}).settled(kind)
    recipe = {option: getattr(getattr(settled, settled.option_names()[option]), option) for option in RECIPES[kind]}
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]
    return {"recipe": digest} | ({} if fold is None else {"fold": fold})


def _reported(text: str, runs: Sequence[Run], number: str, unit: str) -> Row:
    return claim(text, [run.value[number] for run in runs], None, unit, runs=runs)


def _mean(runs: Sequence[Run]) -> float:
    return sum(run.value["accuracy"] for run in runs) / len(runs)


if __name__ == "__main__":
    main("classification", VERSION, benchmark)
