"""From a row's steps to one vector: their sum, mean or maximum, or attention with a learnt question; gates before it.

h (B, T, H) are the outputs of a recurrent layer, mask (B, T), True = real. Where the mask is False, h must be finite
but is otherwise of no consequence. A row without a real step gives 0.
"""

from __future__ import annotations

import numpy as np

from harken.reference.dense import Layer
from harken.reference.functions import Array, BoolArray, masked_softmax, masked_softmax_backward


class SumPooling:
    """v = Σ_t h_t over the real steps."""

    def forward(self, h: Array, mask: BoolArray) -> Array:
        """h (B, T, H), mask (B, T) → v (B, H)."""
        self._shares = self._share(mask).astype(h.dtype)  # (B, T): how much of each step is taken
        v: Array = np.einsum("bt,bth->bh", self._shares, h)
        return v

    def backward(self, dv: Array) -> Array:
        """Every real step gets its share of the gradient: dh (B, T, H)."""
        dh: Array = np.einsum("bt,bh->bth", self._shares, dv)
        return dh

    def _share(self, mask: BoolArray) -> Array:
        return mask.astype(np.float64)


class MeanPooling(SumPooling):
    """v = (1 / n) Σ_t h_t over the n real steps."""

    def _share(self, mask: BoolArray) -> Array:
        share: Array = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)
        return share


class MaxPooling:
    """v_j = max_t h_tj over the real steps, each channel j by itself."""

    def forward(self, h: Array, mask: BoolArray) -> Array:
        """h (B, T, H), mask (B, T) → v (B, H)."""
        v = np.zeros((h.shape[0], h.shape[2]), dtype=h.dtype)
        some = mask.any(axis=1)  # (B,)
        if some.any():
            v[some] = np.where(mask[some, :, None], h[some], -np.inf).max(axis=1)
        self._best = (h == v[:, None, :]) & mask[:, :, None]  # (B, T, H)
        return v

    def backward(self, dv: Array) -> Array:
        """The step with the maximum gets the gradient; several that share it share the gradient."""
        ties = np.maximum(self._best.sum(axis=1, keepdims=True), 1)  # (B, 1, H)
        dh: Array = self._best * (dv[:, None, :] / ties)
        return dh


class AttentionPooling(Layer):
    """K questions u_k are asked of every step: v_k = Σ_t a_kt h_t with a_k = softmax_t(u_k · tanh(W h_t + b)).

    Yang et al. (2016), "Hierarchical Attention Networks for Document Classification", equations 5–7, where K = 1.

    Args:
        weight: W (A, H).
        bias: b (A,).
        query: u (K, A).
    """

    def __init__(self, weight: Array, bias: Array, query: Array) -> None:
        super().__init__(weight=weight, bias=bias, query=query)

    def forward(self, h: Array, mask: BoolArray) -> tuple[Array, Array]:
        """h (B, T, H), mask (B, T) → v (B, K, H), weights (B, K, T)."""
        weight, bias, query = self.params["weight"], self.params["bias"], self.params["query"]
        keys = np.tanh(h @ weight.T + bias)  # (B, T, A)
        scores = query @ keys.transpose(0, 2, 1)  # (B, K, T)
        a = masked_softmax(scores, mask[:, None, :])
        self._h, self._keys, self._a = h, keys, a
        return a @ h, a

    def backward(self, dv: Array, da: Array | None = None) -> Array:
        """dh (B, T, H). h is weighed, and says how much: its gradient is a sum of two."""
        h, keys, a = self._h, self._keys, self._a
        dh = a.transpose(0, 2, 1) @ dv  # (B, T, H), as what is weighed
        dweights = dv @ h.transpose(0, 2, 1)  # (B, K, T)
        dscores = masked_softmax_backward(a, dweights if da is None else dweights + da)  # (B, K, T)
        dkeys = dscores.transpose(0, 2, 1) @ self.params["query"]  # (B, T, A)
        dsums = dkeys * (1 - keys**2)  # (B, T, A), through the tanh
        self.grads = {
            "weight": np.einsum("bta,bth->ah", dsums, h),
            "bias": dsums.sum(axis=(0, 1)),
            "query": np.einsum("bkt,bta->ka", dscores, keys),
        }
        dh += dsums @ self.params["weight"]  # (B, T, H), as what says how much
        return dh


class GatedAttention(Layer):
    """s_t = [h_t ; g_t] with g_t = softmax(W_2 tanh(W_1 h_t + b_1) + b_2) over the features of the step.

    No step looks at another; `AttentionPooling` of the s_t does.

    Args:
        hidden_weight: W_1 (A, H).
        hidden_bias: b_1 (A,).
        gate_weight: W_2 (H, A).
        gate_bias: b_2 (H,).
    """

    def __init__(self, hidden_weight: Array, hidden_bias: Array, gate_weight: Array, gate_bias: Array) -> None:
        super().__init__(
            hidden_weight=hidden_weight, hidden_bias=hidden_bias, gate_weight=gate_weight, gate_bias=gate_bias
        )

    def forward(self, h: Array, mask: BoolArray) -> Array:
        """h (B, T, H), mask (B, T) → s (B, T, 2 H), 0 on padding."""
        p = self.params
        hidden = np.tanh(h @ p["hidden_weight"].T + p["hidden_bias"])  # (B, T, A)
        gates = masked_softmax(hidden @ p["gate_weight"].T + p["gate_bias"], mask[:, :, None])  # (B, T, H)
        self._h, self._hidden, self._gates, self._mask = h, hidden, gates, mask
        s: Array = np.concatenate([h * mask[:, :, None], gates], axis=2)  # (B, T, 2 H)
        return s

    def backward(self, ds: Array) -> Array:
        """dh (B, T, H). h stands in s, and makes the gate beside it: its gradient is a sum of two."""
        h, hidden, gates = self._h, self._hidden, self._gates
        dstates, dgates = np.split(ds, 2, axis=2)  # (B, T, H) each
        dscores = masked_softmax_backward(gates, dgates)  # (B, T, H), 0 on padding as the gates are
        dsums = (dscores @ self.params["gate_weight"]) * (1 - hidden**2)  # (B, T, A), through the tanh
        self.grads = {
            "hidden_weight": np.einsum("bta,bth->ah", dsums, h),
            "hidden_bias": dsums.sum(axis=(0, 1)),
            "gate_weight": np.einsum("bth,bta->ha", dscores, hidden),
            "gate_bias": dscores.sum(axis=(0, 1)),
        }
        dh: Array = dstates * self._mask[:, :, None] + dsums @ self.params["hidden_weight"]
        return dh
