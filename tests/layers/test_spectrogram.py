"""Log-mel frames against the NumPy reference, two other transforms, and the contract (design.md section 2)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.export import Dim

from harken import reference
from harken.errors import ShapeError, UsageError
from harken.layers import LogMelSpectrogram, Spectrogram, count_frames, mel_filters
from harken.layers.masks import mask_from_lengths
from harken.testing import check_padding

OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {"sample_rate": 8000, "mels": 40},
    "side by side": {"sample_rate": 1000, "mels": 4, "hop": 0.025},
    "gaps": {"sample_rate": 1000, "mels": 4, "hop": 0.040},
    "odd window": {"sample_rate": 1000, "mels": 3, "window": 0.023, "hop": 0.007},
    "more bins than samples": {"sample_rate": 8000, "mels": 64, "window": 0.020},
    "every sample, silence far down": {"sample_rate": 500, "mels": 2, "window": 0.012, "hop": 0.002, "floor": 1e-8},
    "smallest": {"sample_rate": 3, "mels": 1, "window": 1.0, "hop": 0.5},
}
every_option = pytest.mark.parametrize("name", OPTIONS)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(name: str) -> LogMelSpectrogram:
    return LogMelSpectrogram(**OPTIONS[name]).double()


def their_layer(layer: LogMelSpectrogram) -> reference.LogMel:
    return reference.LogMel(
        layer.sample_rate, layer.output_size, layer.window_size, layer.hop_size, layer.n_fft, layer.floor
    )


@every_option
def test_it_is_the_reference(name: str) -> None:
    layer = build(name)
    window, hop = layer.window_size, layer.hop_size
    lengths = torch.tensor([0, 1, window - 1, window, window + hop - 1, window + hop, 3 * window + 2 * hop + 1])
    size = int(lengths.max()) + hop + 1
    real = mask_from_lengths(lengths, size)
    x = torch.where(real, random(len(lengths), size), 1e6)
    x[-1, window : 2 * window] = 0  # some silence
    theirs = their_layer(layer)
    wanted = theirs.forward(x.numpy(), lengths.numpy())
    dy = random(*wanted.shape, seed=1)
    x.requires_grad_()
    y = layer(x, lengths)
    y.frames.backward(dy)
    assert y.frames.dtype == torch.float64
    assert y.lengths.tolist() == [0, 1, 1, 1, 1 + (hop - 1) // hop, 2, 1 + (2 * window + 2 * hop + 1) // hop]
    torch.testing.assert_close(y.frames.detach(), torch.from_numpy(wanted), rtol=1e-10, atol=1e-10)
    gradient = torch.from_numpy(theirs.backward(dy.numpy()))
    assert float((x.grad - gradient).norm() / gradient.norm()) < 1e-10
    assert bool((y.frames[~mask_from_lengths(y.lengths, y.frames.shape[1])] == 0).all())
    assert bool((x.grad[~real] == 0).all())
    assert not bool((y.frames[mask_from_lengths(y.lengths, y.frames.shape[1])] == 0).all(-1).any())


def by_sample(layer: LogMelSpectrogram, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Frames laid along the samples' own axis, of which there are at least as many."""
    frames, counts = layer(x, lengths)
    return torch.nn.functional.pad(frames, (0, 0, 0, x.shape[1] - frames.shape[1])), counts


@every_option
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@settings(max_examples=3, deadline=None)
@given(shares=st.lists(st.floats(0, 3), min_size=1, max_size=4))
def test_the_contract(name: str, dtype: torch.dtype, shares: list[float]) -> None:
    layer = LogMelSpectrogram(**OPTIONS[name]).to(dtype)
    lengths = torch.tensor([int(share * layer.window_size) for share in shares])
    x = random(len(lengths), int(lengths.max()) + 1)
    check_padding(lambda x, n: by_sample(layer, x, n), x, lengths, dtype=dtype).raise_if_failed()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_the_contract_where_steps_are_frames(dtype: torch.dtype) -> None:
    layer = LogMelSpectrogram(**OPTIONS["side by side"]).to(dtype)
    size = layer.hop_size
    check_padding(
        lambda x, lengths: layer(x.flatten(1), lengths * size).frames,
        random(4, 5, size),
        torch.tensor([5, 2, 0, 3]),
        dtype=dtype,
    ).raise_if_failed()


