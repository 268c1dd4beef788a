"""The masked convolutions against the NumPy reference and the contract (design.md section 2)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harken import reference
from harken.errors import ShapeError, UsageError
from harken.layers.convolution import MaskedConv1d, MaskedConv2d, masked_conv2d
from harken.layers.masks import mask_from_lengths
from harken.testing import check_padding

D, C = 3, 4
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"activation": "none"},
    "relu": {},
    "norm": {"activation": "none", "normalize": True},
    "norm, relu, wide": {"normalize": True, "kernel_size": 9},
    "one step": {"kernel_size": 1},
}
every_option = pytest.mark.parametrize("name", OPTIONS)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(name: str) -> MaskedConv1d:
    layer = MaskedConv1d(D, C, **{"kernel_size": 3, **OPTIONS[name]}).double()
    with torch.no_grad():
        for k, parameter in enumerate(layer.parameters()):
            parameter.copy_(random(*parameter.shape, seed=100 + k))
    return layer


@every_option
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@settings(max_examples=3, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_the_contract(name: str, dtype: torch.dtype, lengths: list[int]) -> None:
    x = random(len(lengths), max(lengths) + 1, D)
    check_padding(build(name), x, torch.tensor(lengths), dtype=dtype).raise_if_failed()


@pytest.mark.parametrize("size", [1, 3, 9])
def test_it_is_the_reference(size: int) -> None:
    layer = MaskedConv1d(D, C, size, activation="none").double()
    nn.init.normal_(layer.bias)
    lengths = torch.tensor([2, 5, 0, 3])
    mask = mask_from_lengths(lengths, 5)
    x, dy = torch.where(mask.unsqueeze(-1), random(4, 5, D), 1e6), random(4, 5, C, seed=1)
    theirs = reference.TimeConvolution(layer.weight.detach().numpy(), layer.bias.detach().numpy())
    wanted = {"y": theirs.forward(x.numpy(), mask.numpy()), "x": theirs.backward(dy.numpy())} | theirs.grads

    x.requires_grad_()
    y = layer(x, lengths)
    y.backward(dy)
    found = {"y": y, "x": x.grad, "weight": layer.weight.grad, "bias": layer.bias.grad}
    for name, array in wanted.items():
        assert float((found[name].detach() - torch.from_numpy(array)).norm()) < 1e-10, name


@every_option
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_in_nothing_out(name: str, shape: tuple[int, int]) -> None:
    y = build(name)(random(*shape, D), torch.zeros(shape[0], dtype=torch.int64))
    assert y.shape == (*shape, C)


class Unmasked(MaskedConv1d):
    """What lies in the padding reaches a row's last steps."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = nn.functional.conv1d(x.transpose(1, 2), self.weight, self.bias, padding=1).transpose(1, 2)
        return y * mask_from_lengths(lengths, x.shape[1]).unsqueeze(-1)


