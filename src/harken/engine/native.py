"""The engine in C++: every direction of a layer in one call of the kernel, behind one autograd node.

The kernel (``csrc/``) reads and writes plain float32 memory. So whatever comes here was checked before, by
:mod:`~harken.engine.checks` and :mod:`~harken.engine.backends`; pointers are passed as integers (a tensor through a
binding costs 2 µs, an integer nothing); and every result lies in memory that is allocated here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from harken.engine import portable
from harken.engine.directions import Cell, Weights, by_direction
from harken.errors import UsageError

CELLS: dict[Cell, int] = {"lstm": 0, "gru": 1}  # the kernel's numbers
FLOAT = 4  # bytes

# Does the backward pass that is running leave the graph as it was (retain_graph=True)? PyTorch's compiler asks in the
# same way. In a version that does not answer, what the kernel kept goes when the graph goes, and that is all.
keeps_graph: Any = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)

# In a forked child libgomp would wait for ever for threads that fork did not copy. The kernel knows by itself where it
# was loaded before the fork; this is for the child that is the first to load it.
_in_child = False


def _after_fork() -> None:
    global _in_child
    _in_child = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def layer(
    kernel: ModuleType,
    cell: Cell,
    x: Tensor,
    lengths: Tensor,
    weights: Sequence[Weights],
    h0: Tensor | None,
    c0: Tensor | None,
    reverses: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As :func:`harken.engine.op.ragged_layer`; ``reverses`` says for each direction whether it is a reverse one.

    Everything float32 on the CPU, of sizes that fit; ``lengths`` checked, contiguous and not all 0. Gradients that are
    to be differentiated again (``create_graph=True``) come from the portable engine.
    """
    x, h0, c0 = _strided(x), _contiguous(h0), _contiguous(c0)
    flat = [_contiguous(tensor) for own in weights for tensor in own]
    call = _Call(kernel, cell, lengths, reverses, weights[0][1].size(1))
    differentiated = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*flat, x, h0, c0))
    if differentiated or forward_ad._current_level >= 0:  # forward mode: the node refuses, and loses no tangent
        outputs, h_n, c_n = _Layer.apply(call, x, h0, c0, *flat)  # type: ignore[no-untyped-call]
    else:
        outputs, h_n, c_n, _ = _forward(call, x, h0, c0, flat, keep=False)
    return outputs, h_n, c_n


class _Call(NamedTuple):
    """What a call takes that has no gradient."""

    kernel: Any
    cell: Cell
    lengths: Tensor
    reverses: Sequence[bool]
    hidden: int


