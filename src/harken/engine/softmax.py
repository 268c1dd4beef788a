"""Rows of logits and their targets: log-probabilities, and the gradient of their negated sum in the logits' place.

What PyTorch's operators do in some seven passes over the largest tensor of a model, the kernel does in one.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from harken.engine.backends import native_kernel
from harken.engine.native import threads
from harken.engine.op import recorded


class Softmax(NamedTuple):
    """What is left of logits (n, V)."""

    log_probabilities: Tensor  # (n,) of the targets, float32 at least
    turned: Tensor | None  # (V, n), the gradient transposed
    sums: Tensor | None  # (V,), its sum over rows, float32 at least


def log_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """log softmax(logits)[target] of each row, (n,), float32 at least; the logits (n, V) stay. No gradient."""
    if kernel := _kernel(logits):
        return _native(logits, targets, kernel, gradients=False, turned=None, sums=None)
    precise = _precise(logits)
    chances = F.log_softmax(precise, dim=-1)
    return chances.gather(1, targets.unsqueeze(-1)).squeeze(-1)


def softmax_gradient_(logits: Tensor, targets: Tensor, *, turn: bool, add_up: bool) -> Softmax:
    """The same, and the logits become softmax(logits) - one at each target. No gradient.

    Args:
        logits: (n, V), contiguous.
        targets: (n,) int64, from 0 to V - 1.
        turn: is the gradient wanted transposed too?
        add_up: is its sum over rows?

    Raises:
        IndexError: a target outside of them, as PyTorch has it.
    """
    count, size = logits.shape
    if kernel := _kernel(logits):
        turned = logits.new_empty(size, count) if turn and logits.dtype == torch.float32 else None
        sums = logits.new_empty(size, dtype=torch.float32) if add_up else None
        found = _native(logits, targets, kernel, gradients=True, turned=turned, sums=sums)
    else:
        chances = F.log_softmax(_precise(logits), dim=-1)
        found = chances.gather(1, targets.unsqueeze(-1)).squeeze(-1)
        chances.exp_()[torch.arange(count, device=targets.device), targets] -= 1
        sums = chances.sum(0) if add_up else None
        logits.copy_(chances)
        turned = None
    if turn and turned is None:
        turned = logits.t()
    return Softmax(found, turned, sums)


def transposed(matrix: Tensor) -> Tensor:
    """(n, m) → (m, n), contiguous. No gradient."""
    kernel = None if recorded() else native_kernel(matrix.dtype, matrix.device)
    if kernel is None or not matrix.is_contiguous():
        return matrix.t().contiguous()
    found = matrix.new_empty(matrix.shape[1], matrix.shape[0])
    kernel.turn(threads(), matrix.data_ptr(), *matrix.shape, found.data_ptr())
    return found


def _kernel(logits: Tensor) -> ModuleType | None:
    """For bfloat16 too: the kernel's numbers are float32, whatever it reads them from."""
    fits = logits.dtype in (torch.float32, torch.bfloat16) and logits.is_contiguous() and logits.numel() > 0
    return native_kernel(torch.float32, logits.device) if fits and not recorded() else None


def _native(
    logits: Tensor,
    targets: Tensor,
    kernel: ModuleType,
    *,
    gradients: bool,
    turned: Tensor | None,
    sums: Tensor | None,
) -> Tensor:
    targets = targets.to(torch.int64).contiguous()
    least, most = (int(bound) for bound in targets.aminmax())
    if least < 0 or most >= logits.shape[1]:  # the kernel would read, and write, beside the row
        raise IndexError(f"target {least if least < 0 else most} is out of bounds for {logits.shape[1]} logits")
    found = torch.empty(len(logits), dtype=torch.float32)
    kernel.softmax(
        logits.dtype == torch.bfloat16,
        threads(),
        logits.data_ptr(),
        *logits.shape,
        targets.data_ptr(),
        found.data_ptr(),
        gradients,
        0 if turned is None else turned.data_ptr(),
        0 if sums is None else sums.data_ptr(),
    )
    return found


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
