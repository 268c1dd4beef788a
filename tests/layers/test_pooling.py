"""Poolings against the NumPy reference, against rows alone, and against the contract (design.md section 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import harken.layers.pooling as pooling
from harken import reference
from harken.errors import ShapeError, UsageError
from harken.layers.masks import mask_from_lengths
from harken.layers.pooling import (
    AttentionPooling,
    Pooled,
    Pooling,
    StepPooling,
    build_pooling,
    final_vector,
)
from harken.layers.recurrent import GRUState, LSTMState, Recurrent
from harken.testing import check_padding

SIZE, HIDDEN = 6, 5
POOLINGS: dict[str, tuple[str, int]] = {
    "last": ("last", 1),
    "sum": ("sum", 1),
    "mean": ("mean", 1),
    "max": ("max", 1),
    "attention": ("attention", 1),
    "attention, 3 heads": ("attention", 3),
    "attention-linear": ("attention-linear", 1),
    "attention-linear, 2 heads": ("attention-linear", 2),
    "query": ("query", 1),
    "self-attention": ("self-attention", 1),
    "self-attention, 2 heads": ("self-attention", 2),
}
every_pooling = pytest.mark.parametrize("name", POOLINGS)
every_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
ragged = st.lists(st.integers(0, 4), min_size=1, max_size=4)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scrambled(module: Any) -> Any:
    """All parameters random, biases too, in float64."""
    module = module.double()
    with torch.no_grad():
        for k, parameter in enumerate(module.parameters()):
            parameter.copy_(0.7 * random(*parameter.shape, seed=100 + k))
    return module


def build(name: str) -> Pooling:
    kind, heads = POOLINGS[name]
    return scrambled(build_pooling(kind, SIZE, heads, HIDDEN))


def assert_close(value: Tensor, truth: Tensor, tolerance: float = 1e-10) -> None:
    assert value.shape == truth.shape
    value, truth = value.detach(), truth.detach()
    assert float((value - truth).norm()) <= tolerance * max(float(truth.norm()), 1e-3)


# --- the contract -----------------------------------------------------------------------------------------------


class Reader(nn.Module):
    """What a pooling stands behind: a bidirectional layer, its outputs and its final state."""

    def __init__(self, pool: nn.Module, size: int = 3) -> None:
        super().__init__()
        self.recurrent = scrambled(Recurrent(size, SIZE // 2, num_layers=2, bidirectional=True))
        self.pool = pool

    def forward(self, x: Tensor, lengths: Tensor) -> Pooled:
        outputs, state = self.recurrent(x, lengths)
        return self.pool(outputs, lengths, self.final(state))

    def final(self, state: LSTMState | GRUState) -> Tensor:
        return final_vector(state, 2)


class OwnFinal(nn.Module):
    """A pooling alone, so that garbage reaches its very outputs; the final state is some other function of the row."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, outputs: Tensor, lengths: Tensor) -> Pooled:
        mask = mask_from_lengths(lengths, outputs.shape[1]).unsqueeze(-1)
        return self.pool(outputs, lengths, torch.where(mask, outputs.tanh(), 0).sum(1))


@every_pooling
@every_dtype
@settings(max_examples=3, deadline=None)
@given(lengths=ragged)
def test_the_contract(name: str, dtype: torch.dtype, lengths: list[int]) -> None:
    x, n = random(len(lengths), max(lengths) + 1, SIZE), torch.tensor(lengths)
    check_padding(OwnFinal(build(name)), x, n, dtype=dtype).raise_if_failed()


@every_pooling
@every_dtype
def test_the_contract_behind_a_layer(name: str, dtype: torch.dtype) -> None:
    for lengths in ([3, 0, 5, 1], [4]):
        x = random(len(lengths), 5, 3)
        check_padding(Reader(build(name)), x, torch.tensor(lengths), dtype=dtype).raise_if_failed()


@every_pooling
@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0), (2, 3)])
def test_nothing_gives_zeros_and_no_gradient(name: str, shape: tuple[int, int]) -> None:
    pool = build(name)
    outputs = random(*shape, SIZE).requires_grad_()
    lengths, final = torch.zeros(shape[0], dtype=torch.int64), torch.zeros(shape[0], SIZE, dtype=torch.float64)
    vector, weights = pool(outputs, lengths, final)
    assert vector.shape == (shape[0], pool.output_size)
    assert bool((vector == 0).all())
    if weights is not None:
        assert weights.shape == (shape[0], POOLINGS[name][1], shape[1])
        assert bool((weights == 0).all())
    if vector.requires_grad:
        vector.sum().backward()
        for tensor in (outputs, *pool.parameters()):
            assert tensor.grad is None or bool((tensor.grad == 0).all())


