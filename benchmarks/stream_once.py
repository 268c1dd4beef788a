"""Microseconds of a streaming step of an LSTM, batch 1, one thread, the Python call included; one process.

Contenders read the same numbers with the same weights, each as arrays of its own kind. They are not given what a
stream does not have: every step waits for the state that the one before it left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

import harken
from benchmarks.turns import stream_options, time_steps
from benchmarks.work import Floats, Stream, make_stream

Advance = Callable[[Any], Any]  # one x → h, the state kept between calls


def main() -> None:
    """Read the options, measure, write the report."""
    options = stream_options(__doc__)
    stream = make_stream(options.input, options.hidden, steps=256)
    tensors = [torch.from_numpy(x) for x in stream.xs]
    torch.set_num_threads(1)
    with threadpool_limits(1), torch.inference_mode():
        contenders: dict[str, tuple[Advance, Sequence[Any]]] = {
            "harken": (harken_step(stream), stream.xs),
            "LSTMCell": (cell_step(stream), tensors),
            "nn.LSTM, T = 1": (layer_step(stream), tensors),
            "NumPy": (numpy_step(stream), stream.xs),
        }
        report = json.dumps(time_steps(contenders, options.rounds), indent=1)
    if options.json:
        options.json.write_text(report)
    else:
        print(report)


def harken_step(stream: Stream) -> Advance:
    """A stepper: weights packed once, NumPy in and out."""
    hidden, inputs = stream.w_hh.shape[1], stream.w_ih.shape[1]
    layer = harken.Recurrent(inputs, hidden)
    layer.load_state_dict(_weights(stream, "_l0"))
    return layer.stepper(batch=1)


def cell_step(stream: Stream) -> Advance:
    """`nn.LSTMCell`."""
    hidden, inputs = stream.w_hh.shape[1], stream.w_ih.shape[1]
    cell = nn.LSTMCell(inputs, hidden)
    cell.load_state_dict(_weights(stream, ""))
    h = c = torch.zeros(1, hidden)

    def step(x: torch.Tensor) -> torch.Tensor:
        nonlocal h, c
        h, c = cell(x, (h, c))
        return h

    return step


def layer_step(stream: Stream) -> Advance:
    """`nn.LSTM`, called with one step."""
    hidden, inputs = stream.w_hh.shape[1], stream.w_ih.shape[1]
    layer = nn.LSTM(inputs, hidden)
    layer.load_state_dict(_weights(stream, "_l0"))
    state = torch.zeros(1, 1, hidden), torch.zeros(1, 1, hidden)

    def step(x: torch.Tensor) -> torch.Tensor:
        nonlocal state
        outputs, state = layer(x.unsqueeze(0), state)
        return outputs

    return step


def numpy_step(stream: Stream) -> Advance:
    """One product and two tanh a step: sigmoid(z) = (1 + tanh(z / 2)) / 2, the half folded into the weights."""
    hidden, inputs = stream.w_hh.shape[1], stream.w_ih.shape[1]
    half = np.repeat(np.float32([0.5, 0.5, 1, 0.5]), hidden)  # i, f, g, o
    weights = np.hstack([stream.w_ih, stream.w_hh]) * half[:, None]  # (4H, I + H)
    bias = stream.bias * half
    read, c = np.zeros(inputs + hidden, np.float32), np.zeros(hidden, np.float32)

    def step(x: Floats) -> Floats:
        read[:inputs] = x[0]
        i, f, g, o = np.tanh(weights @ read + bias).reshape(4, hidden)
        c[:] = 0.5 * ((f + 1) * c + (i + 1) * g)
        read[inputs:] = 0.5 * (o + 1) * np.tanh(c)
        return read[inputs:]

    return step


def _weights(stream: Stream, suffix: str) -> dict[str, torch.Tensor]:
    arrays = {"weight_ih": stream.w_ih, "weight_hh": stream.w_hh, "bias_ih": stream.bias}
    arrays["bias_hh"] = np.zeros_like(stream.bias)
    return {name + suffix: torch.from_numpy(array) for name, array in arrays.items()}


if __name__ == "__main__":
    main()
