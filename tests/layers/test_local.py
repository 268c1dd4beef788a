"""The locally connected layer against the NumPy reference, a dense layer, and the recipe that it takes the place of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken import LocalLinear, reference
from harken.errors import ShapeError, UsageError
from harken.testing import check_padding

SHAPES: dict[str, dict[str, Any]] = {
    "side by side": {"in_features": 12, "local_features": 2, "kernel_size": 3},
    "overlapping": {"in_features": 11, "local_features": 3, "kernel_size": 4, "stride": 2},
    "apart, with a rest": {"in_features": 10, "local_features": 2, "kernel_size": 2, "stride": 3},
    "padded": {"in_features": 7, "local_features": 2, "kernel_size": 5, "stride": 1, "padding": 2},
    "padded, and a rest in the padding": {
        "in_features": 8, "local_features": 1, "kernel_size": 5, "stride": 4, "padding": 3
    },
    "one window": {"in_features": 4, "local_features": 5, "kernel_size": 4},
    "one value": {"in_features": 3, "local_features": 2, "kernel_size": 1},
    "no bias": {"in_features": 9, "local_features": 2, "kernel_size": 3, "bias": False},
}  # fmt: skip
every_shape = pytest.mark.parametrize("name", SHAPES)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(name: str) -> LocalLinear:
    return LocalLinear(**SHAPES[name]).double()


def gradients(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs, flat, and the gradient of a weighted sum of them with respect to x."""
    x = x.clone().requires_grad_()
    y = layer(x).reshape(len(x), -1)
    (y * random(*y.shape, seed=7)).sum().backward()
    assert x.grad is not None
    return y.detach(), x.grad


@every_shape
def test_it_is_a_dense_layer_with_most_weights_0(name: str) -> None:
    layer, x = build(name), random(6, SHAPES[name]["in_features"])
    dense = layer.to_dense()
    for ours, theirs in zip(gradients(layer, x), gradients(dense, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    kept = int((dense.weight != 0).sum())
    assert kept <= layer.weight.numel()  # windows may reach into the padding, where no weight is needed
    assert layer.output_size == dense.out_features == layer.places * layer.local_features


@every_shape
def test_it_is_the_reference(name: str) -> None:
    layer, x = build(name), random(6, SHAPES[name]["in_features"])
    bias = torch.zeros(layer.places, layer.local_features, dtype=torch.float64) if layer.bias is None else layer.bias
    theirs = reference.LocalLinear(layer.weight.detach().numpy(), bias.detach().numpy(), layer.stride, layer.padding)
    dy = random(6, layer.places, layer.local_features, seed=1)
    wanted = {"y": theirs.forward(x.numpy()), "x": theirs.backward(dy.numpy())} | theirs.grads
    x.requires_grad_()
    y = layer(x)
    y.backward(dy)
    found = {"y": y, "x": x.grad} | {n: parameter.grad for n, parameter in layer.named_parameters()}
    for n, tensor in found.items():
        torch.testing.assert_close(tensor.detach(), torch.from_numpy(wanted[n]), rtol=1e-12, atol=1e-12)


def recipe(layer: LocalLinear, x: Tensor) -> Tensor:
    """As it is passed on in forums: every row multiplies copies of all weights."""
    windows = F.pad(x, [layer.padding] * 2).unfold(-1, layer.kernel_size, layer.stride)
    return torch.matmul(windows.unsqueeze(2), layer.weight).squeeze(2) + layer.bias


@pytest.mark.parametrize("name", ["side by side", "overlapping", "padded"])
def test_it_is_what_the_recipe_computes(name: str) -> None:
    layer, x = build(name), random(4, SHAPES[name]["in_features"])
    torch.testing.assert_close(layer(x), recipe(layer, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 0, 3), (0,)])
def test_any_leading_dimensions(leading: tuple[int, ...]) -> None:
    layer = build("overlapping")
    x = random(*leading, 11)
    y = layer(x)
    assert y.shape == (*leading, layer.places, 3)
    for place in [()] if not leading else torch.cartesian_prod(*map(torch.arange, leading)).reshape(-1, len(leading)):
        row = tuple(int(i) for i in place)
        torch.testing.assert_close(y[row], layer(x[row]), rtol=1e-12, atol=1e-12)


def test_steps_of_ragged_rows_do_not_see_each_other() -> None:
    layer = build("overlapping")
    check_padding(
        lambda x, lengths: layer(x).flatten(-2) * (torch.arange(x.shape[1]) < lengths.unsqueeze(1)).unsqueeze(-1),
        random(4, 5, 11),
        torch.tensor([5, 2, 0, 3]),
    ).raise_if_failed()


def test_weights_are_drawn_as_large_as_a_linear_layers_of_the_same_fan_in() -> None:
    torch.manual_seed(0)
    layer = LocalLinear(4096, 8, 16)
    for parameter in map(Tensor.detach, layer.parameters()):
        assert 0.249 < float(parameter.abs().max()) <= 0.25
        assert float(parameter.std()) == pytest.approx(0.25 / 3**0.5, rel=0.02)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kernel_size": 0}, "kernel_size (0) must be at least 1"),
        ({"stride": -1}, "stride (-1) must be at least 1"),
        ({"kernel_size": 13}, "kernel_size (13) must be at most 12: in_features (12) and the padding at both ends"),
        ({"padding": 3}, "padding (3) must be from 0 to below kernel_size (3)"),
        ({"local_features": 0}, "local_features (0) must be at least 1"),
    ],
)
def test_refused_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as error:
        LocalLinear(**SHAPES["side by side"] | options)
    assert text in str(error.value)


def test_refused_shapes() -> None:
    with pytest.raises(ShapeError, match=r"x \(2, 5\) must be \(…, 12\) for in_features"):
        build("side by side")(random(2, 5))


def test_what_print_shows() -> None:
    assert "11, 3, kernel_size=4, stride=2, padding=0, places=4, bias=True" in str(build("overlapping"))
