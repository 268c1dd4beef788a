"""`Stepper`: what arrives step by step is answered as the batch is."""

import copy
import pickle

import numpy as np
import pytest
import torch

from harken.engine import levels
from harken.errors import ShapeError, UsageError
from harken.layers import GRUState, LSTMState, Recurrent, Stepper

SIZE, HIDDEN = 5, 19
every_cell = pytest.mark.parametrize("cell", ["lstm", "gru"])


@pytest.fixture(params=["portable", *(level for level in levels.runnable() if level in levels.built())])
def engine(request, monkeypatch):
    """NumPy, and every level of the kernel that runs here."""
    monkeypatch.setenv("HARKEN_ENGINE", request.param)
    return request.param


def make(cell="lstm", dtype=torch.float32, **options):
    torch.manual_seed(0)
    layer = Recurrent(SIZE, HIDDEN, cell=cell, **options).to(dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.4)
    return layer


def arriving(batch=1, steps=6, dtype=torch.float32):
    return torch.randn(batch, steps, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def assert_close(found, expected, tolerance):
    found, expected = torch.as_tensor(found).double(), expected.detach().double()
    assert found.shape == expected.shape
    assert float((found - expected).norm()) <= tolerance * max(float(expected.norm()), 1e-3)


@every_cell
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize(
    ("num_layers", "combine"), [(1, "last"), (1, "concat"), (3, "last"), (2, "sum"), (3, "concat")]
)
@pytest.mark.parametrize("bias", [True, False])
def test_streaming_equals_the_batch(engine, cell, dtype, batch, num_layers, combine, bias):
    layer = make(cell, dtype, num_layers=num_layers, combine=combine, bias=bias, dropout=0.3)  # dropout: training only
    x = arriving(batch, dtype=dtype)
    stepper = layer.stepper(batch)
    answers = [stepper(x[:, t].numpy()).copy() for t in range(x.shape[1])]
    outputs, state = layer.eval()(x)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert_close(np.stack(answers, 1), outputs, tolerance)
    assert isinstance(stepper.state, LSTMState if cell == "lstm" else GRUState)
    for found, expected in zip(stepper.state, state, strict=True):
        assert found.dtype == dtype
        assert_close(found, expected, tolerance)


@every_cell
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_native_step_has_the_batch_s_bits(cell, batch):
    if levels.native_module() is None:
        pytest.skip(f"no native engine: {levels.reason()}")
    layer, x = make(cell, num_layers=2), arriving(batch)
    stepper = layer.stepper(batch)
    answers = [stepper(x[:, t].numpy()).copy() for t in range(x.shape[1])]
    outputs, state = layer(x)
    assert np.array_equal(np.stack(answers, 1), outputs.detach().numpy())
    assert all(torch.equal(a, b) for a, b in zip(stepper.state, state, strict=True))


@every_cell
def test_a_stream_is_handed_over_and_taken_back(engine, cell):
    """From the batch to the stepper and on to the batch again; arrays and tensors alike."""
    layer, x = make(cell, num_layers=2), arriving(2, 9)
    outputs, state = layer(x)
    stepper = layer.stepper(2)
    stepper.state = layer(x[:, :3]).state  # it requires grad
    answers = [stepper(x[:, t].numpy()).copy() for t in range(3, 6)]
    assert_close(np.stack(answers, 1), outputs[:, 3:6], 1e-5)
    rest = layer(x[:, 6:], state=stepper.state)
    assert_close(rest.outputs.detach(), outputs[:, 6:], 1e-5)
    for found, expected in zip(rest.state, state, strict=True):
        assert_close(found.detach(), expected, 1e-5)
    stepper.state = type(state)(*(part.detach().numpy() for part in state))
    assert all(torch.equal(a, b) for a, b in zip(stepper.state, state, strict=True))


@every_cell
def test_the_state_is_a_copy(engine, cell):
    stepper, x = make(cell).stepper(), arriving()[0].numpy()
    stepper(x[0])
    kept = stepper.state
    expected = stepper(x[1]).copy()
    frozen = [part.clone() for part in kept]
    stepper(x[2])
    assert all(torch.equal(a, b) for a, b in zip(kept, frozen, strict=True))
    stepper.state = kept
    for part in kept:
        part.zero_()
    assert np.array_equal(stepper(x[1]), expected)


@every_cell
def test_reset_starts_again(engine, cell):
    stepper, x = make(cell, num_layers=2).stepper(), arriving()[0].numpy()
    first = [stepper(step).copy() for step in x]
    stepper.reset()
    assert not any(part.any() for part in stepper.state)
    assert np.array_equal(first, [stepper(step).copy() for step in x])


def test_the_answer_is_a_view_that_the_next_call_overwrites(engine):
    stepper, x = make().stepper(), arriving()[0].numpy()
    first = stepper(x[0])
    copied = first.copy()
    second = stepper(x[1])
    assert np.shares_memory(first, second)
    assert not np.array_equal(copied, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0


@pytest.mark.parametrize("batch", [1, 3])
def test_input_is_read_where_it_lies(engine, batch):
    layer, x = make(), arriving(batch)
    stepper, other = layer.stepper(batch), layer.stepper(batch)
    assert stepper.input.shape == (batch, SIZE)
    assert stepper.input.dtype == np.float32
    for t in range(3):
        stepper.input[:] = x[:, t].numpy()
        assert np.array_equal(stepper(stepper.input), other(x[:, t].numpy()))


def test_a_row_without_a_batch_axis_and_views(engine):
    layer, x = make(), arriving(1, 8).numpy()
    whole = [row.copy() for row in map(layer.stepper(), x[0])]
    assert all(row.shape == (HIDDEN,) for row in whole)
    stepper = layer.stepper()
    assert stepper(x[:, 0]).shape == (1, HIDDEN)
    stepper.reset()
    strided = np.asfortranarray(np.repeat(x[0], 2, axis=1))[:, ::2]  # copied, so any view will do
    assert np.array_equal([stepper(row).copy() for row in strided], whole)


def test_weights_are_those_of_the_moment(engine):
    layer, x = make(), arriving()[0].numpy()
    stepper = layer.stepper()
    expected = stepper(x[0]).copy()
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
    stepper.reset()
    assert np.array_equal(stepper(x[0]), expected)
    assert not np.array_equal(layer.stepper()(x[0]), expected)


def test_steppers_do_not_meet(engine):
    layer, x = make(), arriving(2, 8).numpy()
    alone = [[step.copy() for step in map(layer.stepper(), row)] for row in x]
    a, b = layer.stepper(), layer.stepper()
    mixed = [(a(one).copy(), b(two).copy()) for one, two in zip(*x, strict=True)]
    assert np.array_equal(np.swapaxes(mixed, 0, 1), alone)
    assert layer.__dict__.keys() == make().__dict__.keys()


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stepper_is_not_copied(engine, again):
    with pytest.raises(UsageError, match="a Stepper cannot be copied or pickled: make another one"):
        again(make().stepper())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(SIZE), r"x \(float64 \(5,\)\) must be a NumPy array, float32 \(1, 5\) or \(5,\)"),
        (np.zeros(4, np.float32), r"x \(float32 \(4,\)\) must be"),
        (np.zeros((2, SIZE), np.float32), r"x \(float32 \(2, 5\)\) must be"),
        (np.zeros((), np.float32), r"x \(float32 \(\)\) must be"),
        (torch.zeros(SIZE), r"x \(Tensor\) must be a NumPy array"),
        ([0.0] * SIZE, r"x \(list\) must be a NumPy array"),
    ],
)
def test_refused_inputs(x, message):
    stepper = make().stepper()
    with pytest.raises(ShapeError, match=message):
        stepper(x)
    with pytest.raises(ShapeError, match=r"float32 \(3, 5\)$"):
        make().stepper(3)(x)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (GRUState(torch.zeros(1, 1, HIDDEN)), r"state \(GRUState\) must be a LSTMState\(h, c\)"),
        (LSTMState(torch.zeros(1, 1, HIDDEN), torch.zeros(1, 2, HIDDEN)), r"state.c \(1, 2, 19\) must be"),
        (
            LSTMState(torch.zeros(1, 1, HIDDEN), torch.zeros(1, 1, HIDDEN, dtype=torch.float64)),
            r"state.c is torch.float64 and the stepper's float32: bring both to one dtype",
        ),
        (
            LSTMState(np.zeros((1, 1, HIDDEN)), np.zeros((1, 1, HIDDEN))),
            r"state.h is float64 and the stepper's float32",
        ),
    ],
)
def test_refused_states_change_nothing(state, message):
    stepper = make().stepper()
    stepper(arriving()[0, 0].numpy())
    before = stepper.state
    with pytest.raises(ShapeError, match=message):
        stepper.state = state
    assert all(torch.equal(a, b) for a, b in zip(before, stepper.state, strict=True))


def test_refused_steppers():
    with pytest.raises(UsageError, match="stepper needs bidirectional=False: the reverse direction begins"):
        make(bidirectional=True).stepper()
    with pytest.raises(UsageError, match=r"batch \(0\) must be at least 1"):
        make().stepper(0)
    with pytest.raises(
        UsageError, match=r"stepper weights \(torch.bfloat16\) must be float32 or float64: .*\.float\(\)"
    ):
        make(dtype=torch.bfloat16).stepper()
    wide = tuple(torch.zeros(4 * HIDDEN, n) for n in (SIZE, HIDDEN))
    with pytest.raises(ShapeError, match=r"w_ih has shape \(76, 5\).* must be \(76, 19\)"):
        Stepper("lstm", [(*wide, None, None)] * 2)
