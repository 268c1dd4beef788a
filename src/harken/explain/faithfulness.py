"""Whether to believe the attention: does the answer rest on the steps that it looked at?

Take out the steps with most attention, or leave only those, and ask again; beside it the same for integrated
gradients, which know what moves the answer, and for steps drawn at random, which know nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from harken.data.batching import SequenceBatch
from harken.data.inputs import Inputs
from harken.data.labels import Head
from harken.errors import DataError, UsageError
from harken.explain.attribution import attribute, chosen, share_of_error
from harken.explain.removal import top, without
from harken.explain.sequence import BATCH_SIZE, check_attends, device_of
from harken.models.heads import probabilities
from harken.predictor.sequence import SequencePredictor

PERCENTS = (1, 5, 10, 20, 50)  # of a row's steps, at least one (DeYoung et al. 2020, section 4.2)
DRAWS = 3  # random orders of each row
_NOTICEABLE = 0.01  # a smaller difference says nothing, however many rows there are

_UNITS = {"character": "characters", "byte": "bytes", "bpe": "pieces"}
_KINDS = {
    "ids": "steps",
    "series": "steps",
    "spectrogram": "frames",
    "vectors": "chunks",
    "sentences": "sentences",
}


class Order(NamedTuple):
    """What happens to the answers when the first steps of an order are taken out, or are all that is left.

    Both (n, 5), rows by `PERCENTS`: by how much the probability of the row's answer falls, or, of values, by how much
    the answer moves in standard deviations of the training rows.
    """

    removed: Tensor
    kept: Tensor

    @property
    def comprehensiveness(self) -> float:
        """Mean over rows and percents of what taking them out does: high where they matter."""
        return float(self.removed.mean())

    @property
    def sufficiency(self) -> float:
        """Mean over rows and percents of what leaving only them does: low where they are enough."""
        return float(self.kept.mean())


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """What `believe` measured on n rows.

    Attributes:
        head: whose answers.
        unit: what a step is called, in the plural.
        kind: "probability" of a label, or "value".
        flattened: steps, of a series or a spectrogram, were not removed but set to the channels' mean.
        attention, gradients, random: three orders of a row's steps.
        correlations: (m,) Spearman's rank correlation between a row's attention and the size of its gradients, of rows
            in which both differ from step to step.
        error: how far the gradients are from adding up, on average over rows; see `share_of_error`.
    """

    head: str
    unit: str
    kind: str
    flattened: bool
    attention: Order
    gradients: Order
    random: Order
    correlations: Tensor
    error: float

    @property
    def rows(self) -> int:
        """How many rows had a step to take out."""
        return len(self.attention.removed)

    @property
    def correlation(self) -> float | None:
        """Mean over rows; None where no row has one."""
        return float(self.correlations.mean()) if len(self.correlations) else None

    def verdict(self) -> str:
        """Whether to believe the attention, in words; differences within two standard errors count as none."""
        if self.rows < 2:
            return "one row says nothing about the others, so give more"
        attention, gradients, random = (
            order.removed.mean(1) for order in (self.attention, self.gradients, self.random)
        )
        if not _clearly(attention, random):
            if _clearly(gradients, random):
                return f"do not read the attention as a reason, random {self.unit} do as well and gradients do better"
            return f"no few {self.unit} decide here, so neither attention nor gradients can point at them"
        if not _clearly(gradients, attention):
            how = "more sharply than" if _clearly(attention, gradients) else "as sharply as"
            return f"attention points at what matters, {how} gradients"
        halfway = float((attention - random).mean()) < 0.5 * float((gradients - random).mean())
        return f"attention points at what matters, {'far ' if halfway else ''}less sharply than gradients" + (
            ", so believe those" if halfway else ""
        )

    def sentence(self) -> str:
        """All of it in one sentence."""
        a, g, r = self.attention, self.gradients, self.random
        does, unit = ("lowers the probability of the answer by", "")
        if self.kind == "value":
            does, unit = ("moves the answer by", " standard deviations")
        steps = f"the {PERCENTS[0]} to {PERCENTS[-1]}% of {self.unit} with most attention"
        way = f"setting {steps} to the channels' mean" if self.flattened else f"removing {steps}"
        rows = f"{self.rows:,} row{'s' if self.rows > 1 else ''}"
        removed = [_two(order.comprehensiveness) for order in (a, g, r)]
        kept = [_two(order.sufficiency) for order in (a, g, r)]
        correlation = "none" if self.correlation is None else _two(self.correlation)
        return (
            f"On {rows}, {way} {does} {removed[0]}{unit} on average (integrated gradients {removed[1]}, random "
            f"{self.unit} {removed[2]}), keeping only them by {kept[0]} ({kept[1]}, {kept[2]}), rank correlation "
            f"{correlation}: {self.verdict()}."
        )

    def numbers(self) -> dict[str, Any]:
        """All of it as plain data, for JSON."""
        orders = {"attention": self.attention, "gradients": self.gradients, "random": self.random}
        return {
            "head": self.head,
            "rows": self.rows,
            "kind": self.kind,
            "percents": list(PERCENTS),
            "comprehensiveness": {name: order.comprehensiveness for name, order in orders.items()},
            "sufficiency": {name: order.sufficiency for name, order in orders.items()},
            "removed": {name: order.removed.mean(0).tolist() for name, order in orders.items()},
            "kept": {name: order.kept.mean(0).tolist() for name, order in orders.items()},
            "rank_correlation": self.correlation,
            "gradients_error": self.error,
            "sentence": self.sentence(),
        }


def believe(
    predictor: SequencePredictor, inputs: Inputs, seed: int = 0, *, head: str | None = None, points: int | None = None
) -> Faithfulness:
    """Measure how far the answers about these rows rest on what the attention points at.

    Comprehensiveness and sufficiency of DeYoung et al. 2020, equations 1 and 2, averaged over 1, 5, 10, 20 and 50% of
    a row's steps (section 4.2). Attention of several heads is averaged; gradients put what speaks for the answer first
    and what speaks against it last, of values the largest of either sign first.
    Differs from the paper: the average leaves out its term for 0%, which is 0, as the authors' own code does; of values
    the size of the answer's movement is measured; of a series or a spectrogram, steps are not taken out but flattened
    to the mean.

    Args:
        predictor: a classifier or regressor whose pooling attends.
        inputs: the rows; some hundred tell enough.
        seed: of the random orders.
        head: whose answers; default: the first.
        points: of integrated gradients; default: see `harken.explain.attribution.attribute`.

    Raises:
        UsageError: a tagger, a pooling without weights, or a model of pictures or recordings.
        DataError: no row with a step.
    """
    asked = predictor.heads[0] if head is None else predictor.head(head)
    if asked.kind == "tags":
        raise UsageError(
            "a tagger answers every step, so there is no one answer to take steps from: read its gradients"
        )
    kind = predictor.model.kind
    if kind in ("image", "audio"):
        what, compare = (
            ("cells of a picture", "Grad-CAM") if kind == "image" else ("frames of a recording", "gradients")
        )
        raise UsageError(
            f"{what} overlap, so none can be taken out to see whether the answer rests on it: "
            f"compare attention with {compare}"
        )
    check_attends(predictor)
    generator = torch.Generator().manual_seed(seed)
    rows = [
        measured
        for batch in predictor.batches(inputs, batch_size=BATCH_SIZE)
        for measured in _measure(predictor, batch.to(device_of(predictor)), asked, generator, points)
    ]
    if not rows:
        raise DataError(f"none of the {len(inputs)} rows has a step to take out: give rows that are not empty")
    drops = torch.stack([row.drops for row in rows])  # (n, 3, 2, 5)
    attention, gradients, random = (Order(order[:, 0], order[:, 1]) for order in drops.unbind(1))
    return Faithfulness(
        asked.name,
        _unit(predictor),
        "value" if asked.kind == "values" else "probability",
        kind in ("series", "spectrogram"),
        attention,
        gradients,
        random,
        torch.tensor([row.correlation for row in rows if row.correlation is not None]),
        sum(row.error for row in rows) / len(rows),
    )


class _Measured(NamedTuple):
    """One row."""

    drops: Tensor  # (3, 2, 5): attention, gradients, random; removed, kept; percents
    correlation: float | None
    error: float


def _measure(
    predictor: SequencePredictor, batch: SequenceBatch, head: Head, generator: torch.Generator, points: int | None
) -> Iterator[_Measured]:
    output = predictor.answer(batch)
    assert output.weights is not None
    attention = output.weights.mean(1)  # (B, T)
    steps, _, _, _, error = attribute(predictor.model, batch.inputs, head, points=points)
    logits = output.logits[head.name]

    def drops(scores: Tensor) -> Tensor:
        """(B, 2, 5)."""
        found = []
        for percent in PERCENTS:
            first = top(scores, batch.inputs.lengths, percent)
            for keep in (~first, first):
                left = batch._replace(inputs=without(predictor.model, batch.inputs, keep))
                found.append(_drop(head, logits, predictor.answer(left).logits[head.name]))
        return torch.stack(found, 1).view(-1, len(PERCENTS), 2).transpose(1, 2)

    chance = [torch.rand(steps.shape, generator=generator).to(steps.device) for _ in range(DRAWS)]
    random = torch.stack([drops(scores) for scores in chance]).mean(0)
    ordered = steps.abs() if head.kind == "values" else steps
    together = torch.stack([drops(attention), drops(ordered), random], 1).cpu()  # (B, 3, 2, 5)
    share = share_of_error(steps, error).tolist()
    for place, length in enumerate(batch.inputs.lengths.tolist()):
        if length:
            looked, moved = attention[place, :length].cpu(), steps[place, :length].abs().cpu()
            yield _Measured(together[place], rank_correlation(looked, moved), share[place])


def _drop(head: Head, before: Tensor, after: Tensor) -> Tensor:
    """(B,): by how much the probability of the answer falls, or the answer moves."""
    if head.kind == "values":
        return (after - before).abs().mean(1)
    return _confidence(head, before, chosen(head, before)) - _confidence(head, after, chosen(head, before))


def _confidence(head: Head, logits: Tensor, answer: Tensor) -> Tensor:
    """(B,): the probability of the answer that `chosen` marks; of several labels, their mean."""
    if head.kind == "binary" and head.width == 1:
        return torch.sigmoid(logits * answer).squeeze(1)
    chances: Tensor = probabilities(head, logits) * answer
    return chances.sum(1) / answer.sum(1)


def rank_correlation(a: Tensor, b: Tensor) -> float | None:
    """Spearman's, ties sharing their mean rank; None where all values of one are equal."""
    centred = [ranks - ranks.mean() for ranks in (_ranks(a), _ranks(b))]
    norms = math.prod(float(ranks.norm()) for ranks in centred)
    return float(centred[0] @ centred[1]) / norms if norms else None


def _ranks(values: Tensor) -> Tensor:
    ordered = values.sort().values
    first, last = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (first + last).double() / 2


def _clearly(more: Tensor, less: Tensor) -> bool:
    """Whether the mean of a row's difference is above 0 by two standard errors, and by enough to notice."""
    difference = more - less
    error = float(difference.std()) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    return float(difference.mean()) > max(2 * error, _NOTICEABLE)


def _two(value: float) -> str:
    """Two decimals, and no minus before 0."""
    return f"{round(value, 2) + 0.0:.2f}"


def _unit(predictor: SequencePredictor) -> str:
    kind = predictor.encoder.kind
    if kind == "text":
        return _UNITS.get(predictor.encoder.tokenizers["input"].kind, "words")
    return _KINDS.get(kind, "words")
