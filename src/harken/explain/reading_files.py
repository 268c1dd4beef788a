"""Readings as files: pictures, a page, rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harken.explain.export import SUFFIXES, export
from harken.explain.reading import Reading, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SUFFIXES", "figure_of", "write"]


def write(readings: Sequence[Reading], path: str | os.PathLike[str], rows: Sequence[int] | None = None) -> list[Path]:
    """Write what several answers looked at: the suffix of ``path`` says how.

    ``.png``: a picture; with several answers one file for each, ``seen-0.png``, ``seen-1.png``, … ·
    ``.html``: all in one page that needs nothing else ·
    ``.json``, ``.parquet``: one row for each weight, as `Reading.rows` makes them.

    Args:
        rows: the number of each answer; default 0, 1, …

    Returns:
        The files that were written.

    Raises:
        UsageError: another suffix, or nothing to draw.
        DataError: the file cannot be written.
    """
    from harken.explain.reading_page import reading_page

    numbers = list(range(len(readings)) if rows is None else rows)
    return export(
        Path(path),
        numbers,
        figure=lambda place: figure_of(readings[place]),
        lines=lambda: (line for n, reading in zip(numbers, readings, strict=True) for line in reading.rows(n)),
        table=lambda: table(readings, numbers),
        page=lambda: reading_page(readings, numbers),
    )


def figure_of(reading: Reading) -> Figure:
    """The picture that fits the kind of input: itself under its weights, curves or a spectrogram over them, text."""
    if reading.kind == "image":
        from harken.explain.picture_plot import picture_figure

        return picture_figure(reading)
    if reading.kind in ("series", "vectors", "audio", "spectrogram"):
        from harken.explain.series_plot import series_figure

        return series_figure(reading)
    from harken.explain.text_plot import text_figure

    return text_figure(reading)
