"""Heads: each loss against its formula, what is missing, and the three named answers."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harken.data.labels import Head
from harken.errors import ShapeError, UsageError
from harken.models.heads import Heads, count, head_loss, predictions, probabilities

NAN = float("nan")
ONE = Head("sick?", "binary", 1, ("no", "yes"))
TWO = Head("sick?", "binary", 2, ("no", "yes"))
CLASSES = Head("colour", "classes", 3, ("red", "green", "blue"))
LABELS = Head("topics", "multi-label", 3, ("a", "b", "c"))
VALUES = Head("size", "values", 2, (), (10.0, -1.0), (2.0, 0.5))
TAGS = Head("tag", "tags", 3, ("N", "V", "X"))
TARGETS: dict[Head, Tensor] = {  # the third row is missing
    ONE: torch.tensor([1, 0, -1]),
    TWO: torch.tensor([1, 0, -1]),
    CLASSES: torch.tensor([2, 0, -1]),
    LABELS: torch.tensor([[1, 0, 1], [0, 0, 0], [NAN, NAN, NAN]]),
    VALUES: torch.tensor([[0.5, -2.0], [3.0, NAN], [NAN, NAN]]),
    TAGS: torch.tensor([[0, 2, -1, 1], [1, -1, -1, -1], [-1, -1, -1, -1]]),
}
every_head = pytest.mark.parametrize("head", TARGETS, ids=lambda head: f"{head.kind}-{head.width}")


def logits_of(head: Head, seed: int = 0) -> Tensor:
    shape = (3, 4, head.width) if head.kind == "tags" else (3, head.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def formula(head: Head, logits: Any, target: Any, weight: Any = None, smoothing: float = 0.0) -> float:
    """The loss of one row in plain Python."""
    if head.kind == "tags":
        rows = zip(logits, target, strict=True)
        return sum(formula(CLASSES, z, t, weight, smoothing) for z, t in rows if t >= 0)
    if head.kind == "multi-label":
        terms = []
        for k, (z, t) in enumerate(zip(logits, target, strict=True)):
            p, y = 1 / (1 + math.exp(-z)), t * (1 - smoothing) + smoothing / 2
            terms.append(-((weight[k] if weight else 1) * y * math.log(p) + (1 - y) * math.log(1 - p)))
        return sum(terms) / len(terms)
    if head.kind == "values":
        terms = [(z - t) ** 2 for z, t in zip(logits, target, strict=True) if not math.isnan(t)]
        return sum(terms) / len(terms)
    if head.width == 1:  # the binary cross-entropy of one logit
        p, share = 1 / (1 + math.exp(-logits[0])), target * (1 - smoothing) + smoothing / 2
        no, yes = weight or (1, 1)
        return -(yes * share * math.log(p) + no * (1 - share) * math.log(1 - p))
    total = sum(map(math.exp, logits))
    shares = [(1 - smoothing) * (k == target) + smoothing / len(logits) for k in range(len(logits))]
    weights = weight or [1] * len(logits)
    return -sum(w * s * math.log(math.exp(z) / total) for w, s, z in zip(weights, shares, logits, strict=True))


@pytest.mark.parametrize(
    ("head", "smoothing", "weighted"),
    [(VALUES, 0.0, False), *product((ONE, TWO, CLASSES, LABELS, TAGS), (0.0, 0.2), (False, True))],
)
def test_the_loss_is_its_formula(head: Head, smoothing: float, weighted: bool) -> None:
    weight = [0.5, 2.0, 3.0][: max(head.width, 2)] if weighted else None
    logits, target = logits_of(head), TARGETS[head]
    tensor = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    loss = head_loss(head, logits, target, class_weight=tensor, label_smoothing=smoothing)
    assert loss.shape == (3,)
    for row in (0, 1):
        wanted = formula(head, logits[row].tolist(), target[row].tolist(), weight, smoothing)
        assert float(loss[row]) == pytest.approx(wanted, rel=1e-12)


@every_head
def test_what_is_missing_costs_nothing_and_gives_no_gradient(head: Head) -> None:
    logits, target = logits_of(head).requires_grad_(), TARGETS[head]
    loss = head_loss(head, logits, target)
    loss.sum().backward()
    assert float(loss.detach()[2]) == 0
    assert bool((logits.grad[2] == 0).all())
    assert bool(logits.grad.isfinite().all())
    missing = target.isnan() if target.is_floating_point() else target == -1
    if missing.dim() > 1:
        assert bool((logits.grad[missing] == 0).all())
    assert bool((logits.grad[0] != 0).any())


@every_head
def test_count_says_how_many_targets_counted(head: Head) -> None:
    assert count(head, TARGETS[head]).tolist() == ([3, 1, 0] if head.kind == "tags" else [1, 1, 0])
    assert count(head, TARGETS[head]).dtype == torch.int64


@every_head
@pytest.mark.parametrize("steps", [0, 4])
def test_an_empty_batch_has_no_losses(head: Head, steps: int) -> None:
    logits, target = logits_of(head)[:0], TARGETS[head][:0]
    if head.kind == "tags":
        logits, target = logits[:, :steps], target[:, :steps]
    assert head_loss(head, logits, target).shape == (0,)
    assert count(head, target).shape == (0,)
    assert predictions(head, logits).shape[0] == 0


def test_tags_without_a_step_cost_nothing() -> None:
    loss = head_loss(TAGS, torch.zeros(2, 0, 3), torch.zeros(2, 0, dtype=torch.int64))
    assert loss.tolist() == [0, 0]


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"class_weight": torch.tensor([0.3, 4.0])}])
def test_one_logit_is_two_of_which_the_first_is_0(options: dict[str, Any]) -> None:
    one, target = logits_of(ONE).float(), TARGETS[ONE]
    two = torch.cat([torch.full_like(one, 0.7), one + 0.7], dim=1)
    assert torch.allclose(head_loss(ONE, one, target, **options), head_loss(TWO, two, target, **options))
    assert torch.allclose(probabilities(ONE, one), probabilities(TWO, two))
    assert torch.equal(predictions(ONE, one), predictions(TWO, two))
    if not options:
        wanted = F.binary_cross_entropy_with_logits(one[:2, 0], target[:2].float(), reduction="none")
        assert torch.allclose(head_loss(ONE, one, target)[:2], wanted)


def test_huge_logits_stay_finite() -> None:
    for head in (ONE, TWO, CLASSES, LABELS):
        logits = (logits_of(head) * 1e4).requires_grad_()
        loss = head_loss(head, logits, TARGETS[head])
        loss.sum().backward()
        assert bool(loss.isfinite().all())
        assert bool(logits.grad.isfinite().all())
        assert bool(probabilities(head, logits).isfinite().all())


@every_head
def test_probabilities(head: Head) -> None:
    logits = logits_of(head)
    if head.kind == "values":
        with pytest.raises(UsageError, match="size holds values, which have no probabilities"):
            probabilities(head, logits)
        return
    p = probabilities(head, logits)
    assert p.shape == (*logits.shape[:-1], len(head.classes))
    assert bool((p >= 0).all())
    if head.kind != "multi-label":
        assert torch.allclose(p.sum(-1), torch.ones((), dtype=p.dtype))
        assert torch.equal(p.argmax(-1), predictions(head, logits))
    else:
        assert torch.equal(p > 0.5, predictions(head, logits))


def test_columns_of_one_logits_probabilities_are_the_classes() -> None:
    assert probabilities(ONE, torch.tensor([[2.0]]))[0, 1] == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert predictions(ONE, torch.tensor([[2.0], [-2.0], [0.0]])).tolist() == [1, 0, 0]


def test_values_are_given_in_the_users_units() -> None:
    assert predictions(VALUES, torch.tensor([[0.0, 0.0], [1.0, -2.0]])).tolist() == [[10.0, -1.0], [12.0, -2.0]]
    years = Head("when", "values", 1, (), (1.7e9,), (1.0,))
    assert predictions(years, torch.tensor([[3.0]])).tolist() == [[1.7e9 + 3]]  # float32 has steps of 128 there


def test_heads_are_linear_maps_of_the_same_features() -> None:
    odd = Head("a.b, c", "classes", 4, (1, 2, 3, 4))
    heads = Heads(5, [ONE, odd, VALUES])
    logits = heads(torch.ones(2, 5))
    assert {name: value.shape for name, value in logits.items()} == {"sick?": (2, 1), "a.b, c": (2, 4), "size": (2, 2)}
    assert torch.equal(logits["a.b, c"], heads.linears[1](torch.ones(2, 5)))
    assert Heads(5, [TAGS])(torch.ones(2, 7, 5))["tag"].shape == (2, 7, 3)


@pytest.mark.parametrize(
    ("heads", "text"),
    [
        ([], "heads is empty"),
        ([ONE, ONE], "heads (sick?, sick?) must have different names"),
        ([ONE, TAGS], "heads (sick?: binary, tag: tags) must be all tags or none"),
    ],
)
def test_refused_heads(heads: list[Head], text: str) -> None:
    with pytest.raises(UsageError) as error:
        Heads(5, heads)
    assert text in str(error.value)


@every_head
def test_shapes_that_do_not_fit_are_refused(head: Head) -> None:
    logits, target = logits_of(head), TARGETS[head]
    for bad_logits, bad_target in ((logits[..., :0], target), (logits, target[:2]), (logits, target.unsqueeze(-1))):
        with pytest.raises(ShapeError, match=r"logits .* must be \(B, (T, )?C\) with C = "):
            head_loss(head, bad_logits, bad_target)


def test_class_weights_of_values_are_refused() -> None:
    with pytest.raises(UsageError, match="class_weight must be left out for size"):
        head_loss(VALUES, logits_of(VALUES), TARGETS[VALUES], class_weight=torch.ones(2))
