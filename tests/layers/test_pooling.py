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
from harken.layers.gating import GatedAttention
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
    "self-attention-query": ("self-attention-query", 1),
    "self-attention-query, 2 heads": ("self-attention-query", 2),
    "gated": ("gated", 1),
    "gated-query": ("gated-query", 1),
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


@pytest.mark.parametrize("name", ["gated", "gated-query"])
def test_the_vector_is_what_the_weights_say_of_the_gated_steps(name: str) -> None:
    pool, outputs, n = build(name), random(3, 5, SIZE), torch.tensor([5, 2, 0])
    vector, weights = pool(outputs, n, random(3, SIZE, seed=1))
    assert_close(vector, (weights @ pool.gated(outputs, n)).squeeze(1))


@pytest.mark.parametrize("name", ["self-attention, 2 heads", "self-attention-query, 2 heads"])
def test_self_attention_weights_are_shares_of_the_steps(name: str) -> None:
    pool, n = build(name), torch.tensor([5, 2, 0])
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


def gated_parameters(layer: GatedAttention) -> dict[str, Tensor]:
    """Ours under the reference's names."""
    linears = {"hidden": layer.hidden, "gate": layer.gate}
    return {f"{name}_{part}": getattr(linear, part) for name, linear in linears.items() for part in ("weight", "bias")}


def test_the_gated_steps_are_the_reference() -> None:
    ours = scrambled(GatedAttention(SIZE, HIDDEN))
    outputs, n, ds = random(4, 5, SIZE), torch.tensor(LENGTHS), random(4, 5, 2 * SIZE, seed=2)
    parameters = gated_parameters(ours)
    theirs = reference.GatedAttention(**{name: p.detach().numpy() for name, p in parameters.items()})
    wanted = {"s": theirs.forward(outputs.numpy(), mask_from_lengths(n, 5).numpy()), "h": theirs.backward(ds.numpy())}

    outputs.requires_grad_()
    steps = ours(outputs, n)
    steps.backward(ds)
    found = {"s": steps, "h": outputs.grad} | {name: p.grad for name, p in parameters.items()}
    assert found.keys() == (wanted | theirs.grads).keys()
    for name, array in (wanted | theirs.grads).items():
        assert_close(found[name], torch.from_numpy(array))


def test_gated_is_the_reference() -> None:
    ours = build("gated")
    outputs, n = random(4, 5, SIZE), torch.tensor(LENGTHS)
    mask = mask_from_lengths(n, 5)
    dv, da = random(4, 1, 2 * SIZE, seed=2), random(4, 1, 5, seed=3) * mask.unsqueeze(1)
    parameters = gated_parameters(ours.gated)
    pooled_by = {"weight": ours.pooling.key.weight, "bias": ours.pooling.key.bias, "query": ours.pooling.query.weight}
    gated = reference.GatedAttention(**{name: p.detach().numpy() for name, p in parameters.items()})
    pooled = reference.AttentionPooling(**{name: p.detach().numpy() for name, p in pooled_by.items()})
    v, a = pooled.forward(gated.forward(outputs.numpy(), mask.numpy()), mask.numpy())
    wanted = {"h": gated.backward(pooled.backward(dv.numpy(), da.numpy())), "v": v[:, 0], "a": a}

    outputs.requires_grad_()
    vector, weights = ours(outputs, n, torch.zeros(4, SIZE))
    ((vector * dv[:, 0]).sum() + (weights * da).sum()).backward()
    found = {"h": outputs.grad, "v": vector, "a": weights}
    found |= {name: p.grad for name, p in (parameters | pooled_by).items()}
    wanted |= gated.grads | pooled.grads
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert_close(found[name], torch.from_numpy(array))


