"""The peer: ONNX Runtime, one streaming step of an LSTM, one thread; as `benchmarks/stream_once.py`, in its own venv.

The model is one LSTM node whose weights stand in ONNX's own layout (gates i, o, f, c), as constants: nothing is
transposed or packed again at a step. It is called in two ways, as its documentation shows them: `run` with a
dictionary, and with inputs and outputs bound once. It imports nothing of harken.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
from benchmarks.turns import stream_options, time_steps
from benchmarks.work import Floats, Stream, make_stream
from onnx import TensorProto, helper, numpy_helper


def main() -> None:
    """Read the options, measure, write the report."""
    options = stream_options(__doc__)
    stream = make_stream(options.input, options.hidden, steps=256)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = ort.InferenceSession(model(stream).SerializeToString(), settings, ["CPUExecutionProvider"])
    xs = [x[np.newaxis] for x in stream.xs]  # each (1, 1, I)
    ways = {"run": run_step(session, options.hidden), "bound": bound_step(session, options.input, options.hidden)}
    report = time_steps({name: (step, xs) for name, step in ways.items()}, options.rounds)
    text = json.dumps(report | {"version": ort.__version__}, indent=1)
    if options.json:
        options.json.write_text(text)
    else:
        print(text)


def model(stream: Stream) -> onnx.ModelProto:
    """x (1, 1, I), h and c (1, 1, H) → h', c' (1, 1, H)."""
    hidden, inputs = stream.w_hh.shape[1], stream.w_ih.shape[1]

    def iofc(weights: Floats) -> Floats:
        i, f, g, o = np.split(weights, 4)
        return np.concatenate([i, o, f, g])[np.newaxis]

    bias = np.concatenate([iofc(stream.bias), np.zeros((1, 4 * hidden), np.float32)], axis=1)  # (1, 8H)
    weights = {"W": iofc(stream.w_ih), "R": iofc(stream.w_hh), "B": bias}

    def value(name: str, size: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 1, size))

    node = helper.make_node("LSTM", ["x", "W", "R", "B", "", "h", "c"], ["", "h_n", "c_n"], hidden_size=hidden)
    graph = helper.make_graph(
        [node],
        "step",
        [value("x", inputs), value("h", hidden), value("c", hidden)],
        [value("h_n", hidden), value("c_n", hidden)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made


def run_step(session: ort.InferenceSession, hidden: int) -> Callable[[Floats], Floats]:
    """`session.run`: dictionaries in, new arrays out."""
    h = c = np.zeros((1, 1, hidden), np.float32)

    def step(x: Floats) -> Floats:
        nonlocal h, c
        h, c = session.run(None, {"x": x, "h": h, "c": c})
        return h

    return step


def bound_step(session: ort.InferenceSession, inputs: int, hidden: int) -> Callable[[Floats], Floats]:
    """Two pairs of state buffers, bound once: one step reads the first and writes the second, the next one back."""

    def zeros(size: int) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_numpy(np.zeros((1, 1, size), np.float32))  # keeps that memory

    read, states = zeros(inputs), [{name: zeros(hidden) for name in "hc"} for _ in range(2)]
    bindings = []
    for here, there in (states, states[::-1]):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", read)
        for name in "hc":
            binding.bind_ortvalue_input(name, here[name])
            binding.bind_ortvalue_output(f"{name}_n", there[name])
        bindings.append(binding)
    turn = 0

    def step(x: Floats) -> Floats:
        nonlocal turn
        read.update_inplace(x)
        session.run_with_iobinding(bindings[turn])
        turn = 1 - turn
        return states[turn]["h"].numpy()

    return step


if __name__ == "__main__":
    main()
