"""Sound → log-mel frames: how strong each band of frequencies is, a hundred times a second."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.errors import ShapeError, UsageError
from harken.layers.masks import mask_from_lengths

_SMALLEST_WINDOW = 3  # samples: the fewest whose transform has a frequency between 0 and half the sampling rate


class Spectrogram(NamedTuple):
    """Frames of sound and how many of them are real.

    Attributes:
        frames: (B, T, mels), 0 on padding.
        lengths: (B,) int64.
    """

    frames: Tensor
    lengths: Tensor


def count_frames(lengths: Tensor, window_size: int, hop_size: int) -> Tensor:
    """How many frames rows of ``lengths`` samples have: 0 without samples, else 1 + max(0, n - window) // hop.

    A row shorter than a window has one frame, filled with zeros; samples at the end that fill no hop are not read.

    Args:
        lengths: any shape, int64.
        window_size: samples that a frame reads.
        hop_size: samples from one frame to the next.

    Returns:
        Of the same shape, int64.
    """
    return torch.where(lengths > 0, (lengths - window_size).clamp(min=0) // hop_size + 1, 0)


def mel_filters(sample_rate: int, n_fft: int, mels: int) -> Tensor:
    """Triangles over the bins of a spectrum, equally wide in mel from 0 to sample_rate / 2, each 1 at its peak.

    m(f) = 2595 log10(1 + f / 700) mel, the scale of Stevens et al. 1937 in the formula of O'Shaughnessy 1987 that HTK
    uses; filters whose energies' logarithms are taken: Davis & Mermelstein 1980, section II. A filter begins at its
    lower neighbour's peak, ends at its upper neighbour's, and is straight in Hz between.

    Args:
        sample_rate: Hz.
        n_fft: samples of a transform, whose bin k is at k · sample_rate / n_fft Hz.
        mels: filters.

    Returns:
        (bins, mels) float64, bins = n_fft // 2 + 1; a filter narrower than a bin may be 0 throughout.
    """
    highest = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, highest, mels + 2, dtype=torch.float64) / 2595) - 1)  # Hz, (mels + 2,)
    hertz = torch.arange(n_fft // 2 + 1, dtype=torch.float64).unsqueeze(-1) * sample_rate / n_fft  # (bins, 1)
    below, peak, above = edges[:-2], edges[1:-1], edges[2:]
    return torch.minimum((hertz - below) / (peak - below), (above - hertz) / (above - peak)).clamp(min=0)


class LogMelSpectrogram(nn.Module):
    """Samples → log(floor + energy in each mel band), frame by frame.

    Frame t reads the samples from t · hop on, under a periodic Hann window; no frame reads beyond a row's end, unless
    the row is shorter than a window. The bands are Davis & Mermelstein's (1980); see `mel_filters`.

    Differs from torch.stft and torchaudio: lengths beside the samples, and what stands in the padding does not matter;
    nothing is reflected at either end (``center=False``); the transform is a product with cosines and sines, so that it
    exports, and in the samples' own precision also under autocast, as a spectrum's range is too wide for 16 bits.

    Args:
        sample_rate: Hz.
        mels: bands.
        window: seconds that a frame reads, rounded to whole samples.
        hop: seconds from one frame to the next, rounded to whole samples.
        floor: what is added to an energy before the logarithm: silence is log(floor).

    Attributes:
        window_size: samples that a frame reads.
        hop_size: samples from one frame to the next.
        n_fft: samples of a transform: window_size, or the next power of two where a band would have no bin otherwise.
        output_size: mels.

    Raises:
        UsageError: an option outside its range, or more bands than the bins can tell apart.
    """

    basis: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int,
        mels: int = 64,
        *,
        window: float = 0.025,
        hop: float = 0.010,
        floor: float = 1e-5,
    ) -> None:
        super().__init__()
        for name, count in (("sample_rate", sample_rate), ("mels", mels)):
            if count < 1:
                raise UsageError(f"{name} ({count}) must be at least 1")
        for name, value in (("window", window), ("hop", hop), ("floor", floor)):
            if not 0 < value < math.inf:
                raise UsageError(f"{name} ({value}) must be a finite number above 0")
        self.sample_rate, self.output_size, self.floor = sample_rate, mels, floor
        self.window_size, self.hop_size = round(window * sample_rate), round(hop * sample_rate)
        for name, value, size, least in (
            ("window", window, self.window_size, _SMALLEST_WINDOW),
            ("hop", hop, self.hop_size, 1),
        ):
            if size < least:
                raise UsageError(
                    f"{name} ({value}) must be at least {least / sample_rate:.3g} s, {least} samples at "
                    f"sample_rate ({sample_rate})"
                )
        self.n_fft, filters = _choose_transform(sample_rate, self.window_size, mels)
        # Both stay in float64 until used, for `.double()` to find what `.float()` would have rounded.
        self.register_buffer("basis", _windowed_basis(self.window_size, self.n_fft), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, x: Tensor, lengths: Tensor) -> Spectrogram:
        """Samples (B, L), lengths (B,) int64 → frames (B, T, mels), exactly 0 on padding, and their lengths (B,).

        T is `count_frames` of L.

        Raises:
            ShapeError: x or lengths do not fit.
        """
        if x.dim() != 2 or not x.is_floating_point() or lengths.shape != x.shape[:1]:
            raise ShapeError(
                f"x {tuple(x.shape)} of {x.dtype} and lengths {tuple(lengths.shape)} must be (B, L) of floats and (B,)"
            )
        lengths = lengths.to(x.device)
        counts = count_frames(lengths, self.window_size, self.hop_size)  # (B,)
        if x.shape[1] == 0:  # no frame, where filling with zeros would make one
            return Spectrogram(x.new_zeros(x.shape[0], 0, self.output_size), counts)
        x = x.masked_fill(~mask_from_lengths(lengths, x.shape[1]), 0.0)
        missing = torch.sym_max(0, self.window_size - x.shape[1])  # type: ignore[no-untyped-call]  # L stays free in export
        windows = F.pad(x, (0, missing)).unfold(1, self.window_size, self.hop_size)  # (B, T, window)
        device = x.device.type
        mixed = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if mixed else nullcontext():
            real, imaginary = (windows @ self.basis.to(x)).chunk(2, dim=-1)  # (B, T, bins) each
            energies = (real.square() + imaginary.square()) @ self.filters.to(x)  # (B, T, mels)
        mask = mask_from_lengths(counts, windows.shape[1])  # (B, T)
        return Spectrogram((energies + self.floor).log().masked_fill(~mask.unsqueeze(-1), 0.0), counts)

    def extra_repr(self) -> str:
        """What `print` shows, as in torch."""
        return (
            f"{self.sample_rate}, {self.output_size}, window_size={self.window_size}, hop_size={self.hop_size}, "
            f"n_fft={self.n_fft}, floor={self.floor:g}"
        )


def _windowed_basis(window_size: int, n_fft: int) -> Tensor:
    """w_n cos(2πkn / n_fft) and w_n sin(2πkn / n_fft) for n < window_size: (window_size, 2 · bins) float64."""
    n = torch.arange(window_size).unsqueeze(-1)  # (window, 1)
    turns = n * torch.arange(n_fft // 2 + 1) % n_fft  # (window, bins); whole turns go while the numbers are exact
    angles = turns.double() * (2 * math.pi / n_fft)
    hann = torch.hann_window(window_size, periodic=True, dtype=torch.float64).unsqueeze(-1)  # (window, 1)
    return hann * torch.cat([angles.cos(), angles.sin()], dim=-1)


def _choose_transform(sample_rate: int, window_size: int, mels: int) -> tuple[int, Tensor]:
    """n_fft, and its filters (bins, mels), none of which is 0 throughout.

    Not beyond the next power of two: zeros after a window add bins, but nothing that tells frequencies apart.
    """
    sizes = (window_size, 1 << (window_size - 1).bit_length())
    for n_fft in sizes:
        filters = mel_filters(sample_rate, n_fft, mels)
        if _all_have_weight(filters):
            return n_fft, filters
    fits = min(mels - 1, sizes[1] // 2)
    while not _all_have_weight(mel_filters(sample_rate, sizes[1], fits)):
        fits -= 1
    raise UsageError(
        f"mels ({mels}) must be at most {fits} for every band to have a frequency of a window of {window_size} samples "
        f"at sample_rate ({sample_rate}): take fewer, or a longer window"
    )


def _all_have_weight(filters: Tensor) -> bool:
    return bool((filters.amax(0) > 0).all())
