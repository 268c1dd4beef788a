"""Convolution over time that never sees padding."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.errors import ShapeError, UsageError
from harken.layers.masks import mask_from_lengths


def masked_conv1d(x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor) -> Tensor:
    """y_t = b + Σ_k W_k x_{t+k-K//2} over the real steps: what lies beyond a row's end is 0, as before its beginning.

    Args:
        x: (B, T, D); what stands in the padding does not matter.
        weight: (C, D, K) as in torch, K odd.
        bias: (C,) or None.
        mask: (B, T) bool, True = real.

    Returns:
        (B, T, C); padding near a row's end is not 0 yet.
    """
    if x.shape[1] == 0:  # torch refuses an input shorter than the kernel
        return x.new_zeros(*x.shape[:2], weight.shape[0])
    channels = x.masked_fill(~mask.unsqueeze(-1), 0.0).transpose(1, 2)  # (B, D, T)
    return F.conv1d(channels, weight, bias, padding=weight.shape[-1] // 2).transpose(1, 2)  # (B, T, C)


class MaskedConv1d(nn.Module):
    """A convolution over time, of the same length, with an optional norm and a ReLU.

    Differs from torch: batch-first with channels last; lengths beside the data; padding is 0 before and after, so a
    row's answer does not depend on it. The norm is over a step's channels (Ba et al. 2016), never over the batch,
    which would make a row depend on its mates.

    Args:
        in_size: D, channels read.
        out_size: C, channels written.
        kernel_size: steps seen at once, an odd number, so that a step sees equally far both ways.
        activation: "relu" or "none".
        normalize: LayerNorm of each step, before the activation.

    Attributes:
        output_size: C.

    Raises:
        UsageError: an option outside its range.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        kernel_size: int = 5,
        *,
        activation: Literal["relu", "none"] = "relu",
        normalize: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("in_size", in_size), ("out_size", out_size), ("kernel_size", kernel_size)):
            if value < 1:
                raise UsageError(f"{name} ({value}) must be at least 1")
        if kernel_size % 2 == 0:
            raise UsageError(f"kernel_size ({kernel_size}) must be odd, to have a middle: take {kernel_size + 1}")
        if activation not in ("relu", "none"):
            raise UsageError(f"activation ({activation!r}) must be 'relu' or 'none'")
        self.in_size = in_size
        self.output_size = out_size
        self.activation = activation
        self.weight = nn.Parameter(torch.empty(out_size, in_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_size))
        self.norm = nn.LayerNorm(out_size) if normalize else None
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu" if activation == "relu" else "linear")

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), lengths (B,) int64 → (B, T, C), exactly 0 on padding.

        Raises:
            ShapeError: x or lengths do not fit.
        """
        if x.dim() != 3 or x.shape[-1] != self.in_size or lengths.shape != x.shape[:1]:
            raise ShapeError(
                f"x {tuple(x.shape)} and lengths {tuple(lengths.shape)} must be (B, T, D) and (B,) "
                f"with D = in_size ({self.in_size})"
            )
        mask = mask_from_lengths(lengths.to(x.device), x.shape[1])  # (B, T)
        y = masked_conv1d(x, self.weight, self.bias, mask)  # (B, T, C)
        if self.norm is not None:
            y = self.norm(y)
        if self.activation == "relu":
            y = torch.relu(y)
        return y.masked_fill(~mask.unsqueeze(-1), 0.0)

    def extra_repr(self) -> str:
        """What `print` shows, as in torch."""
        channels, size, kernel = self.weight.shape
        return f"{size}, {channels}, kernel_size={kernel}, activation={self.activation}"