@every_pooling
@settings(max_examples=5, deadline=None)
@given(lengths=ragged)
def test_weights_are_weights(name: str, lengths: list[int]) -> None:
    outputs, n = random(len(lengths), 5, SIZE), torch.tensor(lengths)
    pooled = build(name)(outputs, n, random(len(lengths), SIZE, seed=1))
    kind, heads = POOLINGS[name]
    if kind in ("last", "sum", "mean", "max"):
        assert pooled.weights is None
        return
    assert pooled.weights is not None
    assert pooled.weights.shape == (len(lengths), heads, 5)
    assert bool((pooled.weights >= 0).all())
    assert bool((pooled.weights.masked_select(~mask_from_lengths(n, 5).unsqueeze(1)) == 0).all())
    assert_close(pooled.weights.sum(-1), (n > 0).double().unsqueeze(1).expand(-1, heads))


@pytest.mark.parametrize("name", ["attention", "attention, 3 heads", "attention-linear, 2 heads", "query"])
def test_the_vector_is_what_the_weights_say(name: str) -> None:
    outputs, n = random(3, 5, SIZE), torch.tensor([5, 2, 0])
    vector, weights = build(name)(outputs, n, random(3, SIZE, seed=1))
    assert weights is not None
    assert_close(vector, (weights @ outputs).flatten(1))


