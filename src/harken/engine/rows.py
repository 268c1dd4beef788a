"""Rows of unequal length inside one rectangle: the mask, and turning each row around.

The engine turns rows around and imports only what stands above it, so the two are written here; everybody else
imports them from :mod:`harken.layers.masks`, the one place that turns lengths into masks.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mask_from_lengths(lengths: Tensor, size: int) -> Tensor:
    """``lengths`` (B,) → mask (B, size), bool, True on the first ``lengths[b]`` positions of row b, on their device."""
    positions = torch.arange(size, device=lengths.device)  # (T,)
    return positions < lengths.unsqueeze(-1)  # (B, T)


def reverse_rows(x: Tensor, lengths: Tensor) -> Tensor:
    """Turn every row of ``x`` (B, T, ...) around within its own length; padding stays where it is.

    Its own inverse: ``reverse_rows(reverse_rows(x, n), n)`` equals ``x``.
    """
    positions = torch.arange(x.size(1), device=x.device)  # (T,)
    last = lengths.to(x.device).unsqueeze(-1) - 1  # (B, 1)
    index = torch.where(positions <= last, last - positions, positions)  # (B, T)
    rows = torch.arange(x.size(0), device=x.device).unsqueeze(-1)  # (B, 1)
    return x[rows, index]  # (B, T, ...)
