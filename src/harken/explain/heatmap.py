"""Attention as a picture: the answer downwards, the input to the right, the darker the more was looked at."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from harken.explain.alignment import Attention, table
from harken.explain.export import SUFFIXES, export, save_figure
from harken.explain.labels import drawable, fonts_for, shortened, visible

__all__ = ["SUFFIXES", "draw", "figure_of", "write"]

_LARGEST_CELL, _SMALLEST_CELL = 0.32, 0.14  # inches; the smallest still holds a letter of 7 points
_LONGEST_SIDE = 24.0  # inches of one map; longer texts get narrower cells and a label only every so often
_GAP, _BAR, _SHORTEST_BAR, _LONGEST_BAR = 0.2, 0.14, 1.2, 4.0  # inches, between heads, and of the colour bar
_LONGEST_LABEL, _LONGEST_TITLE = 24, 60  # characters; the title has two texts
_COLOURS = "Blues"


def draw(attention: Attention, path: str | os.PathLike[str]) -> None:
    """Write the heat map of one answer as a PNG, several heads side by side on one scale.

    Raises:
        DataError: the file cannot be written.
    """
    save_figure(figure_of(attention), Path(path))


def write(
    attentions: Sequence[Attention], path: str | os.PathLike[str], rows: Sequence[int] | None = None
) -> list[Path]:
    """Write what several answers looked at: the suffix of ``path`` says how.

    ``.png``: a heat map; with several answers one file for each, ``map-0.png``, ``map-1.png``, … ·
    ``.html``: all heat maps in one page that needs nothing else ·
    ``.json``, ``.parquet``: one row for each weight, as `Attention.rows` makes them.

    Args:
        rows: the number of each answer; default 0, 1, …

    Returns:
        The files that were written.

    Raises:
        UsageError: another suffix, or nothing to draw.
        DataError: the file cannot be written.
    """
    from harken.explain.page import page

    numbers = list(range(len(attentions)) if rows is None else rows)
    return export(
        Path(path),
        numbers,
        figure=lambda place: figure_of(attentions[place]),
        lines=lambda: (line for n, attention in zip(numbers, attentions, strict=True) for line in attention.rows(n)),
        table=lambda: table(attentions, numbers),
        page=lambda: page(attentions, numbers),
    )


def figure_of(attention: Attention) -> Figure:
    """The heat map as a matplotlib figure; save it with ``bbox_inches="tight"``, or its labels are cut off."""
    across = [shortened(visible(token), _LONGEST_LABEL) for token in attention.source_tokens]
    down = [shortened(visible(token), _LONGEST_LABEL) for token in attention.target_tokens]
    title = " → ".join(shortened(text, _LONGEST_TITLE) for text in attention.texts)
    title = " ".join(map(visible, title.split(" ")))  # its spaces need no sign
    families, missing = fonts_for([*across, *down, title])
    across, down = ([drawable(label, missing) for label in labels] for labels in (across, down))
    cell = min(_LARGEST_CELL, max(_SMALLEST_CELL, 12 / max(len(across), len(down), 1)))  # inches
    font = FontProperties(family=families, size=min(11.0, cell * 72 * 0.75))

    # Places in inches, since automatic layouts give up on thin maps; "tight" below takes in the labels around them.
    width, height = (min(_LONGEST_SIDE, cell * (n or 4)) for n in (len(across), len(down)))
    heads = attention.heads
    right = (width + _GAP) * len(heads)
    figure = Figure(figsize=(right + _BAR, height))

    def place(left: float, wide: float, high: float) -> Axes:
        return figure.add_axes((left / (right + _BAR), 1 - high / height, wide / (right + _BAR), high / height))

    scale = Normalize(0, float(attention.weights.max()) or 1.0 if attention.weights.numel() else 1.0)
    for number, (head, weights) in enumerate(heads):
        axes = place(number * (width + _GAP), width, height)
        drawn = weights if weights.numel() else torch.zeros(max(len(down), 1), max(len(across), 1))
        axes.imshow(drawn.float().numpy(), cmap=_COLOURS, norm=scale, interpolation="nearest", aspect="auto")
        _name_tokens(axes, across, down if number == 0 else [], font, cell)
        axes.set_xlabel(attention.across + ("" if across else " (empty)"))
        if number == 0:
            axes.set_ylabel(attention.down + ("" if down else " (empty)"))
        if head is not None:
            axes.set_title(f"{attention.part} {head}", size=10)
    bar = place(right, _BAR, min(max(height, _SHORTEST_BAR), _LONGEST_BAR))
    figure.colorbar(ScalarMappable(scale, _COLOURS), cax=bar, label="attention weight")
    above = 1 + (0.45 if len(heads) > 1 else 0.2) / height
    title_font = FontProperties(family=families, size=12)
    boxes = title.translate(dict.fromkeys(map(ord, missing), "□"))  # where codes would make a word unreadable
    figure.text(0, above, boxes, fontproperties=title_font, parse_math=False)
    return figure


def _name_tokens(axes: Axes, across: list[str], down: list[str], font: FontProperties, cell: float) -> None:
    """Write the tokens along both axes: all of them as long as they fit."""
    for axis, labels in ((axes.xaxis, across), (axes.yaxis, down)):
        every = math.ceil(len(labels) * cell / _LONGEST_SIDE) or 1
        axis.set_ticks(range(0, len(labels), every), labels[::every], fontproperties=font, parse_math=False)
        axis.set_tick_params(length=2)
    for label in axes.get_xticklabels():
        if len(label.get_text()) > 2:
            label.set_rotation(90)
    for side in axes.spines.values():
        side.set_color("0.8")
