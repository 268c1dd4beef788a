"""The engine: how near ragged training comes to the machine's limit, streaming, cost and memory against work.

Training: forward and backward of one layer, gradients of the input included, over rows of T/4 to T steps. FLOP are the
useful ones (`work.training_flop`); the ceiling is what `ceiling.cpp` reaches beside it, on as many threads. All
contenders take turns in one process per shape and seed (`engine_once.py`), under PyTorch's default OpenMP policy.
Values are medians over the seeds. `HARKEN_ENGINE=avx2 make bench NAME=engine` measures another engine as `harken`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.engine_pictures import draw_cost, draw_speed
from benchmarks.harness import ROOT, Row, Run, Store, Values, claim, main, peer_python, run_script
from benchmarks.work import Shape, straight_line

VERSION = 1
SHAPES = tuple(
    map(
        Shape.parse,
        ("128,29,16,256", "32,100,128,128 bi", "64,200,300,256 bi", "16,400,64,64", "128,400,300,512", "20,35,650,650"),
    )
)
LONG = Shape(1, 100_000, 64, 128)
ROW = Shape(1, 1000, 64, 256)  # that all threads share
STREAMS = {(64, 128): 3.0, (16, 64): 1.5, (300, 512): 65.0}  # input, hidden: µs a step may take
STRAIGHT = 0.99  # R² that is called a straight line
KEPT_TIMES = (500, 1000, 2000)  # T of the batches whose memory is measured


def benchmark(store: Store, quick: bool) -> list[Row]:
    """All of it; quick: fewer shapes, rounds and contenders, one seed, about two minutes."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(store, Path(folder), range(1 if quick else 3), rounds=2 if quick else 5)
        lstm = bench.races("lstm", (SHAPES[0], SHAPES[1], SHAPES[5]) if quick else SHAPES)
        gru = bench.races("gru", SHAPES[:1] if quick else SHAPES)
        python = peer_python(ROOT / "benchmarks" / "peers" / "onnx.txt")
        streams = {size: bench.stream(*size, python) for size in STREAMS}
        growth = bench.once("growth", {"only": "harken,dense trick", "rounds": 1 if quick else 5}, 0)
        kept = bench.kept(["harken"] if quick else ["harken", "dense trick", "packed"], KEPT_TIMES[: 2 if quick else 3])
        few = {"only": "harken" if quick else "harken,dense", "rounds": 1 if quick else 3}
        shared = bench.once("threads", {"shape": str(ROW), "rounds": 1 if quick else 5}, 0)
        long = bench.once("race", {"shape": str(LONG)} | few, 0)
    draw_speed({"LSTM": lstm, "GRU": gru}, store.path.with_name("engine_speed.png"))
    draw_cost(growth.value["points"], store.path.with_name("engine_cost.png"))
    rows = [ceiling_row(run for runs in (*lstm.values(), *gru.values()) for run in runs)]
    for cell, races in (("lstm", lstm), ("gru", gru)):
        rows += [row for shape, runs in races.items() for row in training_rows(cell, shape, runs)]
    for size, (ours, peer) in streams.items():
        rows += streaming_rows(size, ours, peer)
    return rows + growth_rows(growth) + kept_rows(kept) + threads_rows(shared) + long_rows(long)


