import numpy as np
import pytest
import torch

from harken.reference import TimeConvolution, TimeFrequencyConvolution, mask_from_lengths

B, T, D, C = 4, 5, 3, 2
LENGTHS = np.array([2, 5, 0, 3])
every_kernel = pytest.mark.parametrize("size", [1, 3, 7])


@pytest.fixture
def case(rng, size):
    mask = mask_from_lengths(LENGTHS, T)
    x = np.where(mask[:, :, None], rng.standard_normal((B, T, D)), 1e6)
    return x, mask, {"weight": rng.standard_normal((C, D, size)), "bias": rng.standard_normal(C)}


@every_kernel
def test_convolution_is_torchs_row_by_row(case, size, rng, worst):
    x, mask, params = case
    dy = rng.standard_normal((B, T, C))
    layer = TimeConvolution(**params)
    got = {"y": layer.forward(x, mask), "dx": layer.backward(dy)} | layer.grads

    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in (params | {"x": x}).items()}
    rows = []
    for row, length in enumerate(LENGTHS):
        if length == 0:
            rows.append(torch.zeros(T, C, dtype=torch.float64))
            continue
        alone = tensors["x"][row, :length].T.unsqueeze(0)  # (1, D, length)
        y = torch.nn.functional.conv1d(alone, tensors["weight"], tensors["bias"], padding=size // 2)[0].T
        rows.append(torch.nn.functional.pad(y, (0, 0, 0, T - length)))
    y = torch.stack(rows)
    y.backward(torch.tensor(dy))
    wanted = {"y": y, "dx": tensors["x"].grad} | {name: tensors[name].grad for name in params}
    assert worst(got, {name: tensor.detach().numpy() for name, tensor in wanted.items()}) < 1e-10


@pytest.mark.parametrize("size", [3])
def test_convolution_agrees_with_finite_differences(case, size, rng, numeric_error):
    x, mask, params = case
    x = np.where(mask[:, :, None], x, 0)
    dy = rng.standard_normal((B, T, C))
    layer = TimeConvolution(**params)
    layer.forward(x, mask)
    grads = {"x": layer.backward(dy)} | layer.grads
    loss = lambda: float((TimeConvolution(**params).forward(x, mask) * dy).sum())  # noqa: E731
    assert numeric_error(loss, params | {"x": x}, grads) < 1e-7


FREQUENCIES = 4
every_rectangle = pytest.mark.parametrize("size", [(1, 1), (3, 3), (5, 3), (3, 9)])


@pytest.fixture
def plane(rng, size):
    mask = mask_from_lengths(LENGTHS, T)
    x = np.where(mask[:, :, None, None], rng.standard_normal((B, T, FREQUENCIES, D)), 1e6)
    params = {"weight": rng.standard_normal((C, D, *size)), "bias": rng.standard_normal(C)}
    return x, mask, params, rng.standard_normal((B, T, FREQUENCIES, C))


@every_rectangle
def test_time_frequency_convolution_is_torchs_row_by_row(plane, size, worst):
    x, _, params, dy = plane
    layer = TimeFrequencyConvolution(**params)
    got = {"y": layer.forward(x, mask_from_lengths(LENGTHS, T)), "dx": layer.backward(dy)} | layer.grads

    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in (params | {"x": x}).items()}
    rows, padding = [], (size[0] // 2, size[1] // 2)
    for row, length in enumerate(LENGTHS):
        if length == 0:
            rows.append(torch.zeros(T, FREQUENCIES, C, dtype=torch.float64))
            continue
        alone = tensors["x"][row, :length].permute(2, 0, 1).unsqueeze(0)  # (1, D, length, F)
        y = torch.nn.functional.conv2d(alone, tensors["weight"], tensors["bias"], padding=padding)[0].permute(1, 2, 0)
        rows.append(torch.nn.functional.pad(y, (0, 0, 0, 0, 0, T - length)))
    y = torch.stack(rows)
    y.backward(torch.tensor(dy))
    wanted = {"y": y, "dx": tensors["x"].grad} | {name: tensors[name].grad for name in params}
    assert worst(got, {name: tensor.detach().numpy() for name, tensor in wanted.items()}) < 1e-10


@pytest.mark.parametrize("size", [(3, 5)])
def test_time_frequency_convolution_agrees_with_finite_differences(plane, numeric_error):
    x, mask, params, dy = plane
    x = np.where(mask[:, :, None, None], x, 0)
    layer = TimeFrequencyConvolution(**params)
    layer.forward(x, mask)
    grads = {"x": layer.backward(dy)} | layer.grads
    loss = lambda: float((TimeFrequencyConvolution(**params).forward(x, mask) * dy).sum())  # noqa: E731
    assert numeric_error(loss, params | {"x": x}, grads) < 1e-7
