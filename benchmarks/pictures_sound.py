"""Pictures and sound: how good harken is on shapes, clothes and spoken digits, and how fast.

The defaults of `input=image` and `input=audio`, but for what `SETS` says; they were chosen on validation rows of the
training data (docs/log.md), and the test rows are evaluated once a run. Clothes are learned by a network without
recurrent layers, one without attention, and one with each attention, all of about as many parameters: `VARIANTS`.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.harness import Row, Run, Store, Values, claim, main, measure_all, run_script
from benchmarks.media import SPEAKERS
from harken.config import RECIPES, RunConfig

VERSION = 1
SETS: dict[str, Values] = {
    "shapes": {"epochs": 10},
    "occurring": {"epochs": 10},
    "digits": {},
    "pitch": {},
    "apparel": {"epochs": 15, "min_steps": 0},
}
VARIANTS: dict[str, Values] = {  # sizes for 456,000 to 483,000 parameters
    "CNN alone, mean of cells": {"num_layers": 0, "pooling": "mean", "cnn": 40},
    "CNN + LSTM, final state": {"pooling": "last", "hidden_size": 96},
    "CNN + LSTM + additive attention": {},
    "CNN + LSTM + gated self-attention": {"pooling": "gated", "hidden_size": 24},
    "CNN + LSTM + scaled-dot self-attention": {"pooling": "self-attention", "hidden_size": 16},
    "CNN + LSTM + source-target attention": {"pooling": "query", "hidden_size": 96},
    "CNN + LSTM + gated, then source-target": {"pooling": "gated-query", "hidden_size": 48},
    "CNN + LSTM + scaled-dot, then source-target": {"pooling": "self-attention-query", "hidden_size": 24},
}
SEEDS = 3
_PICTURES = ("shapes", "occurring", "apparel")

Job = tuple[str, int, str]  # set, seed, variant of apparel


def benchmark(store: Store, quick: bool) -> list[Row]:
    """All of it; quick: one seed. Accuracy runs have one thread each, and there are as many at a time as cores."""
    seeds = range(1 if quick else SEEDS)
    jobs: list[Job] = [(name, seed, "") for name in SETS if name != "apparel" for seed in seeds]
    jobs += [("apparel", seed, variant) for variant in VARIANTS for seed in seeds]
    jobs += [(f"without {speaker}", 0, "") for speaker in (SPEAKERS[:1] if quick else SPEAKERS)]
    found = measure_all(store, {job: (job[0], _settings(job), job[1], _command(job)) for job in jobs})

    command = (*_command(("shapes", 0, "")), "--threads", "0")
    alone = [store.measure("shapes, alone", _settings(("shapes", 0, "")), 0, lambda: run_script(*command))]

    def runs(name: str, variant: str = "") -> list[Run]:
        return [found[name, seed, variant] for seed in seeds]

    def row(text: str, runs: Sequence[Run], number: str, goal: float | None, unit: str, at_most: bool = False) -> Row:
        return claim(text, [run.value[number] for run in runs], goal, unit, at_most=at_most, runs=runs)

    rows = [
        row("shapes: colour and shape both right, 2,000 unseen pictures", runs("shapes"), "all_right", 0.995, "share"),
        row("shapes: seconds of training, alone on the machine", alone, "fit_seconds", 180, "s", at_most=True),
        row("shapes: weight inside the shape's box over outside, median", runs("shapes"), "inside", 3, ""),
        row("0 to 3 shapes, which colours occur: micro-F1", runs("occurring"), "micro_f1", 0.99, "share"),
        row("spoken digits, official split: accuracy", runs("digits"), "accuracy", 0.985, "share"),
        row("spoken digits: seconds of training on one core, beside others", runs("digits"), "fit_seconds", None, "s"),
        claim(
            "spoken digits, a speaker never heard (each of six): accuracy",
            [run.value["accuracy"] for job, run in found.items() if job[0].startswith("without ")],
            None,
            "share",
            runs=[run for job, run in found.items() if job[0].startswith("without ")],
        ),
        row("mean pitch of a spoken digit: R²", runs("pitch"), "r2", None, ""),
        claim(
            "mean pitch: root of the squared error, Hz (the mean of the training clips: "
            f"{statistics.fmean(run.value['mean_mse'] for run in runs('pitch')) ** 0.5:.1f})",
            [run.value["mse"] ** 0.5 for run in runs("pitch")],
            None,
            "Hz",
            runs=runs("pitch"),
        ),
    ]
    for variant, options in VARIANTS.items():
        goal = None if options else 0.93  # the defaults of pooling and size
        rows.append(row(f"apparel, {variant}: both right", runs("apparel", variant), "all_right", goal, "share"))
        rows.append(row(f"apparel, {variant}: parameters", runs("apparel", variant), "parameters", None, ""))
    seconds = [run for job, run in found.items() if job[0] == "apparel"]
    rows.append(
        row(
            "apparel: seconds of training on one core, beside others, all of these",
            seconds,
            "fit_seconds",
            240,
            "s",
            True,
        )
    )
    return rows + _speed(store, range(1))


def _speed(store: Store, seeds: range) -> list[Row]:
    """Rows a second with default threads, and the shares of the parts."""
    rows = []
    for kind, noun in (("image", "pictures"), ("audio", "clips")):
        settings = {"recipe": _recipe(kind), "shares": "of training batches"}
        command = ("benchmarks/media_speed_once.py", "--kind", kind, "--seed")
        runs = [
            store.measure(f"speed of {noun}", settings, seed, lambda s=seed, c=command: run_script(*c, str(s)))
            for seed in seeds
        ]

        def median(text: str, values: list[float], unit: str, runs: list[Run] = runs) -> Row:
            return claim(text, values, None, unit, median=True, runs=runs)

        for verb, number in (("trained on", "train_rate"), ("answered", "predict_rate"), ("decoded", "decode_rate")):
            rows.append(median(f"{noun} {verb} a second", [run.value[number] for run in runs], f"{noun}/s"))
        for verb in ("train", "predict"):
            parts = [_shares(run.value, verb) for run in runs]
            shown = {part: statistics.median(each[part] for each in parts) for part in parts[0]}
            text = ", ".join(f"{part} {share:.0%}" for part, share in shown.items())
            verb = {"train": "training", "predict": "answering"}[verb]
            rows.append(
                median(f"{noun}, {verb}: {text}; the rest", [1 - sum(each.values()) for each in parts], "share")
            )
    return rows


def _shares(value: Values, verb: str) -> dict[str, float]:
    """Of the time that a row takes: decoding counts in answering alone, as training decodes once."""
    each = value[f"{verb}_shares"]
    whole = 1 / value[f"{verb}_rate"]
    decoding = {} if verb == "train" else {"decoding": 1 / value["decode_rate"]}
    parts = decoding | {name: each[name] for name in ("spectrogram", "convolution", "recurrence") if each[name]}
    return {name: seconds / whole for name, seconds in parts.items()}


def _command(job: Job) -> tuple[str, ...]:
    name, seed, variant = job
    options = SETS.get(name, {}) | VARIANTS.get(variant, {})
    given = (text for option, value in options.items() for text in ("--set", f"{option}={json.dumps(value)}"))
    return ("benchmarks/media_once.py", "--data", name, "--seed", str(seed), *given)


def _settings(job: Job) -> Values:
    """What a stored run must agree with: its own options, and the defaults of that day."""
    name, _, variant = job
    options = SETS.get(name, {}) | VARIANTS.get(variant, {})
    return {"recipe": _recipe("image" if name in _PICTURES else "audio"), **options}


def _recipe(kind: Any) -> str:
    settled = RunConfig.build({"task": "classify"}).settled(kind)
    names = (
        *RECIPES[kind],
        "cnn",
        "cnn_layers",
        "cells",
        "skip",
        "flip",
        "shift",
        "jitter",
        "spec_augment",
        "image_size",
    )
    names += ("mels", "window", "hop")
    values = {option: getattr(getattr(settled, settled.option_names()[option]), option) for option in names}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


if __name__ == "__main__":
    main("pictures_sound", VERSION, benchmark)
