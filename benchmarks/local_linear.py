"""A locally connected layer, forward and backward: harken's against the forum recipe and a masked dense layer.

Turn by turn, a process each: the median of repeated steps, and the most memory that the process ever held.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.harness import Row, Run, Store, Values, claim, main, run_script

VERSION = 1
SHAPES: dict[str, Values] = {  # rows are steps of a batch: 32 rows of 100
    "3,200 rows of 80 values, 10 places of 8": {"rows": 3200, "values": 80, "outputs": 8, "kernel": 8, "stride": 8},
    "3,200 rows of 80 values, 37 overlapping places": {
        "rows": 3200, "values": 80, "outputs": 8, "kernel": 8, "stride": 2
    },
    "256 rows of 4,096 values, 64 places of 64": {
        "rows": 256, "values": 4096, "outputs": 64, "kernel": 64, "stride": 64
    },
}  # fmt: skip
WAYS = {"harken": "harken", "recipe": "unfold and matmul", "dense": "masked dense"}


def benchmark(store: Store, quick: bool) -> list[Row]:
    """Three processes of each; quick: one, and the smallest shape."""
    shapes = dict(list(SHAPES.items())[:1]) if quick else SHAPES
    runs: dict[tuple[str, str], list[Run]] = {(shape, way): [] for shape in shapes for way in WAYS}
    for seed in range(1 if quick else 3):
        for shape, way in runs:
            sizes = [word for name, size in shapes[shape].items() for word in (f"--{name}", str(size))]
            command = ("benchmarks/local_linear_once.py", "--way", way, *sizes, "--seed", str(seed))
            run = store.measure(way, shapes[shape], seed, partial(run_script, *command))
            runs[shape, way].append(run)
    return [row for shape in shapes for row in rows(shape, {way: runs[shape, way] for way in WAYS})]


def rows(shape: str, runs: dict[str, Sequence[Run]]) -> list[Row]:
    """Time, memory and parameters of each way, and the others' over harken's."""
    found = []
    for way, name in WAYS.items():
        for number, unit in (("ms", "ms"), ("peak_mib", "MiB"), ("parameters", "")):
            values = [run.value[number] for run in runs[way]]
            found.append(claim(f"{shape}: {name}, {number}", values, None, unit, median=True, runs=runs[way]))
    for way in ("recipe", "dense"):
        times = [theirs.value["ms"] / ours.value["ms"] for ours, theirs in zip(runs["harken"], runs[way], strict=True)]
        found.append(claim(f"{shape}: times faster than {WAYS[way]}, median", times, None, "×", median=True))
    return found


if __name__ == "__main__":
    main("local_linear", VERSION, benchmark)
