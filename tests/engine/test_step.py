"""One bound step is one step of the batch."""

import numpy as np
import pytest
import torch

from harken.engine.step import bind_step
from harken.errors import ShapeError

cells = pytest.mark.parametrize("cell", ["lstm", "gru"])


def bound(case):
    """The problem's first time step, and its buffers after it."""
    x, h, *c = (tensor.detach().numpy().copy() for tensor in (case.x[:, 0], *case.states))
    step = bind_step(case.cell, tuple(case.weights), x, h, c[0] if c else None)
    return step, x, [h, *c]


@cells
@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("hidden", [1, 16, 37])
def test_equals_a_call_over_one_step(problem, worst, engine, cell, batch, hidden):
    case = problem(cell, [1] * batch, 1, hidden=hidden, features=5, dtype=engine.dtype)
    step, _, buffers = bound(case)
    step()
    _, *expected = case.double().oracle()
    assert worst(map(torch.from_numpy, buffers), expected) < engine.tolerance


@cells
def test_buffers_are_read_and_written_in_place(problem, worst, engine, cell):
    case = problem(cell, [1, 1], 1, dtype=engine.dtype)
    step, x, buffers = bound(case)
    step()
    x[:] = 2 * x
    for buffer in buffers:
        buffer[:] = -buffer
    case.x.data, case.states = torch.from_numpy(x).unsqueeze(1).clone(), [torch.from_numpy(b.copy()) for b in buffers]
    step()
    _, *expected = case.double().oracle()
    assert worst(map(torch.from_numpy, buffers), expected) < engine.tolerance


@cells
def test_weights_are_copied(problem, engine, cell):
    case = problem(cell, [1, 1], 1, dtype=engine.dtype)
    (step, _, buffers), (other, _, others) = bound(case), bound(case)
    step()
    with torch.no_grad():
        for tensor in case.weights:
            tensor.zero_()
    other()
    for found, expected in zip(others, buffers, strict=True):
        np.testing.assert_array_equal(found, expected)


@cells
def test_no_bias_is_a_bias_of_zero(problem, engine, cell):
    case = problem(cell, [1, 1], 1, dtype=engine.dtype)
    case.weights[2:] = [torch.zeros_like(bias) for bias in case.weights[2:]]
    step, _, buffers = bound(case)
    step()
    case.weights[2:] = [None, None]
    step, _, others = bound(case)
    step()
    for found, expected in zip(others, buffers, strict=True):
        np.testing.assert_array_equal(found, expected)


@cells
def test_large_sums_overflow_nothing(problem, engine, cell):
    """Warnings are errors here: NumPy's exp would say so."""
    case = problem(cell, [1, 1], 1, dtype=engine.dtype)
    step, x, buffers = bound(case)
    x[:] = [[1e4] * 3, [-1e4] * 3]
    step()
    assert all(np.isfinite(buffer).all() for buffer in buffers)


@pytest.mark.parametrize(
    ("index", "tensor", "message"),
    [
        (0, torch.zeros(16, 9), r"w_ih has shape \(16, 9\).* must be \(16, 3\)"),
        (1, torch.zeros(16, 4, dtype=torch.float64), r"w_hh is torch.float64 and x is torch.float32"),
        (3, torch.zeros(15), r"b_hh has shape \(15,\)"),
    ],
)
def test_what_does_not_fit_is_refused(problem, index, tensor, message):
    case = problem("lstm", [1, 1], 1, dtype=torch.float32)
    case.weights[index] = tensor
    with pytest.raises(ShapeError, match=message):
        bound(case)
