"""The kernel over shapes, lengths, views and threads that nobody chose, against float64 `nn.LSTM` and `nn.GRU`."""

from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from harken.engine import levels, ragged_layer

usable = [level for level in levels.runnable() if level in levels.built()]
pytestmark = pytest.mark.skipif(not usable, reason=f"no native engine: {levels.reason()}")

# Around the vectors' widths (4, 8, 16 units) and their multiples; then anything.
edges = st.sampled_from([1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65])
sizes = st.one_of(edges, st.integers(1, 70))

# x (B, T, D) from what lies in memory.
VIEWS = {
    "as it is": lambda normal, b, t, d: normal(b, t, d),
    "time first": lambda normal, b, t, d: normal(t, b, d).transpose(0, 1),
    "features first": lambda normal, b, t, d: normal(b, d, t).transpose(1, 2),
    "every other step": lambda normal, b, t, d: normal(b, 2 * t, d)[:, ::2],
    "some features": lambda normal, b, t, d: normal(b, t, d + 3)[..., 1:-2],
    "one row for all": lambda normal, b, t, d: normal(1, t, d).expand(b, -1, -1),
    "one step for all": lambda normal, b, t, d: normal(b, 1, d).expand(-1, t, -1),
}
LOSSES = ("all", "outputs summed", "states alone", "outputs seen features first")


@dataclass
class Case:
    """A layer, its inputs, and what is asked of it; all numbers follow from the seed."""

    cell: str
    hidden: int
    features: int
    batch: int
    time: int
    directions: int
    bias: bool
    with_state: bool
    view: str
    loss: str
    lengths: str
    seed: int
    leaves: list[Tensor] = field(init=False, repr=False)  # x, weights, then states

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.seed)
        rows = (4 if self.cell == "lstm" else 3) * self.hidden
        scale = (self.hidden + self.features) ** -0.5  # a gate's sum is then about 1, as after initialisation
        shapes = [(rows, self.features), (rows, self.hidden), *[(rows,)] * (2 if self.bias else 0)] * self.directions
        weights = [scale * self.normal(*shape) for shape in shapes]
        count = ((self.cell == "lstm") + 1) * self.with_state
        states = [self.normal(self.directions, self.batch, self.hidden) for _ in range(count)]
        x = VIEWS[self.view](self.normal, self.batch, self.time, self.features)
        self.leaves = [tensor.detach().requires_grad_() for tensor in (x, *weights, *states)]
        self.of_weights = len(weights)
        drawn = self.generator.integers(0, self.time, self.batch, endpoint=True)
        if self.lengths == "all":
            drawn[:] = self.time
        elif self.lengths == "few":
            drawn *= self.generator.integers(0, 2, self.batch)
        self.rows = torch.from_numpy(drawn)

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.generator.standard_normal(shape)).float()

    def in_float64(self) -> list[Tensor]:
        return [leaf.detach().double().requires_grad_() for leaf in self.leaves]

    def parts(self, leaves: list[Tensor]) -> tuple[Tensor, list[tuple[Tensor | None, ...]], list[Tensor]]:
        """x, each direction's weights, and the states."""
        x, flat, states = leaves[0], leaves[1 : 1 + self.of_weights], leaves[1 + self.of_weights :]
        each = self.of_weights // self.directions
        return x, [(*flat[k : k + each], *[None] * (4 - each)) for k in range(0, len(flat), each)], states

    def run(self) -> tuple[Tensor, ...]:
        x, weights, states = self.parts(self.leaves)
        return tuple(r for r in ragged_layer(self.cell, x, self.rows, weights, *states) if r is not None)

    def oracle(self, leaves: list[Tensor]) -> tuple[Tensor, ...]:
        """`nn.LSTM` or `nn.GRU` on a `PackedSequence` of the rows that hold anything."""
        x, weights, states = self.parts(leaves)
        kind = nn.LSTM if self.cell == "lstm" else nn.GRU
        module = kind(
            self.features,
            self.hidden,
            bias=self.bias,
            bidirectional=self.directions == 2,
            batch_first=True,
            dtype=x.dtype,
        )
        names = [name for name, _ in module.named_parameters()]
        flat = [tensor for own in weights for tensor in own if tensor is not None]
        zeros = x.new_zeros(self.directions, self.batch, self.hidden)
        states = states or [zeros] * (2 if self.cell == "lstm" else 1)
        live = self.rows.nonzero().squeeze(-1)
        if len(live) == 0:
            return x.new_zeros(self.batch, self.time, self.directions * self.hidden), *states
        packed = pack_padded_sequence(x[live], self.rows[live], batch_first=True, enforce_sorted=False)
        before = tuple(state[:, live] for state in states)
        data, after = torch.func.functional_call(
            module, dict(zip(names, flat, strict=True)), (packed, before if len(before) == 2 else before[0])
        )
        outputs, _ = pad_packed_sequence(data, batch_first=True, total_length=self.time)
        finals = after if isinstance(after, tuple) else (after,)
        whole = x.new_zeros(self.batch, self.time, outputs.size(-1)).index_copy(0, live, outputs)
        return whole, *(s.index_copy(1, live, final) for s, final in zip(states, finals, strict=True))

    def gradients(self, results: tuple[Tensor, ...], leaves: list[Tensor], **options: bool) -> list[Tensor]:
        outputs, *finals = results
        generator = torch.Generator().manual_seed(self.seed)

        def weighed(tensor: Tensor) -> Tensor:
            return (tensor * torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)).sum()

        loss = {
            "all": lambda: sum(map(weighed, results)),
            "outputs summed": lambda: outputs.sum(),
            "states alone": lambda: sum(map(weighed, finals)),
            "outputs seen features first": lambda: weighed(outputs.transpose(1, 2)),
        }[self.loss]()
        found = (
            torch.autograd.grad(loss, leaves, allow_unused=True, **options)
            if loss.requires_grad
            else [None] * len(leaves)
        )
        return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


