"""Attention over the past, one step at a time: what a generated text costs per token does not grow with the text.

The batch's door is `harken.layers.past.PastAttention`. Here the last steps stand in a ring, and the newest takes the
place of the oldest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from harken.layers.attention import AdditiveAttention, DotAttention, GeneralAttention
from harken.layers.past import PastAttention

Floats: TypeAlias = npt.NDArray[np.floating[Any]]


class PastStepper:
    """One step of one text per call, with the weights of the moment it was made; no gradient.

    Args:
        layer: the attention; a text's steps get the contexts that its `forward` gives them.
        dtype: of the states, which is that of the layer's parameters, if it has any.

    Attributes:
        weights: of the last call, (n,), oldest step first; n ≤ memory_length, and one more with include_current.
    """

    def __init__(self, layer: PastAttention, dtype: npt.DTypeLike = np.float32) -> None:
        self._current = layer.include_current
        self._room = layer.memory_length + layer.include_current
        self._states = np.zeros((self._room, layer.size), dtype)  # a ring
        self._seen = 0  # steps of the text
        self._query, self._key, self._score = _scoring(layer)
        # Additive attention compares with a projection of the states; the other scores with the states themselves.
        self._keys = (
            self._states if self._key is None else np.zeros((self._room, self._query(self._states[0]).size), dtype)
        )
        self._nothing = np.zeros(layer.size, dtype)
        self._weights: Floats = np.zeros(0, dtype)

    def __call__(self, state: Floats) -> Floats:
        """The context (H,) of the next step, whose state is (H,)."""
        if self._current:
            self._write(state)
        count = min(self._seen, self._room)
        context = self._nothing
        if count:
            scores = self._score(self._query(state), self._keys[:count])  # (n,), in the ring's order
            scores -= scores.max()
            np.exp(scores, out=scores)
            scores /= scores.sum()
            self._weights = scores
            context = scores @ self._states[:count]
        if not self._current:
            self._write(state)
        return context

    @property
    def weights(self) -> Floats:
        """Of the last call, (n,), oldest step first."""
        before = self._seen if self._current else self._seen - 1
        return np.roll(self._weights, -(before % self._room)) if before > self._room else self._weights

    def _write(self, state: Floats) -> None:
        place = self._seen % self._room
        self._states[place] = state
        if self._key is not None:
            self._keys[place] = self._key(state)
        self._seen += 1


def _scoring(
    layer: PastAttention,
) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats] | None, Callable[[Floats, Floats], Floats]]:
    """Three functions: of the state that asks, of those that are asked (None: as they are), and of the two."""
    attention = layer.attention
    if isinstance(attention, GeneralAttention):
        weight = _array(attention.query.weight)
        return lambda state: weight @ state, None, lambda query, keys: keys @ query
    if isinstance(attention, AdditiveAttention):
        w_q, w_k, bias, v = map(
            _array, (attention.query.weight, attention.key.weight, attention.key.bias, attention.energy.weight[0])
        )
        return (
            lambda state: w_q @ state,
            lambda state: w_k @ state + bias,
            lambda query, keys: np.tanh(keys + query) @ v,
        )
    assert isinstance(attention, DotAttention)
    scale = 1 / math.sqrt(layer.size) if attention.scaled else 1.0
    return lambda state: state * scale, None, lambda query, keys: keys @ query


def _array(tensor: Tensor) -> Floats:
    """A copy: training on must not change what was made before."""
    found: Floats = tensor.detach().cpu().numpy().copy()
    return found
