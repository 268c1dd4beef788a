"""A locally connected linear map, place by place."""

from __future__ import annotations

import numpy as np

from harken.reference.dense import Layer
from harken.reference.functions import Array


class LocalLinear(Layer):
    """y_{l,f} = b_{l,f} + Σ_k w_{l,k,f} x_{l · stride + k - padding}, where x is 0 beyond its ends.

    Args:
        weight: w (L, K, F).
        bias: b (L, F).
        stride: values from one window to the next.
        padding: zeros at either end.
    """

    def __init__(self, weight: Array, bias: Array, stride: int, padding: int) -> None:
        super().__init__(weight=weight, bias=bias)
        self.stride, self.padding = stride, padding

    def forward(self, x: Array) -> Array:
        """x (M, N) → y (M, L, F)."""
        weight, bias = self.params["weight"], self.params["bias"]
        self._x = np.pad(x, ((0, 0), (self.padding, self.padding)))
        return np.stack([self._window(i) @ weight[i] + bias[i] for i in range(len(weight))], axis=1)

    def backward(self, dy: Array) -> Array:
        """Each place sends the gradient back to its window: dx (M, N)."""
        weight = self.params["weight"]
        dx = np.zeros_like(self._x)
        for i in range(len(weight)):
            start = i * self.stride
            dx[:, start : start + weight.shape[1]] += dy[:, i] @ weight[i].T
        dweight = np.stack([self._window(i).T @ dy[:, i] for i in range(len(weight))])
        self.grads = {"weight": dweight, "bias": dy.sum(axis=0)}
        return dx[:, self.padding : dx.shape[1] - self.padding]

    def _window(self, place: int) -> Array:
        start = place * self.stride
        return self._x[:, start : start + self.params["weight"].shape[1]]