def test_self_attention_weights_are_shares_of_the_steps() -> None:
    pool, n = build("self-attention, 2 heads"), torch.tensor([5, 2, 0])
    outputs = random(3, 5, SIZE)
    vector, weights = pool(outputs, n, random(3, SIZE, seed=1))
    value, output = pool.attention.value, pool.attention.output
    parts = value(outputs).unflatten(-1, (2, SIZE // 2)).transpose(1, 2)  # (B, heads, T, size / heads)
    rebuilt = output((weights.unsqueeze(2) @ parts).squeeze(2).flatten(1))  # (B, size)
    assert_close(vector[:2], rebuilt[:2])


# --- oracles ----------------------------------------------------------------------------------------------------


LENGTHS = [2, 5, 0, 3]


def gradients(outputs: Tensor, pool: Pooling, pooled: Pooled, dv: Tensor, da: Tensor | None) -> dict[str, np.ndarray]:
    loss = (pooled.vector * dv).sum()
    if da is not None and pooled.weights is not None:
        loss = loss + (pooled.weights * da).sum()
    loss.backward()
    return {"outputs": outputs.grad.numpy()} | {n: p.grad.numpy() for n, p in pool.named_parameters()}


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_simple_poolings_are_the_reference(name: str) -> None:
    outputs, n, dv = random(4, 5, SIZE), torch.tensor(LENGTHS), random(4, SIZE, seed=2)
    theirs = {"sum": reference.SumPooling, "mean": reference.MeanPooling, "max": reference.MaxPooling}[name]()
    wanted = theirs.forward(outputs.numpy(), mask_from_lengths(n, 5).numpy())
    ours = build(name)
    outputs.requires_grad_()
    pooled = ours(outputs, n, torch.zeros(4, SIZE))
    assert_close(pooled.vector, torch.from_numpy(wanted))
    found = gradients(outputs, ours, pooled, dv, None)["outputs"]
    assert_close(torch.from_numpy(found), torch.from_numpy(theirs.backward(dv.numpy())))


@pytest.mark.parametrize("heads", [1, 3])
def test_attention_is_the_reference(heads: int) -> None:
    ours = scrambled(AttentionPooling(SIZE, heads, HIDDEN))
    outputs, n = random(4, 5, SIZE), torch.tensor(LENGTHS)
    mask = mask_from_lengths(n, 5)
    dv, da = random(4, heads, SIZE, seed=2), random(4, heads, 5, seed=3) * mask.unsqueeze(1)
    weights = (ours.key.weight, ours.key.bias, ours.query.weight)
    theirs = reference.AttentionPooling(*(w.detach().numpy() for w in weights))
    v, a = theirs.forward(outputs.numpy(), mask.numpy())
    dh = theirs.backward(dv.numpy(), da.numpy())

    outputs.requires_grad_()
    pooled = ours(outputs, n, torch.zeros(4, SIZE))
    assert_close(pooled.vector, torch.from_numpy(v).flatten(1))
    assert_close(pooled.weights, torch.from_numpy(a))
    found = gradients(outputs, ours, pooled, dv.flatten(1), da)
    wanted = {"outputs": dh} | {
        name: theirs.grads[key]
        for name, key in (("key.weight", "weight"), ("key.bias", "bias"), ("query.weight", "query"))
    }
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert_close(torch.from_numpy(found[name]), torch.from_numpy(array))


def one_row(name: str, pool: Pooling, h: Tensor, final: Tensor) -> Tensor:
    """What is left to say of one unpadded row (T, size), by torch's own parts."""
    kind, heads = POOLINGS[name]
    if kind == "query":
        return torch.softmax(h @ final, 0) @ h
    if kind == "attention-linear":
        return torch.cat([torch.softmax(h @ u, 0) @ h for u in pool.query.weight])
    attention = pool.attention
    theirs = nn.MultiheadAttention(SIZE, heads, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        parts = (attention.query, attention.key, attention.value)
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
        theirs.out_proj.weight.copy_(attention.output.weight)
        theirs.out_proj.bias.copy_(attention.output.bias)
    seen = theirs(h[None], h[None], h[None])[0][0]
    scores = torch.tanh(seen @ pool.pooling.key.weight.T + pool.pooling.key.bias) @ pool.pooling.query.weight[0]
    return torch.softmax(scores, 0) @ seen


@pytest.mark.parametrize(
    "name", ["query", "attention-linear", "attention-linear, 2 heads", "self-attention", "self-attention, 2 heads"]
)
def test_the_others_are_torchs_parts_on_a_row_alone(name: str) -> None:
    pool, outputs, final = build(name), random(4, 5, SIZE), random(4, SIZE, seed=1)
    vector = pool(outputs, torch.tensor(LENGTHS), final).vector
    for row, length in enumerate(LENGTHS):
        if length:
            assert_close(vector[row], one_row(name, pool, outputs[row, :length], final[row]))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_last_is_the_state_at_each_rows_own_end(cell: str, bidirectional: bool) -> None:
    layer = scrambled(Recurrent(3, 2, cell=cell, num_layers=2, bidirectional=bidirectional))
    x, lengths = random(4, 5, 3), torch.tensor([3, 5, 0, 1])
    outputs, state = layer(x, lengths)
    final = final_vector(state, layer.num_directions)
    assert final.shape == (4, layer.output_size)
    for row, length in enumerate(lengths.tolist()):
        if length == 0:
            assert bool((final[row] == 0).all())
            continue
        assert_close(final[row, :2], outputs[row, length - 1, :2])
        assert_close(final[row, 2:], outputs[row, 0, 2:])


def test_steps_that_share_the_maximum_share_its_gradient() -> None:
    outputs = torch.tensor([[[1.0], [1.0], [0.0], [1.0]]], requires_grad=True)
    StepPooling("max", 1)(outputs, torch.tensor([3]), torch.zeros(1, 1)).vector.sum().backward()
    assert outputs.grad.flatten().tolist() == [0.5, 0.5, 0.0, 0.0]


# --- planted faults: the contract's tests must see them -----------------------------------------------------------


def faulty_softmax(scores: Tensor, values: Tensor, mask: Tensor | None = None) -> Any:
    return real_attend(scores, values)


real_attend = pooling.attend


class ZeroIsAnAnswer(Pooling):
    """The maximum over padding too, which is 0: wrong where all that is real is below."""

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        return Pooled((outputs * mask.unsqueeze(-1)).amax(1), None)


class AllCount(Pooling):
    """The mean over T, not over the row's own steps."""

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        return Pooled((outputs * mask.unsqueeze(-1)).mean(1), None)


class Reshaped(Reader):
    """h_n.reshape(B, -1), which mixes the batch's rows."""

    def final(self, state: LSTMState | GRUState) -> Tensor:
        return state.h[-2:].reshape(-1, SIZE)


class AfterThePads(Pooling):
    """The last output of the batch, not of the row."""

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        return Pooled(outputs[:, -1], None)


@pytest.mark.parametrize("fault", ["softmax", "maximum", "mean", "reshape", "last column"])
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, lengths = random(3, 6, 3), torch.tensor([4, 2, 6])
    if fault == "softmax":
        monkeypatch.setattr(pooling, "attend", faulty_softmax)
        model: nn.Module = Reader(build("attention"))
    elif fault == "reshape":
        model = Reshaped(build("last"))
    else:
        kinds = {"maximum": ZeroIsAnAnswer, "mean": AllCount, "last column": AfterThePads}
        model = Reader(kinds[fault](SIZE))
    assert not check_padding(model, x, lengths).passed


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: build_pooling("first", SIZE), "pooling ('first') must be last, sum"),
        (lambda: build_pooling("mean", 0), "size (0) must be at least 1"),
        (lambda: build_pooling("attention", SIZE, 0), "num_heads (0) must be at least 1"),
        (lambda: build_pooling("attention", SIZE, 1, 0), "hidden_size (0) must be at least 1"),
        (lambda: build_pooling("self-attention", SIZE, 4), "num_heads (4) must divide query_size (6)"),
        (lambda: AttentionPooling(SIZE, activation="relu"), "activation ('relu') must be 'tanh' or 'none'"),
        (lambda: StepPooling("median", SIZE), "how ('median') must be 'sum', 'mean' or 'max'"),
    ],
)
def test_refused_options(make: Any, text: str) -> None:
    with pytest.raises(UsageError) as error:
        make()
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (((2, 3, 5), (2,), (2, SIZE)), "outputs (2, 3, 5) must be (B, T, 6)"),
        (((2, SIZE), (2,), (2, SIZE)), "outputs (2, 6) must be (B, T, 6)"),
        (((2, 3, SIZE), (3,), (2, SIZE)), "lengths (3,) and final (2, 6) must be (2,) and (2, 6)"),
        (((2, 3, SIZE), (2,), (1, 2, SIZE)), "final (1, 2, 6)"),
    ],
)
def test_refused_shapes(shapes: Any, text: str) -> None:
    outputs, lengths, final = (torch.ones(shape) for shape in shapes)
    with pytest.raises(ShapeError) as error:
        build_pooling("mean", SIZE)(outputs, lengths.long(), final)
    assert text in str(error.value)


def test_what_print_shows() -> None:
    assert "max, 6" in str(build_pooling("max", SIZE))
