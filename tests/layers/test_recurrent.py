"""`Recurrent` against torch's packed layers, and against the contract (design.md section 2)."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from harken.errors import ShapeError, UsageError
from harken.layers import recurrent
from harken.layers.recurrent import GRUState, LSTMState, Recurrent, RecurrentOutput
from harken.layers.regularization import dropout
from harken.testing import check_padding

SIZE, HIDDEN = 3, 4
every_cell = pytest.mark.parametrize("cell", ["lstm", "gru"])
every_stack = pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (1, True), (3, False), (2, True)])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scrambled(module: Any) -> Any:
    """All parameters random, biases too, in float64."""
    module = module.double()
    with torch.no_grad():
        for k, parameter in enumerate(module.parameters()):
            parameter.copy_(0.5 * random(*parameter.shape, seed=100 + k))
    return module


def random_state(layer: Recurrent, batch: int, seed: int = 50) -> LSTMState | GRUState:
    shape = (layer.num_layers * layer.num_directions, batch, layer.hidden_size)
    if layer.cell == "lstm":
        return LSTMState(random(*shape, seed=seed), random(*shape, seed=seed + 1))
    return GRUState(random(*shape, seed=seed))


def assert_close(value: Tensor, truth: Tensor, tolerance: float = 1e-10) -> None:
    value, truth = value.detach(), truth.detach()
    assert value.shape == truth.shape
    assert float((value - truth).norm()) <= tolerance * max(float(truth.norm()), 1e-3)


# --- torch as the oracle ------------------------------------------------------------------------------------------


def packed(layer: nn.LSTM | nn.GRU, x: Tensor, lengths: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    rows = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    outputs, final = layer(rows, tuple(state) if isinstance(layer, nn.LSTM) else state[0])
    outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])
    return outputs, final if isinstance(final, tuple) else (final,)


@every_cell
@every_stack
@pytest.mark.parametrize("bias", [True, False])
def test_equals_torch_packed(cell: str, num_layers: int, bidirectional: bool, bias: bool) -> None:
    kind = nn.LSTM if cell == "lstm" else nn.GRU
    theirs = scrambled(kind(SIZE, HIDDEN, num_layers, bias=bias, bidirectional=bidirectional, batch_first=True))
    ours = Recurrent.from_torch(theirs)
    x, lengths = random(4, 7, SIZE).requires_grad_(), torch.tensor([3, 6, 1, 5])  # T longer than any row
    state = random_state(ours, 4)
    for part in state:
        part.requires_grad_()

    found = ours(x, lengths, state)
    outputs, final = packed(theirs, x, lengths, state)
    assert_close(found.outputs, outputs)
    for value, truth in zip(found.state, final, strict=True):
        assert_close(value, truth)

    def gradients(outputs: Tensor, final: tuple[Tensor, ...], module: nn.Module) -> tuple[Tensor, ...]:
        loss = (outputs * random(*outputs.shape, seed=60)).sum()
        for k, part in enumerate(final):
            loss = loss + (part * random(*part.shape, seed=61 + k)).sum()
        return torch.autograd.grad(loss, [x, *state, *dict(sorted(module.named_parameters())).values()])

    mine, true = gradients(found.outputs, found.state, ours), gradients(outputs, final, theirs)
    for gradient, true_gradient in zip(mine, true, strict=True):
        assert_close(gradient, true_gradient)


@every_cell
@pytest.mark.parametrize("bidirectional", [True, False])
def test_weights_travel_both_ways(cell: str, bidirectional: bool) -> None:
    ours = Recurrent(SIZE, HIDDEN, cell=cell, num_layers=2, bidirectional=bidirectional, dropout=0.25).double()
    theirs = ours.eval().to_torch()
    assert theirs.batch_first
    assert theirs.dropout == 0.25
    assert not theirs.training
    x, lengths = random(3, 5, SIZE), torch.tensor([5, 2, 4])
    state = random_state(ours, 3)
    assert_close(ours(x, lengths, state).outputs, packed(theirs, x, lengths, state)[0])
    back = Recurrent.from_torch(theirs)
    assert back.dropout == 0.25
    assert list(back.state_dict()) == list(ours.state_dict())
    assert all(torch.equal(back.state_dict()[name], value) for name, value in ours.state_dict().items())
    with torch.no_grad():
        back.weight_hh_l0.zero_()
    assert bool((theirs.weight_hh_l0 != 0).any())  # a copy, not a view


def test_from_torch_and_to_torch_refuse_what_they_cannot_carry() -> None:
    with pytest.raises(UsageError, match=r"proj_size \(2\)"):
        Recurrent.from_torch(nn.LSTM(3, 4, proj_size=2))
    with pytest.raises(UsageError, match="not RNN"):
        Recurrent.from_torch(nn.RNN(3, 4))
    with pytest.raises(UsageError, match=r"combine \(sum\) must be 'last'"):
        Recurrent(3, 4, num_layers=2, combine="sum").to_torch()
    with warnings.catch_warnings():  # torch warns about dropout in a single layer: none may come through
        warnings.simplefilter("error")
        Recurrent(3, 4, dropout=0.5, combine="concat").to_torch()
    for options in ({"weight_dropout": 0.5}, {"locked_dropout": True}):
        layer = Recurrent(3, 4, num_layers=2, dropout=0.3, **options)
        with pytest.raises(UsageError, match=rf"{next(iter(options))} \((0.5|True)\) is nothing that torch's layers"):
            layer.to_torch()
        theirs = layer.eval().to_torch()
        assert theirs.dropout == (0.0 if "locked_dropout" in options else 0.3)
        assert_close(theirs(torch.ones(2, 3, 3))[0], layer(torch.ones(2, 3, 3)).outputs, 1e-5)


# --- the contract -------------------------------------------------------------------------------------------------


@every_cell
@every_stack
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=2, deadline=None)
@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=3), combine=st.sampled_from(["last", "sum", "concat"]))
def test_the_contract(
    cell: str, num_layers: int, bidirectional: bool, dtype: torch.dtype, lengths: list[int], combine: str
) -> None:
    layer = Recurrent(
        SIZE, HIDDEN, cell=cell, num_layers=num_layers, bidirectional=bidirectional, combine=combine, dropout=0.5
    )
    x = random(len(lengths), max(lengths) + 1, SIZE)
    report = check_padding(scrambled(layer), x, torch.tensor(lengths), dtype=dtype)
    report.raise_if_failed()
    assert "state.h" in {row.tensor for row in report.rows}


class AfterThePads(Recurrent):
    """The state of a dense run: right only for the longest row."""

    def forward(self, x: Tensor, lengths: Tensor | None = None, state: Any = None) -> RecurrentOutput:
        outputs = super().forward(x, lengths).outputs
        return RecurrentOutput(outputs, super().forward(x).state)


@every_cell
def test_a_state_taken_after_the_pads_is_caught(cell: str) -> None:
    layer = scrambled(AfterThePads(SIZE, HIDDEN, cell=cell))
    report = check_padding(layer, random(3, 5, SIZE), torch.tensor([5, 2, 3]))
    assert {row.tensor for row in report.failures} > {"state.h"}
    assert "outputs" not in {row.tensor for row in report.failures}


@every_cell
@every_stack
def test_empty_rows_keep_the_state_they_came_with(cell: str, num_layers: int, bidirectional: bool) -> None:
    layer = scrambled(Recurrent(SIZE, HIDDEN, cell=cell, num_layers=num_layers, bidirectional=bidirectional))
    state = random_state(layer, 3)
    for part in state:
        part.requires_grad_()
    outputs, final = layer(random(3, 4, SIZE), torch.tensor([0, 4, 0]), state)
    assert bool((outputs[[0, 2]] == 0).all())
    for before, after in zip(state, final, strict=True):
        assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    outputs.sum().backward()
    for part in state:
        assert part.grad is not None
        assert bool((part.grad[:, [0, 2]] == 0).all())
        assert bool((part.grad[:, 1] != 0).any())


@every_cell
@pytest.mark.parametrize(("batch", "steps"), [(0, 3), (2, 0), (0, 0)])
def test_axes_of_size_zero(cell: str, batch: int, steps: int) -> None:
    layer = scrambled(Recurrent(SIZE, HIDDEN, cell=cell, num_layers=2, bidirectional=True))
    state = random_state(layer, batch)
    outputs, final = layer(random(batch, steps, SIZE), state=state)
    assert outputs.shape == (batch, steps, 2 * HIDDEN)
    for before, after in zip(state, final, strict=True):
        assert torch.equal(before, after)
        assert before.data_ptr() != after.data_ptr() or before.numel() == 0


@every_cell
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=5, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4),
    num_layers=st.integers(1, 3),
)
def test_streaming_equals_batch(cell: str, dtype: torch.dtype, pieces: list[tuple[int, int]], num_layers: int) -> None:
    """Two rows arrive in pieces of their own length, an empty piece now and then."""
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    layer = scrambled(Recurrent(SIZE, HIDDEN, cell=cell, num_layers=num_layers, combine="concat")).to(dtype)
    lengths = torch.tensor(pieces).sum(0)  # (2,)
    x = random(2, int(lengths.max()), SIZE).to(dtype).requires_grad_()
    truth = layer(x, lengths)

    state, seen, outputs = None, [0, 0], [[], []]
    for piece in pieces:
        chunk = torch.zeros(2, max(piece), SIZE, dtype=dtype)
        for row, size in enumerate(piece):
            chunk[row, :size] = x[row, seen[row] : seen[row] + size]
        found = layer(chunk, torch.tensor(piece), state)
        state = found.state
        for row, size in enumerate(piece):
            outputs[row].append(found.outputs[row, :size])
            seen[row] += size
    for row in range(2):
        assert_close(torch.cat(outputs[row]), truth.outputs[row, : seen[row]], tolerance)
    assert state is not None
    for part, true_part in zip(state, truth.state, strict=True):
        assert_close(part, true_part, tolerance)
    mine, true = (torch.autograd.grad(sum(p.square().sum() for p in s), x)[0] for s in (state, truth.state))
    assert_close(mine, true, tolerance)


@every_cell
def test_nothing_is_kept_between_calls(cell: str) -> None:
    layer = scrambled(Recurrent(SIZE, HIDDEN, cell=cell))
    before = copy.deepcopy(layer.__dict__)
    first = layer(random(2, 3, SIZE)).outputs
    layer(random(5, 4, SIZE, seed=1))
    assert torch.equal(layer(random(2, 3, SIZE)).outputs, first)
    assert before.keys() == layer.__dict__.keys()


# --- options ------------------------------------------------------------------------------------------------------


@every_cell
@pytest.mark.parametrize("bidirectional", [True, False])
def test_combine_is_over_what_leaves_each_layer(cell: str, bidirectional: bool) -> None:
    layers = {
        combine: scrambled(
            Recurrent(SIZE, HIDDEN, cell=cell, num_layers=3, bidirectional=bidirectional, combine=combine)
        )
        for combine in ("last", "sum", "concat")
    }
    x, lengths = random(3, 5, SIZE), torch.tensor([5, 0, 3])
    by_layer = []  # the same weights, one layer at a time
    for k in range(3):
        inputs = by_layer[-1] if by_layer else x
        single = Recurrent(inputs.shape[-1], HIDDEN, cell=cell, bidirectional=bidirectional).double()
        own = {n.replace(f"_l{k}", "_l0"): v for n, v in layers["last"].state_dict().items() if f"_l{k}" in n}
        single.load_state_dict(own)
        by_layer.append(single(x if k == 0 else by_layer[-1], lengths).outputs)
    assert_close(layers["last"](x, lengths).outputs, by_layer[-1])
    assert_close(layers["sum"](x, lengths).outputs, by_layer[0] + by_layer[1] + by_layer[2])
    assert_close(layers["concat"](x, lengths).outputs, torch.cat(by_layer, -1))
    for layer in layers.values():
        assert layer(x, lengths).outputs.shape[-1] == layer.output_size


@every_cell
def test_dropout_acts_between_layers_and_follows_the_seed(cell: str) -> None:
    layer = scrambled(Recurrent(SIZE, HIDDEN, cell=cell, num_layers=2, dropout=0.5, combine="concat"))
    x, lengths = random(3, 5, SIZE), torch.tensor([5, 2, 3])
    still = layer.eval()(x, lengths).outputs
    layer.train()
    torch.manual_seed(0)
    first = layer(x, lengths).outputs
    torch.manual_seed(0)
    assert torch.equal(layer(x, lengths).outputs, first)
    assert not torch.equal(layer(x, lengths).outputs, first)
    below, above = first.split(HIDDEN, -1)
    assert torch.equal(below, still[..., :HIDDEN])  # what leaves a layer is not dropped, what enters the next is
    assert float((above - still[..., HIDDEN:]).detach().norm()) > 0.1
    alone = Recurrent(SIZE, HIDDEN, cell=cell, dropout=0.5).train()
    assert torch.equal(alone(x.float()).outputs, alone(x.float()).outputs)  # nothing after the last layer


def test_dropout_keeps_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inverted dropout: the second layer's input keeps its expectation."""
    layer = Recurrent(1, 64, num_layers=2, dropout=0.5)
    entering: list[Tensor] = []

    def spy(x: Tensor, p: float, training: bool) -> Tensor:
        entering.extend([dropout(x, p, training), x])
        return entering[0]

    monkeypatch.setattr("harken.layers.recurrent.dropout", spy)
    torch.manual_seed(0)
    layer(torch.randn(64, 20, 1))
    dropped, whole = entering
    assert 0.45 < float((dropped == 0).float().mean()) < 0.55
    kept = dropped != 0
    assert torch.allclose(dropped[kept], 2 * whole[kept])


