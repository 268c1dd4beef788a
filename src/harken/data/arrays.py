"""NumPy's .npz: arrays of inputs and labels in one file."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from harken.config import ExamplesConfig
from harken.data.columns import Table
from harken.data.opening import one_line, read_bytes
from harken.data.ragged import Ragged
from harken.errors import DataError, ShapeError

if TYPE_CHECKING:
    import pyarrow as pa

_INPUTS, _LABELS = ("X", "x"), ("y", "labels", "label")
_LARGEST = 64 * 2**30  # bytes of an array
_TIGHTEST = 1032  # bytes that one byte of a zip file can become, at most


def read_npz(path: Path, config: ExamplesConfig, require_labels: bool = True) -> Table:
    """Arrays of a .npz file; pickled objects are never loaded.

        X (or x, or --series)     (n, T) or (n, T, D) numbers, cut to ``lengths`` (n,) if there are any; or (n,) texts
        values and offsets        (N,) or (N, D) numbers and (n + 1,), for series of unequal lengths: row i is
                                  values[offsets[i]:offsets[i + 1]]
        y (or labels, --label)    (n,) labels, or (n, k) for k values, for 0 and 1 of k labels, or for a tag a step
        --weight, --key           (n,)

    Without ``require_labels`` labels and weights are not looked at.

    Raises:
        DataError: arrays that are not there, hold objects or do not fit together.
    """
    import pyarrow as pa

    name = str(path)
    answers = {*_LABELS, *config.label, config.weight} if require_labels else set()
    inputs = {*_INPUTS, *config.series, config.text, config.vectors, "values", "offsets", "lengths", config.key}
    arrays = _arrays(path, {called for called in inputs | answers if called is not None})
    whole = config.input == "ids"
    chosen = config.series or tuple(column for column in (config.text, config.vectors) if column)
    if len(chosen) != 1 and {"values", "offsets"} <= arrays.keys():  # several are columns of another file
        column = _cut(name, arrays["values"], arrays["offsets"], whole)
    else:
        called = _choose(name, arrays, chosen)
        column = _column(name, called, arrays[called], arrays.get("lengths"), whole)
    if len(column) == 0:
        raise DataError(f"{name} is empty: it has no rows")
    columns = {"input": column}
    labels = {called: called for called in config.label if called in arrays}
    if not labels and len(config.label) < 2:  # a model knows its labels by the name that another file gave them
        new = config.label[0] if config.label else "label"
        labels = dict.fromkeys([called for called in _LABELS if called in arrays][:1], new)
    others = {called: called for called in (config.weight, config.key) if called is not None}
    for called, new in (labels | others).items():
        if called in arrays:
            columns[new] = _listed(name, arrays[called], called, len(column))
    kind = "text" if pa.types.is_large_string(column.type) else config.input or "series"
    rows = np.arange(len(column))
    return Table(name, pa.table(columns), tuple(columns), rows, fixed=kind, labels=tuple(labels.values()))


def array_names(path: Path) -> tuple[str, ...]:
    """What the arrays of a .npz file are called; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        with zipfile.ZipFile(path if zipped else io.BytesIO(read_bytes(path))) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except _DAMAGE:
        return ()


