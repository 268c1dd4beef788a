"""What training asks of a task: a loss to lower, a score on validation rows, and something to show."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import Tensor


class Loss(NamedTuple):
    """The loss of a batch, as a sum, so that means over several batches weigh every part alike."""

    total: Tensor  # (), with its gradient
    counted: (
        Tensor  # (), what the total is divided by: target tokens, rows, or their weights; 0 where the total is 0 too
    )


class Objective(Protocol):
    """One task's side of `harken.training.run.train`. It holds no model: each call is handed one.

    Scores are collected batch by batch: `reset`, then `add` for every validation batch, then `result`, as often as one
    likes, and `examples`.
    """

    unit: str  # of the loss, such as "nats per token"
    noun: str = "rows"  # what validation counts
    shares: tuple[str, ...]  # names in `result` whose values lie between 0 and 1: shown in %, drawn as curves
    headline: tuple[str, ...]  # names in `result` to tell after each epoch, in this order

    def loss(self, model: Any, batch: Any) -> Loss:
        """What the training step on this batch lowers, total / counted."""

    def state_dict(self) -> dict[str, Any]:
        """What one training batch leaves to the next, as plain lists and tensors; most tasks leave nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        return

    def reset(self) -> None:
        """Forget every batch added so far."""

    def add(self, model: Any, batch: Any) -> None:
        """Score one validation batch; the model is in eval mode, and no gradient is kept."""

    def result(self) -> dict[str, float]:
        """Scores of everything added so far, by name: ``loss``, and the one that the option `monitor` names."""

    def examples(self) -> list[str]:
        """Lines about the validation rows to be shown, from what was added so far; each is indented by two spaces."""
