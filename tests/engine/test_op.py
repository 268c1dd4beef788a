import math
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from harken.engine import plan as plan_module
from harken.engine import portable, ragged_gru, ragged_lstm
from harken.errors import ShapeError

RAGGED = [5, 0, 3, 1, 7, 7, 2]
cells = pytest.mark.parametrize("cell", ["lstm", "gru"])
directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


shapes = pytest.mark.parametrize(
    ("lengths", "size"),
    [(RAGGED, 7), (RAGGED, 10), ([6, 6, 6], 6), ([4, 4], 6), ([0, 2], 2), ([1], 1), ([3], 9)],
    ids=["ragged", "wide", "equal", "equal-wide", "one-empty", "one-step", "one-row"],
)


@cells
@directions
@shapes
def test_equals_one_row_one_step_at_a_time(problem, worst, engine, cell, reverse, lengths, size):
    case = problem(cell, lengths, size, dtype=engine.dtype)
    found, truth = case.run(reverse), case.double()
    expected = truth.oracle(reverse)
    assert worst(found, expected) < engine.tolerance
    assert worst(case.gradients(found), truth.gradients(expected)) < engine.tolerance


@cells
@directions
@shapes
def test_spans_change_nothing(problem, worst, monkeypatch, cuts, cell, reverse, lengths, size):
    monkeypatch.setenv("HARKEN_ENGINE", "portable")
    case = problem(cell, lengths, size)
    found, expected = case.run(reverse), case.oracle(reverse)
    assert worst(found, expected) < 1e-10
    assert worst(case.gradients(found), case.gradients(expected)) < 1e-10


@cells
@directions
def test_float32_on_the_fused_path(problem, worst, monkeypatch, cuts, cell, reverse):
    monkeypatch.setenv("HARKEN_ENGINE", "portable")
    case = problem(cell, RAGGED, 8, hidden=16, dtype=torch.float32)
    found, expected = case.run(reverse), case.oracle(reverse)
    assert worst(found, expected) < 1e-5
    assert worst(case.gradients(found), case.gradients(expected)) < 1e-5


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")
@directions
def test_float32_training_runs_the_fused_kernel(problem, monkeypatch, reverse):
    monkeypatch.setenv("HARKEN_ENGINE", "portable")
    case = problem("lstm", RAGGED, dtype=torch.float32)
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        case.gradients(case.run(reverse))
    calls = {event.key: event.count for event in trace.key_averages()}
    assert calls["aten::mkldnn_rnn_layer"] == calls["aten::mkldnn_rnn_layer_backward"] == 1


@cells
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("lengths", [[6, 6], [6, 5]], ids=["equal", "ragged"])
def test_what_training_keeps_does_not_cut_fused_inference(problem, monkeypatch, cell, dtype, training, lengths):
    monkeypatch.setenv("HARKEN_ENGINE", "portable")
    monkeypatch.setattr(plan_module, "KEPT_LIMIT", 64 * 2 * 4)  # one step of training, two of inference
    case, spans = problem(cell, lengths, dtype=dtype), []
    split = portable._split
    monkeypatch.setattr(portable, "_split", lambda table, cuts: spans.append(len(cuts)) or split(table, cuts))
    with torch.set_grad_enabled(training):
        case.run()
    fused_inference = cell == "lstm" and dtype == torch.float32 and not training
    assert spans == [3 if fused_inference else 6]


@cells
@directions
@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_padding_is_never_seen(problem, engine, cell, reverse, garbage, dtype):
    case = problem(cell, RAGGED, 9, dtype=dtype)
    padding = torch.arange(9) >= case.lengths.unsqueeze(-1)  # (B, T)
    dirty = case.x.detach().masked_fill(padding.unsqueeze(-1), garbage).requires_grad_()
    clean_results, dirty_results = case.run(reverse), case.run(reverse, dirty)
    pairs = [*zip(clean_results, dirty_results, strict=True)]
    pairs += zip(case.gradients(clean_results), case.gradients(dirty_results, dirty), strict=True)
    for clean, found in pairs:
        assert torch.equal(clean, found)
    assert (dirty_results[0][padding] == 0).all()


@cells
def test_an_empty_row_keeps_its_state_and_adds_no_gradient(problem, engine, cuts, cell):
    case = problem(cell, [4, 0, 2], dtype=torch.float32)
    _, *states = case.run()
    for state, initial in zip(states, case.states, strict=True):
        assert torch.equal(state[1], initial[1])
    gradients = torch.autograd.grad(sum(state[1].sum() for state in states), case.leaves)
    for leaf, gradient in zip(case.leaves, gradients, strict=True):
        if any(leaf is state for state in case.states):
            assert torch.equal(gradient[1], torch.ones_like(gradient[1]))
            gradient[1] = 0
        assert (gradient == 0).all()


