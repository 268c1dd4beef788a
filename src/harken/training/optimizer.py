"""AdamW, and for tables of token vectors a way that touches only the rows that a batch has looked up.

Most of a vocabulary occurs in no batch, and yet an Adam step reads and writes all of its table, moments and gradient
several times: of a classifier of short texts that was a quarter of what a step cost. Without a first moment (β₁ = 0) a
row whose gradient is 0 stays where it is, and its second moment only shrinks, which can be made up for when the row is
next looked up. So the sparse way is exact: the same numbers as the dense one with β₁ = 0, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from harken.models.frontends import TokenFrontend

LARGE = 1 << 16  # values of a table from which a sparse gradient is worth its bookkeeping


def tables(model: nn.Module) -> list[nn.Embedding]:
    """The tables of token vectors that are learned."""
    found = (module.embedding for module in model.modules() if isinstance(module, TokenFrontend))
    return [table for table in found if table.weight.requires_grad]


class TableAdamW(torch.optim.AdamW):
    """AdamW for all parameters but those in groups with ``table=True``; these are (V, E) and their step t is

        v ← β₂ v + (1 - β₂) grad²        row ← row - α grad / (√(v / (1 - β₂ᵗ)) + ε)

    Kingma & Ba 2015, algorithm 1, with β₁ = 0, and no weight decay: it would draw a rare word's vector to 0 however
    little is known of it. A sparse gradient reads and writes its own rows alone. Differs from `torch.optim.SparseAdam`,
    whose second moments do not shrink while a row is absent, so that its result is not Adam's.

    Args:
        params: groups, as of AdamW.
        options: of AdamW.
    """

    def __init__(self, params: Iterable[dict[str, Any]], **options: Any) -> None:
        super().__init__([{"table": False} | group for group in params], **options)
        self.defaults["table"] = False

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["table"]:
                for table in group["params"]:
                    if table.grad is not None:
                        self._step_table(table, table.grad, group)
                        table.grad = None  # what AdamW is not to see
        super().step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        super().load_state_dict(state_dict)
        for saved, group in zip(state_dict["param_groups"], self.param_groups, strict=True):
            for number, table in zip(saved["params"], group["params"], strict=True):
                if group["table"] and number in state_dict["state"]:  # torch gave it the table's type
                    for name in ("exp_avg_sq", "current"):
                        self.state[table][name] = state_dict["state"][number][name].to(table.device, copy=True)

    def _step_table(self, table: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state, beta = self.state[table], group["betas"][1]
        precise = torch.promote_types(table.dtype, torch.float32)  # half a type counts no steps, and knows no 1e-8
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg_sq"] = torch.zeros_like(table, dtype=precise)
            state["current"] = torch.zeros(len(table), dtype=precise, device=table.device)  # v is that of this step
        state["step"] += 1
        step = float(state["step"])
        correction = (1 - beta**step) ** 0.5
        if grad.is_sparse:
            grad = grad.coalesce()
            rows, grad = grad.indices()[0], grad.values().to(precise)  # (U,), (U, E)
            moments = state["exp_avg_sq"].index_select(0, rows)
            faded = beta ** (step - state["current"].index_select(0, rows))
        else:
            rows, grad, moments = None, grad.to(precise), state["exp_avg_sq"]
            faded = beta ** (step - state["current"])
        moments.mul_(faded.unsqueeze(1)).addcmul_(grad, grad, value=1 - beta)
        change = grad.div(moments.sqrt().div_(correction).add_(group["eps"])).mul_(-group["lr"])
        change = change.to(table.dtype)
        if rows is None:
            state["current"].fill_(step)
            table.add_(change)
        else:
            state["current"].index_fill_(0, rows, step)
            state["exp_avg_sq"].index_copy_(0, rows, moments)
            table.index_add_(0, rows, change)


def clip_gradients(parameters: Iterable[Tensor], most: float) -> None:
    """Scale all gradients, sparse ones among them, so that their joint norm is ``most`` or less.

    Pascanu, Mikolov & Bengio 2013, algorithm 1. NaN in one makes all of them NaN, and infinity makes itself NaN and
    the others 0, as `torch.nn.utils.clip_grad_norm_` does.
    """
    values = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()  # a row looked up twice has one gradient, and one norm
                values.append(parameter.grad.values())
            else:
                values.append(parameter.grad)
    norm = torch.nn.utils.get_total_norm(values)
    factor = (most / (norm + 1e-6)).clamp(max=1.0)
    if factor < 1 or factor.isnan():
        torch._foreach_mul_(values, factor)
