"""A layer as its directions: one call each, results side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Cell: TypeAlias = Literal["lstm", "gru"]

GATES: dict[Cell, int] = {"lstm": 4, "gru": 3}  # i, f, g, o and r, z, n, in torch's order

Weights: TypeAlias = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""One direction's w_ih (gates · H, D), w_hh (gates · H, H), and b_ih and b_hh (gates · H,) or None for none."""


def by_direction(
    run: Callable[..., tuple[Tensor, ...]],
    cell: Cell,
    x: Tensor,
    lengths: Tensor,
    weights: Sequence[Weights],
    h0: Tensor | None,
    c0: Tensor | None,
    reverses: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """:func:`harken.engine.op.ragged_layer` by a ``run(x, lengths, weights, h0, (c0,) reverse)`` for each direction."""
    if h0 is None:
        h0 = x.new_zeros(len(weights), x.size(0), weights[0][1].size(1))  # (directions, B, H)
        c0 = h0 if cell == "lstm" else None
    states = [h0] if c0 is None else [h0, c0]
    results = [
        run(x, lengths, with_biases(own), *(state[k] for state in states), reverse)
        for k, (own, reverse) in enumerate(zip(weights, reverses, strict=True))
    ]
    outputs, *finals = zip(*results, strict=True)
    # Where there is nothing to stack, unsqueeze copies nothing.
    h_n, *c_n = (torch.stack(final) if len(final) == 2 else final[0].unsqueeze(0) for final in finals)
    joined = torch.cat(outputs, -1) if len(outputs) == 2 else outputs[0]  # (B, T, directions * H)
    return joined, h_n, c_n[0] if c_n else None


def with_biases(weights: Weights) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same, with zeros for a bias that is not there."""
    w_ih, w_hh, b_ih, b_hh = weights
    return w_ih, w_hh, _or_zeros(b_ih, w_ih), _or_zeros(b_hh, w_ih)


def _or_zeros(bias: Tensor | None, w_ih: Tensor) -> Tensor:
    return w_ih.new_zeros(w_ih.size(0)) if bias is None else bias
