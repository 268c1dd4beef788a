"""An autoencoder's answer as a picture: input and reconstruction over each other, the error of each step below."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FixedLocator, MaxNLocator

from harken.explain.export import png_of
from harken.explain.labels import boxed, drawable, fonts_for, shortened
from harken.explain.page import framed
from harken.explain.reconstruction import Reconstruction
from harken.explain.shades import AGAINST, CHANNELS, FOR

_WIDE = 9.0  # inches
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 1.5, 0.25, 0.75, 0.55, 0.08  # inches around and between
_LONGEST_NAME = 16  # characters
_DPI = 100  # of pictures in a page
_INPUT, _REBUILT = "#222222", tuple(part / 255 for part in FOR)
_ERROR = tuple(part / 255 for part in AGAINST)


def reconstruction_figure(found: Reconstruction) -> Figure:
    """Up to 12 channels have an axis each, the input in black and what was rebuilt in blue.

    More are two pictures of channels by steps in one scale of greys. Below stands the error of each step, orange, and
    as a broken line what its mean may be in a normal row.
    """
    values, rebuilt = found.values.numpy(), found.rebuilt.numpy()  # (T, D)
    steps, channels = values.shape
    many = channels > CHANNELS
    names = [shortened(name, _LONGEST_NAME) for name in found.channel_names[:CHANNELS]]
    names = ["input", "rebuilt"] if many else names
    families, missing = fonts_for([found.title, *names])
    font = FontProperties(family=["DejaVu Sans", *families[1:]], size=9)

    panels = [1.6, 1.6] if many else [max(0.6, 1.8 / channels)] * channels
    height = _TOP + sum(panels) + 0.9 + _GAP * (len(panels) + 1) + _BOTTOM
    figure = Figure(figsize=(_WIDE, height))
    axes: list[Axes] = []
    top = height - _TOP
    for high in [*panels, 0.9]:
        top -= high
        box = (_LEFT / _WIDE, top / height, (_WIDE - _LEFT - _RIGHT) / _WIDE, high / height)
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
        top -= _GAP
    marker = "o" if steps == 1 else ""  # a single step is no line
    seen = np.concatenate([values, rebuilt]) if steps else np.zeros(1)
    for number, (axis, name) in enumerate(zip(axes[:-1], names, strict=True)):
        if many:
            picture = (values, rebuilt)[number]
            norm = Normalize(np.nanmin(seen), np.nanmax(seen))
            axis.imshow(picture.T, cmap="Greys", aspect="auto", interpolation="nearest", norm=norm)
        else:
            axis.plot(range(steps), values[:, number], color=_INPUT, linewidth=1.1, marker=marker, label="input")
            axis.plot(range(steps), rebuilt[:, number], color=_REBUILT, linewidth=1.1, marker=marker, label="rebuilt")
        axis.yaxis.set_major_locator(MaxNLocator(nbins=3 if len(panels) < 4 else 2))
        axis.set_ylabel(drawable(name, missing), rotation=0, ha="right", va="center", fontproperties=font)
    if not many:
        handles, labels = axes[0].get_legend_handles_labels()
        place = (1 - _RIGHT / _WIDE, 1 - 0.38 / height)
        figure.legend(handles, labels, loc="upper right", bbox_to_anchor=place, ncols=2, fontsize=8, frameon=False)
    _draw_errors(axes[-1], found)
    for axis in axes:
        axis.yaxis.set_label_coords(-0.7 / (_WIDE - _LEFT - _RIGHT), 0.5)  # one column, whatever the numbers' width
        axis.tick_params(labelsize=8, labelbottom=axis is axes[-1], length=2)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[-1].set_xlim(-0.5, max(steps, 1) - 0.5)
    axes[-1].xaxis.set_major_locator(FixedLocator(range(steps)) if steps <= 20 else MaxNLocator(integer=True))
    axes[-1].set_xlabel("step", fontsize=9)
    heading = FontProperties(family=font.get_family(), size=12)
    figure.text(_LEFT / _WIDE, 1 - 0.3 / height, boxed(found.title, missing), fontproperties=heading, parse_math=False)
    return figure


def _draw_errors(axis: Axes, found: Reconstruction) -> None:
    errors = np.nan_to_num(found.errors.numpy())
    axis.stairs(errors, np.arange(len(errors) + 1) - 0.5, fill=True, color=_ERROR, linewidth=0)
    axis.axhline(-found.threshold, color="#666666", linewidth=0.8, linestyle="--")
    axis.set_ylim(0, 1.05 * max(float(errors.max(initial=0)), -found.threshold, 1e-12))
    axis.yaxis.set_major_locator(MaxNLocator(nbins=2))
    axis.set_ylabel("error", rotation=0, ha="right", va="center", fontsize=9)


def reconstruction_page(found: Sequence[Reconstruction], rows: Sequence[int]) -> str:
    """All pictures in one HTML page that needs nothing else."""
    sections = []
    for number, one in zip(rows, found, strict=True):
        picture = base64.b64encode(png_of(reconstruction_figure(one), _DPI)).decode()
        title = escape(f"row {number}, {one.title}")
        sections.append(
            f'<section>\n<h2>{title}</h2>\n<img alt="{title}" src="data:image/png;base64,{picture}">\n</section>\n'
        )
    return framed("what was rebuilt", "img { max-width: 100%; height: auto }\n", sections, pictures=True)
