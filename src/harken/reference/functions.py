"""The functions without parameters: sigmoid, masked softmax, lengths → mask.

Legend of the whole package: B batch, T time, S source time, D features, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Floating point of any precision: a layer computes in the precision of its parameters and inputs."""

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def sigmoid(x: Array) -> Array:
    """The logistic function 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2; the second form never overflows."""
    y: Array = np.tanh(0.5 * x)
    y += 1
    y *= 0.5
    return y


def mask_from_lengths(lengths: IntArray, size: int) -> BoolArray:
    """(B,) lengths → (B, size) mask; True = real, False = padding."""
    mask: BoolArray = np.arange(size) < np.asarray(lengths)[:, None]  # (B, size)
    return mask


def masked_softmax(scores: Array, mask: BoolArray | None = None) -> Array:
    r"""Softmax over the last axis, among the entries where ``mask`` is True.

    a_s = exp(e_s) / Σ_{s' real} exp(e_s')  where real, exactly 0 elsewhere; all 0 where nothing is real.

    Args:
        scores: (..., S).
        mask: bool, broadcastable to ``scores``; None means that all is real.
    """
    if scores.shape[-1] == 0:
        return scores.copy()
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    highest = scores.max(axis=-1, keepdims=True)  # (..., 1)
    highest[np.isneginf(highest)] = 0  # nothing is real: exp(-inf - 0) = 0, where exp(-inf - -inf) would be NaN
    weights: Array = np.exp(scores - highest)
    total = weights.sum(axis=-1, keepdims=True)  # (..., 1)
    total[total == 0] = 1
    weights /= total
    return weights


def masked_softmax_backward(weights: Array, dweights: Array) -> Array:
    r"""∂a_s/∂e_s' = a_s (δ_ss' - a_s'), hence de = a ⊙ (da - Σ_s a_s da_s).

    The mask is not needed: masked weights are 0, and so are their gradients.
    """
    dscores: Array = weights * (dweights - (weights * dweights).sum(axis=-1, keepdims=True))
    return dscores