def without_a_mask(layer: LogMelSpectrogram, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """What lies in the padding reaches the frame of a row shorter than a window."""
    frames, _ = by_sample(layer, x, torch.full_like(lengths, x.shape[1]))
    counts = count_frames(lengths, layer.window_size, layer.hop_size)
    return frames * mask_from_lengths(counts, x.shape[1]).unsqueeze(-1), counts


def with_reflected_ends(layer: LogMelSpectrogram, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """As torch.stft does unless told otherwise: a batch's padding, not the row's own end, is reflected."""
    x = x.masked_fill(~mask_from_lengths(lengths, x.shape[1]), 0.0)
    half = min(layer.window_size // 2, x.shape[1] - 1)
    frames, counts = layer(torch.nn.functional.pad(x, (half, half), mode="reflect"), lengths + 2 * half)
    size = min(x.shape[1], frames.shape[1])
    frames = torch.nn.functional.pad(frames[:, :size], (0, 0, 0, x.shape[1] - size))
    return frames * (lengths > 0)[:, None, None], counts


def standardized_over_the_batch(layer: LogMelSpectrogram, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Loudness relative to the loudest frame of the batch: a row depends on its mates."""
    frames, counts = by_sample(layer, x, lengths)
    return (frames - frames.amax()) * mask_from_lengths(counts, x.shape[1]).unsqueeze(-1), counts


@pytest.mark.parametrize("fault", [without_a_mask, with_reflected_ends, standardized_over_the_batch])
def test_a_planted_fault_is_found(fault: Any) -> None:
    layer = build("odd window")
    x, lengths = random(3, 80), torch.tensor([12, 80, 41])
    check_padding(lambda x, n: by_sample(layer, x, n), x, lengths).raise_if_failed()
    assert not check_padding(lambda x, n: fault(layer, x, n), x, lengths).passed


@pytest.mark.parametrize("name", ["usual", "odd window", "more bins than samples"])
def test_the_spectrum_is_that_of_torch_and_of_scipy(name: str) -> None:
    layer, x = build(name), random(2, 700)
    window, hop, n_fft = layer.window_size, layer.hop_size, layer.n_fft
    hann = torch.hann_window(window, dtype=torch.float64)
    lengths = torch.tensor([700, 700])

    cut = x[:, : (count_frames(lengths, window, hop)[0] - 1) * hop + window]
    _, _, spectrum = scipy.signal.stft(
        cut.numpy(), window=hann.numpy(), nperseg=window, noverlap=window - hop, nfft=n_fft, boundary=None, padded=False
    )
    power = torch.from_numpy(np.abs(spectrum) ** 2).transpose(1, 2) * hann.sum() ** 2  # (B, T, bins)
    wanted = (power @ mel_filters(layer.sample_rate, n_fft, layer.output_size) + layer.floor).log()
    torch.testing.assert_close(layer(x, lengths).frames, wanted, rtol=1e-10, atol=1e-10)

    if n_fft == window:  # torch puts a shorter window into the middle of a transform, which moves the frames
        power = torch.stft(x, n_fft, hop, window, hann, center=False, return_complex=True).abs().square().mT
        wanted = (power @ mel_filters(layer.sample_rate, n_fft, layer.output_size) + layer.floor).log()
        torch.testing.assert_close(layer(x, lengths).frames, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hertz", [150, 440, 1000, 2500, 6000])
def test_a_tone_is_loudest_in_the_band_whose_peak_is_nearest_in_mel(hertz: int) -> None:
    layer = LogMelSpectrogram(16_000, 32)
    x = torch.sin(2 * math.pi * hertz * torch.arange(16_000) / 16_000).unsqueeze(0)
    frames = layer(x, torch.tensor([16_000])).frames
    mel = lambda f: 2595 * math.log10(1 + f / 700)  # noqa: E731
    nearest = round(mel(hertz) / mel(8000) * 33) - 1
    assert set(frames.argmax(-1).flatten().tolist()) == {nearest}
    # A whole number of periods: a Hann window of 400 samples gives a sine's bin (400 / 4)², and its neighbours 1/4.
    bins = torch.tensor([1 / 4, 1, 1 / 4], dtype=torch.float64) * 100**2
    if hertz % 40 == 0:
        filters = mel_filters(16_000, 400, 32)[hertz // 40 - 1 : hertz // 40 + 2]
        assert float(frames[0, 0, nearest].exp()) == pytest.approx(float(bins @ filters[:, nearest]), rel=1e-4)


def test_filters_share_every_frequency_between_the_first_peak_and_the_last() -> None:
    filters = mel_filters(16_000, 512, 26)
    assert filters.dtype == torch.float64
    assert filters.shape == (257, 26)
    peaks = filters.argmax(0)
    assert bool((peaks.diff() > 0).all())
    torch.testing.assert_close(
        filters[peaks[0] + 1 : peaks[-1]].sum(-1), torch.ones(int(peaks[-1] - peaks[0]) - 1, dtype=torch.float64)
    )
    assert bool((filters >= 0).all())
    assert bool((filters <= 1).all())


@pytest.mark.parametrize(("size", "frames"), [(0, 0), (1, 1), (9, 1), (10, 1), (13, 1), (14, 2), (17, 2), (18, 3)])
def test_how_many_frames_there_are(size: int, frames: int) -> None:
    counts = count_frames(torch.tensor([[size]]), 10, 4)
    assert counts.tolist() == [[frames]]
    assert counts.dtype == torch.int64


@every_option
@pytest.mark.parametrize("shape", [(0, 90), (3, 0), (0, 0)])
def test_nothing_in_nothing_out(name: str, shape: tuple[int, int]) -> None:
    layer = build(name)
    y = layer(random(*shape), torch.zeros(shape[0], dtype=torch.int64))
    steps = int(count_frames(torch.tensor(shape[1]), layer.window_size, layer.hop_size))
    assert isinstance(y, Spectrogram)
    assert y.frames.shape == (shape[0], steps, layer.output_size)
    assert y.lengths.tolist() == [0] * shape[0]


def test_it_is_float64_within_even_where_a_model_is_float32() -> None:
    x, lengths = random(2, 900), torch.tensor([900, 500])
    layer = LogMelSpectrogram(8000)
    wanted = their_layer(layer).forward(x.numpy(), lengths.numpy())
    assert layer(x.float(), lengths).frames.dtype == torch.float32
    torch.testing.assert_close(layer(x, lengths).frames, torch.from_numpy(wanted), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer(x.float(), lengths).frames, torch.from_numpy(wanted).float())
    assert not layer.state_dict()


def test_autocast_leaves_the_spectrum_in_the_samples_precision() -> None:
    layer, x, lengths = LogMelSpectrogram(8000), random(2, 900).float(), torch.tensor([900, 500])
    wanted = layer(x, lengths).frames
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x, lengths).frames, wanted)


def test_an_export_takes_any_batch_and_any_length() -> None:
    layer = LogMelSpectrogram(8000, 32)
    example = (random(2, 900).float(), torch.tensor([900, 500]))
    shapes = {"x": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, "lengths": {0: Dim.DYNAMIC}}
    program = torch.export.export(layer, example, dynamic_shapes=shapes).module()
    for size, samples in ((3, 2000), (5, 321), (2, 900)):
        x, lengths = random(size, samples).float(), torch.arange(size) * samples // size
        for found, wanted in zip(program(x, lengths), layer(x, lengths), strict=True):
            torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sample_rate": 0}, "sample_rate (0) must be at least 1"),
        ({"mels": 0}, "mels (0) must be at least 1"),
        ({"window": 0.0}, "window (0.0) must be a finite number above 0"),
        ({"hop": math.inf}, "hop (inf) must be a finite number above 0"),
        ({"floor": math.nan}, "floor (nan) must be a finite number above 0"),
        ({"window": 1e-4}, "window (0.0001) must be at least 0.000375 s, 3 samples at sample_rate (8000)"),
        ({"hop": 1e-5}, "hop (1e-05) must be at least 0.000125 s, 1 samples at sample_rate (8000)"),
    ],
)
def test_refused_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as error:
        LogMelSpectrogram(**{"sample_rate": 8000, **options})
    assert text in str(error.value)


@pytest.mark.parametrize("window", [0.001, 0.005, 0.020, 0.025])
def test_as_many_bands_as_the_message_says_fit(window: float) -> None:
    with pytest.raises(UsageError, match=r"mels \(500\) must be at most (\d+) for every band") as error:
        LogMelSpectrogram(8000, 500, window=window)
    fits = int(str(error.value).split("at most ")[1].split()[0])
    layer = LogMelSpectrogram(8000, fits, window=window)
    assert bool((mel_filters(8000, layer.n_fft, fits).amax(0) > 0).all())
    with pytest.raises(UsageError, match=rf"mels \({fits + 1}\) must be at most {fits}"):
        LogMelSpectrogram(8000, fits + 1, window=window)


def test_the_transform_is_as_long_as_the_window_unless_a_band_would_be_empty() -> None:
    assert LogMelSpectrogram(16_000).n_fft == 400
    assert build("more bins than samples").window_size == 160
    assert build("more bins than samples").n_fft == 256


@pytest.mark.parametrize(
    ("x", "lengths"),
    [
        (random(2, 5, 1), torch.tensor([1, 2])),
        (torch.ones(2, 5, dtype=torch.int16), torch.tensor([1, 2])),
        (random(2, 5), torch.tensor([1, 2, 3])),
    ],
)
def test_refused_shapes(x: Tensor, lengths: Tensor) -> None:
    with pytest.raises(ShapeError, match=r"x \(2, 5.*\) of torch.\w+ and lengths .* must be \(B, L\) of floats and"):
        build("usual")(x, lengths)


def test_what_print_shows() -> None:
    text = "8000, 40, window_size=200, hop_size=80, n_fft=200, floor=1e-05"
    assert text in str(build("usual"))
