"""Gradients → better parameters: Adam, and a bound on the gradient's norm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from harken.reference.functions import Array


def clip_gradients(grads: Iterable[Array], max_norm: float) -> float:
    """Scale all gradients, in place, so that their joint Euclidean norm is at most ``max_norm``.

    Pascanu, Mikolov & Bengio (2013), "On the difficulty of training recurrent neural networks", algorithm 1.

    Returns:
        The norm before scaling.
    """
    grads = list(grads)
    norm = float(np.sqrt(sum(float(np.vdot(grad, grad)) for grad in grads)))
    if norm > max_norm:
        for grad in grads:
            grad *= max_norm / norm
    return norm


class Adam:
    """Kingma & Ba (2015), "Adam: A Method for Stochastic Optimization", algorithm 1."""

    def __init__(
        self, learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        self.learning_rate, self.beta1, self.beta2, self.epsilon = learning_rate, beta1, beta2, epsilon
        self._t = 0
        self._m: dict[str, Array] = {}
        self._v: dict[str, Array] = {}

    def update(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        """Change ``params`` in place by one step.

        m ← β₁ m + (1 - β₁) grad         m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) grad²        v̂ = v / (1 - β₂ᵗ)
        param ← param - α m̂ / (√v̂ + ε)
        """
        self._t += 1
        step = self.learning_rate / (1 - self.beta1**self._t)
        correction = (1 - self.beta2**self._t) ** 0.5
        for name, grad in grads.items():
            m = self._m.setdefault(name, np.zeros_like(grad))
            v = self._v.setdefault(name, np.zeros_like(grad))
            m += (1 - self.beta1) * (grad - m)
            v += (1 - self.beta2) * (grad * grad - v)
            root = np.sqrt(v)
            root /= correction
            root += self.epsilon
            params[name][...] -= step * m / root
