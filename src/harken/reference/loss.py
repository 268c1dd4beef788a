"""Softmax and cross-entropy over the real targets of a batch."""

from __future__ import annotations

import numpy as np

from harken.reference.functions import Array, BoolArray, IntArray


class TimeSoftmaxWithLoss:
    """The mean over real targets of -log softmax(logits)[target]."""

    def forward(self, logits: Array, targets: IntArray, mask: BoolArray) -> float:
        """Logits (B, T, V), targets (B, T), mask (B, T) → the loss; 0 when there is nothing real."""
        shifted = logits - logits.max(axis=-1, keepdims=True)  # (B, T, V): softmax is the same, and exp cannot overflow
        log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # (B, T, V)
        chosen = np.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]  # (B, T)
        self._log_p, self._targets, self._mask = log_p, targets, mask
        self._count = max(int(mask.sum()), 1)
        return -float(chosen.sum(where=mask)) / self._count

    def backward(self) -> Array:
        """∂loss/∂logits = (softmax - onehot(target)) / real targets; 0 on padding. → (B, T, V)."""
        dlogits: Array = np.exp(self._log_p)  # (B, T, V)
        rows, times = np.indices(self._targets.shape)
        dlogits[rows, times, self._targets] -= 1
        dlogits *= self._mask[..., None] / dlogits.dtype.type(self._count)
        return dlogits
