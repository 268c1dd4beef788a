"""Rows of numbers, whatever holds them: one array, a list of lists, an Arrow column → one `Ragged`.

Its values are int64 where all numbers are whole, else float32, and (N,) or (N, D), as the rows' steps are numbers or
vectors of D numbers. What is missing is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from harken.data.ragged import Ragged, offsets_from_lengths
from harken.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]


def ragged_from_array(array: Array) -> Ragged:
    """An array (n, T) or (n, T, D): n rows, all of T steps.

    Raises:
        DataError: another number of dimensions, or no numbers.
    """
    if array.ndim not in (2, 3):
        raise DataError(
            f"Reshape your data to (rows, steps) or (rows, steps, channels): the array is {array.shape}"
            + ("; if its rows are pictures, say input=image" if array.ndim == 4 else "")
        )
    n, steps = array.shape[:2]
    values = _numbers(array, "the array", ("row", "step", "channel"))
    return Ragged(_tensor(values.reshape(n * steps, *array.shape[2:])), torch.arange(n + 1) * steps)


def ragged_from_rows(rows: Sequence[Any]) -> Ragged:
    """Rows of numbers, (T,), or of steps, (T, D), each a list, an array, a tensor or bytes.

    Raises:
        DataError: a row that is none, holds something else than numbers, or has other channels; says which.
    """
    arrays = [_row(i, row) for i, row in enumerate(rows)]
    real = [i for i, array in enumerate(arrays) if len(array)]  # an empty list says nothing about its steps
    if not real:
        return Ragged(torch.zeros(0, dtype=torch.int64), torch.zeros(len(rows) + 1, dtype=torch.int64))
    first = arrays[real[0]]
    for i in real:
        if arrays[i].shape[1:] != first.shape[1:]:
            raise DataError(
                f"row {i} has {_channels(arrays[i])} where row {real[0]} has {_channels(first)}: "
                "all rows must have the same channels"
            )
    lengths = torch.tensor([len(array) for array in arrays], dtype=torch.int64)
    values = np.concatenate([arrays[i] for i in real])
    return Ragged(_tensor(values), offsets_from_lengths(lengths))


def ragged_from_arrow(column: pa.Array | pa.ChunkedArray) -> Ragged:
    """A column of lists of numbers, or of lists of lists (of one length or of fixed size).

    Raises:
        DataError: a row that is null, a step of other channels, or no numbers; says which row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks > 1 and pa.types.is_list(column.type):  # int32 offsets could overflow when joined
            column = column.cast(pa.large_list(column.type.value_type))
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise DataError(f"row {row} is null: a row without steps is an empty list, leave the row out or empty it")
    lengths = _copied(pc.list_value_length(column).cast(pa.int64()))
    offsets, values = offsets_from_lengths(lengths), column.flatten()
    width: int | None = None
    if _is_list(values.type):
        widths = np.asarray(pc.fill_null(pc.list_value_length(values), 0))
        width = int(widths[0]) if len(widths) else 1
        if (widths != width).any():
            step = int((widths != width).argmax())
            row = int(torch.searchsorted(offsets, step, right=True)) - 1
            raise DataError(
                f"row {row}, step {step - int(offsets[row])} has {widths[step]} channels where the first step has "
                f"{width}: all steps must have the same channels"
            )
        values = values.flatten()
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)):
        raise DataError(f"the column holds {column.type}, and must hold lists of numbers")
    if values.null_count or pa.types.is_boolean(values.type) or pa.types.is_float16(values.type):
        flat = _tensor(values.to_numpy(zero_copy_only=False))  # null becomes NaN
    else:
        flat = from_dlpack(values)  # unlike from_numpy, silent about memory that is read-only
        flat = flat.to(torch.float32 if flat.is_floating_point() else torch.int64)
    return Ragged(flat if width is None else flat.view(-1, width), offsets)


def cut_rows(ragged: Ragged, steps: int | None) -> Ragged:
    """The first ``steps`` of every row; None: all."""
    if steps is None or not (ragged.lengths > steps).any():
        return ragged
    lengths = ragged.lengths.clamp(max=steps)
    offsets = offsets_from_lengths(lengths)
    shift = torch.repeat_interleave(ragged.offsets[:-1] - offsets[:-1], lengths)  # (N,)
    return Ragged(ragged.values[shift + torch.arange(len(shift))], offsets)


def check_steps(lengths: Tensor, most: int | None) -> None:
    """Refuse rows that are too long to train on.

    Raises:
        DataError: a row of more than ``most`` steps; None: any number.
    """
    if most is not None and (longer := lengths > most).any():
        row = int(longer.nonzero()[0])
        raise DataError(
            f"row {row} has {int(lengths[row]):,} steps, more than max_steps ({most:,}): "
            "read only its start with --truncate, or raise the option"
        )


def _row(i: int, row: Any) -> Array:
    if isinstance(row, bytes | bytearray):
        return np.frombuffer(row, dtype=np.uint8)
    if row is None or isinstance(row, str) or not hasattr(row, "__len__"):
        raise DataError(f"row {i} is {type(row).__name__} ({row!r:.60}): a row must be a list or array of numbers")
    if isinstance(row, Tensor):
        row = row.detach().cpu().numpy()
    if isinstance(row, np.ndarray) and row.dtype.kind == "O":  # its steps may be arrays, as pandas has lists of lists
        row = list(row)
    try:
        array = np.asarray(row)
    except ValueError:  # lists of unequal length
        widths = [np.size(step) for step in row]
        step = next((step for step, width in enumerate(widths) if width != widths[0]), 0)
        raise DataError(
            f"row {i}, step {step} has {widths[step]} channels where the first step has {widths[0]}: "
            "all steps must have the same channels"
        ) from None
    if array.ndim not in (1, 2):
        raise DataError(
            f"row {i} is an array of shape {array.shape}: a row must be (steps,) or (steps, channels), unless they are "
            "pictures (input=image)"
        )
    if array.dtype.kind in "US":  # [1, "a"] as NumPy has it, and as it was meant
        array = np.asarray(row, dtype=object)
    return _numbers(array, f"row {i}", ("step", "channel"))


def _numbers(array: Array, name: str, axes: Sequence[str]) -> Array:
    """The array, if it holds numbers; what is missing among objects becomes NaN."""
    if array.dtype.kind in "iufb":
        return array
    if array.dtype.kind == "c":
        raise DataError(f"Complex data not supported, and {name} is {array.dtype}: give two channels, or the size")
    numbers = np.full(array.shape, np.nan)
    for place, cell in np.ndenumerate(array):
        if isinstance(cell, int | float | np.integer | np.floating | np.bool_):
            numbers[place] = cell
        elif cell is not None and type(cell).__name__ not in ("NAType", "NaTType"):
            where = ", ".join(f"{axis} {at}" for axis, at in zip(axes, place, strict=False))
            value = cell.item() if isinstance(cell, np.generic) else cell
            raise DataError(f"{name}, {where} holds {value!r}, which is no number: correct it or leave the row out")
    return numbers


def _tensor(values: Array) -> Tensor:
    """A copy in one of the two types, unless it has it already."""
    if values.dtype.kind in "iub":
        return torch.from_numpy(np.require(values, np.int64, ["W", "C"]))
    with np.errstate(over="ignore"):  # becomes inf, which is refused with its place
        return torch.from_numpy(np.require(values, np.float32, ["W", "C"]))


def _copied(array: pa.Array) -> Tensor:
    return torch.from_numpy(array.to_numpy(zero_copy_only=False).copy())


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _channels(array: Array) -> str:
    return "single numbers" if array.ndim == 1 else f"{array.shape[1]} channels"
