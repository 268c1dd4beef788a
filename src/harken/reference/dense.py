"""What a layer is, and the two that treat every time step alike: embedding and affine.

    forward(inputs)    → outputs, and remembers what backward needs
    backward(doutputs) → dinputs, and fills `grads`

where ``dx`` is the gradient of a scalar loss with respect to ``x``, and so has the shape of ``x``.
"""

from __future__ import annotations

import numpy as np

from harken.reference.functions import Array, IntArray


class Layer:
    """Parameters and, after `backward`, their gradients, under the same names.

    An optimiser changes parameters in place; `backward` replaces the gradients.
    """

    def __init__(self, **params: Array) -> None:
        self.params: dict[str, Array] = params
        self.grads: dict[str, Array] = {}


class TimeEmbedding(Layer):
    """A vector per id, looked up at every step.

    Args:
        weight: (V, D), as in ``torch.nn.Embedding``.
    """

    def __init__(self, weight: Array) -> None:
        super().__init__(weight=weight)

    def forward(self, ids: IntArray) -> Array:
        """Ids (B, T) → vectors (B, T, D)."""
        self._ids = ids
        return self.params["weight"][ids]  # (B, T, D)

    def backward(self, dvectors: Array) -> None:
        """A vector's gradient is the sum over its occurrences; ids have no gradient to return."""
        dweight = np.zeros_like(self.params["weight"])
        np.add.at(dweight, self._ids, dvectors)
        self.grads = {"weight": dweight}


class TimeAffine(Layer):
    """y = x Wᵀ + b with the same W and b at every step of every row.

    Args:
        weight: (O, I), as in ``torch.nn.Linear``.
        bias: (O,).
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        super().__init__(weight=weight, bias=bias)

    def forward(self, x: Array) -> Array:
        """(B, T, I) → (B, T, O); any number of leading axes will do."""
        weight, bias = self.params["weight"], self.params["bias"]
        self._x = x.reshape(-1, weight.shape[1])  # (B*T, I): one product for all steps
        return (self._x @ weight.T + bias).reshape(*x.shape[:-1], len(bias))  # (B, T, O)

    def backward(self, dy: Array) -> Array:
        """dx = dy W, dW = dyᵀ x and db = Σ dy, the sums over all steps of all rows."""
        weight = self.params["weight"]
        flat = dy.reshape(-1, len(weight))  # (B*T, O)
        self.grads = {"weight": flat.T @ self._x, "bias": flat.sum(axis=0)}
        return (flat @ weight).reshape(*dy.shape[:-1], weight.shape[1])  # (B, T, I)
