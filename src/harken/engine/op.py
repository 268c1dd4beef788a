"""``ragged_lstm`` and ``ragged_gru``: the heart of harken, whoever does the arithmetic.

Eager code runs a backend directly, under PyTorch's own autograd: the registered operators cost 100 µs a
training step more. While ``torch.compile`` or ``torch.export`` traces, the call becomes one node of
:mod:`harken.engine.registered` instead.

Backends: :mod:`~harken.engine.portable` on a CPU, :mod:`~harken.engine.packed` on CUDA; the environment
variable ``HARKEN_ENGINE`` names one of them for every device.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from harken.engine import registered
from harken.engine.backends import run_gru, run_lstm
from harken.errors import ShapeError


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
    """One direction of one LSTM layer over right-padded rows.

    Args:
        x: inputs (B, T, D); what stands in the padding is never read.
        lengths: int64 (B,), 0 ≤ length ≤ T, on any device (the host needs them: on the CPU, nothing waits).
        w_ih: input weights (4H, D), gates stacked i, f, g, o as in torch.
        w_hh: recurrent weights (4H, H).
        b_ih: input bias (4H,) or None for none.
        b_hh: recurrent bias (4H,) or None for none.
        h0: initial hidden state (B, H).
        c0: initial cell state (B, H).
        reverse: read every row from its own last real step to its first.

    Returns:
        outputs (B, T, H), exactly 0 on padding; h_n and c_n (B, H), the state after the row's own last real
        step (its first, when ``reverse``), which for an empty row is the initial state.

    Raises:
        ShapeError: a shape, dtype or length does not fit.
        ConfigError: ``HARKEN_ENGINE`` names no backend.

    Differs from torch: final states are exact at ragged ends without a ``PackedSequence``; empty rows, B = 0
    and T = 0 are legal; autocast computes in float32.
    """
    _check(x, lengths, 4, {"w_ih": w_ih, "w_hh": w_hh}, {"b_ih": b_ih, "b_hh": b_hh}, {"h0": h0, "c0": c0})
    b_ih, b_hh = _present(b_ih, w_ih), _present(b_hh, w_ih)
    if torch.compiler.is_compiling():
        return registered.lstm(x, lengths, w_ih, w_hh, b_ih, b_hh, h0, c0, reverse)
    if torch.is_autocast_enabled(x.device.type):
        x, w_ih, w_hh, b_ih, b_hh, h0, c0 = map(_widened, (x, w_ih, w_hh, b_ih, b_hh, h0, c0))
    with _autocast_off(x.device.type):
        return run_lstm(x, lengths, w_ih, w_hh, b_ih, b_hh, h0, c0, reverse)


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
    """One direction of one GRU layer over right-padded rows.

    As :func:`ragged_lstm`, with weights (3H, D) and (3H, H), biases (3H,), gates stacked r, z, n as in torch
    (the reset gate acts after the recurrent product), and no cell: returns outputs (B, T, H) and h_n (B, H).
    """
    _check(x, lengths, 3, {"w_ih": w_ih, "w_hh": w_hh}, {"b_ih": b_ih, "b_hh": b_hh}, {"h0": h0})
    b_ih, b_hh = _present(b_ih, w_ih), _present(b_hh, w_ih)
    if torch.compiler.is_compiling():
        return registered.gru(x, lengths, w_ih, w_hh, b_ih, b_hh, h0, reverse)
    if torch.is_autocast_enabled(x.device.type):
        x, w_ih, w_hh, b_ih, b_hh, h0 = map(_widened, (x, w_ih, w_hh, b_ih, b_hh, h0))
    with _autocast_off(x.device.type):
        return run_gru(x, lengths, w_ih, w_hh, b_ih, b_hh, h0, reverse)


def _present(bias: Tensor | None, w_ih: Tensor) -> Tensor:
    return w_ih.new_zeros(w_ih.size(0)) if bias is None else bias


def _autocast_off(device: str) -> AbstractContextManager[None]:
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def _widened(tensor: Tensor) -> Tensor:
    """What ``register_autocast`` does to an operator's inputs: half precision goes up to float32, the rest stays."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _check(
    x: Tensor,
    lengths: Tensor,
    gates: int,
    weights: dict[str, Tensor],
    biases: dict[str, Tensor | None],
    states: dict[str, Tensor],
) -> None:
    """Shapes and dtypes; the values of ``lengths`` are checked where the host reads them anyway."""
    if x.dim() != 3:
        raise ShapeError(f"x has shape {tuple(x.shape)}: it must be (B, T, D)")
    if lengths.dtype != torch.int64 or lengths.shape != x.shape[:1]:
        raise ShapeError(
            f"lengths is {lengths.dtype} {tuple(lengths.shape)}: it must be torch.int64 ({x.size(0)},), one a row of x"
        )
    hidden = weights["w_hh"].size(-1)
    rows = gates * hidden
    expected = {"w_ih": (rows, x.size(2)), "w_hh": (rows, hidden), "b_ih": (rows,), "b_hh": (rows,)}
    expected |= dict.fromkeys(states, (x.size(0), hidden))
    given = {name: tensor for name, tensor in (weights | biases | states).items() if tensor is not None}
    mixed_precision = torch.is_autocast_enabled(x.device.type)
    for name, tensor in given.items():
        if tensor.shape != expected[name]:
            raise ShapeError(
                f"{name} has shape {tuple(tensor.shape)}: with x {tuple(x.shape)} and hidden size {hidden} "
                f"it must be {tuple(expected[name])}"
            )
        if tensor.dtype != x.dtype and not mixed_precision:
            raise ShapeError(f"{name} is {tensor.dtype} and x is {x.dtype}: bring both to one dtype")
