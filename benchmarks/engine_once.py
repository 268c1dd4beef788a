"""One measurement of `engine`, in a process of its own.

    race     a layer and a batch: every contender's training step, ragged and with all rows equally long, turn by turn,
             the machine's ceiling among them
    growth   one layer, many batches: seconds of a step against its real steps
    memory   what stands in memory between forward and backward, per contender
    threads  one row with one thread and with all; two Python threads that train at once, and one after the other

`python -m benchmarks.engine_once race --shape "64,200,300,256 bi" --only harken` looks at one alone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contenders import Batch, Contender, check, make_batch, make_contenders
from benchmarks.harness import ROOT
from benchmarks.turns import Ceiling, Step, compile_library, take_turns
from benchmarks.work import LENGTHS, Shape, ragged_lengths, spread_lengths, training_flop
from harken.engine.backends import native_kernel

EQUAL = ("harken", "dense", "prototype")  # who runs where all rows are equally long
RAGGED = ("harken", "portable", "packed", "dense trick", "prototype")
BATCH, INPUT, HIDDEN = 32, 64, 128  # of growth and memory
MEANS = (25, 50, 100, 200)  # mean lengths of growth


def race(options: argparse.Namespace) -> dict[str, Any]:
    """GFLOP/s and seconds of everyone's step, as "ragged: packed", "equal: dense", "ceiling"."""
    shape, cell = options.shape, options.cell
    kernel = native_kernel(torch.float32, torch.device("cpu"))  # asked first: contenders choose their own
    contenders = _contenders(options)
    ceiling = Ceiling(compile_library(ROOT / "benchmarks" / "ceiling.cpp", options.programs), torch.get_num_threads())
    steps: dict[str, Step] = {"ceiling": ceiling}
    flop: dict[str, float] = {"ceiling": ceiling.flop}
    fields = {
        "ragged": (RAGGED, ragged_lengths(shape.batch, shape.time, options.seed)),
        "equal": (EQUAL, np.full(shape.batch, shape.time)),
    }
    for field, (names, lengths) in fields.items():
        here = {name: contenders[name] for name in names if name in contenders}
        batch = make_batch(shape, lengths, options.seed)
        check(here, batch)
        for name, contender in here.items():
            steps[f"{field}: {name}"] = partial(contender.step, batch)
            flop[f"{field}: {name}"] = training_flop(cell, shape, int(lengths.sum()))
    seconds = take_turns(steps, options.rounds)
    gflops = {name: flop[name] / taken / 1e9 for name, taken in seconds.items()}
    return {
        "gflops": gflops,
        "seconds": seconds,
        "engine": "portable" if kernel is None else kernel.LEVEL,
        "threads": torch.get_num_threads(),
        "bits": ceiling.bits,
    }


def growth(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step for lengths of many sums, spread in several ways."""
    contenders = _contenders(options)
    points, steps = [], {}
    for kind in LENGTHS:
        for mean in MEANS:
            lengths = spread_lengths(kind, BATCH, mean, options.seed)
            batch = make_batch(options.shape, lengths, options.seed)
            check(contenders, batch)
            for name, contender in contenders.items():
                steps[f"{kind} {mean}: {name}"] = partial(contender.step, batch)
            padded = BATCH * int(lengths.max())
            points.append({"kind": kind, "mean": mean, "steps": int(lengths.sum()), "padded": padded})
    seconds = take_turns(steps, options.rounds, turn=0.05)
    for point in points:
        point["seconds"] = {name: seconds[f"{point['kind']} {point['mean']}: {name}"] for name in contenders}
    return {"points": points}


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Bytes that a forward pass leaves in memory for the backward pass, its outputs included."""
    (contender,) = _contenders(options).values()
    _kept(contender, make_batch(options.shape, np.full(BATCH, 8), options.seed))  # threads, code, packed weights
    lengths = ragged_lengths(BATCH, options.shape.time, options.seed)
    return {"steps": int(lengths.sum()), "bytes": _kept(contender, make_batch(options.shape, lengths, options.seed))}


def threads(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step of one row on one thread and on all, and of two batches, one after the other and at once."""
    everyone = torch.get_num_threads()
    contender = _contenders(options)["harken"]
    row = make_batch(options.shape, np.full(1, options.shape.time), options.seed)
    wide = Shape(BATCH, 200, INPUT, HIDDEN)
    pair = [
        (make_contenders("lstm", wide, options.programs)["harken"], make_batch(wide, ragged_lengths(BATCH, 200, k), k))
        for k in range(2)
    ]

    def on_one() -> None:
        torch.set_num_threads(1)
        contender.step(row)
        torch.set_num_threads(everyone)

    def one_by_one() -> None:
        for layer, batch in pair:
            layer.step(batch)

    with ThreadPoolExecutor(2) as pool:

        def at_once() -> None:
            for done in [pool.submit(layer.step, batch) for layer, batch in pair]:
                done.result()

        steps = {"one": on_one, "all": partial(contender.step, row), "one by one": one_by_one, "at once": at_once}
        for step in steps.values():
            step()
        return {"seconds": take_turns(steps, options.rounds)}


def _kept(contender: Contender, batch: Batch) -> int:
    before = _resident()
    outputs = contender.forward(batch.x, batch.lengths)
    after = _resident()
    outputs.backward(batch.dy)  # outputs and all that backward needs were alive until here
    return after - before


def _resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _contenders(options: argparse.Namespace) -> dict[str, Contender]:
    every = make_contenders(options.cell, options.shape, options.programs)
    return {name: every[name] for name in options.only.split(",")} if options.only else every


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "race": race,
    "growth": growth,
    "memory": memory,
    "threads": threads,
}


def main() -> None:
    """Read the options, measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--cell", choices=("lstm", "gru"), default="lstm")
    parser.add_argument("--shape", type=Shape.parse, default=Shape(BATCH, 200, INPUT, HIDDEN))
    parser.add_argument("--only", help="names of contenders, joined by commas; default: all")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--programs", type=Path, help="where compiled programs are kept; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="default: print it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.programs = options.programs or Path(folder)
        report = json.dumps(PARTS[options.part](options), indent=1)
    if options.json:
        options.json.write_text(report)
    else:
        print(report)


if __name__ == "__main__":
    main()
