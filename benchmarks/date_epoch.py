"""Where an epoch of the date model goes: the engine's calls, and what is around them.

The portable engine and the default one by turns, one process each (`epoch_once.py`, which says what the parts are).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from benchmarks.harness import Row, Run, Store, Values, claim, main, run_script

VERSION = 1
AROUND = 1.3  # an epoch may take this many times its engine calls
PARTS = {  # what each part has that the one before it has not
    "engine": "encoder and decoder, forward and backward",
    "model": "embeddings, attention, output layer, loss",
    "optimizer": "clipping, AdamW",
    "batches": "making batches",
    "epoch": "Lightning's loop, callbacks, bookkeeping",
}


def benchmark(store: Store, quick: bool) -> list[Row]:
    """Three seeds of 45,000 rows; quick: one, of 6,400 rows."""
    options: Values = {"rows": 6400} if quick else {}
    chosen = {"engine": os.environ["HARKEN_ENGINE"]} if "HARKEN_ENGINE" in os.environ else {}
    default: list[Run] = []
    portable: list[Run] = []
    for seed in range(1 if quick else 3):
        default.append(once(store, options | chosen, seed))
        portable.append(once(store, options | {"engine": "portable"}, seed))
    return epoch_rows(default, portable)


def once(store: Store, options: Values, seed: int) -> Run:
    """One epoch and its parts."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    action = partial(run_script, "benchmarks/epoch_once.py", *words, "--seed", str(seed))
    return store.measure("epoch", options, seed, action)


def epoch_rows(runs: Sequence[Run], portable: Sequence[Run]) -> list[Row]:
    """The epoch before and after, the goal, and the parts: each one's own seconds."""
    seconds, before = ([run.value["seconds"] for run in side] for side in (runs, portable))
    rows = [
        claim("date model, an epoch: portable engine", [s["epoch"] for s in before], None, "s", runs=portable),
        claim("date model, an epoch", [s["epoch"] for s in seconds], None, "s", runs=runs),
        claim(
            "date model, an epoch: times its engine calls alone", [s["epoch"] / s["engine"] for s in seconds],
            AROUND, "×", at_most=True, runs=runs,
        ),
    ]  # fmt: skip
    own = [parts(s) for s in seconds]
    rows += [claim(f"… of it: {text}", [s[part] for s in own], None, "s", runs=runs) for part, text in PARTS.items()]
    return rows


def parts(seconds: dict[str, float]) -> dict[str, float]:
    """What each part took beyond the one that it contains."""
    names = list(PARTS)
    inner = dict(zip(names[1:], names, strict=False))
    return {name: seconds[name] - (seconds[inner[name]] if name in inner else 0.0) for name in names}


if __name__ == "__main__":
    main("date_epoch", VERSION, benchmark)
