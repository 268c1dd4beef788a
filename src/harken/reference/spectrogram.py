"""Sound → log-mel frames: cut, window, Fourier transform, bands, logarithm."""

from __future__ import annotations

import numpy as np

from harken.reference.dense import Layer
from harken.reference.functions import Array, IntArray, mask_from_lengths


class LogMel(Layer):
    """y_{t,m} = log(floor + Σ_k |X_{t,k}|² φ_{k,m}), X_t the transform of frame t under a Hann window.

    The bands φ are triangles whose corners are equally far apart on the mel scale, 2595 log10(1 + f / 700).

    Args:
        sample_rate: Hz.
        mels: bands.
        window_size: samples that a frame reads.
        hop_size: samples from one frame to the next.
        n_fft: samples of a transform, at least window_size: the rest is 0.
        floor: what is added to an energy.
    """

    def __init__(
        self, sample_rate: int, mels: int, window_size: int, hop_size: int, n_fft: int, floor: float = 1e-5
    ) -> None:
        super().__init__()
        self.hop_size, self.n_fft, self.floor = hop_size, n_fft, floor
        self.window: Array = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_size) / window_size)  # periodic
        hertz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
        highest = 2595 * np.log10(1 + sample_rate / 2 / 700)
        corners = 700 * (10 ** (highest * np.arange(mels + 2) / (mels + 1) / 2595) - 1)
        bands = [np.interp(hertz, corners[m : m + 3], [0, 1, 0]) for m in range(mels)]
        self.filters: Array = np.stack(bands, axis=1)  # (bins, mels)

    def forward(self, x: Array, lengths: IntArray) -> Array:
        """x (B, L), lengths (B,) → y (B, T, mels), 0 on padding; T is what L samples have."""
        self._steps, self._size = self._count(x.shape[1]), len(self.window)
        self._samples = mask_from_lengths(lengths, x.shape[1])
        self._mask = mask_from_lengths(np.array([self._count(n) for n in lengths], dtype=np.int64), self._steps)
        filled = np.pad(np.where(self._samples, x, 0), ((0, 0), (0, max(0, self._size - x.shape[1]))))
        frames = np.zeros((len(x), self._steps, self._size))
        for t in range(self._steps):
            frames[:, t] = filled[:, t * self.hop_size : t * self.hop_size + self._size]
        self._spectra = np.fft.rfft(frames * self.window, self.n_fft)  # (B, T, bins) complex
        self._energies = np.abs(self._spectra) ** 2 @ self.filters + self.floor  # (B, T, mels)
        return np.where(self._mask[:, :, None], np.log(self._energies), 0)

    def backward(self, dy: Array) -> Array:
        r"""With P_k = |X_k|² and X_k = Σ_n x_n e^{-iωkn}, ∂P_k/∂x_n = 2 Re(X_k e^{iωkn}): dx (B, L), 0 on padding."""
        dpower = np.where(self._mask[:, :, None], dy, 0) / self._energies @ self.filters.T  # (B, T, bins)
        # The sum over k is an inverse transform of which the upper half is 0; NumPy's divides by n_fft.
        dframes = 2 * self.n_fft * np.fft.ifft(dpower * self._spectra, self.n_fft).real[:, :, : self._size]
        dx = np.zeros((len(dy), max(self._samples.shape[1], self._size)))
        for t in range(self._steps):
            dx[:, t * self.hop_size : t * self.hop_size + self._size] += dframes[:, t] * self.window
        return np.where(self._samples, dx[:, : self._samples.shape[1]], 0)

    def _count(self, samples: int) -> int:
        """Frames of that many samples."""
        return 1 + max(0, samples - len(self.window)) // self.hop_size if samples else 0
