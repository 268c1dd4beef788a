"""Scores are scikit-learn's, calibration is what Guo et al. wrote down, and what is missing counts nowhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import Tensor

from harken.data.labels import Head
from harken.training.metrics import BINS, Answered, all_right, joined, report, score

CLASSES = Head("color", "classes", 3, ("red", "green", "blue"))
BINARY = Head("sense", "binary", 1, ("neg", "pos"))
TAGS = Head("part", "tags", 4, ("N", "V", "A", "X"))
SEVERAL = Head("genre", "multi-label", 3, ("crime", "love", "war"))
VALUES = Head("size", "values", 2, (), (10.0, -5.0), (2.0, 0.5))


def drawn(head: Head, n: int = 60, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, targets and weights of n rows."""
    chance = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, head.width, generator=chance)
    weights = torch.randint(1, 4, (n,), generator=chance).float()
    match head.kind:
        case "values":
            return logits, logits + torch.randn(n, head.width, generator=chance), weights
        case "multi-label":
            return logits, (torch.rand(n, head.width, generator=chance) < 0.4).float(), weights
    return logits, torch.randint(0, len(head.classes), (n,), generator=chance), weights


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("head", [CLASSES, BINARY, TAGS], ids=lambda head: head.kind)
def test_classes(head: Head, weighted: bool) -> None:
    logits, targets, weights = drawn(head)
    given = weights if weighted else None
    found = score(head, Answered.of(head, logits), targets, given)
    answers = (logits[:, 0] > 0).long() if head is BINARY else logits.argmax(1)
    w = weights.numpy() if weighted else None
    assert found["score"] == found["accuracy"] == pytest.approx(sk.accuracy_score(targets, answers, sample_weight=w))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(targets, answers, average="macro", sample_weight=w))
    lines = report(head, Answered.of(head, logits), targets, given).lines
    table = sk.precision_recall_fscore_support(targets, answers, sample_weight=w)
    assert [line.label for line in lines] == list(head.classes)
    assert np.allclose([line[1:] for line in lines], np.transpose(table))
    confusion = report(head, Answered.of(head, logits), targets, given).confusion
    assert confusion is not None
    assert (confusion == sk.confusion_matrix(targets, answers)).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_several_labels(weighted: bool) -> None:
    logits, targets, weights = drawn(SEVERAL)
    given, w = (weights, weights.numpy()) if weighted else (None, None)
    found = score(SEVERAL, Answered.of(SEVERAL, logits), targets, given)
    true, said = targets.numpy() > 0, logits.numpy() > 0
    for name in ("micro", "macro"):
        assert found[f"{name}_f1"] == pytest.approx(sk.f1_score(true, said, average=name, sample_weight=w))
    assert found["score"] == found["micro_f1"]
    assert found["exact_match"] == pytest.approx(np.average((true == said).all(1), weights=w))
    lines, confusion = report(SEVERAL, Answered.of(SEVERAL, logits), targets, given)[1:]
    assert confusion is None
    support = (true * (np.ones(60) if w is None else w)[:, None]).sum(0)
    assert [line.support for line in lines] == support.tolist()


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_in_the_units_of_the_user(weighted: bool) -> None:
    logits, targets, weights = drawn(VALUES)
    given, w = (weights, weights.numpy()) if weighted else (None, None)
    found = score(VALUES, Answered.of(VALUES, logits), targets, given)
    true, said = (each.double().numpy() * VALUES.scales + VALUES.means for each in (targets, logits))
    assert found["score"] == found["r2"] == pytest.approx(sk.r2_score(true, said, sample_weight=w))
    assert found["mse"] == pytest.approx(np.average(((true - said) ** 2).mean(1), weights=w))
    assert found["mae"] == pytest.approx(np.average(np.abs(true - said).mean(1), weights=w))
    assert report(VALUES, Answered.of(VALUES, logits), targets, given) == (VALUES, [], None)


