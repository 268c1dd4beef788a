"""The operators as the compiler and the exporter see them."""

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from harken.engine import ragged_gru, ragged_lstm

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