# --- weight dropout, locked dropout -------------------------------------------------------------------------------


def check_dropped_weights_learn(layer: Recurrent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer answers as one with the dropped matrices would; where they are kept, gradients are divided by 1 - p."""
    used: list[Tensor] = []

    def spy(weight: Tensor, p: float, training: bool) -> Tensor:
        dropped = dropout(weight, p, training)
        if p:  # it is 0 between layers
            used.append(dropped)
        return dropped

    x, lengths, state = random(4, 6, SIZE), torch.tensor([6, 0, 2, 5]), random_state(layer, 4)
    with monkeypatch.context() as patch:
        patch.setattr(recurrent, "dropout", spy)
        found = layer.train()(x, lengths, state)
    matrices = {name: parameter for name, parameter in layer.named_parameters() if "weight_hh" in name}
    assert len(used) == len(matrices)  # of every layer and direction, once a call
    plain = Recurrent(
        *(SIZE, HIDDEN), cell=layer.cell, num_layers=layer.num_layers, bidirectional=layer.bidirectional
    ).double()
    plain.load_state_dict(layer.state_dict() | dict(zip(matrices, used, strict=True)))
    truth = plain(x, lengths, state)
    assert_close(found.outputs, truth.outputs)
    for outputs in (found.outputs, truth.outputs):
        outputs.square().sum().backward()
    for (name, parameter), weight in zip(matrices.items(), used, strict=True):
        kept, wanted = weight != 0, plain.get_parameter(name).grad
        assert 0 < int(kept.sum()) < kept.numel()
        assert_close(weight, parameter * kept / (1 - layer.weight_dropout))
        assert wanted is not None
        assert parameter.grad is not None
        assert bool(parameter.grad.any())
        assert_close(parameter.grad, wanted * kept / (1 - layer.weight_dropout))
    for name, parameter in layer.named_parameters():
        if name not in matrices:
            assert parameter.grad is not None
            assert_close(parameter.grad, plain.get_parameter(name).grad)


@every_cell
@every_stack
def test_dropped_weights_learn_where_they_are_kept(
    cell: str, num_layers: int, bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Recurrent(SIZE, HIDDEN, cell=cell, num_layers=num_layers, bidirectional=bidirectional, weight_dropout=0.5)
    torch.manual_seed(0)
    check_dropped_weights_learn(scrambled(layer), monkeypatch)


class Unlearned(Recurrent):
    """The recurrent matrices in use are set anew, and no gradient finds the parameters."""

    def _weights(self, suffix: str, training: bool = False) -> Any:
        w_ih, w_hh, *biases = super()._weights(suffix, training)
        return w_ih, w_hh.detach().requires_grad_(), *biases


class UnlearnedAbove(Unlearned):
    def _weights(self, suffix: str, training: bool = False) -> Any:
        return (super() if suffix != "l0" else super(Unlearned, self))._weights(suffix, training)


@pytest.mark.parametrize("fault", [Unlearned, UnlearnedAbove])
@every_cell
def test_a_recurrent_weight_without_gradient_is_noticed(
    fault: type[Recurrent], cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = scrambled(fault(SIZE, HIDDEN, cell=cell, num_layers=2, weight_dropout=0.5))
    with pytest.raises(AssertionError):
        check_dropped_weights_learn(layer, monkeypatch)


@every_cell
def test_weight_dropout_is_one_mask_a_call_and_none_outside_training(cell: str) -> None:
    layer = scrambled(Recurrent(SIZE, HIDDEN, cell=cell, num_layers=2, weight_dropout=0.5, bidirectional=True))
    plain = Recurrent(SIZE, HIDDEN, cell=cell, num_layers=2, bidirectional=True).double()
    plain.load_state_dict(layer.state_dict())
    x = random(1, 5, SIZE).expand(3, -1, -1)
    outputs = layer(x).outputs
    assert_close(outputs[1], outputs[0])  # the batch shares the mask
    assert not torch.equal(layer(x).outputs, outputs)
    before = torch.get_rng_state()
    assert torch.equal(layer.eval()(x).outputs, plain(x).outputs)
    assert torch.equal(torch.get_rng_state(), before)


@every_cell
def test_a_stepper_drops_nothing_even_in_training(cell: str) -> None:
    options = {"dropout": 0.5, "locked_dropout": True, "weight_dropout": 0.5}
    layer = scrambled(Recurrent(SIZE, HIDDEN, cell=cell, num_layers=2, **options)).train()
    x, before = random(1, 5, SIZE), torch.get_rng_state()
    stepper = layer.stepper()
    answers = [torch.from_numpy(stepper(step).copy()) for step in x[0].numpy()]
    assert torch.equal(torch.get_rng_state(), before)
    assert layer.training
    assert_close(torch.stack(answers), layer.eval()(x).outputs[0])


def check_units_are_locked(layer: Recurrent, monkeypatch: pytest.MonkeyPatch) -> None:
    """What enters a layer is what left the one below, without some units of a row at all its steps."""
    entering: list[Tensor] = []
    run = recurrent.ragged_layer

    def spy(cell: Any, x: Tensor, *rest: Any) -> Any:
        found = run(cell, x, *rest)
        entering.extend([x.detach(), found[0].detach()])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(recurrent, "ragged_layer", spy)
        layer.train()(random(8, 6, SIZE))
    left, entered = entering[1::2], entering[2::2]
    assert len(entered) == layer.num_layers - 1
    for whole, dropped in zip(left[:-1], entered, strict=True):
        share = dropped / whole  # (B, T, directions * H)
        assert_close(share, share[:, :1].expand_as(share))
        assert set(share.mul(1 - layer.dropout).round(decimals=6).unique().tolist()) == {0.0, 1.0}
        assert bool((share.round() != share[:1].round()).any())  # every row has its own


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_locked_dropout_takes_a_unit_at_all_steps_of_a_row(
    cell: str, bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"cell": cell, "num_layers": 3, "dropout": 0.25, "bidirectional": bidirectional}
    torch.manual_seed(0)
    check_units_are_locked(scrambled(Recurrent(SIZE, HIDDEN, locked_dropout=True, **options)), monkeypatch)
    with pytest.raises(AssertionError):
        check_units_are_locked(scrambled(Recurrent(SIZE, HIDDEN, **options)), monkeypatch)


@every_cell
def test_initialisation(cell: str) -> None:
    torch.manual_seed(0)
    layer = Recurrent(5, 6, cell=cell, num_layers=2, bidirectional=True)
    gates = 4 if cell == "lstm" else 3
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        weight_ih, weight_hh, bias_ih, bias_hh = layer._weights(suffix)
        assert bias_ih is not None
        assert bias_hh is not None
        for gate in weight_hh.chunk(gates):
            assert_close(gate @ gate.T, torch.eye(6), 1e-5)
        bound = (6 / (6 + weight_ih.shape[1])) ** 0.5  # Glorot & Bengio 2010, equation 16
        for gate in weight_ih.chunk(gates):
            assert 0.8 * bound < float(gate.detach().abs().max()) <= bound
        total = (bias_ih + bias_hh).tolist()
        assert total == ([0.0] * 6 + [1.0] * 6 + [0.0] * 12 if cell == "lstm" else [0.0] * 18)
    again = copy.deepcopy(layer)
    torch.manual_seed(0)
    Recurrent(5, 6, cell=cell, num_layers=2, bidirectional=True)
    torch.manual_seed(0)
    again.reset_parameters()
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), again.parameters(), strict=True))


def test_print_shows_what_is_not_default() -> None:
    layer = Recurrent(3, 4, cell="gru", num_layers=2, combine="sum")
    assert repr(layer) == "Recurrent(3, 4, cell=gru, num_layers=2, combine=sum)"
    layer = Recurrent(3, 4, weight_dropout=0.5, locked_dropout=True)
    assert repr(layer) == "Recurrent(3, 4, cell=lstm, weight_dropout=0.5, locked_dropout=True)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 0}, r"input_size \(0\) must be at least 1"),
        ({"num_layers": 0}, r"num_layers \(0\) must be at least 1"),
        ({"dropout": 1.0}, r"dropout \(1.0\) must be"),
        ({"weight_dropout": -0.1}, r"weight_dropout \(-0.1\) must be"),
        ({"weight_dropout": 1.0}, r"weight_dropout \(1.0\) must be"),
        ({"cell": "rnn"}, r"cell \('rnn'\) must be"),
        ({"combine": "first"}, r"combine \('first'\) must be"),
    ],
)
def test_refused_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recurrent(**({"input_size": 3, "hidden_size": 4} | options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.ones(2, 5, 4)}, r"x \(2, 5, 4\) must be \(B, T, 3\)"),
        ({"x": torch.ones(5, 3)}, r"x \(5, 3\) must be \(B, T, 3\)"),
        ({"state": GRUState(torch.ones(1, 2, 4))}, r"state \(GRUState\) must be a LSTMState\(h, c\) for cell=lstm"),
        ({"state": torch.ones(2, 1, 2, 4)}, r"state \(Tensor\) must be a LSTMState"),
        ({"state": LSTMState(torch.ones(1, 2, 4), torch.ones(2, 2, 4))}, r"state.c \(2, 2, 4\) must be .* \(1, 2, 4\)"),
        ({"lengths": torch.tensor([1, 6])}, "6"),
        ({"lengths": torch.tensor([1, 2, 3])}, r"\(3,\)"),
    ],
)
def test_refused_tensors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Recurrent(3, 4)(**({"x": torch.ones(2, 5, 3)} | arguments))


# --- compiled, exported, mixed precision ---------------------------------------------------------------------------


SHAPES = [(3, 7), (1, 1), (1, 9), (5, 1), (8, 40)]  # (B, T)


@every_cell
def test_compiles_whole_and_replays_at_other_sizes(cell: str) -> None:
    layer = scrambled(Recurrent(SIZE, HIDDEN, cell=cell, num_layers=2, bidirectional=True, combine="concat"))
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch, steps in ((3, 7), (8, 40)):  # a size of 1 would be a compilation of its own
        x, lengths = random(batch, steps, SIZE).requires_grad_(), torch.arange(batch) % (steps + 1)
        state = random_state(layer, batch)
        truth, found = layer(x, lengths, state), compiled(x, lengths, state)
        assert isinstance(found, RecurrentOutput)
        assert_close(found.outputs, truth.outputs)
        for value, true_value in zip(found.state, truth.state, strict=True):
            assert_close(value, true_value)
        inputs = [x, *layer.parameters()]
        cotangent = random(*truth.outputs.shape, seed=70)
        mine, true = (
            torch.autograd.grad((r.outputs * cotangent).sum() + r.state.h.square().sum(), inputs)
            for r in (found, truth)
        )
        for gradient, true_gradient in zip(mine, true, strict=True):
            assert_close(gradient, true_gradient)


@every_cell
@pytest.mark.parametrize("with_state", [True, False])
def test_exports_with_free_batch_and_time(cell: str, with_state: bool) -> None:
    layer = scrambled(Recurrent(SIZE, HIDDEN, cell=cell, num_layers=2, bidirectional=True)).eval()
    batch, steps = torch.export.Dim("batch"), torch.export.Dim("steps")

    def inputs(b: int, t: int) -> tuple[Any, ...]:
        lengths = torch.arange(1, b + 1) % (t + 1)
        return random(b, t, SIZE), lengths, random_state(layer, b) if with_state else None

    example = inputs(3, 7)
    state_shapes = type(example[2])(*[{1: batch}] * len(example[2])) if with_state else None
    exported = torch.export.export(
        layer, example, dynamic_shapes=({0: batch, 1: steps}, {0: batch}, state_shapes)
    ).module()
    for b, t in SHAPES:
        truth, found = layer(*inputs(b, t)), exported(*inputs(b, t))
        assert_close(found.outputs, truth.outputs)
        for value, true_value in zip(found.state, truth.state, strict=True):
            assert_close(value, true_value)


@every_cell
def test_mixed_precision_computes_in_float32(cell: str) -> None:
    layer = Recurrent(SIZE, HIDDEN, cell=cell, num_layers=2, bidirectional=True)
    x, lengths = random(3, 5, SIZE).float(), torch.tensor([5, 0, 3])
    truth = layer(x, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x, lengths)
    assert found.outputs.dtype == found.state.h.dtype == torch.float32
    assert_close(found.outputs, truth.outputs, 1e-6)
