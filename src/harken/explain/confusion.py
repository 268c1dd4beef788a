"""Which classes are taken for which, as a picture: the truth downwards, the answer to the right."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FixedLocator, PercentFormatter
from torch import Tensor

from harken.errors import ShapeError
from harken.explain.export import save_figure
from harken.explain.labels import drawable, fonts_for, one_line

NUMBERED = 20  # classes whose cells still hold numbers that can be read
_NAMED = 60  # classes; of more, only every so often one is named
_LONGEST = 24  # characters of a class's name
_MARGIN = 0.9  # inches below and left, for the axes' names


def draw_confusion(
    matrix: Tensor, classes: Sequence[object], path: str | os.PathLike[str], *, counted: str = "rows"
) -> None:
    """Write `confusion_figure` as a PNG.

    Raises:
        ShapeError: a matrix that does not fit the classes.
        DataError: the file cannot be written.
    """
    save_figure(confusion_figure(matrix, classes, counted=counted), Path(path))


def confusion_figure(matrix: Tensor, classes: Sequence[object], *, counted: str = "rows") -> Figure:
    """The confusion matrix, each row as dark as its shares: a rare class is as plain to see as a frequent one.

    Up to 20 classes, each cell says how many rows it has and which share of its class they are; an empty cell says
    nothing.

    Args:
        matrix: (C, C) counts: how many rows of class i (first axis) were answered with class j.
        classes: C names.
        counted: what the numbers count: of tags, steps.

    Raises:
        ShapeError: a matrix that does not fit the classes.
    """
    size = len(classes)
    if tuple(matrix.shape) != (size, size):
        raise ShapeError(f"matrix {tuple(matrix.shape)} must be (C, C) for C = {size} classes")
    counts = matrix.to(torch.float64)
    totals = counts.sum(1, keepdim=True)  # (C, 1)
    shares = counts / totals.clamp(min=1)
    names = [_short(one_line(str(name))) for name in classes]
    families, missing = fonts_for(names)
    names = [drawable(name, missing) for name in names]
    cell = max(0.62, 2.2 / max(size, 1)) if size <= NUMBERED else max(7.0 / size, 0.16 if size <= _NAMED else 0.0)
    font = FontProperties(family=["DejaVu Sans", *families[1:]], size=9 if size <= NUMBERED else 8)

    side = cell * max(size, 1)
    whole = side + 2 * _MARGIN  # inches
    figure = Figure(figsize=(whole, whole))
    axes = figure.add_axes((_MARGIN / whole, _MARGIN / whole, side / whole, side / whole))
    shown = shares.numpy() if size else torch.zeros(1, 1).numpy()
    image = axes.imshow(shown, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    every = -(-size // _NAMED)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(range(0, size, every or 1)))
        axis.set_ticklabels(names[:: every or 1], fontproperties=font, parse_math=False)
        axis.set_tick_params(length=2)
    if max(map(len, names), default=0) * 0.09 > cell:  # inches of a letter
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    for edge in axes.spines.values():
        edge.set_color("0.8")
    for true, answer in counts.nonzero().tolist() if size <= NUMBERED else ():
        share = float(shares[true, answer])
        text = f"{int(counts[true, answer]):,}\n{_percent(share)}"
        color = "white" if share > 0.55 else "black"
        axes.text(answer, true, text, ha="center", va="center", fontsize=8, linespacing=1.3, color=color)
    right = figure.add_axes(((_MARGIN + side + 0.15) / whole, _MARGIN / whole, 0.12 / whole, side / whole))
    bar = figure.colorbar(image, cax=right, ticks=[0, 0.25, 0.5, 0.75, 1], format=PercentFormatter(1, decimals=0))
    bar.set_label("share of the true class", fontsize=9)
    right.tick_params(labelsize=8)
    correct = float(counts.diagonal().sum() / counts.sum().clamp(min=1))
    axes.set_title(f"{int(counts.sum()):,} {counted}, {_percent(correct, 1)} right", fontsize=11, loc="left")
    return figure


def _percent(share: float, decimals: int = 0) -> str:
    """A share in percent; what is not quite none or all does not read as none or all."""
    text = f"{share:.{decimals}%}"
    least = 10**-decimals
    if share > 0 and float(text[:-1]) == 0:
        return f"<{least:g}%"
    return f">{100 - least:g}%" if share < 1 and float(text[:-1]) == 100 else text


def _short(name: str) -> str:
    """Cut in the middle: names often differ in their end."""
    half = _LONGEST // 2
    return name if len(name) <= _LONGEST else f"{name[:half]}…{name[1 - half :]}"
