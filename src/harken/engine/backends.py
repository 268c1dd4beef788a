"""Which backend does the arithmetic, and the two cases that no backend needs to see."""

from __future__ import annotations

import os
from types import ModuleType

import torch
from torch import Tensor

from harken.engine import packed, portable
from harken.errors import ConfigError, ShapeError

_BACKENDS = {"portable": portable, "packed": packed}


def run_lstm(
    x: Tensor,
    lengths: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
    h0: Tensor,
    c0: Tensor,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`harken.engine.op.ragged_lstm` on a backend, differentiable; biases are there, lengths not yet checked."""
    backend = _backend(x.device)
    lengths = _on_host(lengths, x.size(1))
    weights = (w_ih, w_hh, b_ih, b_hh)
    if _nothing_to_read(lengths):
        zero = _zero(x, *weights, h0, c0)
        return zero.expand(*x.shape[:2], h0.size(1)).clone(), h0 + zero, c0 + zero
    outputs, h_n, c_n = backend.lstm(x, lengths, weights, h0, c0, reverse)
    return outputs, h_n, c_n


def run_gru(
    x: Tensor,
    lengths: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor,
    b_hh: Tensor,
    h0: Tensor,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """:func:`harken.engine.op.ragged_gru` on a backend, differentiable."""
    backend = _backend(x.device)
    lengths = _on_host(lengths, x.size(1))
    weights = (w_ih, w_hh, b_ih, b_hh)
    if _nothing_to_read(lengths):
        zero = _zero(x, *weights, h0)
        return zero.expand(*x.shape[:2], h0.size(1)).clone(), h0 + zero
    outputs, h_n = backend.gru(x, lengths, weights, h0, reverse)
    return outputs, h_n


def _backend(device: torch.device) -> ModuleType:
    name = os.environ.get("HARKEN_ENGINE") or ("packed" if device.type == "cuda" else "portable")
    if name not in _BACKENDS:
        raise ConfigError(f"HARKEN_ENGINE is {name!r}: it must be one of {', '.join(_BACKENDS)}, or unset")
    return _BACKENDS[name]


def _on_host(lengths: Tensor, size: int) -> Tensor:
    """``lengths`` (B,) on the CPU, checked: both backends need them there, so this is the call's only wait."""
    lengths = lengths.detach().cpu()
    values = lengths.numpy()
    if values.size and (values.min() < 0 or values.max() > size):
        wrong = next(int(value) for value in values if not 0 <= value <= size)
        raise ShapeError(f"lengths holds {wrong}: every length must lie between 0 and T = {size}, the width of x")
    return lengths


def _nothing_to_read(lengths: Tensor) -> bool:
    """B = 0, T = 0, or only empty rows."""
    return not lengths.numpy().any()


def _zero(*tensors: Tensor) -> Tensor:
    """A scalar 0 that depends on every tensor: where nothing is read, all gradients are there and are 0."""
    return torch.stack([tensor.flatten()[:0].sum() for tensor in tensors]).sum()