def one_row(name: str, pool: Pooling, h: Tensor, final: Tensor) -> Tensor:
    """What is left to say of one unpadded row (T, size), by torch's own parts."""
    kind, heads = POOLINGS[name]
    if kind == "query":
        return torch.softmax(h @ final, 0) @ h
    if kind == "attention-linear":
        return torch.cat([torch.softmax(h @ u, 0) @ h for u in pool.query.weight])
    if kind in ("gated", "gated-query"):
        gates = nn.Sequential(pool.gated.hidden, nn.Tanh(), pool.gated.gate, nn.Softmax(-1))(h)
        steps = torch.cat([h, gates], -1)
        scores = h @ final if kind == "gated-query" else additive(pool.pooling, steps)
        return torch.softmax(scores, 0) @ steps
    attention = pool.attention
    theirs = nn.MultiheadAttention(SIZE, heads, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        parts = (attention.query, attention.key, attention.value)
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
        theirs.out_proj.weight.copy_(attention.output.weight)
        theirs.out_proj.bias.copy_(attention.output.bias)
    seen = theirs(h[None], h[None], h[None])[0][0]
    scores = seen @ final if kind == "self-attention-query" else additive(pool.pooling, seen)
    return torch.softmax(scores, 0) @ seen


def additive(pool: AttentionPooling, steps: Tensor) -> Tensor:
    return torch.tanh(steps @ pool.key.weight.T + pool.key.bias) @ pool.query.weight[0]


@pytest.mark.parametrize(
    "name",
    [
        "query",
        "attention-linear",
        "attention-linear, 2 heads",
        "self-attention",
        "self-attention, 2 heads",
        "self-attention-query",
        "self-attention-query, 2 heads",
        "gated",
        "gated-query",
    ],
)
def test_the_others_are_torchs_parts_on_a_row_alone(name: str) -> None:
    pool = build(name)
    outputs, final = random(4, 5, SIZE).requires_grad_(), random(4, SIZE, seed=1).requires_grad_()
    dv = random(4, pool.output_size, seed=2)
    vector = pool(outputs, torch.tensor(LENGTHS), final).vector
    found = torch.autograd.grad((vector * dv).sum(), (outputs, final), materialize_grads=True)
    alone = [
        one_row(name, pool, outputs[row, :length], final[row]) if length else torch.zeros_like(dv[row])
        for row, length in enumerate(LENGTHS)
    ]
    wanted = torch.autograd.grad((torch.stack(alone) * dv).sum(), (outputs, final), materialize_grads=True)
    for value, truth in zip((vector, *found), (torch.stack(alone), *wanted), strict=True):
        assert_close(value, truth)


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


@every_dtype
@settings(max_examples=3, deadline=None)
@given(lengths=ragged)
def test_the_contract_of_the_gated_steps(dtype: torch.dtype, lengths: list[int]) -> None:
    x = random(len(lengths), max(lengths) + 1, SIZE)
    check_padding(scrambled(GatedAttention(SIZE, HIDDEN)), x, torch.tensor(lengths), dtype=dtype).raise_if_failed()


def test_a_gate_is_over_the_features_of_a_step_alone() -> None:
    layer, outputs = scrambled(GatedAttention(SIZE, HIDDEN)), random(2, 4, SIZE)
    steps = layer(outputs, torch.tensor([4, 2]))
    assert steps.shape == (2, 4, layer.output_size)
    assert_close(steps[..., SIZE:].sum(-1), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).double())
    turned = layer(outputs.flip(1), torch.tensor([4, 4])).flip(1)
    assert_close(turned[0], steps[0])


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


class GateOfPadding(GatedAttention):
    """softmax(b₂) stands on the padding."""

    def join(self, outputs: Tensor, mask: Tensor) -> Tensor:
        return super().join(outputs * mask.unsqueeze(-1), torch.ones_like(mask))


class GateOverTime(GatedAttention):
    """The softmax over axis 1, padding and all."""

    def join(self, outputs: Tensor, mask: Tensor) -> Tensor:
        gates = torch.softmax(self.gate(torch.tanh(self.hidden(outputs))), dim=1)
        return torch.cat([outputs, gates], -1).masked_fill(~mask.unsqueeze(-1), 0.0)


@pytest.mark.parametrize("kind", [GateOfPadding, GateOverTime])
def test_a_planted_fault_in_the_gate_is_found(kind: type[GatedAttention]) -> None:
    x, lengths = random(3, 6, SIZE), torch.tensor([4, 2, 6])
    assert not check_padding(scrambled(kind(SIZE, HIDDEN)), x, lengths).passed


@pytest.mark.parametrize("fault", ["softmax", "gated softmax", "maximum", "mean", "reshape", "last column"])
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, lengths = random(3, 6, 3), torch.tensor([4, 2, 6])
    if fault in ("softmax", "gated softmax"):
        monkeypatch.setattr(pooling, "attend", faulty_softmax)
        model: nn.Module = Reader(build("attention" if fault == "softmax" else "gated"))
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
        (lambda: build_pooling("gated", SIZE, 1, 0), "hidden_size (0) must be at least 1"),
        (lambda: GatedAttention(0), "size (0) must be at least 1"),
        (lambda: build_pooling("self-attention-query", SIZE, 4), "num_heads (4) must divide query_size (6)"),
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


@pytest.mark.parametrize(("shape", "batch"), [((2, 3, 5), 2), ((2, SIZE), 2), ((2, 3, SIZE), 3)])
def test_refused_shapes_of_the_gated_steps(shape: tuple[int, ...], batch: int) -> None:
    with pytest.raises(ShapeError) as error:
        GatedAttention(SIZE)(torch.ones(shape), torch.ones(batch, dtype=torch.int64))
    assert f"outputs {shape} and lengths ({batch},) must be (B, T, 6) and (B,)" in str(error.value)
