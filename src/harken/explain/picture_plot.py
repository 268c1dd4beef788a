"""A picture, and over it what the answer looked at: attention, and beside it Grad-CAM, so that both can be compared."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from harken.explain.labels import boxed, fonts_for, one_line, shortened
from harken.explain.reading import Reading
from harken.explain.shades import largest_of

_ATTENTION, _ANSWERS = 4, 12  # heads of each sort that are drawn
_ACROSS = 4  # panels in a line
_SIDE, _LEFT, _TOP, _GAP, _ABOVE, _BELOW = 2.4, 0.15, 0.45, 0.2, 0.5, 0.28  # inches: of a panel, around and between
_FINE = 256  # pixels of a side that the heat has, however few the picture has
_HEAT, _OPAQUE = "viridis", 0.75  # perceptually uniform; how much of the picture the largest weight hides
_GREY = (0.299, 0.587, 0.114)  # how bright red, green and blue are (ITU-R BT.601)
_LONGEST_NAME, _LETTERS = 34, 10  # characters of a head's answer, and of the title in an inch


class _Panel(NamedTuple):
    """The picture with one map of weights over it, or alone."""

    above: tuple[str, str]
    below: str = ""
    heat: Tensor | None = None  # (h, w), ≥ 0
    largest: float = 1.0


def picture_figure(reading: Reading) -> Figure:
    """The picture, then over it attention by heads, then each answer's Grad-CAM.

    Under the heat the picture is grey, so that all colour there is heat. Heat is interpolated between the middles of
    the cells and begins at 0: even attention is one even colour. Heads of attention have one scale, Grad-CAMs, which
    have no unit, each their own; below each panel stands its largest weight. Of attention the first 4 heads are drawn,
    and of answers the first 12.
    """
    panels = [_Panel(("the picture", "")), *_attention(reading), *_answers(reading)]
    across = min(_ACROSS, len(panels))
    lines = -(-len(panels) // _ACROSS)
    wide = 2 * _LEFT + across * _SIDE + (across - 1) * _GAP
    title = shortened(one_line(reading.title), round(wide * _LETTERS))
    families, missing = fonts_for([title, *(line for panel in panels for line in panel.above)])
    families = ["DejaVu Sans", *families[1:]]
    high = _TOP + lines * (_ABOVE + _SIDE + _BELOW)
    figure = Figure(figsize=(wide, high))
    assert isinstance(reading.source, Tensor)
    pixels = reading.source.numpy()
    for place, panel in enumerate(panels):
        left = _LEFT + (place % _ACROSS) * (_SIDE + _GAP)
        bottom = high - _TOP - (place // _ACROSS) * (_ABOVE + _SIDE + _BELOW) - _ABOVE - _SIDE
        axes = figure.add_axes((left / wide, bottom / high, _SIDE / wide, _SIDE / high))
        _draw(axes, panel, pixels)
        if place == 0 and len(panels) > 1:
            _draw_scale(axes)
        font = FontProperties(family=families, size=9)
        for line, height in zip(filter(None, reversed(panel.above)), (1.03, 1.11), strict=False):
            axes.text(0, height, boxed(line, missing), transform=axes.transAxes, fontproperties=font, parse_math=False)
        _note(axes, 0, panel.below)
    heading = FontProperties(family=families, size=12)
    figure.text(_LEFT / wide, 1 - 0.3 / high, boxed(title, missing), fontproperties=heading, parse_math=False)
    return figure


def _attention(reading: Reading) -> list[_Panel]:
    """A panel for each of the first heads; none where there is but one step to look at, or no attention."""
    cells = len(reading.steps)
    if reading.by != "attention" or reading.grid is None or cells < 2:
        return []
    largest = largest_of(reading.weights)
    panels = [
        _Panel(
            ("attention", "" if head is None else f"head {head}"),
            f"at most {float(weights.max()):.2g}, evenly {1 / cells:.2g}",
            weights.view(reading.grid),
            largest,
        )
        for head, weights in reading.heads
    ]
    return _cut(panels, _ATTENTION)


def _answers(reading: Reading) -> list[_Panel]:
    said = {answer.head: str(answer) for answer in reading.answers}
    panels = []
    for head, cells in reading.maps:
        name = shortened(one_line(f"{head}: {said[head]}"), _LONGEST_NAME)
        below = f"at most {float(cells.max()):.2g}" if cells.any() else "no cell speaks for it"
        panels.append(_Panel(("Grad-CAM of", name), below, cells, largest_of(cells)))
    return _cut(panels, _ANSWERS)


def _cut(panels: list[_Panel], most: int) -> list[_Panel]:
    """The first ones; the last of them says how many are not there."""
    kept, left_out = panels[:most], len(panels) - most
    if left_out > 0:
        kept[-1] = kept[-1]._replace(below=f"{kept[-1].below}; {left_out} more are not drawn")
    return kept


def _draw(axes: Axes, panel: _Panel, pixels: NDArray[np.uint8]) -> None:
    axes.set(xticks=[], yticks=[])
    for edge in axes.spines.values():
        edge.set_color("0.8")
    size = len(pixels)
    if not size:
        axes.text(0.5, 0.5, "no picture", transform=axes.transAxes, ha="center", va="center", fontsize=9)
        return
    shown = pixels if panel.heat is None else pixels @ np.array(_GREY)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if size < _FINE else "antialiased")
    if panel.heat is not None:
        around = (-0.5, size - 0.5, size - 0.5, -0.5)  # the heat's own pixels are finer
        axes.imshow(heat_over(panel.heat / panel.largest, max(size, _FINE)), extent=around, interpolation="bilinear")


def _draw_scale(axes: Axes) -> None:
    """What the colours say, below the picture: from 0 to the largest weight."""
    _note(axes, 0, "0")
    _note(axes, 0.49, "the largest weight")
    bar = axes.inset_axes((0.05, -0.075, 0.42, 0.045))
    bar.imshow(coloured(np.linspace(0, 1, _FINE)[None]), aspect="auto")
    bar.set(xticks=[], yticks=[])
    bar.set_frame_on(False)


def _note(axes: Axes, x: float, text: str) -> None:
    axes.text(x, -0.025, text, transform=axes.transAxes, fontsize=8, color="0.4", va="top")


def heat_over(shares: Tensor, size: int) -> NDArray[np.floating[Any]]:
    """Weights as shares of the largest, (h, w) → (size, size, 4) red, green, blue and how much of the picture hides.

    Bilinear between the middles of the cells, which are taken to lie evenly over the picture.
    """
    fine = F.interpolate(shares[None, None].float(), (size, size), mode="bilinear", align_corners=False)[0, 0]
    return coloured(fine.clamp(0, 1).numpy())


def coloured(shares: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Shares from 0 to 1 as (…, 4): the more, the brighter, and the less of what lies below is seen."""
    colours: NDArray[np.floating[Any]] = matplotlib.colormaps[_HEAT](shares)
    colours[..., 3] = _OPAQUE * shares
    return colours