@pytest.mark.parametrize("weighted", [False, True])
def test_one_label_is_scored_for_where_it_is_there(weighted: bool) -> None:
    """scikit-learn takes one column for two classes, of which one is "none"."""
    head = Head("spam", "multi-label", 1, ("spam",))
    logits, targets, weights = drawn(head)
    given, w = (weights, weights.numpy()) if weighted else (None, None)
    true, said = targets[:, 0].numpy() > 0, logits[:, 0].numpy() > 0
    f1 = sk.f1_score(true, said, sample_weight=w)
    assert f1 != pytest.approx(sk.f1_score(true, said, average="micro", sample_weight=w))
    found = score(head, Answered.of(head, logits), targets, given)
    assert found["score"] == found["micro_f1"] == found["macro_f1"] == pytest.approx(f1)
    assert found["exact_match"] == pytest.approx(sk.accuracy_score(true, said, sample_weight=w))
    (line,) = report(head, Answered.of(head, logits), targets, given).lines
    expected = sk.precision_recall_fscore_support(true, said, labels=[True], sample_weight=w)
    assert line[1:] == pytest.approx([float(column[0]) for column in expected])
    assert line.label == "spam"


def half_missing(head: Head) -> tuple[Tensor, Tensor, Tensor]:
    """Of every row one of three targets is missing, of some two or all; rows of which all is known are none."""
    logits, targets, weights = drawn(head)
    rows = torch.arange(len(targets))
    targets[rows, rows % head.width] = math.nan
    targets[::7, 1] = math.nan
    targets[:3] = math.nan
    return logits, targets, weights


@pytest.mark.parametrize("weighted", [False, True])
def test_of_a_row_that_lacks_a_value_the_others_count(weighted: bool) -> None:
    logits, targets, weights = half_missing(VALUES)
    true, said = (each.double().numpy() * VALUES.scales + VALUES.means for each in (targets, logits))
    expected: dict[str, list[float]] = {"r2": [], "mse": [], "mae": []}
    for column in range(2):
        known = ~np.isnan(true[:, column])
        assert 20 < known.sum() < 40
        each = {"sample_weight": weights.numpy()[known] if weighted else None}
        for name, score_of in (
            ("r2", sk.r2_score),
            ("mse", sk.mean_squared_error),
            ("mae", sk.mean_absolute_error),
        ):
            expected[name].append(score_of(true[known, column], said[known, column], **each))
    answered = Answered.of(VALUES, logits)
    found = score(VALUES, answered, targets, weights if weighted else None)
    assert found == pytest.approx(
        {name: np.mean(columns) for name, columns in expected.items()} | {"score": found["r2"]}
    )
    targets[:, 1] = math.nan
    assert score(VALUES, answered, targets, weights if weighted else None)["mse"] == pytest.approx(expected["mse"][0])


@pytest.mark.parametrize("weighted", [False, True])
def test_of_a_row_that_lacks_a_label_the_others_count(weighted: bool) -> None:
    logits, targets, weights = half_missing(SEVERAL)
    answered, w = Answered.of(SEVERAL, logits), weights.numpy() if weighted else np.ones(60)
    known, true, said = ~targets.isnan().numpy(), targets.numpy() > 0, logits.numpy() > 0
    found = score(SEVERAL, answered, targets, weights if weighted else None)
    cells = np.broadcast_to(w[:, None], known.shape)[known]
    assert found["micro_f1"] == pytest.approx(sk.f1_score(true[known], said[known], sample_weight=cells))
    tables = []
    for c in range(3):
        mine = known[:, c]
        tables.append(
            sk.precision_recall_fscore_support(true[mine, c], said[mine, c], labels=[True], sample_weight=w[mine])
        )
    assert found["macro_f1"] == pytest.approx(np.mean([float(table[2][0]) for table in tables]))
    lines = report(SEVERAL, answered, targets, weights if weighted else None).lines
    assert np.allclose([line[1:] for line in lines], [[float(column[0]) for column in table] for table in tables])
    right = [all(a == b for a, b, k in zip(*row, strict=True) if k) for row in zip(true, said, known, strict=True)]
    rows = known.any(1)
    assert found["exact_match"] == pytest.approx(np.average(np.array(right)[rows], weights=w[rows]))
    targets[:, 2] = math.nan
    two = Head("genre", "multi-label", 2, ("crime", "love"))
    fewer = score(two, Answered.of(two, logits[:, :2]), targets[:, :2], weights)
    assert score(SEVERAL, answered, targets, weights) == pytest.approx(fewer)


def test_one_value_has_no_variance_to_explain() -> None:
    one = torch.zeros(1, 2)
    assert score(VALUES, Answered.of(VALUES, one), one)["r2"] == 1.0
    assert score(VALUES, Answered.of(VALUES, one + 1), one)["r2"] == 0.0


