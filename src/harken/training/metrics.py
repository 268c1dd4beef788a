"""How good answers are: one dictionary of numbers per head, and a report class by class.

Targets are in the numbers of `harken.data.labels.encode`; rows whose target is missing (-1 or NaN) count nowhere. What
a score means is scikit-learn's definition, calibration is torchmetrics'. A model that has diverged scores NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        values                  r2, mse, mae, in the units of the targets

    Args:
        targets: (n,) indices; (n, C) for multi-label; (n, k) for values, standardised.
        weights: (n,) of the rows, 0 or larger; a row of weight 0 counts nowhere. Calibration and the confusion matrix
            ignore what is between.

    Returns:
        An empty dictionary when no target is known.
    """
    known, truth, weighed = _known(head, targets, weights)
    if not bool(known.any()):
        return {}
    answers = answered.answers[known].numpy()
    match head.kind:
        case "values":
            return _values(answers.astype(np.float64), truth, weighed)
        case "multi-label":
            return _multi_label(answers, truth, weighed)
    assert answered.confidence is not None
    return _classes(answers, answered.confidence[known], truth, weighed)


def _known(head: Head, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, npt.NDArray[Any], Floats | None]:
    """Which targets are there and count, and those, as scikit-learn takes them, values in the user's units; weights."""
    known = ~targets.isnan().any(-1) if head.kind in ("values", "multi-label") else targets >= 0  # (n,)
    if weights is not None:
        known &= weights > 0
    weighed = None if weights is None else weights[known].double().numpy()
    if head.kind not in ("values", "multi-label"):
        return known, targets[known].numpy(), weighed
    truth = targets[known].double().numpy()
    if head.kind == "multi-label":
        return known, truth > 0.5, weighed
    return known, truth * np.array(head.scales) + np.array(head.means), weighed


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


def _multi_label(answers: npt.NDArray[Any], truth: npt.NDArray[Any], weights: Floats | None) -> Scores:
    from sklearn.metrics import accuracy_score, f1_score

    micro = float(f1_score(truth, answers, average="micro", sample_weight=weights, zero_division=0))
    return {
        "score": micro,
        "micro_f1": micro,
        "macro_f1": float(f1_score(truth, answers, average="macro", sample_weight=weights, zero_division=0)),
        "exact_match": float(accuracy_score(truth, answers, sample_weight=weights)),
    }


def _values(answers: Floats, truth: Floats, weights: Floats | None) -> Scores:
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    if not np.isfinite(answers).all():  # of a model that has diverged
        return dict.fromkeys(("score", "r2", "mse", "mae"), math.nan)
    squared = float(mean_squared_error(truth, answers, sample_weight=weights))
    # One row has no variance to explain; R² is then 1 or 0, as for a constant column.
    r2 = float(r2_score(truth, answers, sample_weight=weights)) if len(truth) > 1 else float(squared == 0)
    return {
        "score": r2,
        "r2": r2,
        "mse": squared,
        "mae": float(mean_absolute_error(truth, answers, sample_weight=weights)),
    }


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
    if head.kind == "values" or not bool(known.any()):
        return Report(head, [], None)
    answers = answered.answers[known].numpy()
    labels = list(range(len(head.classes)))
    columns = precision_recall_fscore_support(truth, answers, labels=labels, sample_weight=weighed, zero_division=0)
    lines = [ClassLine(*line) for line in zip(head.classes, *(column.tolist() for column in columns), strict=True)]
    small = head.kind != "multi-label" and len(labels) <= MOST_CLASSES
    return Report(head, lines, confusion_matrix(truth, answers, labels=labels) if small else None)
