"""``ragged_layer``, and one direction of it, ``ragged_lstm`` and ``ragged_gru``: the heart of harken, whoever does
the arithmetic.

Eager code runs a backend directly, under PyTorch's own autograd: the registered operators cost 100 µs a training
step more. While ``torch.compile`` or ``torch.export`` traces, each direction becomes one node of
:mod:`harken.engine.registered` instead. Which backend it is, :mod:`harken.engine.backends` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harken.engine import registered
from harken.engine.backends import run_layer
from harken.engine.checks import HALF, check
from harken.engine.directions import Cell, Weights, by_direction
from harken.errors import ShapeError


def ragged_layer(
    cell: Cell,
    x: Tensor,
    lengths: Tensor,
    weights: Sequence[Weights],
    h0: Tensor | None = None,
    c0: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One recurrent layer over right-padded rows, forward or in both directions.

    Args:
        cell: "lstm" or "gru".
        x: inputs (B, T, D); what stands in the padding is never read.
        lengths: int64 (B,), 0 ≤ length ≤ T, on any device (the host needs them: on the CPU, nothing waits).
        weights: for the forward direction and, if there are two, for the reverse one, which reads every row from its
            own last real step to its first: w_ih (gates · H, D), w_hh (gates · H, H), b_ih and b_hh (gates · H,) or
            None. Gates stand as in torch: i, f, g, o, and for a GRU r, z, n (the reset gate acts after the product).
        h0: initial hidden states (directions, B, H), or None for zeros.
        c0: initial cell states of an LSTM (directions, B, H), or None, with h0, for zeros.

    Returns:
        outputs (B, T, directions · H), exactly 0 on padding; h_n and, for an LSTM, c_n (directions, B, H), the state
        after the last step that the direction reads of a row, which for an empty row is the initial state.

    Raises:
        ShapeError: a shape, dtype, device or length does not fit.
        ConfigError: ``HARKEN_ENGINE`` names no backend, or one that cannot run here.

    Differs from torch: final states are exact at ragged ends without a ``PackedSequence``; empty rows, B = 0
    and T = 0 are legal; autocast computes in float32. ``torch.func`` and forward-mode differentiation need
    ``HARKEN_ENGINE=portable``.
    """
    if len(weights) not in (1, 2):
        raise ShapeError(f"weights has {len(weights)} entries: it must be one for each direction, 1 or 2")
    check(cell, x, lengths, weights, h0, c0, (len(weights),))
    return _run(cell, x, lengths, weights, h0, c0, (False, True)[: len(weights)])


def ragged_lstm(
    x: Tensor,
    lengths: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h0: Tensor,
    c0: Tensor,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One direction, either one, of an LSTM layer: :func:`ragged_layer` with states (B, H)."""
    weights = [(w_ih, w_hh, b_ih, b_hh)]
    check("lstm", x, lengths, weights, h0, c0)
    outputs, h_n, c_n = _run("lstm", x, lengths, weights, h0.unsqueeze(0), c0.unsqueeze(0), (reverse,))
    assert c_n is not None  # an LSTM has one
    return outputs, h_n.squeeze(0), c_n.squeeze(0)


def ragged_gru(
    x: Tensor,
    lengths: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h0: Tensor,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """One direction, either one, of a GRU layer: :func:`ragged_layer` with a state (B, H)."""
    weights = [(w_ih, w_hh, b_ih, b_hh)]
    check("gru", x, lengths, weights, h0, None)
    outputs, h_n, _ = _run("gru", x, lengths, weights, h0.unsqueeze(0), None, (reverse,))
    return outputs, h_n.squeeze(0)


def _run(
    cell: Cell,
    x: Tensor,
    lengths: Tensor,
    weights: Sequence[Weights],
    h0: Tensor | None,
    c0: Tensor | None,
    reverses: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor | None]:
    if recorded():
        run = registered.lstm if cell == "lstm" else registered.gru
        return by_direction(run, cell, x, lengths, weights, h0, c0, reverses)
    if not torch.is_autocast_enabled(x.device.type):
        return run_layer(cell, x, lengths, weights, h0, c0, reverses)
    wide = [tuple(map(_widened, own)) for own in weights]
    with torch.autocast(x.device.type, enabled=False):
        return run_layer(cell, _widened(x), lengths, wide, _widened(h0), _widened(c0), reverses)


def recorded() -> bool:
    """Does somebody write down which operators run (a compiler, an exporter, a tracer, a fake or counting mode)?

    They would see empty tensors and no arithmetic: the kernel writes through pointers.
    """
    return bool(
        torch.compiler.is_compiling()  # first: the compiler reads no further
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch._C._len_torch_dispatch_stack()
    )


def _widened(tensor: Any) -> Any:
    """What ``register_autocast`` does to an operator's inputs: half precision goes up to float32, the rest stays."""
    return tensor.float() if tensor is not None and tensor.dtype in HALF else tensor
