"""Which rows to validate on: decided by a hash of the input, so that equal inputs never fall on both sides."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.errors import DataError, UsageError

Indices = npt.NDArray[np.int64]


def split_by_hash(
    texts: Sequence[str], fraction: float, labels: Sequence[Any] | None = None
) -> tuple[Indices, Indices]:
    """Deal rows to training and validation.

    Distinct inputs stand in the order of their hash, and the first of them, up to ``fraction`` of the rows, validate:
    the same in every process, in whatever order the rows come, and nearly the same when rows are added. With
    ``labels`` this happens within every class, what one class is short of is carried to the next, and training
    keeps at least one input of every class.

    Args:
        texts: the inputs, one per row.
        fraction: share of the rows to validate on, between 0 and 1.
        labels: the class of every row; an input that occurs with several counts as its most frequent one.

    Returns:
        Row numbers of training and of validation, both rising, both non-empty.

    Raises:
        DataError: fewer than two distinct inputs.
        UsageError: a fraction outside (0, 1), or labels of another number than texts.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"fraction ({fraction}) must lie between 0 and 1")
    if labels is not None and len(labels) != len(texts):
        raise UsageError(f"there are {len(labels)} labels for {len(texts)} texts, and there must be one for each")
    sizes = Counter(texts)
    if len(sizes) < 2:
        raise DataError(
            f"{len(sizes)} distinct inputs cannot be split: give a validation file, or at least two different inputs"
        )
    ordered = sorted(sizes, key=lambda text: blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
    classes = {"": ordered} if labels is None else _by_class(ordered, texts, labels)
    held_out: set[str] = set()
    rows_seen = rows_held_out = 0
    for name in sorted(classes):
        rows_seen += sum(sizes[text] for text in classes[name])
        room = fraction * rows_seen - rows_held_out
        for text in classes[name][:-1]:  # the last one always trains
            if sizes[text] < 2 * room:  # with it the goal is nearer than without
                held_out.add(text)
                rows_held_out += sizes[text]
                room -= sizes[text]
    chosen = held_out or {ordered[0]}
    validates = np.fromiter((text in chosen for text in texts), dtype=bool, count=len(texts))
    return np.flatnonzero(~validates), np.flatnonzero(validates)


def _by_class(ordered: Sequence[str], texts: Sequence[str], labels: Sequence[Any]) -> dict[str, list[str]]:
    """The inputs of each class, in the given order."""
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text, label in zip(texts, labels, strict=True):
        votes[text][repr(label)] += 1
    classes: defaultdict[str, list[str]] = defaultdict(list)
    for text in ordered:
        classes[min(votes[text], key=lambda name: (-votes[text][name], name))].append(text)
    return classes
