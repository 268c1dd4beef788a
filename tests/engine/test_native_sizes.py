"""The kernel at sizes where something could give: one of everything, many rows, wide layers, long rows."""

import pytest
import torch
from torch import Tensor, nn

from harken.engine import ragged_layer

pytestmark = pytest.mark.usefixtures("native")

cells = pytest.mark.parametrize("cell", ["lstm", "gru"])


def make(cell: str, features: int, hidden: int, *, bidirectional: bool = False) -> nn.Module:
    torch.manual_seed(0)
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    module = kind(features, hidden, batch_first=True, bidirectional=bidirectional)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=(features + hidden) ** -0.5)  # torch's own is far too much for 1,025 to 1
    return module


def run(module: nn.Module, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
    cell = "lstm" if isinstance(module, nn.LSTM) else "gru"
    flat = list(module.parameters())
    lengths = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
    weights = [tuple(flat[k : k + 4]) for k in range(0, len(flat), 4)]
    return tuple(result for result in ragged_layer(cell, x, lengths, weights) if result is not None)


def assert_equals_torch(module: nn.Module, x: Tensor) -> None:
    x.requires_grad_()
    found = run(module, x)
    gradients = torch.autograd.grad(sum(r.square().sum() for r in found), [x, *module.parameters()])
    module.double()
    long = x.detach().double().requires_grad_()
    outputs, final = module(long)
    expected = [outputs, *(final if isinstance(final, tuple) else [final])]
    true = torch.autograd.grad(sum(r.square().sum() for r in expected), [long, *module.parameters()])
    for a, b in zip([*found, *gradients], [*expected, *true], strict=True):
        assert float((a.detach() - b.detach()).norm() / b.detach().norm().clamp(min=1e-2)) <= 1e-5


@cells
@pytest.mark.parametrize(
    ("batch", "time", "features", "hidden"),
    [(1, 1, 1, 1), (2, 3, 1, 1025), (3, 2, 1025, 1), (4096, 2, 3, 5), (1, 2000, 2, 3), (5, 4, 300, 513)],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_extremes(cell, batch, time, features, hidden, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(batch, time, features, generator=generator)
        assert_equals_torch(make(cell, features, hidden, bidirectional=hidden < 100), x)
    finally:
        torch.set_num_threads(before)


@cells
def test_a_hundred_thousand_steps(cell):
    """Forward, the same as in two halves; backward, the same as over the steps that a loss looks at."""
    module, time = make(cell, 2, 4), 100_000
    x = torch.randn(1, time, 2, generator=torch.Generator().manual_seed(1)).requires_grad_()
    outputs, *finals = run(module, x)
    half = time // 2
    first, *states = run(module, x[:, :half])
    flat = list(module.parameters())
    second, *ends = (r for r in ragged_layer(cell, x[:, half:], torch.tensor([half]), [flat], *states) if r is not None)
    for found, whole in zip([torch.cat([first, second], 1), *ends], [outputs, *finals], strict=True):
        assert torch.equal(found, whole)
    (seen_early,) = torch.autograd.grad(outputs[:, :20].square().sum(), x, retain_graph=True)
    (alone,) = torch.autograd.grad(run(module, x[:, :20])[0].square().sum(), x)
    assert torch.equal(seen_early, alone)
    everything = torch.autograd.grad(outputs.square().sum() + sum(f.sum() for f in finals), [x, *flat])
    assert all(gradient.isfinite().all() and gradient.any() for gradient in everything)


@cells
def test_one_long_row_among_short_ones(cell):
    module = make(cell, 3, 17, bidirectional=True)
    lengths = torch.tensor([1, 700, 2, 0, 1, 3])
    x = torch.randn(6, 700, 3, generator=torch.Generator().manual_seed(1))
    outputs, *finals = run(module, x, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, *ends = run(module, x[row : row + 1, :length]) if length else (x.new_zeros(1, 0, 34),)
        assert torch.equal(outputs[row, :length], alone[0])
        assert not outputs[row, length:].any()
        for whole, end in zip(finals, ends, strict=False):
            assert torch.equal(whole[:, row], end[:, 0])