def by_hand(confidence: np.ndarray, right: np.ndarray) -> float:
    """Guo et al. 2017, equation 3: Σ over bins |bin| / n · |accuracy - confidence|."""
    total = 0.0
    for i in range(BINS):
        inside = (confidence >= i / BINS) & ((confidence < (i + 1) / BINS) | ((i == BINS - 1) & (confidence == 1)))
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("head", [CLASSES, BINARY, TAGS], ids=lambda head: head.kind)
def test_calibration_error(head: Head) -> None:
    logits, targets, _ = drawn(head, 300)
    chances = torch.cat([torch.zeros(300, 1), logits], 1).softmax(1) if head is BINARY else logits.softmax(1)
    confidence, answers = (each.numpy() for each in chances.double().max(1))
    expected = by_hand(confidence, answers == targets.numpy())
    assert score(head, Answered.of(head, logits), targets)["calibration_error"] == pytest.approx(expected, abs=1e-6)
    assert 0.05 < expected < 0.9


def test_a_calibrated_model_and_one_that_is_too_sure() -> None:
    """Eight of ten right at 0.8; then all that it says at (nearly) 1."""
    answers, targets = torch.ones(10, dtype=torch.int64), torch.tensor([1] * 8 + [0, 0])
    for confidence, error in ((0.8, 0.0), (1.0, 0.2)):
        found = score(BINARY, Answered(answers, torch.full((10,), confidence)), targets)
        assert found["calibration_error"] == pytest.approx(error, abs=1e-6)


MISSING: dict[str, Any] = {"classes": -1, "tags": -1, "multi-label": math.nan, "values": math.nan}


@pytest.mark.parametrize("head", [CLASSES, TAGS, SEVERAL, VALUES], ids=lambda head: head.kind)
def test_what_is_missing_or_weighs_nothing_counts_nowhere(head: Head) -> None:
    logits, targets, weights = drawn(head)
    kept = torch.arange(60) % 3 > 0
    partly = targets.clone()
    partly[~kept] = MISSING[head.kind]
    expected = score(head, Answered.of(head, logits[kept]), targets[kept], weights[kept])
    answered = Answered.of(head, logits)
    assert score(head, answered, partly, weights) == pytest.approx(expected)
    assert score(head, answered, targets, weights * kept) == pytest.approx(expected)
    assert str(report(head, answered, partly, weights)) == str(report(head, answered, targets, weights * kept))
    for nothing in (torch.full_like(targets, MISSING[head.kind]), targets[:0]):
        some = Answered.of(head, logits[: len(nothing)])
        assert score(head, some, nothing) == {}
        assert report(head, some, nothing) == (head, [], None)


@pytest.mark.parametrize("head", [CLASSES, SEVERAL, VALUES], ids=lambda head: head.kind)
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_model_that_has_diverged_scores_nothing(head: Head, number: float) -> None:
    logits, targets, _ = drawn(head)
    found = score(head, Answered.of(head, torch.full_like(logits, number)), targets)
    if head is SEVERAL:
        assert 0 <= found["score"] <= 1
    else:
        assert math.isnan(found["r2" if head is VALUES else "calibration_error"])


def test_heads_are_joined_by_their_names() -> None:
    one = {"score": 0.5, "accuracy": 0.5, "macro_f1": 0.4}
    other = {"score": 1.0, "r2": 1.0}
    assert joined([CLASSES], [one]) == one
    together = joined([CLASSES, VALUES], [one, other])
    assert together == {"score": 0.75, "color_accuracy": 0.5, "color_macro_f1": 0.4, "size_r2": 1.0}
    assert joined([CLASSES, VALUES], [one, {}])["score"] == 0.5
    assert joined([CLASSES, VALUES], [{}, {}]) == {}


@pytest.mark.parametrize("weighted", [False, True])
def test_all_right_is_the_share_of_rows_that_are_right_in_every_head(weighted: bool) -> None:
    answers = torch.tensor([[0, 1, 2, 0, 1], [1, 1, 0, 0, 0]])  # (heads, n)
    targets = torch.tensor([[0, 1, 1, -1, 1], [1, 0, 0, 0, 0]])
    weights = torch.tensor([1.0, 2, 3, 4, 5]) if weighted else None
    given = [(Answered(a, None), t, weights) for a, t in zip(answers, targets, strict=True)]
    assert all_right(given) == pytest.approx(6 / 11 if weighted else 2 / 4, abs=1e-12)
    assert math.isnan(all_right([(a, torch.full_like(t, -1), w) for a, t, w in given]))
