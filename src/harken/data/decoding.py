"""Many files become rows of one `Ragged`, in order, without holding them all in memory."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harken.data.decoding_pool import DecodingPool
from harken.data.decoding_worker import Reading, decode_file
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.data.recordings import audio_reader, common_rate
from harken.errors import DataError

_FEW = 64  # files, which are decoded before a process would have started
_MOST_WORKERS = 8
_IN_MEMORY = 64 * 2**20  # bytes; more lie in a file


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

    The rows of an image are its rows of pixels, ``size`` of them. Values of more than 64 MiB lie in a file without a
    name, in the folder for temporary files (TMPDIR), and are mapped into memory: the system drops pages at will and
    the file is gone with the last tensor that shares it.

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
        tempfile.SpooledTemporaryFile(_IN_MEMORY) as store,
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
                    _append(store, array)
            if show is not None:
                show(row + 1)
        tails = {"image": (reading.size, 3), "audio": (), "spectrogram": (reading.bands or 1,)}
        dtype = np.dtype(np.uint8 if reading.kind == "image" else np.float32)
        values = _values(store, (int(lengths.sum()), *tails[reading.kind]), dtype)
    return Decoded(Ragged(values, offsets_from_lengths(torch.from_numpy(lengths))), problems)


def take_rows(rows: Ragged, indices: Tensor) -> Ragged:
    """`Ragged.take`, whose values lie in a file as those of `decode_files` do, if they are as many."""
    lengths = rows.lengths[indices]
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as store:
        for row in indices.tolist():
            _append(store, rows[row].numpy())
        dtype = np.dtype(str(rows.values.dtype).removeprefix("torch."))
        values = _values(store, (int(lengths.sum()), *rows.values.shape[1:]), dtype)
    return Ragged(values, offsets_from_lengths(lengths))


def _fitting(array: npt.NDArray[Any], path: Path, bands: int, first: Path | None) -> npt.NDArray[Any] | str:
    """A spectrogram (T, F) whose F is as it has to be, or the problem."""
    if array.shape[1] == bands:
        return array
    rule = f"must have {bands}" if first is None else f"{first} before it has {bands}"
    return f"{path} has {array.shape[1]} bands, and {rule}: make them alike"


def _append(store: IO[bytes], array: npt.NDArray[Any]) -> None:
    try:
        store.write(np.ascontiguousarray(array).data)
        store.flush()
    except OSError as error:
        raise DataError(
            f"the folder for temporary files, {tempfile.gettempdir()}, takes no more ({error.strerror}): make room, or "
            "name another with TMPDIR"
        ) from None


def _values(store: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor:
    """All that was stored, as one tensor: read if it is little, else mapped."""
    if math.prod(shape) * dtype.itemsize <= _IN_MEMORY:
        store.seek(0)
        return torch.from_numpy(np.frombuffer(bytearray(store.read()), dtype).reshape(shape))
    return torch.from_numpy(np.memmap(store, dtype, mode="c", shape=shape))  # "c": torch wants it writable