class Bench:
    """Who measures: keeps the store, the compiled programs and how often."""

    def __init__(self, store: Store, programs: Path, seeds: Sequence[int], rounds: int) -> None:
        self.store, self.programs, self.seeds, self.rounds = store, programs, seeds, rounds

    def once(self, part: str, options: Values, seed: int) -> Run:
        """One process of engine_once.py, or what it said before."""
        words = [*_words(options), "--seed", str(seed), "--programs", str(self.programs)]
        settings = options | {"engine": os.environ.get("HARKEN_ENGINE", "default")}
        return self.store.measure(part, settings, seed, lambda: run_script("benchmarks/engine_once.py", part, *words))

    def races(self, cell: str, shapes: Sequence[Shape]) -> dict[Shape, list[Run]]:
        """A run per shape and seed; all shapes with the first seed, then all with the second."""
        runs: dict[Shape, list[Run]] = {shape: [] for shape in shapes}
        for seed in self.seeds:
            for shape in shapes:
                options = {"cell": cell, "shape": str(shape), "rounds": self.rounds}
                runs[shape].append(self.once("race", options, seed))
                print("   ", _spelled(runs[shape][-1].value["gflops"]), flush=True)
        return runs

    def stream(self, inputs: int, hidden: int, python: Path | None) -> tuple[list[Run], list[Run]]:
        """Our process and the peer's, which runs on `python`, by turns; the peer's list is empty without it."""
        settings: Values = {"input": inputs, "hidden": hidden, "rounds": self.rounds}
        words = _words(settings)
        ours, peer = [], []
        for seed in self.seeds:  # of nothing that is drawn: processes differ
            ours_settings = settings | {"engine": os.environ.get("HARKEN_ENGINE", "default")}
            run = self.store.measure(
                "stream", ours_settings, seed, lambda: run_script("benchmarks/stream_once.py", *words)
            )
            ours.append(run)
            if python is not None:
                action = partial(run_script, "benchmarks/peers/onnx_stream.py", *words, python=python)
                peer.append(self.store.measure("stream: ONNX Runtime", settings, seed, action))
            check_states([run, *peer[-1:]])
        return ours, peer

    def kept(self, names: Iterable[str], times: Sequence[int]) -> dict[str, list[Run]]:
        """Memory between forward and backward, per contender and T."""
        shape = Shape(32, 0, 64, 128)
        return {
            name: [self.once("memory", {"shape": str(shape._replace(time=time)), "only": name}, 0) for time in times]
            for name in names
        }


def ceiling_row(runs: Iterable[Run]) -> Row:
    """What the machine reaches at most, over all races."""
    values = [run.value for run in runs]
    text = f"ceiling: multiply-adds on registers, {values[0]['bits']} bits, {values[0]['threads']} threads"
    return claim(text, [value["gflops"]["ceiling"] for value in values], None, "GFLOP/s", median=True)


def training_rows(cell: str, shape: Shape, runs: Sequence[Run]) -> list[Row]:
    """One shape: speed, share of the ceiling, and how many times faster than each way that there is."""
    name, lstm = f"{cell.upper()} {shape}", cell == "lstm"
    large = shape.hidden >= 128 and shape.batch >= 32
    share = 0.7 if lstm and large else 0.6
    floor = f" (floor {0.55 if large else 0.45:.0%})" if lstm else ""
    ours = f"{name}: harken, {runs[0].value['engine']}"
    rows = [claim(ours, _ratios(runs, "ragged: harken"), None, "GFLOP/s", median=True, runs=runs)]
    against = [
        (f"share of the ceiling{floor}", "ragged: harken", "ceiling", share, "share"),
        ("times PackedSequence", "ragged: harken", "ragged: packed", 5.0 if lstm and shape.batch >= 32 else None, "×"),
        ("times the dense trick", "ragged: harken", "ragged: dense trick", 1.3 if lstm else None, "×"),
        ("times the portable engine", "ragged: harken", "ragged: portable", None, "×"),
        ("times the prototype", "ragged: harken", "ragged: prototype", None, "×"),
        ("equal lengths, times dense", "equal: harken", "equal: dense", 0.95 if lstm else None, "×"),
    ]
    for text, one, other, goal, unit in against:
        if other in runs[0].value["gflops"]:
            rows.append(claim(f"{name}: {text}", _ratios(runs, one, other), goal, unit, median=True, runs=runs))
    return rows


