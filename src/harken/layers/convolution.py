"""Convolution over time, and over time × frequency, that never sees padding."""

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


def masked_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor) -> Tensor:
    """y_{t,f} = b + Σ_{j,k} W_{jk} x_{t+j-J//2, f+k-K//2} over the real steps: 0 lies beyond a row's end and all edges.

    Args:
        x: (B, T, F, D); what stands in the padding does not matter.
        weight: (C, D, J, K) as in torch, J steps by K frequencies, both odd.
        bias: (C,) or None.
        mask: (B, T) bool, True = real.

    Returns:
        (B, T, F, C); padding near a row's end is not 0 yet.
    """
    if 0 in x.shape[1:3]:  # torch refuses an input without a step or a frequency
        return x.new_zeros(*x.shape[:3], weight.shape[0])
    # A view, whose strides are torch's channels_last: for one channel about as quick on a CPU as a copy to (B, D, T, F)
    # in its usual order, and for 32 channels 1.3 times as quick.
    channels = x.masked_fill(~mask[..., None, None], 0.0).permute(0, 3, 1, 2)  # (B, D, T, F)
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return F.conv2d(channels, weight, bias, padding=padding).permute(0, 2, 3, 1)  # (B, T, F, C)


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


class MaskedConv2d(nn.Module):
    """A convolution over time × frequency, with an optional norm, a ReLU, and a maximum over neighbouring frequencies.

    For spectrograms: time is kept, for a recurrent layer to read, and only frequency shrinks. The block of VGG
    (Simonyan & Zisserman 2015, section 2.1) with one convolution.

    Differs from torch: batch-first with channels last; lengths beside the data; padding is 0 before and after, so a
    row's answer does not depend on it. The norm is over a step's frequencies and channels together (Ba et al. 2016),
    with a scale and a shift for each channel, never over the batch, which would make a row depend on its mates.

    Args:
        in_channels: D, channels read.
        out_channels: C, channels written.
        kernel_size: steps and frequencies seen at once, an odd number, so that a place sees equally far both ways.
        pool: frequencies of which the largest value is kept; those left over at the upper end go. 1: all are kept.
        normalize: the norm of each step, before the activation.

    Attributes:
        in_channels: D.
        out_channels: C.
        pool: as given.

    Raises:
        UsageError: an option outside its range.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, pool: int = 2, normalize: bool = True
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size, "pool": pool}
        for name, value in sizes.items():
            if value < 1:
                raise UsageError(f"{name} ({value}) must be at least 1")
        if kernel_size % 2 == 0:
            raise UsageError(f"kernel_size ({kernel_size}) must be odd, to have a middle: take {kernel_size + 1}")
        self.in_channels, self.out_channels, self.pool = in_channels, out_channels, pool
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.scale = nn.Parameter(torch.ones(out_channels)) if normalize else None
        self.shift = nn.Parameter(torch.zeros(out_channels)) if normalize else None
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, F, D), lengths (B,) int64 → (B, T, F // pool, C), exactly 0 on padding.

        Raises:
            ShapeError: x or lengths do not fit.
            UsageError: fewer frequencies than pool.
        """
        if x.dim() != 4 or x.shape[-1] != self.in_channels or lengths.shape != x.shape[:1]:
            raise ShapeError(
                f"x {tuple(x.shape)} and lengths {tuple(lengths.shape)} must be (B, T, F, D) and (B,) "
                f"with D = in_channels ({self.in_channels})"
            )
        if x.shape[2] < self.pool:
            raise UsageError(
                f"pool ({self.pool}) must be at most the {x.shape[2]} frequencies of x, for one to be left: take a "
                "smaller pool, or fewer layers that have one"
            )
        mask = mask_from_lengths(lengths.to(x.device), x.shape[1])  # (B, T)
        y = masked_conv2d(x, self.weight, self.bias, mask)  # (B, T, F, C)
        if self.scale is not None and self.shift is not None:
            places = y.shape[2:]
            y = F.layer_norm(y, places, self.scale.expand(places), self.shift.expand(places))
        y = torch.relu(self._largest(y))  # (B, T, F // pool, C); ReLU is monotone: the order does not matter
        return y.masked_fill(~mask[..., None, None], 0.0)

    def _largest(self, y: Tensor) -> Tensor:
        if self.pool == 1:
            return y
        if y.shape[1] == 0:  # torch refuses an input without a step
            return y[:, :, : y.shape[2] // self.pool]
        return F.max_pool2d(y.permute(0, 3, 1, 2), (1, self.pool)).permute(0, 2, 3, 1)

    def extra_repr(self) -> str:
        """What `print` shows, as in torch."""
        channels, size, kernel, _ = self.weight.shape
        return f"{size}, {channels}, kernel_size={kernel}, pool={self.pool}, normalize={self.scale is not None}"
