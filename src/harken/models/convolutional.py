"""Front ends with convolutions: pictures as the cells of a feature map, sound as the frames of a spectrogram.

Legend: B rows, S pixels of a side, h × w cells of a feature map, C its channels; L samples, T frames, F frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harken.data.batching import ModelInputs
from harken.errors import ShapeError, UsageError
from harken.layers.convolution import MaskedConv2d
from harken.layers.regularization import spec_augment
from harken.layers.spectrogram import LogMelSpectrogram, count_frames
from harken.models.frontends import Frontend, FrontendOutput, SeriesFrontend

_MIDDLE, _SPREAD = 0.5, 0.25  # of pixels from 0 to 1, about: what brings them near mean 0 and variance 1


class PictureFrontend(Frontend):
    """A picture as the cells of its feature map, row after row, or as one step, their mean.

    A row without a picture has no steps. In training pictures are changed at random, each by itself: mirrored left to
    right, shifted (the border is repeated where nothing is), of other brightness, contrast and colour.

    Args:
        backbone: (B, 3, S, S) → (B, C, h, w), such as `ResidualNetwork`; it must treat every picture alone, so it
            holds no BatchNorm.
        output_size: C; None: the backbone's own ``output_size``.
        cells: False: one step.
        flip, shift, jitter: see `SequenceModelConfig`.

    Raises:
        UsageError: no output_size.
    """

    def __init__(
        self,
        backbone: nn.Module,
        output_size: int | None = None,
        *,
        cells: bool = True,
        flip: bool = False,
        shift: float = 0.0,
        jitter: float = 0.0,
    ) -> None:
        size = getattr(backbone, "output_size", None) if output_size is None else output_size
        if not isinstance(size, int) or size < 1:
            raise UsageError(f"output_size ({size!r}) must be the channels of the backbone's feature map, 1 or more")
        super().__init__(size)
        self.backbone = backbone
        self.cells, self.flip, self.shift, self.jitter = cells, flip, shift, jitter

    def embed(self, inputs: ModelInputs) -> Tensor:
        """(B, S, S, 3) uint8 → (B, S, 3 · S), rows of pixels with mean 0 and variance 1, about; 0 where none is."""
        pixels = inputs.values
        if pixels.dim() != 4 or pixels.shape[-1] != 3:
            raise ShapeError(f"values {tuple(pixels.shape)} must be (B, S, S, 3), the pixels of pictures")
        if self.training:
            pixels = _moved(pixels, self.flip, self.shift)
        kind = next(self.backbone.parameters(), torch.zeros(())).dtype
        x = pixels.to(kind) / 255
        if self.training and self.jitter:
            x = _recoloured(x, self.jitter)
        x = (x - _MIDDLE) / _SPREAD
        return x.flatten(2) * (inputs.lengths.to(x.device) > 0)[:, None, None]  # (B, S, 3S)

    def encode(self, x: Tensor, inputs: ModelInputs) -> FrontendOutput:
        """(B, S, 3 · S) → (B, h · w, C), or (B, 1, C); of the inputs only lengths are read."""
        there = inputs.lengths.to(x.device) > 0  # (B,)
        if x.shape[1] == 0 or x.shape[0] == 0:
            return FrontendOutput(x.new_zeros(x.shape[0], 0, self.output_size), None, torch.zeros_like(there.long()))
        features = self.feature_map(x)  # (B, C, h, w)
        steps = features.flatten(2) if self.cells else features.mean((2, 3)).unsqueeze(2)  # (B, C, h · w)
        steps = steps.transpose(1, 2) * there[:, None, None]
        return FrontendOutput(steps, None, there * steps.shape[1])

    def feature_map(self, x: Tensor) -> Tensor:
        """(B, S, 3 · S) → (B, C, h, w)."""
        features: Tensor = self.backbone(x.view(*x.shape[:2], -1, 3).permute(0, 3, 1, 2))  # (B, 3, S, S), channels last
        if features.dim() != 4 or features.shape[1] != self.output_size:
            raise ShapeError(
                f"the backbone gives {tuple(features.shape)}, and must give (B, {self.output_size}, h, w) for "
                f"output_size ({self.output_size})"
            )
        return features


class SpectrogramFrontend(SeriesFrontend):
    """Frames of a spectrogram, or of recordings, through convolutions over time and frequency that keep the time axis.

    Frequencies are pooled, frames are not: a step stands for a frame. Frames are standardised band by band
    (`SeriesFrontend.standardize`), then read by the convolutions one after the other.

    Args:
        width: F, frequencies of a frame.
        convolutions: each (B, T, F, C) → (B, T, F', C').
        spectrogram: makes frames of recordings; None: the rows are frames.
        augment: hide bands of time and frequency in training, see `spec_augment`.
    """

    def __init__(
        self,
        width: int,
        convolutions: Sequence[MaskedConv2d],
        spectrogram: LogMelSpectrogram | None = None,
        *,
        augment: bool = False,
    ) -> None:
        super().__init__(width)
        self.convolutions = nn.ModuleList(convolutions)
        self.spectrogram = spectrogram
        self.augment = augment
        frequencies, channels = width, 1
        for convolution in convolutions:
            frequencies, channels = frequencies // convolution.pool, convolution.out_channels
        self.output_size = frequencies * channels

    def embed(self, inputs: ModelInputs) -> Tensor:
        """(B, L) samples or (B, T, F) frames → (B, T, F), standardised."""
        lengths = inputs.lengths.to(inputs.values.device)
        if self.spectrogram is not None:
            frames, lengths = self.spectrogram(inputs.values.to(self.mean.dtype), lengths)
            inputs = inputs._replace(values=frames, lengths=lengths)
        x = super().embed(inputs)
        return spec_augment(x, lengths, self.training) if self.augment else x

    def encode(self, x: Tensor, inputs: ModelInputs) -> FrontendOutput:
        """(B, T, F) → (B, T, F' · C); of the inputs only lengths are read."""
        lengths = self.frames_of(inputs.lengths.to(x.device))
        x = x.unsqueeze(-1)  # (B, T, F, 1)
        for convolution in self.convolutions:
            x = convolution(x, lengths)
        return FrontendOutput(x.flatten(2), None, lengths)

    def frames_of(self, lengths: Tensor) -> Tensor:
        """Steps that rows of these lengths become, (B,) → (B,)."""
        if self.spectrogram is None:
            return lengths
        return count_frames(lengths, self.spectrogram.window_size, self.spectrogram.hop_size)


def _moved(pixels: Tensor, flip: bool, shift: float) -> Tensor:
    """Each picture mirrored or not, and shifted up and down, left and right: (B, S, S, 3) → (B, S, S, 3)."""
    batch, size, device = pixels.shape[0], pixels.shape[1], pixels.device
    most = int(shift * size)
    if not (flip or most) or not size:
        return pixels
    places = torch.arange(size, device=device)
    by = torch.randint(-most, most + 1, (2, batch, 1), device=device)
    down, right = (places + by).clamp_(0, size - 1).unbind(0)  # (B, S), where each row and column comes from
    if flip:
        right = torch.where(torch.rand(batch, 1, device=device) < 0.5, right.flip(1), right)
    return pixels[torch.arange(batch, device=device)[:, None, None], down[:, :, None], right[:, None, :]]


def _recoloured(x: Tensor, most: float) -> Tensor:
    """Brightness, contrast and saturation times 1 ± most, each picture's own: (B, S, S, 3) → (B, S, S, 3)."""
    brighter, contrast, colour = 1 + most * (2 * torch.rand(3, len(x), 1, 1, 1, device=x.device, dtype=x.dtype) - 1)
    x = x * brighter
    middle, grey = x.mean((1, 2, 3), keepdim=True), x.mean(3, keepdim=True)
    x = grey + colour * (x - grey)
    clamped: Tensor = (middle + contrast * (x - middle)).clamp(0, 1)
    return clamped
