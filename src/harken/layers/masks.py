"""The one place that turns lengths into masks (True = real), and the door to turning rows around.

:func:`reverse_rows` is written in :mod:`harken.engine.rows`, as the engine turns rows around too and imports only point
upwards.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harken.engine.rows import reverse_rows

__all__ = ["mask_from_lengths", "reverse_rows"]


def mask_from_lengths(lengths: Tensor, size: int) -> Tensor:
    """``lengths`` (B,) → mask (B, size), bool, True on the first ``lengths[b]`` positions of row b, on their device."""
    positions = torch.arange(size, device=lengths.device)  # (T,)
    return positions < lengths.unsqueeze(-1)  # (B, T)
