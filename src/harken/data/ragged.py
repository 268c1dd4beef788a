"""Rows of unequal length without padding: one tensor of values and the offsets that cut it into rows.

This is Arrow's list layout, so a column of lists becomes a `Ragged` without a copy, and a padded batch is one gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from harken.errors import DataError, ShapeError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Ragged:
    """Row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    Args:
        values: (N, …), the steps of all rows, one after the other; may be shared with Arrow, so never written to.
        offsets: (n + 1,) int64, never falling; the first need not be 0 and the last need not be N (an Arrow slice).

    Raises:
        ShapeError: offsets that do not cut ``values``.
    """

    values: Tensor
    offsets: Tensor

    def __post_init__(self) -> None:
        offsets, size = self.offsets, len(self.values)
        if offsets.dtype != torch.int64 or offsets.dim() != 1 or len(offsets) == 0:
            raise ShapeError(f"offsets is {offsets.dtype} {tuple(offsets.shape)}, and must be int64 (rows + 1,)")
        if offsets[0] < 0 or offsets[-1] > size or (offsets.diff() < 0).any():
            raise ShapeError(
                f"offsets must start at 0 or later, never fall, and end at {size} (the number of values) or before"
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Tensor:
        """One row, (T, …), a view."""
        row = range(len(self))[row]  # negative from the end; IndexError beyond it, which also ends a for loop
        return self.values[int(self.offsets[row]) : int(self.offsets[row + 1])]

    @property
    def lengths(self) -> Tensor:
        """Steps per row, (n,) int64."""
        return self.offsets.diff()

    def take(self, indices: Tensor) -> Ragged:
        """The rows ``indices`` (int64, any order, repeats allowed) as a `Ragged` of their own."""
        starts, lengths = self._cuts(indices)
        return _compact(self.values, starts, lengths)

    def pad(self, indices: Tensor | None = None, fill: float = 0, reverse: bool = False) -> tuple[Tensor, Tensor]:
        """Rows as one right-padded tensor.

        Args:
            indices: (B,) int64, which rows; None: all.
            fill: what stands behind a row's end.
            reverse: turn each row around within its own length.

        Returns:
            padded (B, T, …) with T the longest length, and lengths (B,) int64.
        """
        starts, lengths = self._cuts(indices)
        return pad_rows(self.values, starts, lengths, fill, reverse), lengths

    def _cuts(self, indices: Tensor | None) -> tuple[Tensor, Tensor]:
        if indices is None:
            return self.offsets[:-1], self.lengths
        starts = self.offsets[:-1][indices]  # over n rows, so that index -1 means the last row and n is refused
        return starts, self.offsets[1:][indices] - starts

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[Any]], dtype: torch.dtype) -> Ragged:
        """From Python rows: lists of numbers, or lists of equally long lists of numbers.

        Raises:
            ShapeError: steps of unequal width.
        """
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        steps = list(chain.from_iterable(rows))
        try:
            values = torch.tensor(steps, dtype=dtype)
        except (ValueError, TypeError) as error:
            raise ShapeError(f"the steps of the rows must be numbers, or lists that are all as long: {error}") from None
        return cls(values, offsets_from_lengths(torch.from_numpy(lengths)))

    @classmethod
    def from_arrow(cls, array: pa.Array | pa.ChunkedArray) -> Ragged:
        """From a column of lists of numbers, or of lists of fixed-size lists, which give values (N, D).

        Shares Arrow's memory wherever Arrow's layout allows it. A null row is an empty row.

        Raises:
            DataError: not a list of numbers, or a null inside a row.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(array, pa.ChunkedArray):
            if array.num_chunks > 1 and pa.types.is_list(array.type):  # int32 offsets could overflow when joined
                array = array.cast(pa.large_list(array.type.value_type))
            array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
        if pa.types.is_fixed_size_list(array.type):
            array = array.cast(pa.large_list(array.type.value_type))
        if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
            raise DataError(f"the column holds {array.type}, and must hold lists of numbers")
        if array.null_count:  # a null slot may hold values that belong to no row: flatten leaves them out
            lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
            return cls(_values(array.flatten()), offsets_from_lengths(from_dlpack(lengths)))
        if len(array) == 0:
            return cls(_values(array.values.slice(0, 0)), torch.zeros(1, dtype=torch.int64))
        offsets = from_dlpack(array.offsets.cast(pa.int64()))  # a slice's own, but absolute into all .values
        first, last = int(offsets[0]), int(offsets[-1])
        return cls(_values(array.values.slice(first, last - first)), offsets - first if first else offsets)

    def to_arrow(self) -> pa.Array:
        """As a LargeListArray; values (N, D) become fixed-size lists of D.

        Raises:
            ShapeError: values of three dimensions or more, or steps of no values.
        """
        import pyarrow as pa

        if self.values.dim() > 2 or self.values.shape[1:] == (0,):
            raise ShapeError(
                f"values is {tuple(self.values.shape)}, and Arrow lists hold numbers or vectors of one number or more"
            )
        values = pa.array(self.values.contiguous().view(-1).numpy())
        if self.values.dim() == 2:
            values = pa.FixedSizeListArray.from_arrays(values, self.values.shape[1])
        return pa.LargeListArray.from_arrays(pa.array(self.offsets.numpy()), values)


def offsets_from_lengths(lengths: Tensor) -> Tensor:
    """Lengths (n,) to offsets (n + 1,), the first 0."""
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0))  # (n + 1,)


def pad_rows(values: Tensor, starts: Tensor, lengths: Tensor, fill: float = 0, reverse: bool = False) -> Tensor:
    """Gather the rows ``values[start:start + length]`` into one right-padded tensor (B, T, …), T the longest.

    One gather and one fill whatever the rows: this runs once or thrice per training step.
    """
    size = int(lengths.max()) if len(lengths) else 0
    if size == 0:
        return values.new_full((len(lengths), 0, *values.shape[1:]), fill)
    steps = torch.arange(size)
    padding = steps >= lengths[:, None]  # (B, T)
    where = (starts + lengths - 1)[:, None] - steps if reverse else starts[:, None] + steps  # (B, T)
    padded = values[where.masked_fill_(padding, 0)]  # (B, T, …)
    return padded.masked_fill_(padding.view(*padding.shape, *[1] * (values.dim() - 1)), fill)


def _compact(values: Tensor, starts: Tensor, lengths: Tensor) -> Ragged:
    offsets = offsets_from_lengths(lengths)
    shift = torch.repeat_interleave(starts - offsets[:-1], lengths)  # (N,)
    return Ragged(values[shift + torch.arange(len(shift))], offsets)


def _values(array: pa.Array) -> Tensor:
    """Arrow's numbers as a tensor: (N,), or (N, D) for fixed-size lists of D."""
    import pyarrow as pa

    if array.null_count:
        raise DataError("a row of the column holds a null inside: fill or drop it first")
    if pa.types.is_fixed_size_list(array.type):
        return _values(array.flatten()).view(len(array), array.type.list_size)  # (N, D)
    if pa.types.is_boolean(array.type):  # bits: nothing that torch could share
        return torch.from_numpy(array.to_numpy(zero_copy_only=False).copy())
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise DataError(f"the column holds lists of {array.type}, and must hold lists of numbers")
    return from_dlpack(array)  # unlike from_numpy, silent about memory that is read-only
