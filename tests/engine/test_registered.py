"""The operators as the compiler and the exporter see them."""

import warnings

import pytest
import torch
from torch import nn
from torch.export import Dim, export
from torch.fx.experimental.proxy_tensor import make_fx

from harken.engine import ragged_gru, ragged_lstm
from harken.errors import ShapeError

SIZES = [(1, 1), (1, 9), (5, 1), (8, 40), (3, 7)]
cells = pytest.mark.parametrize("cell", ["lstm", "gru"])


class Both(nn.Module):
    """Both directions, owning parameters as our layers do."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        rows = 4 * {"lstm": 4, "gru": 3}[cell]
        self.cell = cell
        self.weights = nn.ParameterList(torch.randn(*shape) * 0.4 for shape in [(rows, 3), (rows, 4), (rows,), (rows,)])

    def forward(self, x, lengths):
        zeros = x.new_zeros(x.size(0), 4)
        results = []
        for reverse in (False, True):
            if self.cell == "lstm":
                results += ragged_lstm(x, lengths, *self.weights, zeros, zeros, reverse)
            else:
                results += ragged_gru(x, lengths, *self.weights, zeros, reverse)
        return tuple(results)


def inputs(batch, size):
    generator = torch.Generator().manual_seed(batch + size)
    x = torch.randn(batch, size, 3, generator=generator, requires_grad=True)
    return x, torch.randint(0, size + 1, (batch,), generator=generator)


def assert_same(model, other, batch, size, worst):
    x, lengths = inputs(batch, size)
    gradients = []
    results = [f(x, lengths) for f in (model, other)]
    for result in results:
        loss = sum(tensor.cos().sum() for tensor in result)
        gradients.append(torch.autograd.grad(loss, [x, *model.parameters()]))
    assert worst(results[1], results[0]) < 1e-5
    assert worst(gradients[1], gradients[0]) < 1e-5
    with torch.no_grad():
        assert worst(other(x, lengths), results[0]) < 1e-5


@cells
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [[5, 0, 3, 1], [4, 4], [0, 0]])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])  # the portable engine, and the native one
def test_opcheck(problem, cell, reverse, lengths, dtype):
    case = problem(cell, lengths, max(*lengths, 2), dtype=dtype)
    operator = getattr(torch.ops.harken, f"ragged_{cell}").default
    torch.library.opcheck(operator, (case.x, case.lengths, *case.weights, *case.states, reverse))


@cells
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_opcheck_backward_below_dispatch_modes(problem, cell, dtype):
    case = problem(cell, [5, 0, 3], dtype=dtype)
    results = case.run()
    operator = getattr(torch.ops.harken, f"ragged_{cell}_backward").default
    tensors = [tensor.detach() for tensor in (*results, case.x, case.lengths, *case.weights, *case.states)]
    torch.library.opcheck(operator, (*tensors, True), test_utils=["test_schema", "test_faketensor"])


@cells
@pytest.mark.parametrize("strict", [False, True])
def test_export_keeps_batch_and_time_dynamic(worst, cell, strict):
    model = Both(cell)
    x, lengths = inputs(3, 6)
    shapes = ({0: Dim("batch"), 1: Dim("time")}, {0: Dim("batch")})
    exported = export(model, (x.detach(), lengths), dynamic_shapes=shapes, strict=strict)
    targets = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert targets.count(f"harken.ragged_{cell}.default") == 2
    for batch, size in SIZES:
        assert_same(model, exported.module(), batch, size, worst)


@cells
def test_compiles_as_one_graph(worst, cell):
    torch._dynamo.reset()
    model = Both(cell)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch, size in SIZES:
        assert_same(model, compiled, batch, size, worst)


@cells
def test_compiled_autocast_computes_in_float32(worst, cell):
    torch._dynamo.reset()
    model = Both(cell)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x, lengths = inputs(3, 7)
    x = x.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = model(x, lengths), compiled(x, lengths)
    assert all(tensor.dtype == torch.float32 for tensor in found)
    assert worst(found, expected) < 1e-5


@pytest.mark.parametrize("tracer", ["jit.trace", "make_fx"])
def test_a_tracer_records_the_operator(worst, tracer):
    """And not the empty tensors that the kernel fills through pointers."""
    model = Both("lstm")
    x, lengths = inputs(3, 6)
    x = x.detach()
    with torch.no_grad():
        expected = model(x, lengths)
        if tracer == "make_fx":
            traced = make_fx(model)(x, lengths)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch.jit.trace is on its way out
                traced = torch.jit.trace(model, (x, lengths), check_trace=False)
        assert worst(traced(x, lengths), expected) < 1e-6


@cells
@pytest.mark.parametrize(
    ("index", "replace", "message"),
    [
        (1, lambda t: t[:-1], "lengths is torch.int64"),
        (1, lambda t: t.int(), "lengths is torch.int32"),
        (1, lambda t: t + 100, "lengths holds"),
        (2, lambda t: t[:-1], "w_ih has shape"),
        (3, lambda t: t.float(), "w_hh is torch.float32"),
        (6, lambda t: t[:-1], "h0 has shape"),
    ],
)
def test_the_operator_checks_what_it_gets(problem, cell, index, replace, message):
    case = problem(cell, [5, 0, 3])
    arguments = [case.x, case.lengths, *case.weights, *case.states, False]
    arguments[index] = replace(arguments[index])
    with pytest.raises(ShapeError, match=message):
        getattr(torch.ops.harken, f"ragged_{cell}")(*arguments)
