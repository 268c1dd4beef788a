"""Drawing one token from logits."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]


def draw(logits: Floats, temperature: float, top_p: float, number: float) -> int:
    """A token, drawn by the softmax of logits / temperature among the nucleus of probability ``top_p``.

    The nucleus is the smallest set of likeliest tokens whose probabilities sum to ``top_p`` or more (Holtzman et al.
    2020, section 3.1).

    Args:
        logits: (V,); -inf is never drawn. Overwritten.
        temperature: above 0; 0: the likeliest token, and no chance.
        top_p: 0 < top_p ≤ 1.
        number: in [0, 1), which decides.
    """
    if temperature == 0:
        return int(logits.argmax())
    logits -= logits.max()
    logits /= temperature
    chances = np.exp(logits, out=logits)
    if top_p == 1:
        return _place(chances, number)
    order = np.argsort(-chances, kind="stable")
    sums = np.cumsum(chances[order])
    size = int(np.searchsorted(sums, top_p * sums[-1])) + 1
    nucleus = order[: min(size, len(order))]
    return int(nucleus[_place(chances[nucleus], number)])


def _place(chances: Floats, number: float) -> int:
    """Where ``number`` of their sum falls, in [0, 1)."""
    sums = np.cumsum(chances, dtype=np.float64)
    place = int(np.searchsorted(sums, number * sums[-1], side="right"))
    return place if place < len(chances) else int(np.flatnonzero(chances)[-1])  # rounding may lead past the end
