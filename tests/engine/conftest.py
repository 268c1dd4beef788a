"""A ragged problem, the engine's answer to it, and the oracle's: one row, one step at a time, no padding."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from harken.engine import levels, ragged_gru, ragged_lstm
from harken.engine import plan as plan_module

GATES = {"lstm": 4, "gru": 3}


@dataclass
class Problem:
    cell: str
    x: Tensor  # (B, T, D)
    lengths: Tensor  # (B,)
    weights: list[Tensor]
    states: list[Tensor]

    @property
    def leaves(self) -> list[Tensor]:
        return [self.x, *self.weights, *self.states]

    def double(self) -> "Problem":
        """The same numbers in float64, for the oracle."""
        x, *rest = (leaf.detach().double().requires_grad_() for leaf in self.leaves)
        return replace(self, x=x, weights=rest[:4], states=rest[4:])

    def run(self, reverse: bool = False, x: Tensor | None = None) -> tuple[Tensor, ...]:
        operator = ragged_lstm if self.cell == "lstm" else ragged_gru
        return operator(self.x if x is None else x, self.lengths, *self.weights, *self.states, reverse)

    def oracle(self, reverse: bool = False) -> tuple[Tensor, ...]:
        w_ih, w_hh, b_ih, b_hh = self.weights
        outputs, finals = [], []
        for row, length in enumerate(self.lengths.tolist()):
            h, *c = (state[row] for state in self.states)
            steps = [h.new_zeros(h.shape)] * self.x.size(1)
            for t in range(length)[:: -1 if reverse else 1]:
                a, b = w_ih @ self.x[row, t] + b_ih, w_hh @ h + b_hh
                if self.cell == "lstm":
                    i, f, g, o = (a + b).chunk(4)
                    c = [f.sigmoid() * c[0] + i.sigmoid() * g.tanh()]
                    h = o.sigmoid() * c[0].tanh()
                else:
                    (r, z, n), (r_h, z_h, n_h) = a.chunk(3), b.chunk(3)
                    z = (z + z_h).sigmoid()
                    h = (1 - z) * (n + (r + r_h).sigmoid() * n_h).tanh() + z * h
                steps[t] = h
            outputs.append(torch.stack(steps) if steps else self.x.new_zeros(0, h.numel()))
            finals.append((h, *c))
        return torch.stack(outputs), *(torch.stack(final) for final in zip(*finals, strict=True))

    def gradients(self, results: tuple[Tensor, ...], x: Tensor | None = None) -> list[Tensor]:
        """Of a sum that weighs every number of every result differently."""
        generator = torch.Generator().manual_seed(1)
        loss = sum((r * torch.randn(r.shape, generator=generator, dtype=torch.float64).to(r)).sum() for r in results)
        return list(torch.autograd.grad(loss, [self.x if x is None else x, *self.weights, *self.states]))


@pytest.fixture
def problem() -> Callable[..., Problem]:
    def make(
        cell: str,
        lengths: list[int],
        size: int | None = None,
        *,
        features: int = 3,
        hidden: int = 4,
        dtype: torch.dtype = torch.float64,
    ) -> Problem:
        generator = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.6).to(dtype).requires_grad_()

        rows = GATES[cell] * hidden
        size = max(lengths) if size is None else size
        return Problem(
            cell,
            normal(len(lengths), size, features),
            torch.tensor(lengths, dtype=torch.int64),
            [normal(rows, features), normal(rows, hidden), normal(rows), normal(rows)],
            [normal(len(lengths), hidden) for _ in range(2 if cell == "lstm" else 1)],
        )

    return make


@pytest.fixture(params=["one span", "few spans", "a span a step"])
def cuts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The portable engine cut into as many spans as its name says, whatever the problem's size."""
    cost, limit = {"one span": (1e9, 1 << 40), "few spans": (2, 1 << 40), "a span a step": (1e9, 1)}[request.param]
    monkeypatch.setattr(plan_module, "SPAN_COST", cost)
    monkeypatch.setattr(plan_module, "KEPT_LIMIT", limit)
    return str(request.param)


class Engine(NamedTuple):
    """One way to compute, with the dtype that it is tested in and how near to float64 it must be."""

    name: str
    dtype: torch.dtype
    tolerance: float


USABLE = [level for level in levels.runnable() if level in levels.built()]


@pytest.fixture(params=["portable", "packed", *USABLE])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Every engine that can run here, chosen as users choose it; native ones in float32, their only precision."""
    name = request.param
    monkeypatch.setenv("HARKEN_ENGINE", name)
    return Engine(name, torch.float32, 1e-5) if name in USABLE else Engine(name, torch.float64, 1e-10)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best native engine; skips where there is none."""
    if levels.native_module() is None:
        pytest.skip(f"no native engine: {levels.reason()}")
    monkeypatch.setenv("HARKEN_ENGINE", "native")


def worst(found: object, expected: object) -> float:
    """The largest ‖difference‖ / ‖value‖ over pairs of tensors, in the second's dtype; NaN counts as infinite."""
    errors = [0.0]
    for a, b in zip(found, expected, strict=True):  # type: ignore[call-overload]
        assert a.shape == b.shape
        a, b = a.detach().to(b), b.detach()
        error = float((a - b).norm() / b.norm().clamp(min=1e-6)) if a.numel() else 0.0
        errors.append(float("inf") if error != error else error)
    return max(errors)


@pytest.fixture(name="worst")
def worst_fixture() -> Callable[[object, object], float]:
    return worst
