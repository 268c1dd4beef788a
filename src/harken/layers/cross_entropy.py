"""The output layer and its loss in one, without ever holding the logits of all tokens.

With a large vocabulary V the logits are the largest tensor of a model, and most of what a training step does is to
write and read them. Here they are made for some rows at a time, few enough to stay in the cache, and turned into
gradients there and then, as Hsu et al. 2024 ("Liger Kernel", section 3.2) do it on GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from harken.engine.native import keeps_graph
from harken.engine.softmax import log_probabilities, softmax_gradient_, transposed
from harken.errors import ShapeError

_HELD = 7 << 20
"""Logits that are held at once: 28 MiB in float32. From 32 MiB on the C library takes fresh pages for every tensor,
unless training has asked it to keep them, and to clear them costs more than the products; with fewer, the gradient of W
is added up in more pieces."""


def linear_cross_entropy(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """The sum of −log softmax(W x + b)[target] over all rows, (), in nats, float32 at least.

    The gradients are computed on the way, where any is wanted, and only scaled in the backward pass; there is no second
    derivative. Under autocast the products are in its type, and the softmax and all sums in float32.

    Args:
        x: (N, E).
        weight: W, (V, E).
        bias: b, (V,), or None.
        targets: (N,) int64.

    Raises:
        ShapeError: a tensor whose shape does not fit.
    """
    _check(x, weight, bias, targets)
    if torch.compiler.is_compiling():
        return F.cross_entropy(F.linear(x, weight, bias), targets, reduction="sum")
    if not torch.is_grad_enabled():  # autograd.Function is told what requires a gradient, not whether any is recorded
        return -token_log_probabilities(x, weight, bias, targets).sum()
    loss: Tensor = _LinearCrossEntropy.apply(x, weight, bias, targets)  # type: ignore[no-untyped-call]
    return loss


@torch.no_grad()
def token_log_probabilities(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """log softmax(W x + b)[target] of each row, (N,), in nats; no gradient. Arguments as `linear_cross_entropy`."""
    _check(x, weight, bias, targets)
    found = [
        log_probabilities(_product(rows, weight, bias), some) for _, rows, some in _chunks(x, targets, len(weight))
    ]
    return torch.cat(found) if found else x.new_zeros(0)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        precise = torch.promote_types(x.dtype, torch.float32)
        total = torch.zeros((), dtype=precise, device=x.device)
        d_x = torch.empty_like(x) if wants_x else None
        d_weight: Tensor | None = None
        d_bias = torch.zeros_like(bias, dtype=precise) if wants_bias and bias is not None else None
        own, (x, weight) = weight, _cast(x, weight)
        with torch.autocast(x.device.type, enabled=False):
            turned_weight = _turned(weight) if wants_x else None  # (E, V)
            for start, rows, some in _chunks(x, targets, len(weight)):
                logits = _product(rows, weight, bias)  # (n, V)
                if not any(ctx.needs_input_grad[:3]):
                    total -= log_probabilities(logits, some).sum()
                    continue
                found = softmax_gradient_(logits, some, turn=wants_weight, add_up=d_bias is not None)
                total -= found.log_probabilities.sum()
                if d_bias is not None and found.sums is not None:
                    d_bias += found.sums
                if d_x is not None and turned_weight is not None:
                    d_x[start : start + len(rows)] = _product(logits, turned_weight)
                if found.turned is not None:
                    part = _product(found.turned, _turned(rows))  # (V, E)
                    d_weight = part.to(precise) if d_weight is None else d_weight.add_(part)
        if wants_weight:
            d_weight = torch.zeros_like(own) if d_weight is None else d_weight.to(own.dtype)
        ctx.save_for_backward(d_x, d_weight, None if d_bias is None or bias is None else d_bias.to(bias.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        # In place, where nobody will ask again: W's gradient, as large as the table of tokens, is better not copied.
        scaled = torch.mul if keeps_graph() else Tensor.mul_
        return (*(None if part is None else scaled(part, scale) for part in ctx.saved_tensors), None)


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a bᵀ + bias, (n, k), (m, k) and (m,) → (n, m).

    In float32 on a CPU by oneDNN: PyTorch takes MKL there, which on AMD's processors is half as quick. It adds the bias
    on the way too, for which `addmm` takes another pass over the result.
    """
    if _in_onednn(a) or (bias is not None and _adds_bias(a)):
        own = None if bias is None else bias.to(a.dtype)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, own, "none", [], "")
        return found
    return a @ b.t() if bias is None else torch.addmm(bias.to(a.dtype), a, b.t())


_ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _turned(matrix: Tensor) -> Tensor:
    """(n, m) → (m, n); in memory too, where `_product` would else copy it for every call."""
    return transposed(matrix) if _in_onednn(matrix) else matrix.t()


def _in_onednn(matrix: Tensor) -> bool:
    return _ONEDNN and matrix.dtype == torch.float32 and matrix.device.type == "cpu"


def _adds_bias(matrix: Tensor) -> bool:
    half = matrix.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return half and _ONEDNN and matrix.device.type == "cpu"


def _cast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """In autocast's type, where it is on."""
    device = tensors[0].device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return tuple(tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors)
    return tensors


def _chunks(x: Tensor, targets: Tensor, vocabulary: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Where some rows begin, they, and their targets: as many rows as may have logits at once."""
    size = max(1, _HELD // max(1, vocabulary))
    for start in range(0, len(x), size):
        yield start, x[start : start + size], targets[start : start + size]


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> None:
    if x.dim() != 2 or targets.shape != x.shape[:1]:
        raise ShapeError(f"x {tuple(x.shape)} and targets {tuple(targets.shape)} must be (N, E) and (N,)")
    if weight.dim() != 2 or weight.shape[1] != x.shape[1]:
        raise ShapeError(f"weight {tuple(weight.shape)} must be (V, E) with the E of x {tuple(x.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"bias {tuple(bias.shape)} must be (V,) with the V of weight {tuple(weight.shape)}")
