"""What was looked at as files: the suffix says how, whatever was looked at."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harken.errors import UsageError
from harken.files import write_whole

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".json", ".parquet", ".html")
_DPI = 150


def export(
    path: Path,
    rows: Sequence[int],
    *,
    figure: Callable[[int], Figure],
    lines: Callable[[], Iterable[dict[str, Any]]],
    table: Callable[[], pa.Table],
    page: Callable[[], str],
) -> list[Path]:
    """Write one picture for each answer, or all of them in one file.

    Args:
        path: ``.png``: with several answers one file for each, ``map-0.png``, ``map-1.png``, … · ``.html``: one page
            that needs nothing else · ``.json``, ``.parquet``: one row for each weight.
        rows: the number of each answer.
        figure: the picture of the answer at a place in ``rows``.
        lines, table, page: all answers as dictionaries, as Arrow, as HTML.

    Returns:
        The files that were written.

    Raises:
        UsageError: another suffix, or nothing to draw.
        DataError: the file cannot be written.
    """
    match path.suffix.lower():
        case ".png":
            if not rows:
                raise UsageError(f"there is no answer to draw in {path}: give a row")
            files = [path] if len(rows) == 1 else [path.with_stem(f"{path.stem}-{row}") for row in rows]
            for place, file in enumerate(files):
                save_figure(figure(place), file)
            return files
        case ".json":
            encoded = (json.dumps(line, ensure_ascii=False) for line in lines())
            write_whole(path, ("[" + ",\n ".join(encoded) + "]\n").encode())
        case ".parquet":
            import pyarrow as pa
            from pyarrow import parquet

            sink = pa.BufferOutputStream()
            parquet.write_table(table(), sink)
            write_whole(path, sink.getvalue().to_pybytes())
        case ".html":
            write_whole(path, page().encode())
        case suffix:
            raise UsageError(f"{path.name!r} ends in {suffix or 'no suffix'!r}: name a file {', '.join(SUFFIXES)}")
    return [path]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, with all that stands around its axes.

    Raises:
        DataError: the file cannot be written.
    """
    write_whole(path, png_of(figure))


def png_of(figure: Figure, dpi: int = _DPI) -> bytes:
    """A figure as a PNG, with all that stands around its axes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.15)
    return buffer.getvalue()