cases = st.builds(
    Case,
    cell=st.sampled_from(["lstm", "gru"]),
    hidden=sizes,
    features=sizes,
    batch=st.integers(1, 40),
    time=st.integers(0, 20),
    directions=st.sampled_from([1, 2]),
    bias=st.booleans(),
    with_state=st.booleans(),
    view=st.sampled_from(list(VIEWS)),
    loss=st.sampled_from(LOSSES),
    lengths=st.sampled_from(["any", "all", "few"]),
    seed=st.integers(0, 2**31),
)
thread_counts = st.sampled_from([1, 2, 3, 4])


@contextmanager
def threads(count: int):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def error(found: Tensor, expected: Tensor) -> float:
    """‖difference‖ / ‖value‖, or, where sums of numbers around 1 have cancelled each other, / 0.1."""
    difference = float((found.detach().double() - expected.detach()).norm())
    return difference / max(float(expected.detach().norm()), 0.1) if difference == difference else float("inf")


@pytest.mark.parametrize("level", usable)
@settings(max_examples=100, deadline=None)
@given(case=cases, count=thread_counts)
def test_equals_torch_in_float64(level, case, count):
    with pytest.MonkeyPatch.context() as environment, threads(count):
        environment.setenv("HARKEN_ENGINE", level)
        found = case.run()
        gradients = case.gradients(found, case.leaves)
    leaves = case.in_float64()
    expected = case.oracle(leaves)
    assert [tuple(t.shape) for t in found] == [tuple(t.shape) for t in expected]
    assert max(map(error, found, expected)) <= 1e-5
    assert max(map(error, gradients, case.gradients(expected, leaves))) <= 1e-5


@pytest.mark.parametrize("level", usable)
@settings(max_examples=40, deadline=None)
@given(case=cases, count=thread_counts)
def test_a_row_is_the_same_bits_in_any_company(level, case, count):
    """Forward: whatever the batch, its order, the padding and the number of threads."""
    x, weights, states = case.parts([leaf.detach() for leaf in case.leaves])

    def run(rows: Tensor, padding: int, count: int) -> list[Tensor]:
        wide = nn.functional.pad(x[rows], (0, 0, 0, padding))
        with threads(count):
            results = ragged_layer(case.cell, wide, case.rows[rows], weights, *(state[:, rows] for state in states))
        return [results[0][:, : case.time], *(state.transpose(0, 1) for state in results[1:] if state is not None)]

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HARKEN_ENGINE", level)
        whole = run(torch.arange(case.batch), 0, 1)
        order = torch.from_numpy(case.generator.permutation(case.batch))
        some = order[: 1 + case.seed % case.batch]
        for rows, padding in ((torch.arange(case.batch), 0), (order, 2), (some, 1), (some[:1], 0)):
            for found, expected in zip(run(rows, padding, count), whole, strict=True):
                assert torch.equal(found, expected[rows])


@settings(max_examples=40, deadline=None)
@given(case=cases, count=thread_counts)
def test_the_same_threads_give_the_same_bits(case, count):
    """Forward and backward, run again; and the backward pass of one graph twice."""
    with threads(count):
        found = case.run()
        first, kept = (case.gradients(found, case.leaves, retain_graph=True) for _ in range(2))
        again = case.run()
        second = case.gradients(again, case.leaves)
    for a, b, c in zip([*found, *first], [*again, *second], [*found, *kept], strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.parametrize("level", usable)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("scale", [2, 5, 30, 1e3])
def test_saturated_gates(monkeypatch, level, cell, scale):
    """Sums far beyond where a gate is shut or open: as near to float64 as torch in float32, whatever that is."""
    case = Case(cell, 33, 20, 9, 12, 2, True, False, "as it is", "all", "any", 5)
    with torch.no_grad():
        for leaf in case.leaves[1:]:
            leaf.mul_(scale)
    leaves = case.in_float64()
    expected = case.oracle(leaves)
    exact = case.gradients(expected, leaves)
    apart = {}
    for engine in ("portable", level):
        monkeypatch.setenv("HARKEN_ENGINE", engine)
        found = case.run()
        gradients = case.gradients(found, case.leaves)
        apart[engine] = [max(map(error, found, expected)), max(map(error, gradients, exact))]
    assert found[0].abs().max() <= 1
    assert all(ours <= max(1e-5, 4 * torchs) for ours, torchs in zip(apart[level], apart["portable"], strict=True))


def test_planted_faults_are_seen():
    """What the sweep compares must be able to differ."""
    case = Case("gru", 17, 5, 6, 9, 2, True, True, "time first", "all", "any", 3)
    leaves = case.in_float64()
    expected = case.oracle(leaves)
    case.leaves[4], case.leaves[3] = case.leaves[3], case.leaves[4]  # a GRU's biases, exchanged
    assert max(map(error, case.run(), expected)) > 1e-3
    case.leaves[4], case.leaves[3] = case.leaves[3], case.leaves[4]
    case.rows = case.rows.flip(0)
    assert max(map(error, case.run(), expected)) > 1e-3
