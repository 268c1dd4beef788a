"""Convolution over time: every step is mixed with its neighbours by the same weights."""

from __future__ import annotations

import numpy as np

from harken.reference.dense import Layer
from harken.reference.functions import Array, BoolArray


class TimeConvolution(Layer):
    """y_t = b + Σ_k W_k x_{t + k - K // 2}, where x is 0 before a row's first and after its last real step.

    Args:
        weight: W (C, D, K) as in ``torch.nn.Conv1d``, K odd.
        bias: b (C,).
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        super().__init__(weight=weight, bias=bias)

    def forward(self, x: Array, mask: BoolArray) -> Array:
        """x (B, T, D), mask (B, T) → y (B, T, C), 0 on padding."""
        weight, bias = self.params["weight"], self.params["bias"]
        self._x, self._mask = np.where(mask[:, :, None], x, 0), mask
        y = np.tile(bias, (*x.shape[:2], 1))  # (B, T, C)
        for k, (to, source) in enumerate(self._taps(x.shape[1])):
            y[:, to] += self._x[:, source] @ weight[:, :, k].T
        return np.where(mask[:, :, None], y, 0)

    def backward(self, dy: Array) -> Array:
        """Each tap sends the gradient back where its input came from: dx (B, T, D), 0 on padding."""
        weight = self.params["weight"]
        dy = np.where(self._mask[:, :, None], dy, 0)
        dx, dweight = np.zeros_like(self._x), np.zeros_like(weight)
        for k, (to, source) in enumerate(self._taps(dy.shape[1])):
            dx[:, source] += dy[:, to] @ weight[:, :, k]
            dweight[:, :, k] = np.einsum("btc,btd->cd", dy[:, to], self._x[:, source])
        self.grads = {"weight": dweight, "bias": dy.sum(axis=(0, 1))}
        return np.where(self._mask[:, :, None], dx, 0)

    def _taps(self, steps: int) -> list[tuple[slice, slice]]:
        """For each tap, the steps that it writes and the steps that it reads for them."""
        size = self.params["weight"].shape[2]
        shifts = [k - size // 2 for k in range(size)]
        return [
            (slice(max(0, -s), max(0, steps - max(0, s))), slice(max(0, s), max(0, steps + min(0, s)))) for s in shifts
        ]
