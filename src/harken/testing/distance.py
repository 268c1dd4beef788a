"""How far apart two tensors are, in the contract's measure: ‖difference‖ / ‖value‖."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}  # ‖difference‖ / ‖value‖
NEAR_ZERO = 0.1  # a norm below this share of the largest of its kind is rounding, and is measured against that


@dataclass
class Worst:
    """The largest error of one tensor so far."""

    row: int | None = None
    error: float = 0.0
    note: str = ""

    def add(self, row: int | None, error: float, note: str = "") -> None:
        """Keep the larger one."""
        if not error <= self.error and self.error == self.error:  # NaN is worse than all, and stays
            self.row, self.error, self.note = row, error, note


def common(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both cut to their common size."""
    window = tuple(slice(0, min(m, n)) for m, n in zip(a.shape, b.shape, strict=True))
    return a[window], b[window]


def norm(value: Tensor) -> float:
    """‖value‖, summed in float64."""
    return float(torch.linalg.vector_norm(value.detach().double()))


def distance(value: Tensor, truth: Tensor, floor: float) -> float:
    """‖value − truth‖ / ‖truth‖, or / floor if that is larger: near 0 there is only rounding."""
    difference = norm(value.detach().double() - truth.double())
    return difference / max(norm(truth), floor, torch.finfo(torch.float32).tiny)


def weights_error(weights: Tensor, length: int) -> float:
    """How far from weights: those of one query are ≥ 0 and sum to 1, or are all 0.

    Not all queries of a row that holds anything may be 0: those that are padding themselves look at nothing, and
    so may some that are real (the first, where each looks at what came before it), but not every one.
    """
    if weights.numel() == 0:
        return 0.0
    total = weights.detach().sum(-1)
    from_one = (total - 1).abs()
    distance = torch.minimum(from_one, total.abs()).max()
    if length > 0:
        distance = torch.maximum(distance, from_one.min())
    return float("inf") if bool((weights < 0).any()) else float(distance)