class OverTheBatch(MaskedConv1d):
    """A norm over the batch, as BatchNorm's in training: a row depends on its mates."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = super().forward(x, lengths)
        return (y - y.mean((0, 1))) * mask_from_lengths(lengths, x.shape[1]).unsqueeze(-1)


@pytest.mark.parametrize("kind", [Unmasked, OverTheBatch])
def test_a_planted_fault_is_found(kind: type[MaskedConv1d]) -> None:
    assert not check_padding(kind(D, C, 3), random(3, 5, D), torch.tensor([2, 5, 3])).passed


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kernel_size": 4}, "kernel_size (4) must be odd, to have a middle: take 5"),
        ({"kernel_size": -1}, "kernel_size (-1) must be at least 1"),
        ({"out_size": 0}, "out_size (0) must be at least 1"),
        ({"activation": "tanh"}, "activation ('tanh') must be 'relu' or 'none'"),
    ],
)
def test_refused_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as error:
        MaskedConv1d(**{"in_size": D, "out_size": C, **options})
    assert text in str(error.value)


def test_refused_shapes() -> None:
    with pytest.raises(ShapeError, match=r"x \(2, 5, 7\) and lengths \(2,\) must be .* in_size \(3\)"):
        build("relu")(random(2, 5, 7), torch.tensor([1, 2]))


def test_what_print_shows() -> None:
    assert "3, 4, kernel_size=3, activation=relu" in str(build("relu"))


FREQUENCIES = 5
PLANES: dict[str, dict[str, Any]] = {
    "usual": {},
    "no norm": {"normalize": False},
    "every frequency": {"pool": 1},
    "one frequency left": {"pool": 5},
    "wide": {"kernel_size": 7, "pool": 3},
    "one place": {"kernel_size": 1},
}
every_plane = pytest.mark.parametrize("name", PLANES)


def build2d(name: str, kind: type[MaskedConv2d] = MaskedConv2d) -> MaskedConv2d:
    layer = kind(D, C, **PLANES[name]).double()
    with torch.no_grad():
        for k, parameter in enumerate(layer.parameters()):
            parameter.copy_(random(*parameter.shape, seed=100 + k))
    return layer


@every_plane
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@settings(max_examples=3, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_the_contract_over_time_and_frequency(name: str, dtype: torch.dtype, lengths: list[int]) -> None:
    x = random(len(lengths), max(lengths) + 1, FREQUENCIES, D)
    check_padding(build2d(name), x, torch.tensor(lengths), dtype=dtype).raise_if_failed()


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (9, 9), (3, 7)])
@pytest.mark.parametrize("channels", [1, D])
def test_over_time_and_frequency_it_is_the_reference(size: tuple[int, int], channels: int) -> None:
    lengths = torch.tensor([2, 5, 0, 3])
    mask = mask_from_lengths(lengths, 5)
    real = mask[..., None, None]
    x, dy = torch.where(real, random(4, 5, FREQUENCIES, channels), 1e6), random(4, 5, FREQUENCIES, C, seed=1)
    weight, bias = random(C, channels, *size, seed=2).requires_grad_(), random(C, seed=3).requires_grad_()
    theirs = reference.TimeFrequencyConvolution(weight.detach().numpy(), bias.detach().numpy())
    wanted = {"y": theirs.forward(x.numpy(), mask.numpy()), "x": theirs.backward(dy.numpy())} | theirs.grads

    x.requires_grad_()
    y = masked_conv2d(x, weight, bias, mask).masked_fill(~real, 0.0)
    y.backward(dy)
    found = {"y": y, "x": x.grad, "weight": weight.grad, "bias": bias.grad}
    for name, array in wanted.items():
        assert float((found[name].detach() - torch.from_numpy(array)).norm()) < 1e-10, name


@every_plane
def test_norm_activation_and_pooling_by_hand(name: str) -> None:
    layer, lengths = build2d(name), torch.tensor([4, 0, 2])
    x = random(3, 4, FREQUENCIES, D)
    y = reference.TimeFrequencyConvolution(layer.weight.detach().numpy(), layer.bias.detach().numpy()).forward(
        x.numpy(), mask_from_lengths(lengths, 4).numpy()
    )
    found = layer(x, lengths).detach().numpy()
    places = FREQUENCIES // layer.pool
    assert found.shape == (3, 4, places, C)
    for row, length in enumerate(lengths.tolist()):
        for t in range(length):
            step = y[row, t]  # (F, C)
            if layer.scale is not None and layer.shift is not None:
                step = (step - step.mean()) / (step.var() + 1e-5) ** 0.5
                step = step * layer.scale.detach().numpy() + layer.shift.detach().numpy()
            for place in range(places):
                wanted = step[place * layer.pool : (place + 1) * layer.pool].max(0).clip(min=0)
                assert abs(found[row, t, place] - wanted).max() < 1e-10
        assert not found[row, length:].any()


@every_plane
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_in_nothing_out_over_time_and_frequency(name: str, shape: tuple[int, int]) -> None:
    layer = build2d(name)
    y = layer(random(*shape, FREQUENCIES, D), torch.zeros(shape[0], dtype=torch.int64))
    assert y.shape == (*shape, FREQUENCIES // layer.pool, C)
    if y.requires_grad:  # without a norm, nothing that has a gradient is left where there is no step
        y.sum().backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in layer.parameters())


class Unmasked2d(MaskedConv2d):
    """What lies in the padding reaches a row's last steps."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = super().forward(x, torch.full_like(lengths, x.shape[1]))
        return y * mask_from_lengths(lengths, x.shape[1])[..., None, None]


class OverTheBatch2d(MaskedConv2d):
    """BatchNorm in training: a row depends on its mates."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = super().forward(x, lengths)
        y = (y - y.mean((0, 1, 2))) / (y.var((0, 1, 2), unbiased=False) + 1e-5).sqrt()
        return y * mask_from_lengths(lengths, x.shape[1])[..., None, None]


class OverTheSteps2d(MaskedConv2d):
    """A norm over a row's steps, of which padding is some."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = super().forward(x, lengths)
        return (y - y.mean(1, keepdim=True)) * mask_from_lengths(lengths, x.shape[1])[..., None, None]


class MaskedOnlyBefore2d(MaskedConv2d):
    """The bias and the shift stand on padding."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        x = x * mask_from_lengths(lengths, x.shape[1])[..., None, None]
        return super().forward(x, torch.full_like(lengths, x.shape[1]))


@pytest.mark.parametrize("kind", [Unmasked2d, OverTheBatch2d, OverTheSteps2d, MaskedOnlyBefore2d])
def test_a_planted_fault_over_time_and_frequency_is_found(kind: type[MaskedConv2d]) -> None:
    x, lengths = random(3, 5, FREQUENCIES, D), torch.tensor([2, 5, 3])
    check_padding(build2d("usual"), x, lengths).raise_if_failed()
    assert not check_padding(build2d("usual", kind), x, lengths).passed


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kernel_size": 4}, "kernel_size (4) must be odd, to have a middle: take 5"),
        ({"kernel_size": 0}, "kernel_size (0) must be at least 1"),
        ({"pool": 0}, "pool (0) must be at least 1"),
        ({"in_channels": 0}, "in_channels (0) must be at least 1"),
        ({"out_channels": -2}, "out_channels (-2) must be at least 1"),
    ],
)
def test_refused_options_over_time_and_frequency(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as error:
        MaskedConv2d(**{"in_channels": D, "out_channels": C, **options})
    assert text in str(error.value)


def test_refused_shapes_over_time_and_frequency() -> None:
    lengths = torch.tensor([1, 2])
    with pytest.raises(ShapeError, match=r"x \(2, 5, 5, 7\) and lengths \(2,\) must be .* in_channels \(3\)"):
        build2d("usual")(random(2, 5, 5, 7), lengths)
    with pytest.raises(ShapeError, match=r"x \(2, 5, 3\) and lengths \(2,\) must be \(B, T, F, D\)"):
        build2d("usual")(random(2, 5, D), lengths)
    with pytest.raises(UsageError, match=r"pool \(5\) must be at most the 4 frequencies of x"):
        build2d("one frequency left")(random(2, 5, 4, D), lengths)


def test_what_print_shows_over_time_and_frequency() -> None:
    assert "3, 4, kernel_size=7, pool=3, normalize=True" in str(build2d("wide"))