def streaming_rows(size: tuple[int, int], ours: Sequence[Run], peer: Sequence[Run]) -> list[Row]:
    """Microseconds of a step, harken's with its goal; ONNX Runtime by the faster of its two ways."""
    values = [run.value for run in ours]
    name = "stream {},{}, a step".format(*size)
    rows = []
    for contender in values[0]["microseconds"]:
        taken = [value["microseconds"][contender] for value in values]
        goal = STREAMS[size] if contender == "harken" else None
        rows.append(claim(f"{name}: {contender}", taken, goal, "µs", at_most=True, median=True, runs=ours))
    if not peer:
        return [*rows, claim(f"{name}: ONNX Runtime (cannot be installed here)", [None], None, "µs")]
    taken = [min(run.value["microseconds"].values()) for run in peer]
    return [*rows, claim(f"{name}: ONNX Runtime", taken, None, "µs", median=True, runs=peer)]


def check_states(runs: Sequence[Run]) -> None:
    """Stop where the contenders did not compute the same thing."""
    units = {name: units for run in runs for name, units in run.value["h"].items()}
    first = next(iter(units.values()))
    wrong = [name for name, values in units.items() if not np.allclose(values, first, atol=1e-4)]
    if wrong:
        raise SystemExit(f"{runs[0].name} {runs[0].settings}: {', '.join(wrong)} differ from the others: {units}")


def growth_rows(run: Run) -> list[Row]:
    """Is time a straight line over the real steps, however the lengths are spread?"""
    points = run.value["points"]
    line = straight_line([p["steps"] for p in points], [p["seconds"]["harken"] for p in points])
    text = f"cost: time over real steps, {len(points)} batches, share explained by a straight line"
    spreads = [[p for p in points if p["kind"] == kind] for kind in dict.fromkeys(p["kind"] for p in points)]
    own = [straight_line([p["steps"] for p in s], [p["seconds"]["harken"] for p in s]) for s in spreads if len(s) > 2]
    within = "cost: … among batches whose lengths are spread in the same way, the least"
    return [
        claim(text, [line.r_squared], STRAIGHT, "share", runs=[run]),
        claim(within, [min((one.r_squared for one in own), default=None)], STRAIGHT, "share", runs=[run]),
        claim("cost: a real step more, 32 rows, 64 → 128", [line.slope * 1e6], None, "µs", runs=[run]),
    ]


def kept_rows(kept: dict[str, list[Run]]) -> list[Row]:
    """Bytes per real step, as the slope over batches of several lengths."""
    rows = []
    for name, runs in kept.items():
        line = straight_line([run.value["steps"] for run in runs], [run.value["bytes"] for run in runs])
        text = f"memory for backward, a real step more, 64 → 128: {name}"
        rows.append(claim(text, [line.slope], None, "bytes", runs=runs))
        if name == "harken":
            text = "memory over real steps, share explained by a straight line"
            rows.append(claim(text, [line.r_squared], STRAIGHT, "share", runs=runs))
    return rows


def threads_rows(run: Run) -> list[Row]:
    """What more threads bring to a single row, and whether two Python threads stand in each other's way."""
    seconds = run.value["seconds"]
    one_row = claim(f"LSTM {ROW}: all threads, times one", [seconds["one"] / seconds["all"]], None, "×", runs=[run])
    text = "two Python threads that train at once, times one after the other"
    return [one_row, claim(text, [seconds["one by one"] / seconds["at once"]], 1.0, "×", runs=[run])]


def long_rows(run: Run) -> list[Row]:
    """One row of 100,000 steps."""
    name, seconds = f"LSTM {LONG}, a training step", run.value["seconds"]
    names = [contender for contender in ("harken", "dense") if f"equal: {contender}" in seconds]
    return [claim(f"{name}: {n}", [seconds[f"equal: {n}"]], None, "s", runs=[run]) for n in names]


def _words(options: Values) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def _ratios(runs: Sequence[Run], ours: str, other: str | None = None) -> list[float]:
    """Of each run's speeds; without `other`, the speeds themselves."""
    speeds = [run.value["gflops"] for run in runs]
    return [speed[ours] / (speed[other] if other else 1.0) for speed in speeds]


def _spelled(gflops: dict[str, float]) -> str:
    return " · ".join(f"{name} {value:.0f}" for name, value in gflops.items()) + " GFLOP/s"


if __name__ == "__main__":
    main("engine", VERSION, benchmark)
