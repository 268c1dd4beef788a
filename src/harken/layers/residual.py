"""A small residual network for pictures that answers for each of them alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.errors import ShapeError, UsageError

GROUP = 4
"""Channels that GroupNorm takes together: with few of them a rare feature is not drowned by frequent ones."""


def group_norm(channels: int) -> nn.GroupNorm:
    """A norm over groups of `GROUP` channels, or over all of them where it does not divide their number."""
    return nn.GroupNorm(1 if channels % GROUP else channels // GROUP, channels)


class ResidualBlock(nn.Module):
    """y = shortcut + conv(relu(norm(conv(relu(norm(x)))))): He et al. 2016b, "Identity Mappings", figure 4e.

    Where the number of channels changes, the shortcut is a 1 × 1 convolution that reads what the first convolution
    reads. The last convolution begins at 0, so that a block begins as its shortcut (Goyal et al. 2017, section 5.1, of
    a last norm). Differs from them: a block that halves the sides takes the maximum of every 2 × 2 places first, where
    theirs convolve with stride 2: what is small and in few places, as the corners of a shape, is then learned in a
    fifth of the steps (docs/log.md).

    Args:
        in_channels: channels read.
        out_channels: channels written.
        halve: halve rows and columns, rounded up.
    """

    def __init__(self, in_channels: int, out_channels: int, *, halve: bool = False) -> None:
        super().__init__()
        self.halve = halve
        self.first_norm = group_norm(in_channels)
        self.first = nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False)
        self.second_norm = group_norm(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        same = in_channels == out_channels
        self.shortcut = None if same else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.zeros_(self.second.weight)
        if self.shortcut is not None:
            nn.init.kaiming_normal_(self.shortcut.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, out_channels, H, W), or half as many rows and columns."""
        if self.halve:
            x = F.max_pool2d(x, 2, ceil_mode=True)  # (B, C, ⌈H / 2⌉, ⌈W / 2⌉)
        active = torch.relu(self.first_norm(x))
        y: Tensor = self.second(torch.relu(self.second_norm(self.first(active))))  # (B, out_channels, H', W')
        return y + (x if self.shortcut is None else self.shortcut(active))


class ResidualNetwork(nn.Module):
    """A picture → a map of features, by a stem and one residual block a stage, which doubles the channels.

    He et al. 2016b, pre-activation, with their norm and ReLU at the end. Differs from them: GroupNorm (Wu & He 2018)
    in the place of BatchNorm, with which a picture's loss depends on its batch mates; a stem of 3 × 3; stages begin
    with a maximum (`ResidualBlock`). The stem and every stage after the first halve the picture's sides, rounded up, so
    the smallest picture has a map too. Maps lie channels last in memory, which is faster: read as steps,
    `map.flatten(2).transpose(1, 2)`, they are not copied.

    Args:
        width: channels of the stem and of the first stage.
        in_channels: of a picture.
        stages: residual blocks.

    Attributes:
        output_size: channels of the map, width · 2^(stages − 1).
        stride: pixels from one place of the map to the next, 2^stages.

    Raises:
        UsageError: an option outside its range.
    """

    def __init__(self, width: int = 32, in_channels: int = 3, stages: int = 3) -> None:
        super().__init__()
        if width < 2:  # a norm over a single value leaves nothing of it
            raise UsageError(f"width ({width}) must be at least 2")
        for name, value in (("in_channels", in_channels), ("stages", stages)):
            if value < 1:
                raise UsageError(f"{name} ({value}) must be at least 1")
        self.in_channels = in_channels
        self.output_size = width << (stages - 1)
        self.stride = 1 << stages
        self.stem = nn.Conv2d(in_channels, width, 3, 2, 1, bias=False)
        self.blocks = nn.ModuleList([ResidualBlock(width, width)])
        self.blocks.extend(ResidualBlock(width << k, width << (k + 1), halve=True) for k in range(stages - 1))
        self.norm = group_norm(self.output_size)
        nn.init.kaiming_normal_(self.stem.weight, nonlinearity="linear")

    def forward(self, x: Tensor) -> Tensor:
        """Pictures → maps.

        Args:
            x: (B, in_channels, H, W), H and W at least 1.

        Returns:
            (B, output_size, ⌈H / stride⌉, ⌈W / stride⌉), ≥ 0.

        Raises:
            ShapeError: pictures that do not fit.
        """
        if x.dim() != 4 or x.shape[1] != self.in_channels or 0 in x.shape[2:]:
            raise ShapeError(
                f"x {tuple(x.shape)} must be (B, C, H, W) with C = in_channels ({self.in_channels}), H and W at least 1"
            )
        y = self.stem(x.contiguous(memory_format=torch.channels_last))  # (B, width, ⌈H / 2⌉, ⌈W / 2⌉)
        for block in self.blocks:
            y = block(y)
        return torch.relu(self.norm(y))  # (B, output_size, H', W')
