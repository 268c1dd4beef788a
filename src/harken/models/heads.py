"""From features to answers: logits, their loss, probabilities and predictions, one head for each label column.

    kind          logits         target                      probabilities    predictions
    binary        (B, 1 or 2)    (B,) 0 or 1                 (B, 2)           (B,) index
    classes       (B, C)         (B,) index                  (B, C)           (B,) index
    multi-label   (B, C)         (B, C) 0 or 1               (B, C)           (B, C) bool
    values        (B, k)         (B, k), standardised        –                (B, k), in the user's units
    tags          (B, T, C)      (B, T) index                (B, T, C)        (B, T) index

A target that is missing is -1, or NaN where targets are floats: it has loss 0 and gives no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.data.labels import Head
from harken.errors import ShapeError, UsageError

MISSING = -1


class Heads(nn.Module):
    """A linear map for each head, all from the same features.

    Args:
        size: of the features.
        heads: what is answered; a name may hold any characters.

    Raises:
        UsageError: no heads, two of one name, or heads for rows beside heads for steps.
    """

    def __init__(self, size: int, heads: Sequence[Head]) -> None:
        super().__init__()
        names = [head.name for head in heads]
        if not heads:
            raise UsageError("heads is empty: a model needs at least one label column")
        if len(set(names)) < len(names):
            raise UsageError(f"heads ({', '.join(names)}) must have different names")
        if len({head.kind == "tags" for head in heads}) > 1:
            kinds = ", ".join(f"{head.name}: {head.kind}" for head in heads)
            raise UsageError(f"heads ({kinds}) must be all tags or none: train a model for steps and one for rows")
        self.heads = tuple(heads)
        self.tags = heads[0].kind == "tags"
        self.linears = nn.ModuleList(nn.Linear(size, head.width) for head in heads)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """(B, size) or, for tags, (B, T, size) → name → logits (B, width) or (B, T, width)."""
        return {head.name: linear(features) for head, linear in zip(self.heads, self.linears, strict=True)}


def head_loss(
    head: Head, logits: Tensor, target: Tensor, *, class_weight: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """What a row's answer costs, (B,).

    binary, classes: cross-entropy; tags: summed over the row's steps; multi-label: binary cross-entropy, mean over the
    labels; values: squared error, mean over the values. One binary logit z is the pair of logits 0 and z.

    Args:
        head: what is answered.
        logits: see the table above.
        target: see the table above.
        class_weight: (C,), how much an error in a class counts; of multi-label, how much a label that is there
            counts, against 1 for one that is not.
        label_smoothing: share of the target's probability that is spread over all classes (Szegedy et al. 2016,
            section 7); of multi-label, over a label's yes and no.

    Raises:
        ShapeError: logits and target that do not fit.
        UsageError: class weights for values.
    """
    _check(head, logits, target)
    match head.kind:
        case "binary" | "classes":
            return _cross_entropy(_classes(head, logits), target, class_weight, label_smoothing)
        case "tags":
            losses = _cross_entropy(logits.flatten(0, 1), target.flatten(), class_weight, label_smoothing)
            return losses.view(target.shape).sum(1)  # (B,)
        case "multi-label":
            given, real = _given(target)
            given = given.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
            losses = F.binary_cross_entropy_with_logits(logits, given, reduction="none", pos_weight=class_weight)
            return _mean(losses, real)
        case "values":
            if class_weight is not None:
                raise UsageError(f"class_weight must be left out for {head.name}, which holds values and no classes")
            given, real = _given(target)
            return _mean((logits - given).square(), real)


def count(head: Head, target: Tensor) -> Tensor:
    """How many targets of each row `head_loss` counts, (B,) int64: 0 or 1, and of tags those that are not missing."""
    match head.kind:
        case "binary" | "classes":
            return (target != MISSING).long()
        case "tags":
            return (target != MISSING).sum(1)
        case "multi-label" | "values":
            return (~target.isnan()).any(1).long()


def probabilities(head: Head, logits: Tensor) -> Tensor:
    """Logits as probabilities: of classes, summing to 1 over the last axis; of multi-label, each on its own.

    Raises:
        UsageError: values have none.
    """
    match head.kind:
        case "binary" | "classes" | "tags":
            return F.softmax(_classes(head, logits), dim=-1)
        case "multi-label":
            return torch.sigmoid(logits)
        case "values":
            raise UsageError(f"{head.name} holds values, which have no probabilities: ask for predictions")


def predictions(head: Head, logits: Tensor) -> Tensor:
    """Logits as answers: the best class's index; of multi-label, which are likelier than not; values in their units.

    Values come in float64: a mean may be large beside what is told apart.
    """
    match head.kind:
        case "binary" | "classes" | "tags":
            return _classes(head, logits).argmax(-1)
        case "multi-label":
            return logits > 0
        case "values":
            wide = logits.double()
            return wide * wide.new_tensor(head.scales) + wide.new_tensor(head.means)


def _classes(head: Head, logits: Tensor) -> Tensor:
    """A logit for each class: σ(z) is the softmax of 0 and z."""
    if head.kind == "binary" and head.width == 1:
        return torch.cat([torch.zeros_like(logits), logits], dim=-1)  # (B, 2)
    return logits


def _cross_entropy(logits: Tensor, target: Tensor, class_weight: Tensor | None, label_smoothing: float) -> Tensor:
    return F.cross_entropy(
        logits, target, class_weight, ignore_index=MISSING, reduction="none", label_smoothing=label_smoothing
    )


def _given(target: Tensor) -> tuple[Tensor, Tensor]:
    """The target with 0 for what is missing, and a mask of what is not."""
    missing = target.isnan()
    return target.masked_fill(missing, 0.0), ~missing


def _mean(losses: Tensor, real: Tensor) -> Tensor:
    """Over a row's targets that are not missing: (B, k) → (B,)."""
    return (losses * real).sum(1) / real.sum(1).clamp(min=1)


def _check(head: Head, logits: Tensor, target: Tensor) -> None:
    steps = logits.shape[:2] if head.kind == "tags" else logits.shape[:1]
    expected = (*steps, head.width) if head.kind in ("multi-label", "values") else tuple(steps)
    if logits.shape != (*steps, head.width) or target.shape != expected:
        shown = "(B, T, C)" if head.kind == "tags" else "(B, C)"
        raise ShapeError(
            f"logits {tuple(logits.shape)} of {head.name} ({head.kind}) must be {shown} with C = {head.width}, and "
            f"target {tuple(target.shape)} must be {tuple(expected)}"
        )
