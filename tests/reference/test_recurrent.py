import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import harken.reference.recurrent as recurrent
from harken.reference import TimeLSTM, lstm_step, lstm_step_backward

B, T, D, H = 5, 6, 3, 4
NAMES = {"weight_ih": (4 * H, D), "weight_hh": (4 * H, H), "bias_ih": (4 * H,), "bias_hh": (4 * H,)}
RAGGED = np.array([3, 6, 0, 1, 4])


@pytest.fixture
def lstm(rng):
    return TimeLSTM(**{name: rng.standard_normal(shape) for name, shape in NAMES.items()})


@pytest.fixture
def inputs(rng):
    return {"x": rng.standard_normal((B, T, D)), "h0": rng.standard_normal((B, H)), "c0": rng.standard_normal((B, H))}


@pytest.fixture
def upstream(rng):
    """Gradients of some loss with respect to what leaves the layer; on padding too, where they must not matter."""
    return rng.standard_normal((B, T, H)), rng.standard_normal((B, H)), rng.standard_normal((B, H))


def ours(lstm, inputs, lengths, upstream):
    outputs, h_n, c_n = lstm.forward(inputs["x"], lengths, inputs["h0"], inputs["c0"])
    dx, dh0, dc0 = lstm.backward(*upstream)
    return {"outputs": outputs, "h_n": h_n, "c_n": c_n, "dx": dx, "dh0": dh0, "dc0": dc0, **lstm.grads}


def torchs(lstm, inputs, lengths, upstream):
    """The same from nn.LSTM on a PackedSequence, which refuses empty rows: they are left out and put back."""
    theirs = torch.nn.LSTM(D, H, batch_first=True, dtype=torch.float64)
    for name, array in lstm.params.items():
        getattr(theirs, f"{name}_l0").data = torch.tensor(array)
    x, h0, c0 = (torch.tensor(array, requires_grad=True) for array in inputs.values())
    real = torch.tensor(np.flatnonzero(lengths))
    packed = pack_padded_sequence(x[real], torch.tensor(lengths)[real], batch_first=True, enforce_sorted=False)
    packed, (h_real, c_real) = theirs(packed, (h0[None, real], c0[None, real]))
    unpacked = pad_packed_sequence(packed, batch_first=True, total_length=T)[0]
    outputs = torch.zeros(B, T, H, dtype=torch.float64).index_copy(0, real, unpacked)
    h_n, c_n = h0.index_copy(0, real, h_real[0]), c0.index_copy(0, real, c_real[0])
    torch.autograd.backward([outputs, h_n, c_n], [torch.tensor(array) for array in upstream])
    result = {"outputs": outputs, "h_n": h_n, "c_n": c_n, "dx": x.grad, "dh0": h0.grad, "dc0": c0.grad}
    result |= {name: getattr(theirs, f"{name}_l0").grad for name in lstm.params}
    return {name: tensor.detach().numpy() for name, tensor in result.items()}


@pytest.mark.parametrize("lengths", [RAGGED, np.full(B, T), np.arange(1, 6)], ids=["empty row", "full", "ascending"])
def test_lstm_is_torchs(lstm, inputs, lengths, upstream, worst):
    assert worst(ours(lstm, inputs, lengths, upstream), torchs(lstm, inputs, lengths, upstream)) < 1e-10


def test_lstm_agrees_with_finite_differences(lstm, inputs, upstream, numeric_error):
    def loss():
        left = lstm.forward(inputs["x"], RAGGED, inputs["h0"], inputs["c0"])
        return float(sum((out * gradient).sum() for out, gradient in zip(left, upstream, strict=True)))

    got = ours(lstm, inputs, RAGGED, upstream)
    grads = {name: got[f"d{name}"] for name in inputs} | lstm.grads
    assert numeric_error(loss, inputs | lstm.params, grads) < 1e-8


def test_one_step_agrees_with_finite_differences(rng, numeric_error):
    z, c_prev, dh, dc = (rng.standard_normal((2, size)) for size in (4 * H, H, H, H))
    dz = np.empty_like(z)
    dc_prev = lstm_step_backward(dh, dc, lstm_step(z, c_prev)[2], dz)

    def loss():
        h, c, _ = lstm_step(z, c_prev)
        return float((h * dh).sum() + (c * dc).sum())

    assert numeric_error(loss, {"z": z, "c_prev": c_prev}, {"z": dz, "c_prev": dc_prev}) < 1e-8


