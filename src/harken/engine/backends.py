"""Which backend does the arithmetic, and the one case that no backend needs to see.

======================  ==========================================================================
on a CPU, float32       the native kernel, where one was built; else portable
on a CPU, other dtypes  portable: the kernel has one precision, float64 is for checking
on CUDA                 packed
======================  ==========================================================================

The environment variable ``HARKEN_ENGINE``, read at each call, overrides: ``portable`` and ``packed`` mean everything,
``native`` or a level (``avx2``) mean float32 on a CPU, and an error where that level cannot run.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from harken.engine import levels, native, packed, portable
from harken.engine.checks import check
from harken.engine.directions import Cell, Weights, by_direction
from harken.errors import ConfigError, ShapeError

_IN_TORCH = {"portable": portable, "packed": packed}
_NATIVE = ("native", *levels.LEVELS)


def run_layer(
    cell: Cell,
    x: Tensor,
    lengths: Tensor,
    weights: Sequence[Weights],
    h0: Tensor | None,
    c0: Tensor | None,
    reverses: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """:func:`harken.engine.op.ragged_layer` on a backend, differentiable; only the lengths' values not yet checked."""
    kernel = native_kernel(x.dtype, x.device)
    lengths, longest = _on_host(lengths, x.size(1))
    if longest == 0:
        return _nothing_read(cell, x, weights, h0, c0)
    if kernel is not None:
        return native.layer(kernel, cell, x, lengths, weights, h0, c0, reverses)
    backend = _in_torch(x.device)
    run = backend.lstm if cell == "lstm" else backend.gru
    return by_direction(run, cell, x, lengths, weights, h0, c0, reverses)


def run_lstm(
    x: Tensor, lengths: Tensor, weights: Weights, h0: Tensor, c0: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`run_layer` for one direction of an LSTM; states (B, H). Operators come here with whatever they got."""
    check("lstm", x, lengths, [weights], h0, c0)
    outputs, h_n, c_n = run_layer("lstm", x, lengths, [weights], h0.unsqueeze(0), c0.unsqueeze(0), [reverse])
    assert c_n is not None  # an LSTM has one
    return outputs, h_n.squeeze(0), c_n.squeeze(0)


def run_gru(x: Tensor, lengths: Tensor, weights: Weights, h0: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """:func:`run_lstm` for a GRU."""
    check("gru", x, lengths, [weights], h0, None)
    outputs, h_n, _ = run_layer("gru", x, lengths, [weights], h0.unsqueeze(0), None, [reverse])
    return outputs, h_n.squeeze(0)


def native_kernel(dtype: torch.dtype, device: torch.device) -> ModuleType | None:
    """The kernel's module, if it is the backend for tensors of this kind.

    Raises:
        ConfigError: ``HARKEN_ENGINE`` names no backend, or one that cannot run here.
    """
    kernel = _kernel(os.environ.get("HARKEN_ENGINE", ""))
    return kernel if dtype == torch.float32 and device.type == "cpu" else None


@functools.cache
def _kernel(name: str) -> ModuleType | None:
    if not name:
        return levels.native_module()
    if name in _NATIVE:
        return levels.forced_module(name)
    if name in _IN_TORCH:
        return None
    raise ConfigError(f"HARKEN_ENGINE is {name!r}: it must be one of {', '.join([*_IN_TORCH, *_NATIVE])}, or unset")


def _in_torch(device: torch.device) -> ModuleType:
    name = os.environ.get("HARKEN_ENGINE", "")
    return _IN_TORCH.get(name) or (packed if device.type == "cuda" else portable)


def _on_host(lengths: Tensor, size: int) -> tuple[Tensor, int]:
    """``lengths`` (B,) on the CPU, contiguous and checked, and the largest: a call on CUDA waits here and only here.

    A copy: while the kernel runs, and before the backward pass, its owner may write to the original.
    """
    lengths = lengths.detach().cpu().clone(memory_format=torch.contiguous_format)
    values = lengths.numpy()
    # Read as unsigned, a negative number is a huge one: a single pass finds all that there is to find.
    longest = int(np.maximum.reduce(values.view(np.uint64), initial=0))
    if longest > size:
        wrong = next(int(value) for value in values if not 0 <= value <= size)
        raise ShapeError(f"lengths holds {wrong}: every length must lie between 0 and T = {size}, the width of x")
    return lengths, longest


def _nothing_read(
    cell: Cell, x: Tensor, weights: Sequence[Weights], h0: Tensor | None, c0: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """B = 0, T = 0, or only empty rows: states as they were, all gradients there, and those of the rest 0."""
    batch, time, hidden = x.size(0), x.size(1), weights[0][1].size(1)
    if h0 is None:
        h0 = x.new_zeros(len(weights), batch, hidden)
        c0 = h0 if cell == "lstm" else None
    tensors = [x, h0, c0, *(tensor for own in weights for tensor in own)]
    zero = torch.stack([t.flatten()[:0].sum() for t in tensors if t is not None]).sum()  # depends on every one
    outputs = zero.expand(batch, time, len(weights) * hidden).clone()
    return outputs, h0 + zero, None if c0 is None else c0 + zero