@cells
@directions
@pytest.mark.parametrize(("batch", "size"), [(0, 5), (3, 0), (0, 0), (3, 5)])
def test_nothing_to_read(problem, engine, cell, reverse, batch, size):
    case = problem(cell, [0] * batch, size, dtype=engine.dtype)
    outputs, *states = case.run(reverse)
    assert outputs.shape == (batch, size, 4)
    assert (outputs == 0).all()
    for state, initial in zip(states, case.states, strict=True):
        assert torch.equal(state, initial)
        assert state.data_ptr() != initial.data_ptr() or batch == 0
    for gradient in torch.autograd.grad(outputs.sum(), case.leaves):
        assert (gradient == 0).all()


@cells
@pytest.mark.parametrize("lengths", [[4, 4], [4, 2], [0, 0]])
def test_no_result_shares_memory(problem, engine, cell, lengths):
    case = problem(cell, lengths, 4, dtype=torch.float32)
    with torch.no_grad():
        results = case.run()
    storages = [tensor.untyped_storage().data_ptr() for tensor in (*case.leaves, *results)]
    assert len(set(storages)) == len(storages)


@cells
@directions
def test_gradcheck(problem, cuts, cell, reverse):
    case = problem(cell, [3, 0, 2, 4], 5, features=2, hidden=2)
    operator = ragged_lstm if cell == "lstm" else ragged_gru
    assert torch.autograd.gradcheck(lambda x, *rest: operator(x, case.lengths, *rest, reverse), case.leaves)


@cells
def test_streaming_is_the_batch(problem, worst, engine, cell):
    case = problem(cell, RAGGED, 7, dtype=engine.dtype)
    operator = ragged_lstm if cell == "lstm" else ragged_gru
    whole = case.run()
    states, pieces = case.states, []
    for start, stop in ((0, 2), (2, 3), (3, 7)):
        left = (case.lengths - start).clamp(0, stop - start)
        piece, *states = operator(case.x[:, start:stop], left, *case.weights, *states)
        pieces.append(piece)
    assert worst([torch.cat(pieces, 1), *states], whole) < engine.tolerance


@cells
def test_no_bias_is_a_bias_of_zero(problem, worst, engine, cell):
    case = problem(cell, RAGGED, dtype=engine.dtype)
    operator = ragged_lstm if cell == "lstm" else ragged_gru
    found = operator(case.x, case.lengths, *case.weights[:2], None, None, *case.states)
    case.weights[2:] = [torch.zeros_like(bias) for bias in case.weights[2:]]
    assert worst(found, case.double().oracle()) < engine.tolerance


def test_equals_torch_on_a_packed_sequence(problem, worst):
    """The same oracle as everybody's: ``nn.LSTM``, bidirectional, on a ``PackedSequence``."""
    case = problem("lstm", [6, 2, 4])
    theirs = nn.LSTM(3, 4, bidirectional=True, batch_first=True, dtype=torch.float64)
    packed = nn.utils.rnn.pack_padded_sequence(case.x, case.lengths, batch_first=True, enforce_sorted=False)
    data, (h, c) = theirs(packed)
    outputs, _ = nn.utils.rnn.pad_packed_sequence(data, batch_first=True)
    parameters = list(theirs.parameters())
    zeros = torch.zeros(3, 4, dtype=torch.float64)
    forward = ragged_lstm(case.x, case.lengths, *parameters[:4], zeros, zeros)
    backward = ragged_lstm(case.x, case.lengths, *parameters[4:], zeros, zeros, reverse=True)
    assert worst([torch.cat([forward[0], backward[0]], -1)], [outputs]) < 1e-10
    assert worst([*forward[1:], *backward[1:]], [h[0], c[0], h[1], c[1]]) < 1e-10


@cells
def test_autocast_computes_in_float32(problem, worst, engine, cell):
    case = problem(cell, RAGGED, dtype=torch.float32)
    expected = case.run()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = case.run()
        from_half = case.run(x=case.x.bfloat16())
    assert all(result.dtype == torch.float32 for result in (*found, *from_half))
    assert worst(found, expected) == 0
    assert 0 < worst(from_half, expected) < 1e-2


