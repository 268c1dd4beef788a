"""What a model says → what users get: arrays of numbers, and their own labels."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from harken.data.labels import Head, decode
from harken.data.ragged import Ragged
from harken.models.heads import predictions, probabilities
from harken.predictor.sequence import of_steps


class HeadAnswers(NamedTuple):
    """What one head says of n rows: three things that are often mistaken for each other.

    For tags each is a list of one array or list per row.
    """

    logits: Any  # (n, width) float32: what the output layer gives, no softmax; of values, standardised
    probabilities: Any  # (n, C), a class each, summing to 1; of multi-label each on its own; None for values
    labels: list[Any]  # the user's own labels or values


def head_answers(head: Head, logits: Tensor | Ragged) -> HeadAnswers:
    """All three of the logits of every row, or of every step for tags."""
    chances = None if head.kind == "values" else as_arrays(of_steps(probabilities, head, logits))
    return HeadAnswers(as_arrays(logits), chances, decode(head, of_steps(predictions, head, logits)))


def as_arrays(found: Tensor | Ragged) -> Any:
    """(n, C) as an array; of steps, an array for each row."""
    if not isinstance(found, Ragged):
        return found.numpy()
    return [found.values[start:end].numpy() for start, end in pairwise(found.offsets.tolist())]


def predicted(head: Head, logits: Tensor | Ragged, *, indicator: bool) -> Any:
    """Predictions as scikit-learn's users expect them.

    Args:
        head: who predicts.
        logits: of every row, or of every step for tags.
        indicator: several labels are wanted as a table of 0 and 1.

    Returns:
        Labels (n,) or values (n,) or (n, k) as an array; a list of lists for several labels or tags of a row; a table
        (n, C) int64.
    """
    found = of_steps(predictions, head, logits)
    if isinstance(found, Ragged) or (head.kind == "multi-label" and not indicator):
        return decode(head, found)
    if head.kind == "multi-label":
        return found.long().numpy()
    if head.kind == "values":
        return (found[:, 0] if head.width == 1 else found).numpy()
    return class_array(head)[found.numpy()]


def class_array(head: Head) -> npt.NDArray[Any]:
    """The classes, (C,): of one type if they are, else objects."""
    array = np.asarray(head.classes)
    if len({*map(type, head.classes)}) > 1 or array.tolist() != list(head.classes):  # such as texts that end in NUL
        array = np.empty(len(head.classes), dtype=object)
        array[:] = head.classes
    return array


def decision(head: Head, logits: Tensor) -> Tensor:
    """Logits as scikit-learn's decision functions are: of two classes (n,), above 0 for the second; else (n, C)."""
    if head.kind != "binary":
        return logits
    return logits[:, 0] if head.width == 1 else logits[:, 1] - logits[:, 0]
