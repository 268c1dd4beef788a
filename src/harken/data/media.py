"""Pictures, recordings and spectrograms: paths of files, or arrays, become rows of numbers.

kind           a row                                          its steps
image          a picture of S × S pixels                      its rows of pixels: values (S, S, 3) uint8
audio          a recording                                    its samples: values (L,) float32
spectrogram    frequencies over time                          its frames: values (T, F) float32
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harken.config import ExamplesConfig, InputKind
from harken.data.decoding import decode_files
from harken.data.decoding_worker import Reading
from harken.data.paths import resolve_path
from harken.data.pictures import picture_from_array
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.data.recordings import common_rate
from harken.data.sequences import ragged_from_rows
from harken.errors import DataError

SUFFIXES: dict[InputKind, tuple[str, ...]] = {
    "image": (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"),
    "audio": (".wav", ".wave"),
    "spectrogram": (".npy", ".npz"),
}
"""What the names of files end with."""

Cell = str | os.PathLike[str] | None


class Media(NamedTuple):
    """Files that were read."""

    rows: Ragged
    rate: int | None  # of recordings: samples a second
    problems: dict[int, str]  # row → what is wrong with it; such a row is empty


def kind_of_files(cells: Iterable[object]) -> InputKind | None:
    """The kind whose suffixes all these paths have; None where they differ, or there are none."""
    endings = {Path(cell).suffix.lower() for cell in cells if isinstance(cell, str | os.PathLike)}
    return next((kind for kind, known in SUFFIXES.items() if endings and endings <= set(known)), None)


def is_media(kind: InputKind | None) -> bool:
    """Whether rows of this kind lie in files of their own."""
    return kind in SUFFIXES


def read_files(cells: Sequence[Cell], kind: InputKind, config: ExamplesConfig, folder: Path | None) -> Media:
    """Decode the files that a column names, in worker processes.

    Args:
        cells: paths; a row without one is empty.
        kind: image, audio or spectrogram.
        config: sizes, rates and limits.
        folder: the table's own, which with ``config.root`` bounds where files may lie; None: whoever wrote the paths
            may read any file, as where they stand in a program.

    Raises:
        MissingExtraError: the library that reads recordings is not installed.
    """
    paths: list[Path | None] = [None] * len(cells)
    problems = {}
    root = None if config.root is None else Path(config.root)
    if root is not None and folder is not None and not root.is_dir():
        raise DataError(f"root ({config.root!r}) is no folder: name the one that the files lie in")
    for row, cell in enumerate(cells):
        if cell is None:
            continue
        if folder is None:
            paths[row] = Path(cell)
            continue
        path, problem = resolve_path(os.fspath(cell), folder, root)
        if problem:
            problems[row] = problem
        else:
            paths[row] = path
    rate = None
    if kind == "audio":
        there = [path for path in paths if path is not None]
        rate = config.sample_rate or (common_rate(there) if there else None)
    reading = Reading(
        kind,  # type: ignore[arg-type]  # one of the three
        size=config.image_size,
        max_pixels=config.max_pixels,
        rate=rate,
        max_seconds=config.max_seconds,
    )
    rows, bad = decode_files(paths, reading)
    return Media(rows, rate, problems | bad)


def media_of(given: Any, kind: InputKind, config: ExamplesConfig) -> tuple[Ragged, int | None]:
    """Rows of what a program has: paths, or arrays, pictures of Pillow's among them; None is an empty row.

    Returns:
        The rows, and of recordings their samples a second.

    Raises:
        DataError: a row that cannot be read; says which.
    """
    rows = list(given)
    named = [isinstance(row, str | os.PathLike) for row in rows]
    if all(there or row is None for there, row in zip(named, rows, strict=True)):
        found = read_files(rows, kind, config, None)
        if found.problems:
            row = min(found.problems)
            raise DataError(f"row {row}: {found.problems[row]}")
        return found.rows, found.rate
    if any(named):
        raise DataError(f"row {named.index(True)} is a path and others are not: give paths, or arrays")
    if kind == "image":
        return _pictures(rows, config.image_size), None
    if kind == "audio" and config.sample_rate is None:
        raise DataError("arrays of samples do not say how many of them are a second: give sample_rate, such as 16000")
    ragged = ragged_from_rows([[] if row is None else row for row in rows])
    wanted = {"audio": 1, "spectrogram": 2}[kind]
    if ragged.values.dim() != wanted and len(ragged.values):
        shape = "(samples,)" if wanted == 1 else "(steps, frequencies)"
        raise DataError(f"the rows are {ragged.values.dim()}-dimensional arrays: input={kind} needs {shape} each")
    values = ragged.values.float()
    if kind == "audio" and not bool(values.isfinite().all()):
        raise DataError("a recording holds NaN or infinity: leave it out, or repair it")
    return Ragged(values, ragged.offsets), config.sample_rate


def _pictures(rows: Sequence[Any], size: int) -> Ragged:
    decoded = [torch.zeros(0, size, 3, dtype=torch.uint8)]
    for row, picture in enumerate(rows):
        try:
            if picture is not None:
                decoded.append(torch.from_numpy(picture_from_array(picture, size)))
        except DataError as error:
            raise DataError(f"row {row}: {error}") from None
    lengths = torch.tensor([0 if picture is None else size for picture in rows], dtype=torch.int64)
    return Ragged(torch.cat(decoded), offsets_from_lengths(lengths))  # (n·S, S, 3)
