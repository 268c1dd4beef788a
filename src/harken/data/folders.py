"""A folder of pictures or recordings as a table: a path in every row, and the class whose folder it lies in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from harken.config import ExamplesConfig
from harken.data.columns import Table
from harken.data.media import SUFFIXES
from harken.data.running_text import TEXT_SUFFIXES
from harken.errors import DataError

PATH, LABEL = "path", "label"  # names of the columns, where nobody names them


def read_folder(folder: Path, config: ExamplesConfig) -> Table:
    """Every file whose name ends as those of one kind do (`SUFFIXES`), at any depth, in the order of their names.

    Its label is the folder at the top that it lies in: ``shirts/red/1.jpg`` is one of ``shirts``. Files right in
    ``folder`` have none. Hidden files and folders are left out, links to folders are not followed.

    Args:
        folder: where they are.
        config: the columns are called as it names them, so that a model that learned from a table reads a folder, too.

    Raises:
        DataError: no such file, or files of several kinds.
    """
    paths: list[str] = []
    for place, inner, files in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        home = Path(place).relative_to(folder)
        paths += [str(home / name) for name in files if not name.startswith(".")]
    found = {kind: [path for path in paths if path.lower().endswith(ends)] for kind, ends in SUFFIXES.items()}
    found = {kind: chosen for kind, chosen in found.items() if chosen}
    if not found and any(path.lower().endswith(TEXT_SUFFIXES) for path in paths):
        raise DataError(f"{folder} holds text, and no table: --task language-model learns to write on")
    if len(found) != 1:
        counted = ", ".join(f"{len(chosen):,} of {kind}" for kind, chosen in found.items())
        known = ", ".join(ending for ends in SUFFIXES.values() for ending in ends)
        raise DataError(
            f"{folder} holds files of several kinds ({counted}): name a table of those to read, or part them"
            if found
            else f"{folder} holds no pictures and no recordings, whose names end with {known}"
        )
    ((_, chosen),) = found.items()
    chosen = sorted(chosen)
    return _table(folder, chosen, len(paths) - len(chosen), config)


def _table(folder: Path, paths: list[str], others: int, config: ExamplesConfig) -> Table:
    import pyarrow as pa

    path = config.image or config.audio or PATH
    label = config.label[0] if len(config.label) == 1 and config.label[0] != path else LABEL
    classes = [Path(name).parts[0] if len(Path(name).parts) > 1 else None for name in paths]
    columns = {path: pa.array(paths, pa.large_string())}
    if any(name is not None for name in classes):
        columns[label] = pa.array(classes, pa.large_string())
    described = (f"not read: {others:,} files of other kinds",) if others else ()
    return Table(
        str(folder), pa.table(columns), tuple(columns), np.arange(len(paths)), described=described, folder=folder
    )