def _arrays(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Those arrays that are there."""
    content = read_bytes(path)
    arrays: dict[str, np.ndarray] = {}
    try:
        if content.startswith(np.lib.format.MAGIC_PREFIX):
            raise ValueError("it holds one bare array: save it with numpy.savez")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                called = info.filename.removesuffix(".npy")
                if called in wanted:
                    arrays[called] = _array(archive, info, called, len(content))
    except ShapeError as error:
        raise DataError(f"{path}: {error}") from None
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged or not an .npz file: {one_line(error)}") from None
    return arrays


_DAMAGE = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, UnicodeError, SyntaxError, OSError, EOFError, ValueError,
    TypeError, KeyError, OverflowError, RuntimeError, struct.error,
)  # fmt: skip
"""What zipfile and numpy raise at bytes that are none of theirs."""


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, called: str, size: int) -> np.ndarray:
    """One array of a file of ``size`` bytes, once its header and its place in the file agree with each other."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
        there = info.file_size - member.tell()
    if dtype.hasobject:
        raise ShapeError(
            f"array {called!r} holds Python objects, which are never loaded from files: save series of unequal "
            "lengths as two arrays, values and offsets, and labels as numbers or texts"
        )
    claimed = math.prod(shape) * dtype.itemsize
    packed = info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if min(shape, default=0) < 0 or claimed != there or packed or there > _TIGHTEST * size:
        raise ShapeError(
            f"array {called!r} is {dtype} {shape}, {claimed:,} bytes, and the file holds others: write it again with "
            "numpy.savez"
        )
    if claimed > _LARGEST:
        raise ShapeError(f"array {called!r} has {claimed / 2**30:,.0f} GiB, more than {_LARGEST / 2**30:.0f}: cut it")
    try:
        with archive.open(info) as member:
            return np.asarray(np.lib.format.read_array(member, allow_pickle=False))
    except MemoryError:
        raise ShapeError(f"array {called!r} has {claimed / 2**30:,.1f} GiB, more than memory has: cut it") from None


def _choose(name: str, arrays: dict[str, np.ndarray], chosen: tuple[str, ...]) -> str:
    """The array of inputs."""
    if len(chosen) > 1:  # the columns of another file in wide form, which a model was trained on
        chosen = ()
    called = next((called for called in chosen or _INPUTS if called in arrays), None)
    if called is None:
        missing = " or ".join(map(repr, chosen or _INPUTS)) + ("" if chosen else ", nor values and offsets")
        raise DataError(f"{name} has no array {missing}: --series names the one that holds the rows")
    return called


def _column(name: str, called: str, array: np.ndarray, lengths: np.ndarray | None, whole: bool) -> pa.Array:
    """One array of inputs as a column."""
    import pyarrow as pa

    if array.dtype.kind in "SU" and array.ndim == 1:
        return pa.array(_texts(name, called, array).tolist(), pa.large_string())
    if array.dtype.kind not in "iufb" or array.ndim not in (2, 3) or 0 in array.shape[2:]:
        raise DataError(
            f"{name}: array {called!r} is {array.dtype} {array.shape}, and must be numbers (rows, steps) or "
            "(rows, steps, one channel or more), or texts (rows,)"
        )
    n, size = array.shape[:2]
    sizes = np.full(n, size) if lengths is None else lengths
    if sizes.shape != (n,) or sizes.dtype.kind not in "iu" or (n and not 0 <= sizes.min() <= sizes.max() <= size):
        raise DataError(f"{name}: lengths must be {n} whole numbers from 0 to {size}, the steps of {called!r}")
    flat = array.reshape(n * size, *array.shape[2:]) if lengths is None else array[np.arange(size) < sizes[:, None]]
    return _ragged(flat, np.concatenate([[0], np.cumsum(sizes)]), whole)


def _cut(name: str, values: np.ndarray, offsets: np.ndarray, whole: bool) -> pa.Array:
    if values.dtype.kind not in "iufb" or values.ndim not in (1, 2) or offsets.dtype.kind not in "iu":
        raise DataError(
            f"{name}: values are {values.dtype} {values.shape} and offsets {offsets.dtype} {offsets.shape}, and must "
            "be numbers (steps,) or (steps, channels), and whole numbers (rows + 1,)"
        )
    try:
        return _ragged(values, offsets, whole)
    except ShapeError as error:
        raise DataError(f"{name}: {error}") from None


def _ragged(values: np.ndarray, offsets: np.ndarray, whole: bool) -> pa.Array:
    kind = np.int64 if whole and values.dtype.kind in "iub" else np.float32
    steps = torch.from_numpy(np.require(values, kind, ["C", "W"]))
    return Ragged(steps, torch.from_numpy(offsets.astype(np.int64))).to_arrow()


def _listed(name: str, array: np.ndarray, called: str, rows: int) -> pa.Array:
    """Labels, weights or keys: (n,), or (n, k) as lists of k."""
    import pyarrow as pa

    if array.ndim not in (1, 2) or len(array) != rows or 0 in array.shape[1:]:
        raise DataError(
            f"{name}: array {called!r} is {array.shape}, and must have {rows} rows, as many as the input has"
        )
    kind = array.dtype.kind
    if kind not in "iufbSUM":
        raise DataError(f"{name}: array {called!r} is {array.dtype}, and must be numbers, truth values or texts")
    if kind in "SUM":
        array = _texts(name, called, array)
    elif kind == "f":
        array = array.astype(np.float64)
    flat = pa.array(array.reshape(-1).tolist(), pa.uint64() if kind == "u" else None)
    return flat if array.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, array.shape[1])


def _texts(name: str, called: str, array: np.ndarray) -> np.ndarray:
    """Texts, of bytes in UTF-8 too, and dates as ISO has them."""
    if array.dtype.kind != "S":
        return array.astype(str)
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{name}: array {called!r} holds bytes that are not UTF-8: save it as texts") from None
