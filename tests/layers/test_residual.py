"""The residual network: a picture's map is its own, whatever stands beside it in the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.errors import ShapeError, UsageError
from harken.layers.residual import ResidualBlock, ResidualNetwork
from harken.testing import check_padding

every_dtype = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"]
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scrambled(module: Any) -> Any:
    """All parameters random, those that begin at 0 too, in float64."""
    module = module.double()
    with torch.no_grad():
        for k, parameter in enumerate(module.parameters()):
            parameter.copy_((0.3 if parameter.dim() == 4 else 1.0) * random(*parameter.shape, seed=100 + k))
    return module


def build(**options: Any) -> ResidualNetwork:
    return scrambled(ResidualNetwork(**{"width": 4, "in_channels": 2, "stages": 2} | options))


def distance(value: Tensor, truth: Tensor) -> float:
    assert value.shape == truth.shape
    value, truth = value.detach().double(), truth.detach().double()
    return float((value - truth).norm()) / max(float(truth.norm()), 1e-3)


def answers(model: nn.Module, x: Tensor, rows: list[int]) -> dict[str, Tensor]:
    """The maps of some pictures in one batch, and what their losses, one for each picture, have for gradients."""
    model.zero_grad()
    some = x[rows].requires_grad_()
    maps = model(some)
    losses = torch.stack([(y * random(*y.shape, seed=row).to(y)).sum() for row, y in zip(rows, maps, strict=True)])
    losses.sum().backward()
    return {"maps": maps.detach(), "x": some.grad} | {name: p.grad.clone() for name, p in model.named_parameters()}


def dependence(model: nn.Module, x: Tensor) -> float:
    """The largest distance between pictures alone and the same in a batch, in two orders: maps and gradients."""
    alone = [answers(model, x, [row]) for row in range(len(x))]
    worst = 0.0
    for rows in ([*range(len(x))], [2, 0, 3, 1]):
        together = answers(model, x, rows)
        for name, value in together.items():
            parts = [alone[row][name] for row in rows]
            worst = max(
                worst, distance(value, torch.cat(parts) if name in ("maps", "x") else torch.stack(parts).sum(0))
            )
    return worst


@every_dtype
@pytest.mark.parametrize("options", [{}, {"width": 32}, {"width": 6, "stages": 1}, {"width": 5, "stages": 3}])
@pytest.mark.parametrize("size", [(9, 6), (1, 1)])
def test_a_picture_is_answered_alone(
    options: dict[str, int], size: tuple[int, int], dtype: torch.dtype, tolerance: float
) -> None:
    assert dependence(build(**options).to(dtype), random(4, 2, *size).to(dtype)) < tolerance


class Flat(nn.Module):
    """Pictures as rows of one step each, for the contract's own check."""

    def __init__(self) -> None:
        super().__init__()
        self.network = build()

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        real = lengths.bool().view(-1, 1, 1)
        return self.network(x[:, 0].unflatten(1, (2, 6, 5))).flatten(2).masked_fill(~real, 0.0)


@every_dtype
def test_the_contract(dtype: torch.dtype, tolerance: float) -> None:
    check_padding(Flat(), random(4, 1, 60), torch.tensor([1, 1, 0, 1]), dtype=dtype).raise_if_failed()


def test_a_norm_over_the_batch_is_found() -> None:
    model = build()
    assert isinstance(model.blocks[1].first_norm, nn.GroupNorm)
    model.blocks[1].first_norm = nn.BatchNorm2d(4).double()
    assert dependence(model, random(4, 2, 9, 6)) > 1e-2


def test_no_norm_sees_the_batch() -> None:
    norms = [m for m in ResidualNetwork().modules() if hasattr(m, "eps")]
    assert len(norms) == 3 * 2 + 1
    assert {type(norm) for norm in norms} == {nn.GroupNorm}
    assert not [*ResidualNetwork().buffers()], "nothing is kept of what was seen"


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(64, 64), (33, 7), (1, 5), (1, 1)])
def test_shapes(stages: int, size: tuple[int, int]) -> None:
    model = ResidualNetwork(4, 3, stages)
    assert (model.output_size, model.stride) == (4 * 2 ** (stages - 1), 2**stages)
    for batch in (2, 0):
        y = model(torch.zeros(batch, 3, *size))
        assert y.shape == (batch, model.output_size, *(-(-side // model.stride) for side in size))


def test_nothing_sends_no_gradient() -> None:
    model, x = build(), random(0, 2, 8, 8).requires_grad_()
    model(x).sum().backward()
    assert x.grad.shape == x.shape
    assert all(bool((p.grad == 0).all()) for p in model.parameters())


def test_the_map_is_what_the_equations_say() -> None:
    model, x = build(width=32), random(2, 2, 7, 6)
    y = F.conv2d(x, model.stem.weight, stride=2, padding=1)
    for halve, groups, block in zip((False, True), ((8, 8), (8, 16)), model.blocks, strict=True):
        if halve:  # 4 × 3 places: the last row and column of maxima are of what there is
            y = torch.stack([y[:, :, i : i + 2, j : j + 2].amax((2, 3)) for i in (0, 2) for j in (0, 2)], -1)
            y = y.unflatten(-1, (2, 2))
        one, two = block.first_norm, block.second_norm
        a = F.group_norm(y, groups[0], one.weight, one.bias).clamp(min=0)
        z = F.conv2d(a, block.first.weight, padding=1)
        z = F.group_norm(z, groups[1], two.weight, two.bias).clamp(min=0)
        z = F.conv2d(z, block.second.weight, padding=1)
        y = z + (y if block.shortcut is None else F.conv2d(a, block.shortcut.weight))
    y = F.group_norm(y, 16, model.norm.weight, model.norm.bias).clamp(min=0)
    assert distance(model(x), y) < 1e-12


def test_a_block_begins_as_its_shortcut() -> None:
    block, x = ResidualBlock(4, 4), random(2, 4, 5, 5).float()
    assert torch.equal(block(x), x)
    wider = ResidualBlock(4, 6, halve=True)
    halved = F.max_pool2d(x, 2, ceil_mode=True)
    assert torch.equal(wider(x), wider.shortcut(torch.relu(wider.first_norm(halved))))


def test_a_map_can_be_read_as_steps_without_a_copy() -> None:
    assert ResidualNetwork(4)(torch.zeros(2, 3, 32, 32)).flatten(2).transpose(1, 2).is_contiguous()


def test_a_wider_network_has_more_parameters() -> None:
    counts = [sum(p.numel() for p in ResidualNetwork(width).parameters()) for width in (2, 8, 16, 32, 64)]
    assert counts == sorted(set(counts))
    assert 3.5 < counts[-1] / counts[-2] < 4, "they grow as width²"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"width": 1}, "width (1) must be at least 2"),
        ({"in_channels": 0}, "in_channels (0) must be at least 1"),
        ({"stages": 0}, "stages (0) must be at least 1"),
    ],
)
def test_refused_options(options: dict[str, int], text: str) -> None:
    with pytest.raises(UsageError) as error:
        ResidualNetwork(**options)
    assert text in str(error.value)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 1, 8, 8), (2, 8, 8, 3), (2, 3, 0, 8), (2, 3, 8, 0)])
def test_refused_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as error:
        ResidualNetwork()(torch.zeros(shape))
    assert str(error.value).startswith(f"x {shape} must be (B, C, H, W) with C = in_channels (3), H and W at least 1")