class _Layer(torch.autograd.Function):
    """x, h0, c0 and each direction's four weights in; outputs, h_n and c_n out, None where there is none."""

    @staticmethod
    def forward(
        ctx: Any, call: _Call, x: Tensor, h0: Tensor | None, c0: Tensor | None, *weights: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        outputs, h_n, c_n, ctx.kept = _forward(call, x, h0, c0, weights, keep=True)
        ctx.call = call
        ctx.save_for_backward(outputs, x, h0, c0, *weights)
        ctx.set_materialize_grads(False)
        return outputs, h_n, c_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        outputs, x, *others = saved
        wanted = ctx.needs_input_grad[1:]
        if all(grad is None for grad in grads):
            return None, *[None] * len(wanted)
        if torch.is_grad_enabled():  # create_graph=True
            return None, *_differentiable(ctx.call, saved, wanted, grads)
        found = [
            tensor.new_empty(tensor.shape) if wants else None
            for tensor, wants in zip((x, *others), wanted, strict=True)
        ]
        _backward(ctx.call, ctx.kept, outputs, x, others, grads, found)
        if not keeps_graph():  # as with saved tensors: megabytes that the next step's forward pass can have
            ctx.kept = None
        return None, *found


def _forward(
    call: _Call, x: Tensor, h0: Tensor | None, c0: Tensor | None, weights: Sequence[Tensor | None], keep: bool
) -> tuple[Tensor, Tensor, Tensor | None, Any]:
    """outputs, h_n, c_n, and what the kernel keeps for the backward pass."""
    kernel, cell, lengths, reverses, hidden = call
    batch, time, features = x.shape
    outputs = x.new_empty(batch, time, len(reverses) * hidden)
    h_n = x.new_empty(len(reverses), batch, hidden)
    c_n = x.new_empty(len(reverses), batch, hidden) if cell == "lstm" else None
    kept = kernel.forward(
        CELLS[cell],
        threads(),
        keep,
        (batch, time, features, hidden),
        _steps(x),
        lengths.data_ptr(),
        _steps(outputs),
        _by_direction(weights, (h0, c0, h_n, c_n), reverses, batch * hidden),
    )
    return outputs, h_n, c_n, kept


def _backward(
    call: _Call,
    kept: Any,
    outputs: Tensor,
    x: Tensor,
    others: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
    found: Sequence[Tensor | None],
) -> None:
    """Fill ``found``, the gradients of x and of ``others`` (h0, c0, weights), where they are not None."""
    h0, c0, *weights = others
    d_outputs, *finals = grads
    if d_outputs is None:  # one row of zeros, read at every step
        d_outputs = outputs.new_zeros(outputs.size(2)).expand_as(outputs)
    d_outputs = _strided(d_outputs)
    dh_n, dc_n = map(_contiguous, finals)
    dx, dh0, dc0, *d_weights = found
    state = x.size(0) * call.hidden
    gradients = [
        (*own[4:6], *own[:4], *own[6:8])
        for own in _by_direction(d_weights, (dh_n, dc_n, dh0, dc0), call.reverses, state)
    ]
    call.kernel.backward(
        kept,
        threads(),
        _steps(x),
        _steps(outputs),
        _steps(d_outputs),
        (0, 0, 0) if dx is None else _steps(dx),
        _by_direction(weights, (h0, c0, None, None), call.reverses, state),
        gradients,
    )


def _differentiable(
    call: _Call, saved: Sequence[Any], wanted: Sequence[bool], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients by PyTorch's own operations, which have derivatives in their turn."""
    _, *inputs = saved
    # Aliases: where one input was computed from another, each is to get its own part only.
    aliases: list[Any] = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
    x, h0, c0, *weights = aliases
    run = portable.lstm if call.cell == "lstm" else portable.gru
    each: list[Any] = [weights[:4], weights[4:]][: len(call.reverses)]
    with torch.autocast("cpu", enabled=False):
        results = by_direction(run, call.cell, x, call.lengths, each, h0, c0, call.reverses)
    used = [(result, grad) for result, grad in zip(results, grads, strict=True) if grad is not None]
    outputs, cotangents = zip(*used, strict=True)
    sources = [alias for alias, wants in zip(aliases, wanted, strict=True) if wants]
    found = iter(torch.autograd.grad(outputs, sources, cotangents, create_graph=True, allow_unused=True))
    return [next(found) if wants else None for wants in wanted]


def threads() -> int:
    """How many the kernel may take."""
    return 1 if _in_child else torch.get_num_threads()


def _by_direction(
    weights: Sequence[Tensor | None], states: Sequence[Tensor | None], reverses: Sequence[bool], size: int
) -> list[tuple[int, ...]]:
    """Each direction's addresses: of its four weights, and of its ``size`` floats of each state; 0 for None."""
    of_weights = [0 if tensor is None else _address(tensor) for tensor in weights]
    of_states = [0 if tensor is None else _address(tensor) for tensor in states]
    return [
        (*of_weights[4 * k : 4 * k + 4], *[address and address + k * size * FLOAT for address in of_states], reverse)
        for k, reverse in enumerate(reverses)
    ]


def _address(tensor: Tensor) -> int:
    """Where its numbers are, never 0: that stands for a tensor that is not there."""
    address = tensor.data_ptr()
    if address == 0 and tensor.numel() > 0:
        raise UsageError(f"a {type(tensor).__name__} has no memory to read from: HARKEN_ENGINE=portable may take it")
    return address


def _steps(tensor: Tensor) -> tuple[int, int, int]:
    """A tensor (B, T, features) as the kernel wants it: pointer, floats from row to row, and from step to step."""
    row, step, _ = tensor.stride()
    return _address(tensor), row, step


def _strided(tensor: Tensor) -> Tensor:
    """A tensor (B, T, features) whose last axis is contiguous; the other two may be anything, expanded too."""
    fits = (tensor.stride(2) == 1 or tensor.size(2) == 1) and not tensor.is_neg()
    return tensor if fits else tensor.contiguous().resolve_neg()


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    # is_neg: the imaginary part of a conjugate is stored with the other sign.
    if tensor is None or (tensor.is_contiguous() and not tensor.is_neg()):
        return tensor
    return tensor.contiguous().resolve_neg()
