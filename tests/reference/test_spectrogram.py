import numpy as np
import pytest
import torch

from harken.layers.spectrogram import mel_filters
from harken.reference import LogMel, mask_from_lengths

LENGTHS = np.array([0, 3, 8, 12, 23])
SHAPES = {"overlapping": (8, 3, 8), "gaps": (5, 7, 5), "longer transform": (9, 4, 16)}
every_shape = pytest.mark.parametrize("shape", SHAPES)


@pytest.fixture
def case(rng, shape):
    window, hop, n_fft = SHAPES[shape]
    layer = LogMel(100, 2, window, hop, n_fft, floor=0.01)
    x = np.where(mask_from_lengths(LENGTHS, 25), rng.standard_normal((5, 25)), 1e6)
    steps = 1 + (25 - window) // hop
    return layer, x, rng.standard_normal((5, steps, 2))


@every_shape
def test_frames_are_torchs_row_by_row(case, shape, worst):
    layer, x, dy = case
    window, hop, n_fft = SHAPES[shape]
    got = {"y": layer.forward(x, LENGTHS), "dx": layer.backward(dy)}

    tensor, hann = torch.tensor(x, requires_grad=True), torch.hann_window(window, dtype=torch.float64)
    filters, rows = mel_filters(100, n_fft, 2), []
    for row, length in enumerate(LENGTHS):
        alone = torch.nn.functional.pad(tensor[row, :length], (0, max(0, window - length)))
        starts = range(0, len(alone) - window + 1, hop) if length else ()
        powers = [torch.fft.rfft(alone[s : s + window] * hann, n_fft).abs().square() for s in starts]
        y = [(power @ filters + 0.01).log() for power in powers]
        rows.append(torch.stack(y + [torch.zeros(2, dtype=torch.float64)] * (dy.shape[1] - len(y))))
    y = torch.stack(rows)
    y.backward(torch.tensor(dy))
    assert worst(got, {"y": y.detach().numpy(), "dx": tensor.grad.numpy()}) < 1e-10


@every_shape
def test_the_gradient_agrees_with_finite_differences(case, shape, numeric_error):
    layer, x, dy = case
    x = np.where(mask_from_lengths(LENGTHS, 25), x, 0)
    layer.forward(x, LENGTHS)
    grads = {"x": layer.backward(dy)}
    assert numeric_error(lambda: float((layer.forward(x, LENGTHS) * dy).sum()), {"x": x}, grads) < 1e-7


def test_nothing_in_nothing_out():
    layer = LogMel(100, 2, 8, 3, 8)
    for shape in ((0, 9), (2, 0)):
        y = layer.forward(np.zeros(shape), np.zeros(shape[0], dtype=np.int64))
        assert y.shape == (shape[0], 1 if shape[1] else 0, 2)
        assert layer.backward(y).shape == shape
