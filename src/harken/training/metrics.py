"""How good answers are: one dictionary of numbers per head, and a report class by class.

Targets are in the numbers of `harken.data.labels.encode`; one that is missing (-1 or NaN) counts nowhere, and of a row
with several the others do. What a score means is scikit-learn's definition, calibration is torchmetrics'. A model that
has diverged scores NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harken.data.labels import Head
from harken.models.heads import predictions, probabilities

BINS = 15  # of the expected calibration error, as in Guo et al. 2017
MOST_CLASSES = 1000  # a confusion matrix of more would be larger than the data

Scores = dict[str, float]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Answered(NamedTuple):
    """What is kept of a model's logits to score them.

    n rows, or steps of tags: (n,) indices; of multi-label (n, C) bool; of values (n, k) in the user's units.
    """

    answers: Tensor
    confidence: Tensor | None  # (n,) probability of the answer, where one class is chosen

    @classmethod
    def of(cls, head: Head, logits: Tensor) -> Answered:
        """From (n, width) logits."""
        confidence = None if head.kind in ("values", "multi-label") else probabilities(head, logits).amax(-1)
        return cls(predictions(head, logits), confidence)


class ClassLine(NamedTuple):
    """One class in a report."""

    label: Any
    precision: float
    recall: float
    f1: float
    support: float  # rows (or steps, or rows that have the label) that belong to it, in sample weights


class Report(NamedTuple):
    """One head, class by class."""

    head: Head
    lines: list[ClassLine]
    confusion: npt.NDArray[np.int64] | None  # (C, C): true class down, answer across; None where classes overlap


def score(head: Head, answered: Answered, targets: Tensor, weights: Tensor | None = None) -> Scores:
    """The numbers of one head; ``score`` is the one that a monitor looks at, larger is better.

        binary, classes, tags   accuracy, macro_f1, calibration_error (Guo et al. 2017, equation 3)
        multi-label             micro_f1, macro_f1, exact_match
        values                  r2, mse, mae, in the units of the targets; the mean over the values

    Args:
        targets: (n,) indices; (n, C) for multi-label; (n, k) for values, standardised.
        weights: (n,) of the rows, 0 or larger; a row of weight 0 counts nowhere. Calibration and the confusion matrix
            ignore what is between.

    Returns:
        An empty dictionary when no target is known.
    """
    known, truth, weighed = _known(head, targets, weights)
    if not known.any():
        return {}
    answers = answered.answers.numpy()
    match head.kind:
        case "values":
            return _values(answers.astype(np.float64), truth, known, weighed)
        case "multi-label":
            return _multi_label(answers, truth, known, weighed)
    assert answered.confidence is not None
    return _classes(answers[known], answered.confidence[known], truth[known], _at(weighed, known))


def _known(head: Head, targets: Tensor, weights: Tensor | None) -> tuple[Bools, npt.NDArray[Any], Floats | None]:
    """Which targets are there and count; all of them, as scikit-learn takes them, values in the user's units; weights.

    For values and multi-label each target of a row is known or not: (n, k), else (n,).
    """
    several = head.kind in ("values", "multi-label")
    known: Bools = (~targets.isnan() if several else targets >= 0).numpy()
    weighed = None if weights is None else weights.double().numpy()
    if weighed is not None:
        known = known & (weighed > 0).reshape(-1, *[1] * (known.ndim - 1))
    if not several:
        return known, targets.numpy(), weighed
    if head.kind == "multi-label":
        return known, (targets > 0.5).numpy(), weighed
    return known, targets.double().numpy() * np.array(head.scales) + np.array(head.means), weighed


def _at(weights: Floats | None, rows: Bools) -> Floats | None:
    return None if weights is None else weights[rows]


def _classes(answers: npt.NDArray[Any], confidence: Tensor, truth: npt.NDArray[Any], weights: Floats | None) -> Scores:
    from sklearn.metrics import accuracy_score, f1_score
    from torchmetrics.functional.classification import binary_calibration_error

    accuracy = float(accuracy_score(truth, answers, sample_weight=weights))
    right = torch.from_numpy((answers == truth).astype(np.int64))
    error = math.nan  # of a model that has diverged
    if bool(confidence.isfinite().all()):
        error = float(binary_calibration_error(confidence.double(), right, n_bins=BINS))
    return {
        "score": accuracy,
        "accuracy": accuracy,
        "macro_f1": float(f1_score(truth, answers, average="macro", sample_weight=weights, zero_division=0)),
        "calibration_error": error,
    }


class _Found(NamedTuple):
    """How often, in sample weights, each of several labels was answered, was true, and was both; each (C,)."""

    both: Floats
    said: Floats
    true: Floats

    @classmethod
    def of(cls, answers: Bools, truth: Bools, known: Bools, weights: Floats | None) -> _Found:
        """From (n, C) each."""

        def summed(cells: Bools) -> Floats:
            each = cells.sum(0) if weights is None else [weights[column].sum() for column in cells.T]
            return np.array(each, dtype=np.float64)

        return cls(summed(answers & truth & known), summed(answers & known), summed(truth & known))


def _share(part: Floats, whole: Floats) -> Floats:
    """0 where there is nothing to share."""
    found: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return found


def _multi_label(answers: Bools, truth: Bools, known: Bools, weights: Floats | None) -> Scores:
    """Every known label of every row; a row is right if all that is known of it is."""
    found = _Found.of(answers, truth, known, weights)
    micro = float(_share(2 * found.both.sum(), found.said.sum() + found.true.sum()))
    asked, rows = np.any(known, axis=0), np.any(known, axis=1)  # (C,), (n,)
    right = ((answers == truth) | ~known).all(1)[rows]
    return {
        "score": micro,
        "micro_f1": micro,
        "macro_f1": float(_share(2 * found.both, found.said + found.true)[asked].mean()),
        "exact_match": float(np.average(right, weights=_at(weights, rows))),
    }


def _values(answers: Floats, truth: Floats, known: Bools, weights: Floats | None) -> Scores:
    """Of each value over the rows that have it, then the mean."""
    columns = [
        _value(answers[rows, place], truth[rows, place], _at(weights, rows))
        for place, rows in enumerate(known.T)
        if rows.any()
    ]
    r2, mse, mae = (float(np.mean(scores)) for scores in zip(*columns, strict=True))
    return {"score": r2, "r2": r2, "mse": mse, "mae": mae}


def _value(answers: Floats, truth: Floats, weights: Floats | None) -> tuple[float, float, float]:
    """R², mean squared and mean absolute error of n values."""
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    if not np.isfinite(answers).all():  # of a model that has diverged
        return math.nan, math.nan, math.nan
    squared = float(mean_squared_error(truth, answers, sample_weight=weights))
    # One row has no variance to explain; R² is then 1 or 0, as for a constant column.
    r2 = float(r2_score(truth, answers, sample_weight=weights)) if len(truth) > 1 else float(squared == 0)
    return r2, squared, float(mean_absolute_error(truth, answers, sample_weight=weights))


def all_right(answered: Sequence[tuple[Answered, Tensor, Tensor | None]]) -> float:
    """The share of rows whose classes are right in every head, among those whose answers are all known; else NaN."""
    targets = torch.stack([target for _, target, _ in answered])  # (heads, n)
    right = torch.stack([each.answers for each, _, _ in answered]) == targets
    weights = answered[0][2]
    counted = (targets >= 0).all(0).double() * (1 if weights is None else weights)  # (n,)
    return float((right.all(0) * counted).sum() / counted.sum())


def joined(heads: Sequence[Head], scores: Sequence[Scores]) -> Scores:
    """The scores of all heads in one dictionary: of a single head by their names, else with the head's in front.

    ``score`` is the mean over heads.
    """
    if len(heads) == 1:
        return dict(scores[0])
    known = [each["score"] for each in scores if each]
    named = {
        f"{head.name}_{name}": value
        for head, each in zip(heads, scores, strict=True)
        for name, value in each.items()
        if name != "score"
    }
    return ({"score": sum(known) / len(known)} if known else {}) | named


def report(head: Head, answered: Answered, targets: Tensor, weights: Tensor | None = None) -> Report:
    """Precision, recall and F1 of every class, and who is taken for whom; arguments as of `score`."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    known, truth, weighed = _known(head, targets, weights)
    if head.kind == "values" or not known.any():
        return Report(head, [], None)
    answers = answered.answers.numpy()
    if head.kind == "multi-label":
        found = _Found.of(answers, truth, known, weighed)
        f1 = _share(2 * found.both, found.said + found.true)
        columns = (_share(found.both, found.said), _share(found.both, found.true), f1, found.true)
        return Report(head, _lines(head, columns), None)
    answers, truth, labels = answers[known], truth[known], list(range(len(head.classes)))
    of_classes = {"labels": labels, "sample_weight": _at(weighed, known), "zero_division": 0}
    columns = precision_recall_fscore_support(truth, answers, **of_classes)
    confusion = confusion_matrix(truth, answers, labels=labels) if len(labels) <= MOST_CLASSES else None
    return Report(head, _lines(head, columns), confusion)


def _lines(head: Head, columns: Iterable[Floats]) -> list[ClassLine]:
    return [ClassLine(*line) for line in zip(head.classes, *(column.tolist() for column in columns), strict=True)]
