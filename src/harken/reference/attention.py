"""Attention: a decoder state looks back at all encoder outputs and takes a mixture of them.

Luong, Pham & Manning (2015), "Effective Approaches to Attention-based Neural Machine Translation", section
3.1: equation 7 with the *dot* score of equation 8, and the context vector as the average weighted by it.
Given first for one decoder step, in the parts that it is made of, then for all steps: as a loop over the
one, which is for reading, and as batched products, which is for running. The tests hold the two equal.

hs are the encoder's outputs, at once keys and values; h is a decoder state, the query. Where ``mask`` is
False, hs must be finite but is otherwise of no consequence.
"""

from __future__ import annotations

import numpy as np

from harken.reference.functions import Array, BoolArray, masked_softmax, masked_softmax_backward


class AttentionWeight:
    """How much to take of each source position: a_s = softmax_s(h · h_s), over its real positions."""

    def forward(self, hs: Array, h: Array, mask: BoolArray | None = None) -> Array:
        """hs (B, S, H), h (B, H), mask (B, S) → weights (B, S)."""
        scores = np.einsum("bsh,bh->bs", hs, h)  # (B, S)
        a = masked_softmax(scores, mask)  # over the source positions, not over the features or the batch
        self._hs, self._h, self._a = hs, h, a
        return a

    def backward(self, da: Array) -> tuple[Array, Array]:
        """With de_s the gradient of the score h · h_s: dh_s = de_s h and dh = Σ_s de_s h_s."""
        dscores = masked_softmax_backward(self._a, da)  # (B, S)
        dhs = np.einsum("bs,bh->bsh", dscores, self._h)  # (B, S, H)
        dh = np.einsum("bs,bsh->bh", dscores, self._hs)  # (B, H)
        return dhs, dh


class WeightSum:
    """The context vector: c = Σ_s a_s h_s."""

    def forward(self, hs: Array, a: Array) -> Array:
        """hs (B, S, H), weights (B, S) → context (B, H)."""
        self._hs, self._a = hs, a
        context: Array = np.einsum("bsh,bs->bh", hs, a)  # (B, H)
        return context

    def backward(self, dcontext: Array) -> tuple[Array, Array]:
        """dh_s = a_s dc and da_s = h_s · dc."""
        dhs = np.einsum("bs,bh->bsh", self._a, dcontext)  # (B, S, H)
        da = np.einsum("bsh,bh->bs", self._hs, dcontext)  # (B, S)
        return dhs, da


class Attention:
    """One decoder step: weights, then the weighted sum."""

    def __init__(self) -> None:
        self.weight = AttentionWeight()
        self.sum = WeightSum()

    def forward(self, hs: Array, h: Array, mask: BoolArray | None = None) -> tuple[Array, Array]:
        """hs (B, S, H), h (B, H), mask (B, S) → context (B, H), weights (B, S)."""
        a = self.weight.forward(hs, h, mask)
        return self.sum.forward(hs, a), a

    def backward(self, dcontext: Array) -> tuple[Array, Array]:
        """→ dhs (B, S, H), dh (B, H). hs is used as keys and as values: its gradient is a sum of two."""
        dhs_as_values, da = self.sum.backward(dcontext)
        dhs_as_keys, dh = self.weight.backward(da)
        return dhs_as_values + dhs_as_keys, dh


class TimeAttentionLoop:
    """All decoder steps, one `Attention` each."""

    def forward(self, hs: Array, h: Array, mask: BoolArray | None = None) -> tuple[Array, Array]:
        """hs (B, S, H), h (B, T, H), mask (B, S) → contexts (B, T, H), weights (B, T, S)."""
        contexts = np.empty_like(h)
        weights = np.empty((*h.shape[:2], hs.shape[1]), dtype=h.dtype)
        self._hs_shape = hs.shape
        self._steps = [Attention() for _ in range(h.shape[1])]
        for t, step in enumerate(self._steps):
            contexts[:, t], weights[:, t] = step.forward(hs, h[:, t], mask)
        return contexts, weights

    def backward(self, dcontexts: Array) -> tuple[Array, Array]:
        """→ dhs (B, S, H), dh (B, T, H). All steps look at the same hs: its gradient is a sum over steps."""
        dhs = np.zeros(self._hs_shape, dtype=dcontexts.dtype)
        dh = np.empty_like(dcontexts)
        for t, step in enumerate(self._steps):
            dhs_t, dh[:, t] = step.backward(dcontexts[:, t])
            dhs += dhs_t
        return dhs, dh


class TimeAttention:
    """All decoder steps at once: the same sums as `TimeAttentionLoop`, as batched matrix products.

    Nothing that a step attends to depends on another step's context, so no loop is needed.
    """

    def forward(self, hs: Array, h: Array, mask: BoolArray | None = None) -> tuple[Array, Array]:
        """hs (B, S, H), h (B, T, H), mask (B, S) → contexts (B, T, H), weights (B, T, S)."""
        scores = h @ hs.transpose(0, 2, 1)  # (B, T, S)
        a = masked_softmax(scores, None if mask is None else mask[:, None, :])
        self._hs, self._h, self._a = hs, h, a
        return a @ hs, a  # (B, T, H), (B, T, S)

    def backward(self, dcontexts: Array) -> tuple[Array, Array]:
        """→ dhs (B, S, H), dh (B, T, H)."""
        da = dcontexts @ self._hs.transpose(0, 2, 1)  # (B, T, S)
        dscores = masked_softmax_backward(self._a, da)  # (B, T, S)
        dhs = self._a.transpose(0, 2, 1) @ dcontexts  # (B, S, H), as values
        dhs += dscores.transpose(0, 2, 1) @ self._h  # (B, S, H), as keys
        dh: Array = dscores @ self._hs  # (B, T, H)
        return dhs, dh
