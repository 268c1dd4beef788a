"""Where a recurrent layer stands: what one call returns and the next one may start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from harken.engine.directions import Cell
from harken.errors import ShapeError


class LSTMState(NamedTuple):
    """Hidden and cell state, each (layers * directions, B, H), in torch's order: by layer, forward first."""

    h: Tensor
    c: Tensor


class GRUState(NamedTuple):
    """Hidden state (layers * directions, B, H), in torch's order: by layer, forward first."""

    h: Tensor


State = LSTMState | GRUState


def split_state(
    cell: Cell, state: State | None, num_layers: int, shape: tuple[int, int, int]
) -> list[tuple[Tensor | None, Tensor | None]]:
    """Each layer's (h0, c0), (directions, B, H); None where there is none. The whole must have this ``shape``.

    Raises:
        ShapeError: another kind of state than the cell's, or another shape.
    """
    if state is None:
        return [(None, None)] * num_layers
    h, c = checked_state(cell, state, shape)
    if num_layers == 1:
        return [(h, c)]
    return list(zip(h.chunk(num_layers), [None] * num_layers if c is None else c.chunk(num_layers), strict=True))


def checked_state(cell: Cell, state: State, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor | None]:
    """The parts, h and an LSTM's c, of a state of this cell and shape."""
    names = ("h", "c") if cell == "lstm" else ("h",)
    if not isinstance(state, tuple) or len(state) != len(names):
        kind = "LSTMState(h, c)" if cell == "lstm" else "GRUState(h)"
        raise ShapeError(f"state ({type(state).__name__}) must be a {kind} for cell={cell}")
    for name, part in zip(names, state, strict=True):
        if part.shape != shape:
            raise ShapeError(f"state.{name} {tuple(part.shape)} must be (layers * directions, B, H) = {tuple(shape)}")
    return state[0], state[1] if len(state) == 2 else None


def final_state(h_n: Sequence[Tensor], c_n: Sequence[Tensor]) -> State:
    """What the layers end with, (directions, B, H) each, as one state; a GRU's have no ``c_n``."""
    h, *c = (parts[0] if len(parts) == 1 else torch.cat(list(parts)) for parts in (h_n, c_n) if parts)
    return LSTMState(h, c[0]) if c else GRUState(h)
