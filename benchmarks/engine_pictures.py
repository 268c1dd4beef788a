"""The two pictures of `engine`: speed by shape and contender, time over work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.harness import Run, Values
from benchmarks.work import Shape, straight_line

Races = Mapping[Shape, Sequence[Run]]
COLOURS = {
    "harken": "tab:blue",
    "prototype": "tab:cyan",
    "portable": "tab:green",
    "dense trick": "tab:orange",
    "packed": "tab:red",
}


def draw_speed(cells: Mapping[str, Races], path: Path) -> None:
    """A group of bars per shape, a row of them per kind of cell, the ceiling as a line."""
    figure, rows = plt.subplots(len(cells), figsize=(9, 3.2 * len(cells)), layout="constrained", squeeze=False)
    for axes, (cell, races) in zip(rows[:, 0], cells.items(), strict=True):
        speeds = [_medians([run.value["gflops"] for run in runs]) for runs in races.values()]
        for place, (name, colour) in enumerate(COLOURS.items()):
            at = [group + (place - (len(COLOURS) - 1) / 2) * 0.16 for group in range(len(races))]
            axes.bar(at, [speed.get(f"ragged: {name}", 0) for speed in speeds], 0.15, color=colour, label=name)
        axes.axhline(median(speed["ceiling"] for speed in speeds), color="grey", linestyle="--", label="ceiling")
        axes.set_xticks(range(len(races)), [str(shape) for shape in races], fontsize="small")
        axes.set(ylabel="useful GFLOP/s", xlabel="B,T,I,H; lengths T/4 to T", title=f"A training step, {cell}")
        axes.grid(alpha=0.3, axis="y")
    figure.legend(*rows[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    _save(figure, path)


def draw_cost(points: Sequence[Values], path: Path) -> None:
    """Milliseconds over real steps: a marker per way to spread lengths, harken's straight line through all of them."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    kinds = dict.fromkeys(point["kind"] for point in points)
    steps = [point["steps"] for point in points]
    for kind, marker in zip(kinds, "osD^v", strict=True):
        mine = [point for point in points if point["kind"] == kind]
        for name, colour in COLOURS.items():
            if name in mine[0]["seconds"]:
                axes.plot(
                    [point["steps"] for point in mine],
                    [point["seconds"][name] * 1e3 for point in mine],
                    marker, color=colour, label=f"{name}: {kind}", alpha=0.8,
                )  # fmt: skip
    line = straight_line(steps, [point["seconds"]["harken"] * 1e3 for point in points])
    ends = [0, max(steps)]
    axes.plot(ends, [line.intercept + line.slope * x for x in ends], color=COLOURS["harken"], linewidth=1)
    axes.set(xlabel="real steps in the batch (sum of lengths)", ylabel="ms per training step")
    axes.set(title=f"32 rows, LSTM 64 → 128; harken's line: R² = {line.r_squared:.4f}")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2, loc="upper left")
    _save(figure, path)


def _medians(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: median(value[name] for value in values) for name in values[0]}


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
