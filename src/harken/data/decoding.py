"""Many files become rows of one `Ragged`, in order, without holding them all in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harken.data.decoding_pool import DecodingPool
from harken.data.decoding_worker import Reading, decode_file
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.data.recordings import audio_reader, common_rate
from harken.data.stored import Store

_FEW = 64  # files, which are decoded before a process would have started
_MOST_WORKERS = 8


class Decoded(NamedTuple):
    """Rows, and what is wrong with some of them, which are empty."""

    rows: Ragged  # image: values (n · size, size, 3) uint8; audio: (N,) float32; spectrogram: (N, F) float32
    problems: dict[int, str]


def decode_files(
    paths: Sequence[Path | None],
    reading: Reading,
    *,
    workers: int | None = None,
    show: Callable[[int], None] | None = None,
) -> Decoded:
    """Decode files, a row each.

    The rows of an image are its rows of pixels, ``size`` of them. Many values lie in a file and not in memory, as a
    `Store` has it.

    Args:
        paths: regular files, as `resolve_path` gives them; None: an empty row.
        reading: what they are made into.
        workers: processes that decode; 0: none, this one does. None: 0 for fewer than 64 files, else one per core, 8
            at most. A file that crashes its process or takes a minute is a problem of its row, but for 0.
        show: called with the number of rows that are done, after every row.

    Returns:
        as many rows as paths. If no spectrogram can be read, F is ``reading.bands``, or 1 if that is 0.

    Raises:
        DataError: no room for the temporary file, processes that do not start, or no rate to be found.
        MissingExtraError: audio without soundfile.
    """
    there = [path for path in paths if path is not None]
    if reading.kind == "audio":
        audio_reader()  # that it is missing is said here and once
        if reading.rate is None and there:
            reading = replace(reading, rate=common_rate(there))
    if workers is None:
        workers = 0 if len(there) < _FEW else min(os.cpu_count() or 1, _MOST_WORKERS)
    lengths = np.zeros(len(paths), dtype=np.int64)
    problems: dict[int, str] = {}
    first: Path | None = None  # the spectrogram that says how many bands all have
    with (
        Store(np.uint8 if reading.kind == "image" else np.float32) as store,
        DecodingPool(reading, min(workers, len(there))) if workers and there else nullcontext() as pool,
    ):
        answers = (decode_file(path, reading) for path in there) if pool is None else pool.decode(there)
        for row, path in enumerate(paths):
            if path is not None:
                array = next(answers)
                if isinstance(array, np.ndarray) and reading.kind == "spectrogram":
                    if not reading.bands:
                        reading, first = replace(reading, bands=array.shape[1]), path
                    array = _fitting(array, path, reading.bands, first)
                if isinstance(array, str):
                    problems[row] = array
                else:
                    lengths[row] = len(array)
                    store.append(array)
            if show is not None:
                show(row + 1)
        tails = {"image": (reading.size, 3), "audio": (), "spectrogram": (reading.bands or 1,)}
        values = store.tensor(int(lengths.sum()), *tails[reading.kind])
    return Decoded(Ragged(values, offsets_from_lengths(torch.from_numpy(lengths))), problems)


def take_rows(rows: Ragged, indices: Tensor) -> Ragged:
    """`Ragged.take`, whose values lie in a file as those of `decode_files` do, if they are as many."""
    lengths = rows.lengths[indices]
    with Store(str(rows.values.dtype).removeprefix("torch.")) as store:
        for row in indices.tolist():
            store.append(rows[row].numpy())
        values = store.tensor(int(lengths.sum()), *rows.values.shape[1:])
    return Ragged(values, offsets_from_lengths(lengths))


def _fitting(array: npt.NDArray[Any], path: Path, bands: int, first: Path | None) -> npt.NDArray[Any] | str:
    """A spectrogram (T, F) whose F is as it has to be, or the problem."""
    if array.shape[1] == bands:
        return array
    rule = f"must have {bands}" if first is None else f"{first} before it has {bands}"
    return f"{path} has {array.shape[1]} bands, and {rule}: make them alike"