def test_an_empty_row_keeps_its_initial_state(lstm, inputs, upstream):
    got = ours(lstm, inputs, RAGGED, upstream)
    np.testing.assert_array_equal(got["h_n"][2], inputs["h0"][2])
    np.testing.assert_array_equal(got["c_n"][2], inputs["c0"][2])
    np.testing.assert_array_equal(got["dh0"][2], upstream[1][2])
    np.testing.assert_array_equal(got["dc0"][2], upstream[2][2])


def test_nothing_on_padding_matters_not_even_nan(lstm, inputs, upstream, worst):
    padding = np.arange(T) >= RAGGED[:, None]
    clean = ours(lstm, inputs, RAGGED, upstream)
    assert not clean["outputs"][padding].any()
    assert not clean["dx"][padding].any()
    inputs["x"][padding], upstream[0][padding] = np.nan, np.inf
    assert worst(ours(lstm, inputs, RAGGED, upstream), clean) == 0


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)], ids=["no rows", "no steps"])
def test_nothing_at_all_is_legal(lstm, rng, shape):
    h0, c0 = rng.standard_normal((2, shape[0], H))
    outputs, h_n, c_n = lstm.forward(np.empty((*shape, D)), np.zeros(shape[0], int), h0, c0)
    dx, dh0, dc0 = lstm.backward(outputs, h_n, c_n)
    assert outputs.shape == (*shape, H)
    assert dx.shape == (*shape, D)
    for got, wanted in ((h_n, h0), (c_n, c0), (dh0, h0), (dc0, c0)):
        np.testing.assert_array_equal(got, wanted)
    assert all(not gradient.any() for gradient in lstm.grads.values())


@pytest.mark.parametrize("lengths", [[7, 1, 1, 1, 1], [-1, 1, 1, 1, 1], [1, 1]])
def test_lengths_that_do_not_fit_are_refused(lstm, inputs, lengths):
    with pytest.raises(ValueError, match="between 0 and 6"):
        lstm.forward(inputs["x"], np.array(lengths), inputs["h0"], inputs["c0"])


def test_dtype_is_that_of_what_comes_in(lstm, inputs):
    single = TimeLSTM(**{name: array.astype(np.float32) for name, array in lstm.params.items()})
    left = single.forward(inputs["x"].astype(np.float32), RAGGED, *(inputs[n].astype(np.float32) for n in ("h0", "c0")))
    assert {array.dtype for array in (*left, *single.backward(*left), *single.grads.values())} == {np.dtype(np.float32)}


def _dc_from_the_next_step_is_lost(dh, dc, step, dz):
    return lstm_step_backward(dh, np.zeros_like(dc), step, dz)


def _tanh_is_not_derived(dh, dc, step, dz):
    return lstm_step_backward(dh, dc, step._replace(tanh_c=np.zeros_like(step.tanh_c)), dz)


@pytest.mark.parametrize("fault", [_dc_from_the_next_step_is_lost, _tanh_is_not_derived])
def test_a_fault_in_the_step_is_noticed(lstm, inputs, upstream, worst, monkeypatch, fault):
    wanted = torchs(lstm, inputs, RAGGED, upstream)
    monkeypatch.setattr(recurrent, "lstm_step_backward", fault)
    assert worst(ours(lstm, inputs, RAGGED, upstream), wanted) > 1e-2


def test_ignored_lengths_are_noticed(lstm, inputs, upstream, worst):
    full = np.full(B, T)
    assert worst(ours(lstm, inputs, full, upstream), torchs(lstm, inputs, RAGGED, upstream)) > 1e-2


def test_gates_in_another_order_are_noticed(lstm, inputs, upstream, worst):
    wanted = torchs(lstm, inputs, RAGGED, upstream)
    i, f, g, o = np.split(lstm.params["weight_hh"], 4)
    lstm.params["weight_hh"] = np.concatenate([i, f, o, g])
    assert worst(ours(lstm, inputs, RAGGED, upstream), wanted) > 1e-2