def test_two_threads_do_not_meet(problem, worst, engine):
    case = problem("lstm", RAGGED, dtype=engine.dtype)
    expected, wrong = case.run(), []

    def work():
        for _ in range(20):
            wrong.append(worst(case.run(), expected))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 40
    assert max(wrong) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 3)}, r"x is torch.float32 \(2, 3\): it must be a tensor \(B, T, D\)"),
        ({"x": np.zeros((2, 3, 5), np.float32)}, r"x is a ndarray: it must be a tensor \(B, T, D\)"),
        ({"x": torch.zeros(2, 3, 0)}, r"x has shape \(2, 3, 0\) and the hidden size is 4: D and H must be at least 1"),
        ({"x": torch.zeros(2, 3, 5, dtype=torch.float64)}, r"w_ih is torch.float32 and x is torch.float64"),
        ({"x": torch.zeros(2, 3, 5, device="meta")}, r"w_ih is on cpu and x is on meta: bring both to one device"),
        ({"lengths": torch.tensor([3])}, r"lengths is torch.int64 \(1,\): it must be a tensor, torch.int64 \(2,\)"),
        ({"lengths": torch.tensor([3, 2], dtype=torch.int32)}, r"lengths is torch.int32"),
        ({"lengths": [3, 1]}, r"lengths is a list: it must be a tensor, torch.int64 \(2,\), one number a row of x"),
        ({"lengths": torch.tensor([3, 4])}, r"lengths holds 4: every length must lie between 0 and T = 3"),
        ({"lengths": torch.tensor([-1, 2])}, r"lengths holds -1"),
        ({"w_ih": torch.zeros(16, 6)}, r"w_ih has shape \(16, 6\).* must be \(16, 5\)"),
        ({"w_hh": torch.zeros(12, 4)}, r"must be \(16, 4\)|must be \(16, 5\)"),
        ({"w_hh": torch.zeros(16, 4, device="meta")}, r"w_hh is on meta and x is on cpu"),
        ({"b_hh": torch.zeros(4)}, r"b_hh has shape \(4,\)"),
        ({"b_ih": torch.zeros(16, dtype=torch.float16)}, r"b_ih is torch.float16 and x is torch.float32"),
        ({"c0": torch.zeros(4)}, r"c0 has shape \(4,\).* must be \(2, 4\)"),
        ({"h0": torch.zeros(2, 4, dtype=torch.float64)}, r"h0 is torch.float64 and x is torch.float32"),
    ],
)
@pytest.mark.parametrize("with_gradient", [False, True])
def test_refusals(change, message, with_gradient):
    arguments = {
        "x": torch.zeros(2, 3, 5),
        "lengths": torch.tensor([3, 1]),
        "w_ih": torch.zeros(16, 5, requires_grad=with_gradient),
        "w_hh": torch.zeros(16, 4),
        "b_ih": None,
        "b_hh": None,
        "h0": torch.zeros(2, 4),
        "c0": torch.zeros(2, 4),
    }
    ragged_lstm(**arguments)
    with pytest.raises(ShapeError, match=message):
        ragged_lstm(**(arguments | change))


def test_autocast_widens_halves_and_nothing_else(problem):
    case = problem("lstm", [3, 2], dtype=torch.float32)
    case.weights[1] = case.weights[1].double()
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ShapeError, match=r"w_hh is torch\.float64 and x"):
        case.run()


def test_the_oracle_sees_planted_faults(problem, worst, monkeypatch):
    """Each fault is one that tutorials make; every one must show, or the tests above prove nothing."""
    case = problem("lstm", RAGGED, 8)
    monkeypatch.setattr(plan_module, "SPAN_COST", 2)

    with monkeypatch.context() as fault:  # c at T instead of at the row's end
        fault.setattr(portable, "SATURATED", 0.0)
        outputs, h_n, c_n = case.run()
        expected = case.oracle()
        assert worst([outputs, h_n], expected[:2]) < 1e-10
        assert worst([c_n], expected[2:]) > 1e-2

    with monkeypatch.context() as fault:  # the whole rectangle flipped, padding first
        fault.setattr(portable, "plan", lambda *args: plan_module.plan(*args[:3], False, args[4]))
        assert worst(case.run(reverse=True), case.oracle(reverse=True)) > 1e-2

    with monkeypatch.context() as fault:  # rows sorted and never put back
        fault.setattr(portable, "plan", lambda *args: plan_module.plan(*args)._replace(place=None))
        assert worst(case.run(), case.oracle()) > 1e-2

    with monkeypatch.context() as fault:  # the gradient cut at a span's edge
        real = torch.lstm

        def detached(x, state, *rest):
            return real(x, [s.detach() for s in state], *rest)

        fault.setattr(torch, "lstm", detached)
        found, expected = case.run(), case.oracle()
        assert worst(found, expected) < 1e-10
        assert worst(case.gradients(found), case.gradients(expected)) > 1e-2
