"""What is learned from labels, and how well: the loss of a batch, the scores of validation rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from harken.data.batching import SequenceBatch
from harken.data.labels import Head
from harken.models.heads import count, head_loss, predictions
from harken.models.sequence import SequenceModel
from harken.training.metrics import Answered, Scores, all_right, joined, score
from harken.training.objective import Loss, Objective

SHARES = {  # names of scores that lie between 0 and 1, by the kind of head
    "binary": ("accuracy", "macro_f1", "calibration_error"),
    "classes": ("accuracy", "macro_f1", "calibration_error"),
    "tags": ("accuracy", "macro_f1", "calibration_error"),
    "multi-label": ("micro_f1", "macro_f1", "exact_match"),
    "values": (),
}
HEADLINE = {"binary": "accuracy", "classes": "accuracy", "tags": "accuracy", "multi-label": "micro_f1", "values": "r2"}


class SequenceObjective(Objective):
    """What is learned from labels, and how well.

    The loss of a step is the sum over its real targets, each times the weights of its sample and class, divided by how
    many they are: how much a row counts does not depend on what its batch mates weigh. The loss that `result` tells is
    the mean weighted by sample. Of several heads, either is the mean of theirs.

    Args:
        heads: what is answered.
        class_weight: head name → (C,) weights, see `harken.models.heads.head_loss`.
        label_smoothing: see there.
        shown: the first few validation rows in a few words each: those whose answers `examples` tells.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        *,
        class_weight: Mapping[str, Tensor] | None = None,
        label_smoothing: float = 0.0,
        shown: Sequence[str] = (),
    ) -> None:
        self.heads = tuple(heads)
        self.class_weight, self.label_smoothing, self.shown = dict(class_weight or {}), label_smoothing, list(shown)
        self.unit = "squared error, standardised" if all(h.kind == "values" for h in heads) else "nats per answer"
        self.shares = tuple(f"{prefix}{name}" for prefix, head in self._named() for name in SHARES[head.kind])
        self._compared = len(self.heads) > 1 and all(head.kind in ("binary", "classes") for head in self.heads)
        self.shares += ("all_right",) if self._compared else ()
        self.headline = (*(f"{prefix}{HEADLINE[head.kind]}" for prefix, head in self._named()), "loss")
        self.reset()

    def _named(self) -> list[tuple[str, Head]]:
        """What stands in front of each head's scores, as `joined` puts it there."""
        return [("" if len(self.heads) == 1 else f"{head.name}_", head) for head in self.heads]

    def loss(self, model: SequenceModel, batch: SequenceBatch) -> Loss:
        """The summed loss of a batch, and what it is to be divided by."""
        sums = [self._sums(head, logits, batch) for head, logits in self._of_heads(model, batch)]
        if len(sums) == 1:
            return Loss(sums[0].total, sums[0].counted)
        rows = sums[0].total.new_tensor(float(len(batch.rows)))
        means = [each.total / each.counted.clamp(min=1) for each in sums]
        return Loss(rows * torch.stack(means).mean(), rows)

    def reset(self) -> None:
        """Forget every row added so far."""
        self._kept: dict[str, list[Answered]] = {head.name: [] for head in self.heads}
        self._targets: dict[str, list[Tensor]] = {head.name: [] for head in self.heads}
        self._weights: dict[str, list[Tensor]] = {head.name: [] for head in self.heads}
        self._told: dict[int, str] = {}
        self._totals, self._counts = dict.fromkeys(self._kept, 0.0), dict.fromkeys(self._kept, 0.0)

    @torch.no_grad()
    def add(self, model: SequenceModel, batch: SequenceBatch) -> None:
        """Answer a batch of rows whose answers are known."""
        logits = dict(self._of_heads(model, batch))
        for head, own in logits.items():
            target = batch.targets[head.name]
            losses, counted = head_loss(head, own, target), count(head, target).double()  # (B,)
            if batch.sample_weight is not None:
                losses, counted = losses * batch.sample_weight, counted * batch.sample_weight
            self._totals[head.name] += float(losses.double().sum())
            self._counts[head.name] += float(counted.sum())
            self._keep(head, own.cpu(), target.cpu(), batch.sample_weight)
        self._tell(logits, batch)

    def result(self) -> Scores:
        """``loss``, ``score`` and what else `harken.training.metrics.score` gives, of everything added so far."""
        scores = [score(head, *self.answered(head)) for head in self.heads]
        means = [self._totals[name] / counted for name, counted in self._counts.items() if counted]
        together = {"all_right": all_right(list(map(self.answered, self.heads)))} if self._compared else {}
        return {"loss": sum(means) / len(means) if means else math.nan} | joined(self.heads, scores) | together

    def answered(self, head: Head) -> tuple[Answered, Tensor, Tensor | None]:
        """What a head answered, the targets and the sample weights of everything added so far: at least one batch."""
        kept = self._kept[head.name]
        confidences = [each.confidence for each in kept if each.confidence is not None]
        weights = self._weights[head.name]
        return (
            Answered(torch.cat([each.answers for each in kept]), torch.cat(confidences) if confidences else None),
            torch.cat(self._targets[head.name]),
            torch.cat(weights) if weights else None,
        )

    def examples(self) -> list[str]:
        """Lines about the first few rows: what was said, and what should have been."""
        width = max((len(self.shown[row]) for row in self._told), default=0)
        return [f"  {self.shown[row]:<{width}} → {line}" for row, line in sorted(self._told.items())]

    def _of_heads(self, model: SequenceModel, batch: SequenceBatch) -> Iterator[tuple[Head, Tensor]]:
        logits = model(batch.inputs).logits
        return ((head, logits[head.name]) for head in self.heads)

    def _sums(self, head: Head, logits: Tensor, batch: SequenceBatch) -> Loss:
        """What one head has to lower."""
        target, weight = batch.targets[head.name], self.class_weight.get(head.name)
        weight = None if weight is None else weight.to(logits)
        losses = head_loss(head, logits, target, class_weight=weight, label_smoothing=self.label_smoothing)  # (B,)
        if batch.sample_weight is not None:
            losses = losses * batch.sample_weight
        return Loss(losses.sum(), count(head, target).sum().to(losses.dtype))

    def _keep(self, head: Head, logits: Tensor, target: Tensor, weight: Tensor | None) -> None:
        """Keep what is scored: of tags, every step that has one."""
        weight = None if weight is None else weight.cpu()
        if head.kind == "tags":
            real = target >= 0  # (B, T)
            weight = None if weight is None else weight.unsqueeze(1).expand_as(target)[real]
            logits, target = logits[real], target[real]  # (steps, C), (steps,)
        self._kept[head.name].append(Answered.of(head, logits))
        self._targets[head.name].append(target)
        if weight is not None:
            self._weights[head.name].append(weight)

    def _tell(self, logits: Mapping[Head, Tensor], batch: SequenceBatch) -> None:
        """Keep what is said of the rows to be shown: few, so row by row."""
        for place, row in enumerate(batch.rows.tolist()):
            if row < len(self.shown):
                each = (self._told_of(head, own[place], batch, place) for head, own in logits.items())
                self._told[row] = "   ".join(each)

    def _told_of(self, head: Head, logits: Tensor, batch: SequenceBatch, place: int) -> str:
        target = batch.targets[head.name][place].cpu()
        logits = logits.cpu()
        if head.kind == "tags":
            known = target >= 0
            logits, target = logits[known], target[known]
        name = f"{head.name}: " if len(self.heads) > 1 else ""
        missing = bool((target.isnan() if target.is_floating_point() else target < 0).any())
        said = answer_text(head, predictions(head, logits.unsqueeze(0))[0])
        if missing:
            return f"{name}? {said}"
        if head.kind == "values":
            return f"{name}{said}   (is {answer_text(head, _in_units(head, target))})"
        true = answer_text(head, target.bool() if head.kind == "multi-label" else target)
        return f"{name}✓ {said}" if said == true else f"{name}✗ {said}   (should be {true})"


def answer_text(head: Head, answer: Tensor) -> str:
    """One row's answer as people read it.

    Args:
        answer: as `harken.models.heads.predictions` gives it, without the batch axis.
    """
    if head.kind == "values":
        return ", ".join(f"{value:.4g}" for value in answer.tolist())
    if head.kind == "tags":
        return " ".join(str(head.classes[i]) for i in answer.tolist())
    if head.kind == "multi-label":
        return ", ".join(str(name) for name, on in zip(head.classes, answer.tolist(), strict=True) if on) or "none"
    return str(head.classes[int(answer)])


def _in_units(head: Head, target: Tensor) -> Tensor:
    return target * target.new_tensor(head.scales) + target.new_tensor(head.means)
