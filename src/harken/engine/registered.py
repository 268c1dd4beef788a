"""``harken::ragged_lstm`` and ``harken::ragged_gru``: what ``torch.compile`` and ``torch.export`` see.

A compiler that looked inside would unroll time and freeze T (``torch.export`` refuses a bare ``nn.LSTM`` with
a dynamic T). So each call is one opaque node with dynamic B and T, and its backward is a second one, which
runs the backend again with gradients on: one more forward pass, and nothing to save but the inputs.
Both compute in float32 under autocast; bfloat16 would leak into the state otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from harken.engine.backends import run_gru, run_lstm

_LSTM = (
    "Tensor x, Tensor lengths, Tensor w_ih, Tensor w_hh, Tensor b_ih, Tensor b_hh, Tensor h0, Tensor c0, bool reverse"
)
_GRU = "Tensor x, Tensor lengths, Tensor w_ih, Tensor w_hh, Tensor b_ih, Tensor b_hh, Tensor h0, bool reverse"


def lstm(
    x: Tensor, lengths: Tensor, weights: Sequence[Tensor], h0: Tensor, c0: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`harken.engine.op.ragged_lstm` as one node; all four weights there."""
    outputs, h_n, c_n = torch.ops.harken.ragged_lstm(x, lengths, *weights, h0, c0, reverse)
    return outputs, h_n, c_n


def gru(x: Tensor, lengths: Tensor, weights: Sequence[Tensor], h0: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """:func:`harken.engine.op.ragged_gru` as one node."""
    outputs, h_n = torch.ops.harken.ragged_gru(x, lengths, *weights, h0, reverse)
    return outputs, h_n


@contextmanager
def _autograd_on() -> Iterator[None]:
    """Autograd inside an operator's own kernel, also below a dispatch mode (a FLOP counter), which hides it.

    The key guard is what PyTorch's own higher-order operators use; it has no public name.
    """
    autograd = torch._C.DispatchKey.AutogradFunctionality
    with torch._C._SetExcludeDispatchKeyGuard(autograd, False), torch.enable_grad():
        yield


def _register(name: str, run: Callable[..., tuple[Tensor, ...]], arguments: str, states: int) -> None:
    """Define ``harken::name`` and ``harken::name_backward`` around a backend call with ``states`` final states."""
    results = 1 + states  # outputs, h_n (, c_n)
    gradients = ", ".join(f"Tensor grad_{i}" for i in range(results))
    inputs = 6 + states  # x, lengths, four weights, the initial states
    torch.library.define(f"harken::{name}", f"({arguments}) -> ({', '.join(['Tensor'] * results)})")
    torch.library.define(
        f"harken::{name}_backward",
        f"({gradients}, {arguments}) -> ({', '.join(['Tensor'] * (inputs - 1))})",
    )
    backward_op = getattr(torch.ops.harken, f"{name}_backward")

    @torch.library.impl(f"harken::{name}", "default")
    def forward(x: Tensor, lengths: Tensor, *others: Any) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return tuple(result.contiguous() for result in run(x, lengths, others[:4], *others[4:]))

    def forward_fake(x: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        batch, time, hidden = x.size(0), x.size(1), rest[2].size(1)
        return x.new_empty(batch, time, hidden), *(x.new_empty(batch, hidden) for _ in range(states))

    @torch.library.impl(f"harken::{name}_backward", "default")
    def backward(*arguments: Any) -> tuple[Tensor, ...]:
        grads, (x, lengths, *others, reverse) = arguments[:results], arguments[results:]
        with _autograd_on():
            leaves = [tensor.detach().requires_grad_() for tensor in (x, *others)]
            outputs = run(leaves[0], lengths, leaves[1:5], *leaves[5:], reverse)
            found = torch.autograd.grad(outputs, leaves, grads)
        # Autograd may hand out one tensor twice (both biases' gradient) and slices; an operator may not.
        return tuple(gradient.clone(memory_format=torch.contiguous_format) for gradient in found)

    def backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
        x, _, *others, _ = arguments[results:]
        return tuple(tensor.new_empty(tensor.shape) for tensor in (x, *others))

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.reverse = inputs
        ctx.save_for_backward(*tensors)

    def differentiate(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *others = backward_op(*grads, *ctx.saved_tensors, ctx.reverse)
        return x, None, *others, None

    torch.library.register_fake(f"harken::{name}", forward_fake)
    torch.library.register_fake(f"harken::{name}_backward", backward_fake)
    torch.library.register_autograd(f"harken::{name}", differentiate, setup_context=setup_context)
    for device in ("cpu", "cuda"):
        torch.library.register_autocast(f"harken::{name}", device, torch.float32)


_register("ragged_lstm", run_lstm, _LSTM, states=2)
_register("ragged_gru", run_gru, _GRU, states=1)
