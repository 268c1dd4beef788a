"""What is refused before anything is computed: past this point are pointers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harken.engine.directions import GATES, Cell, Weights
from harken.errors import ShapeError

HALF = (torch.float16, torch.bfloat16)


def check(
    cell: Cell,
    x: Tensor,
    lengths: Tensor,
    weights: Sequence[Weights],
    h0: Tensor | None,
    c0: Tensor | None,
    directions: tuple[int, ...] = (),
) -> None:
    """Shapes, dtypes and devices; the values of ``lengths`` are checked where the host reads them anyway.

    It runs at each call, so what makes messages is kept out of the way.
    """
    if not isinstance(x, Tensor) or x.dim() != 3:
        raise ShapeError(f"x {_described(x)}: it must be a tensor (B, T, D)")
    batch, _, features = x.shape
    if not isinstance(lengths, Tensor) or lengths.dtype != torch.int64 or lengths.shape != (batch,):
        raise ShapeError(
            f"lengths {_described(lengths)}: it must be a tensor, torch.int64 ({batch},), one number a row of x"
        )
    hidden = weights[0][1].size(-1)
    if features == 0 or hidden == 0:
        raise ShapeError(f"x has shape {tuple(x.shape)} and the hidden size is {hidden}: D and H must be at least 1")
    rows = GATES[cell] * hidden
    expected = ((rows, features), (rows, hidden), (rows,), (rows,))
    named = [item for own in weights for item in zip(("w_ih", "w_hh", "b_ih", "b_hh"), own, expected, strict=True)]
    named += [(name, state, (*directions, batch, hidden)) for name, state in (("h0", h0), ("c0", c0))]
    device, dtype = x.device, x.dtype
    for name, tensor, shape in named:
        if tensor is None:
            continue
        if tensor.shape != shape:
            raise ShapeError(
                f"{name} has shape {tuple(tensor.shape)}: with x {tuple(x.shape)} and hidden size {hidden} "
                f"it must be {tuple(shape)}"
            )
        if tensor.dtype != dtype and _computed(tensor) != _computed(x):
            raise ShapeError(f"{name} is {tensor.dtype} and x is {dtype}: bring both to one dtype")
        if tensor.device != device:
            raise ShapeError(f"{name} is on {tensor.device} and x is on {device}: bring both to one device")
    if cell == "lstm" and (h0 is None) != (c0 is None):
        raise ShapeError("h0 and c0: give both or neither")


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"is {value.dtype} {tuple(value.shape)}"
    return f"is a {type(value).__name__}"


def _computed(tensor: Tensor) -> torch.dtype:
    """The dtype in which the engine computes with it."""
    half = tensor.dtype in HALF and torch.is_autocast_enabled(tensor.device.type)
    return torch.float32 if half else tensor.dtype
