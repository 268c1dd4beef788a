"""Convolution over time, and over time × frequency: each place is mixed with its neighbours by the same weights."""

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
        for k, (to, source) in enumerate(_taps(weight.shape[2], x.shape[1])):
            y[:, to] += self._x[:, source] @ weight[:, :, k].T
        return np.where(mask[:, :, None], y, 0)

    def backward(self, dy: Array) -> Array:
        """Each tap sends the gradient back where its input came from: dx (B, T, D), 0 on padding."""
        weight = self.params["weight"]
        dy = np.where(self._mask[:, :, None], dy, 0)
        dx, dweight = np.zeros_like(self._x), np.zeros_like(weight)
        for k, (to, source) in enumerate(_taps(weight.shape[2], dy.shape[1])):
            dx[:, source] += dy[:, to] @ weight[:, :, k]
            dweight[:, :, k] = np.einsum("btc,btd->cd", dy[:, to], self._x[:, source])
        self.grads = {"weight": dweight, "bias": dy.sum(axis=(0, 1))}
        return np.where(self._mask[:, :, None], dx, 0)


class TimeFrequencyConvolution(Layer):
    """y_{t,f} = b + Σ_{j,k} W_{jk} x_{t + j - J // 2, f + k - K // 2}, x being 0 beyond real steps and at the edges.

    Args:
        weight: W (C, D, J, K) as in ``torch.nn.Conv2d``, J and K odd.
        bias: b (C,).
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        super().__init__(weight=weight, bias=bias)

    def forward(self, x: Array, mask: BoolArray) -> Array:
        """x (B, T, F, D), mask (B, T) → y (B, T, F, C), 0 on padding."""
        weight, bias = self.params["weight"], self.params["bias"]
        self._x, self._mask = np.where(mask[:, :, None, None], x, 0), mask
        y = np.tile(bias, (*x.shape[:3], 1))  # (B, T, F, C)
        for j, (to, source) in enumerate(_taps(weight.shape[2], x.shape[1])):
            for k, (onto, out_of) in enumerate(_taps(weight.shape[3], x.shape[2])):
                y[:, to, onto] += self._x[:, source, out_of] @ weight[:, :, j, k].T
        return np.where(mask[:, :, None, None], y, 0)

    def backward(self, dy: Array) -> Array:
        """Each tap sends the gradient back where its input came from: dx (B, T, F, D), 0 on padding."""
        weight = self.params["weight"]
        dy = np.where(self._mask[:, :, None, None], dy, 0)
        dx, dweight = np.zeros_like(self._x), np.zeros_like(weight)
        for j, (to, source) in enumerate(_taps(weight.shape[2], dy.shape[1])):
            for k, (onto, out_of) in enumerate(_taps(weight.shape[3], dy.shape[2])):
                dx[:, source, out_of] += dy[:, to, onto] @ weight[:, :, j, k]
                dweight[:, :, j, k] = np.einsum("btfc,btfd->cd", dy[:, to, onto], self._x[:, source, out_of])
        self.grads = {"weight": dweight, "bias": dy.sum(axis=(0, 1, 2))}
        return np.where(self._mask[:, :, None, None], dx, 0)


def _taps(size: int, places: int) -> list[tuple[slice, slice]]:
    """For each of a kernel's taps, the places that it writes and the places that it reads for them."""
    shifts = [k - size // 2 for k in range(size)]
    return [
        (slice(max(0, -s), max(0, places - max(0, s))), slice(max(0, s), max(0, places + min(0, s)))) for s in shifts
    ]
