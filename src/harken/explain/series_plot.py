"""A series or a spectrogram as a picture: its channels over time, and under them what the answer looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from harken.explain.labels import boxed, drawable, fonts_for, one_line, running, shortened
from harken.explain.reading import Reading
from harken.explain.shades import AGAINST, CHANNELS, FOR, bins, largest_of, strongest

Floats = NDArray[np.floating[Any]]

_MOST = 900  # columns of weights: about as many as there are pixels
_WIDE = 9.0  # inches
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 1.5, 0.25, 0.5, 0.55, 0.08  # inches around and between
_LONGEST_TITLE, _LONGEST_NAME = 90, 16  # characters
_COLOURS = [tuple(part / 255 for part in color) for color in (AGAINST, (255, 255, 255), FOR)]


def series_figure(reading: Reading) -> Figure:
    """Curves above, weights below on the same time axis; the ground of the curves is as dark as the weights.

    Up to 12 channels have a curve each; more are one picture of channels by steps, each between its own least and
    largest value. Vectors of a document have no curves: their numbers say nothing to the eye. A spectrogram is one
    picture, low frequencies below; of a recording the axis is in seconds.
    """
    values = reading.values.float().numpy()  # (T, D)
    channels = 0 if reading.kind == "vectors" or not len(values) else values.shape[1]
    sound = reading.kind in ("audio", "spectrogram")
    many = channels > CHANNELS or (sound and channels > 0)
    names = [shortened(running(name), _LONGEST_NAME) for name in reading.channel_names[:channels]]
    title = shortened(one_line(reading.title), _LONGEST_TITLE)
    families, missing = fonts_for([title, *names])
    font = FontProperties(family=["DejaVu Sans", *families[1:]], size=9)

    panels = [2.4] if many else [max(0.55, 1.8 / channels)] * channels if channels else []
    strips = [0.8 if len(reading.weights) == 1 else 0.5] * len(reading.weights)
    height = _TOP + sum(panels) + sum(strips) + _GAP * (len(panels) + len(strips)) + _BOTTOM
    figure = Figure(figsize=(_WIDE, height))
    axes: list[Axes] = []
    top = height - _TOP
    for high in [*panels, *strips]:
        top -= high
        box = (_LEFT / _WIDE, top / height, (_WIDE - _LEFT - _RIGHT) / _WIDE, high / height)
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
        top -= _GAP
    curves, weighed = axes[: len(panels)], axes[len(panels) :]

    largest = largest_of(reading.weights)
    darkest = reading.weights.gather(0, reading.weights.abs().argmax(0, keepdim=True))[0]  # (T,) over heads
    if many and sound:
        _draw_spectrogram(curves[0], values, "mel band" if reading.kind == "audio" else "frequency", font)
    elif many:
        _draw_image(curves[0], values, font)
    else:
        for number, (axis, name) in enumerate(zip(curves, names, strict=True)):
            axis.plot(range(len(values)), values[:, number], color="#222222", linewidth=1.1, marker=_marker(values))
            _shade(axis, darkest, largest)
            axis.yaxis.set_major_locator(MaxNLocator(nbins=3 if channels < 4 else 2))
            axis.set_ylabel(drawable(name, missing), rotation=0, ha="right", va="center", fontproperties=font)
    for axis, (head, weights) in zip(weighed, reading.heads, strict=True):
        _draw_weights(axis, weights, reading, largest, head)
    for axis in axes:
        axis.yaxis.set_label_coords(-0.7 / (_WIDE - _LEFT - _RIGHT), 0.5)  # one column, whatever the numbers' width
        axis.tick_params(labelsize=8, labelbottom=axis is axes[-1], length=2)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[-1].set_xlim(-0.5, max(len(values), 1) - 0.5)
    _name_steps(axes[-1], reading)
    heading = FontProperties(family=font.get_family(), size=12)
    figure.text(_LEFT / _WIDE, 1 - 0.3 / height, boxed(title, missing), fontproperties=heading, parse_math=False)
    return figure


def _name_steps(axis: Axes, reading: Reading) -> None:
    """The axis of steps by their numbers, or in seconds: a frame stands where it begins."""
    steps = len(reading.steps)
    if reading.seconds is not None:
        ticks = MaxNLocator(nbins=9, steps=[1, 2, 5, 10]).tick_values(0, max(steps, 1) * reading.seconds)
        there = [tick for tick in ticks if 0 <= tick <= max(steps, 1) * reading.seconds]
        axis.xaxis.set_major_locator(FixedLocator([tick / reading.seconds - 0.5 for tick in there]))
        axis.xaxis.set_ticklabels([f"{tick:.4g}" for tick in there])
    else:
        axis.xaxis.set_major_locator(FixedLocator(range(steps)) if steps <= 20 else MaxNLocator(integer=True))
    units = {"vectors": "chunk", "audio": "seconds", "spectrogram": "frame"}
    axis.set_xlabel(units.get(reading.kind, "step"), fontsize=9)


def _marker(values: Floats) -> str:
    """A single step is no line: it needs a dot."""
    return "o" if len(values) == 1 else ""


def _shade(axis: Axes, weights: Tensor, largest: float) -> None:
    """The weights as the ground behind a curve: a picture one cell high, each cell around its steps."""
    colors = LinearSegmentedColormap.from_list("against and for", _COLOURS)
    limits = axis.get_ylim()  # the curve's: imshow would make them hold 0 to 1 too
    height, edges = _columns(weights)
    axis.pcolormesh(
        edges,
        [0, 1],
        height[None],
        cmap=colors,
        norm=Normalize(-largest, largest),
        transform=axis.get_xaxis_transform(),
        alpha=0.4,
        zorder=0,
        linewidth=0,
        rasterized=True,
    )
    axis.set_ylim(limits)


def _columns(weights: Tensor) -> tuple[Floats, Floats]:
    """Heights of at most as many columns as the picture has pixels, and their edges on the axis of steps."""
    runs = bins(len(weights), _MOST)
    edges = np.array([run.start for run in runs] + [len(weights)]) - 0.5
    return np.array([strongest(weights, run) for run in runs]), edges


def _draw_image(axis: Axes, values: Floats, font: FontProperties) -> None:
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)  # of those that are not missing
    scaled = (values - low) / np.where(high > low, high - low, 1)
    axis.imshow(scaled.T, cmap="Greys", aspect="auto", interpolation="nearest")
    axis.set_ylabel("channel", fontproperties=font)
    axis.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _draw_spectrogram(axis: Axes, values: Floats, name: str, font: FontProperties) -> None:
    axis.imshow(values.T, cmap="magma", aspect="auto", origin="lower", interpolation="antialiased")
    axis.set_ylabel(name, rotation=0, ha="right", va="center", fontproperties=font)
    axis.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def _draw_weights(axis: Axes, weights: Tensor, reading: Reading, largest: float, head: int | None) -> None:
    height, edges = _columns(weights)
    for sign, color in ((1, FOR), (-1, AGAINST)):
        part = np.where(height * sign > 0, height, 0)
        axis.stairs(part, edges, fill=True, color=[c / 255 for c in color], linewidth=0)
    axis.set_ylim(-largest * 1.05 if (height < 0).any() else 0, largest * 1.05)
    axis.yaxis.set_major_locator(MaxNLocator(nbins=2))
    axis.set_ylabel(reading.by if head is None else f"head {head}", rotation=0, ha="right", va="center", fontsize=9)
