"""Turning each row around within its own length."""

from __future__ import annotations

import torch
from torch import Tensor


def reverse_rows(x: Tensor, lengths: Tensor) -> Tensor:
    """Turn every row of ``x`` (B, T, ...) around within its own length; padding stays where it is.

    Its own inverse: ``reverse_rows(reverse_rows(x, n), n)`` equals ``x``.
    """
    positions = torch.arange(x.size(1), device=x.device)  # (T,)
    last = lengths.to(x.device).unsqueeze(-1) - 1  # (B, 1)
    index = torch.where(positions <= last, last - positions, positions)  # (B, T)
    rows = torch.arange(x.size(0), device=x.device).unsqueeze(-1)  # (B, 1)
    return x[rows, index]  # (B, T, ...)
