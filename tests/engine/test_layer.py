"""`ragged_layer`: both directions and optional states are what single directions with states of zeros are."""

import pytest
import torch

from harken.engine import ragged_gru, ragged_layer, ragged_lstm
from harken.errors import ShapeError

RAGGED = [5, 0, 3, 1, 7, 7, 2]
cells = pytest.mark.parametrize("cell", ["lstm", "gru"])


def single(case, states, reverse):
    operator = ragged_lstm if case.cell == "lstm" else ragged_gru
    return operator(case.x, case.lengths, *case.weights, *states, reverse)


@cells
@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("lengths", [RAGGED, [0, 0]])
def test_a_layer_is_its_directions(problem, worst, engine, cell, with_state, directions, lengths):
    ways = [problem(cell, lengths, 8, dtype=engine.dtype) for _ in range(directions)]
    for tensor in ways[-1].weights:  # the directions differ
        tensor.data.mul_(-0.7)
    for other in ways:
        other.x = ways[0].x
    given = [torch.stack(parts) for parts in zip(*(way.states for way in ways), strict=True)] if with_state else []
    zeros = [torch.zeros_like(state) for state in ways[0].states]
    found = [
        r
        for r in ragged_layer(cell, ways[0].x, ways[0].lengths, [tuple(w.weights) for w in ways], *given)
        if r is not None
    ]
    parts = [single(way, way.states if with_state else zeros, k == 1) for k, way in enumerate(ways)]
    outputs, *finals = zip(*parts, strict=True)
    expected = [torch.cat(outputs, -1), *(torch.stack(final) for final in finals)]
    assert worst(found, expected) < engine.tolerance
    leaves = [ways[0].x, *(tensor for way in ways for tensor in way.weights)]
    leaves += [state for way in ways for state in way.states] if with_state else []
    cotangents = [torch.randn_like(result) for result in expected]
    assert (
        worst(*(torch.autograd.grad(results, leaves, cotangents) for results in (found, expected))) < engine.tolerance
    )


@cells
@pytest.mark.parametrize("way", ["compiled", "exported"])
def test_traced_without_states_or_biases(worst, cell, way):
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            rows = 5 * {"lstm": 4, "gru": 3}[cell]
            self.flat = torch.nn.ParameterList(
                torch.randn(*s) * 0.4 for s in [(rows, 3), (rows, 5), (rows, 3), (rows, 5)]
            )

        def forward(self, x, lengths):
            weights = [(self.flat[k], self.flat[k + 1], None, None) for k in (0, 2)]
            return [result for result in ragged_layer(cell, x, lengths, weights) if result is not None]

    layer, x, lengths = Layer(), torch.randn(4, 6, 3), torch.tensor([6, 0, 2, 5])
    torch._dynamo.reset()
    if way == "compiled":
        traced = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    else:
        shapes = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}, {0: torch.export.Dim("batch")})
        traced = torch.export.export(layer, (x, lengths), dynamic_shapes=shapes).module()
    for batch, time in ((4, 6), (2, 9)):
        x, lengths = torch.randn(batch, time, 3), torch.arange(batch) * 2
        assert worst(traced(x, lengths), layer(x, lengths)) < 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": []}, r"weights has 0 entries: it must be one for each direction, 1 or 2"),
        ({"h0": torch.zeros(1, 2, 4), "c0": torch.zeros(1, 2, 4)}, r"h0 has shape \(1, 2, 4\).* must be \(2, 2, 4\)"),
        ({"h0": torch.zeros(2, 2, 4)}, r"h0 and c0: give both or neither"),
        ({"c0": torch.zeros(2, 2, 4)}, r"h0 and c0: give both or neither"),
        ({"lengths": [3, 1]}, r"lengths is a list"),
    ],
)
def test_refusals(change, message):
    own = torch.zeros(16, 5), torch.zeros(16, 4), None, None
    arguments = {"x": torch.zeros(2, 3, 5), "lengths": torch.tensor([3, 1]), "weights": [own, own]}
    ragged_layer("lstm", **arguments)
    with pytest.raises(ShapeError, match=message):
        ragged_layer("lstm", **(arguments | change))
