"""A recurrent stack that reads one step at a time, as data arrives.

The batch's door (:meth:`harken.layers.recurrent.Recurrent.forward`) costs tens of microseconds of PyTorch before a
kernel runs. Here buffers are allocated and weights packed once, and a call does a step and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harken.engine.directions import Cell, Weights
from harken.engine.step import bind_step
from harken.errors import ShapeError, UsageError
from harken.layers.state import GRUState, LSTMState, State, checked_state

Combine = Literal["last", "sum", "concat"]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]


class Stepper:
    """One step per call for a batch of streams; made by :meth:`harken.layers.recurrent.Recurrent.stepper`.

        stepper = recurrent.stepper()
        for x in arriving:                 # (D,) float32 arrays
            act_on(stepper(x))             # (output_size,)

    It starts from zeros, as `forward` does, and keeps the state between calls: one stepper belongs to one stream (or
    one batch of them) and to one thread at a time. The weights are those of the moment it was made.

    Args:
        cell: "lstm" or "gru".
        weights: each layer's, from the bottom, float32 or float64.
        combine: the outputs of the "last" layer, the "sum" over all layers, or their "concat".
        batch: streams that go in step.

    Attributes:
        input: the buffer (batch, D) that a call reads. Fill it in place and pass it for the quickest call.

    Raises:
        UsageError: a batch below 1, or weights in half precision.
    """

    def __init__(self, cell: Cell, weights: Sequence[Weights], *, combine: Combine = "last", batch: int = 1) -> None:
        if batch < 1:
            raise UsageError(f"batch ({batch}) must be at least 1")
        dtype = weights[0][0].dtype
        if dtype not in (torch.float32, torch.float64):
            raise UsageError(f"stepper weights ({dtype}) must be float32 or float64: convert the module with .float()")
        self._cell: Cell = cell
        self._dtype = np.dtype(str(dtype).removeprefix("torch."))
        layers, hidden = len(weights), weights[0][1].size(1)
        self._input = self._zeros(batch, weights[0][0].size(1))
        self._states = [self._zeros(layers, batch, hidden) for _ in range(2 if cell == "lstm" else 1)]  # h (, c)
        self._h = self._states[0]
        below = [self._input, *self._h[:-1]]  # what each layer reads
        self._steps = [
            bind_step(cell, own, below[k], self._h[k], self._states[1][k] if cell == "lstm" else None)
            for k, own in enumerate(weights)
        ]
        # The last layer's h is the output as it is; several layers' are brought together in a buffer of their own.
        self._combine = combine if layers > 1 else "last"
        size = hidden * layers if self._combine == "concat" else hidden
        self._output = self._h[-1] if self._combine == "last" else self._zeros(batch, size)
        self._by_layer = np.moveaxis(self._output.reshape(batch, -1, hidden), 1, 0)  # (layers or 1, batch, H)
        shown = self._output.view()
        shown.flags.writeable = False
        self._answers = {self._input.shape: shown}  # the shape of x → what is returned
        if batch == 1:
            self._answers[self._input.shape[1:]] = shown[0]

    def _zeros(self, *shape: int) -> Floats:
        return np.zeros(shape, self._dtype)

    @property
    def input(self) -> Floats:
        """The buffer (batch, D) that a call reads."""
        return self._input

    def __call__(self, x: Floats) -> Floats:
        """Read one step of every stream.

        Args:
            x: NumPy array (batch, D), or (D,) if batch is 1, of the weights' dtype. It is copied, unless it is `input`.

        Returns:
            The outputs (batch, output_size), or (output_size,) for an x (D,): a read-only view of a buffer that the
            next call overwrites. Copy it to keep it.

        Raises:
            ShapeError: x is no array, or of another shape or dtype.
        """
        answer = self._answers.get(x.shape) if isinstance(x, np.ndarray) else None
        if answer is None or x.dtype != self._dtype:
            self._refuse(x)
        if x is not self._input:
            self._input[...] = x
        for step in self._steps:
            step()
        if self._combine == "sum":
            np.add.reduce(self._h, axis=0, out=self._output)
        elif self._combine == "concat":
            self._by_layer[...] = self._h
        return answer

    @property
    def state(self) -> State:
        """A copy of the state, (layers, batch, H) tensors: what `forward` returns, and takes.

        Setting it takes a state of tensors or arrays, and copies it too.
        """
        h, *c = (torch.from_numpy(own.copy()) for own in self._states)
        return LSTMState(h, c[0]) if c else GRUState(h)

    @state.setter
    def state(self, state: State) -> None:
        parts = [part for part in checked_state(self._cell, state, self._h.shape) if part is not None]
        for name, part in zip("hc", parts, strict=False):
            if str(part.dtype).removeprefix("torch.") != self._dtype.name:
                raise ShapeError(
                    f"state.{name} is {part.dtype} and the stepper's {self._dtype}: bring both to one dtype"
                )
        for own, part in zip(self._states, parts, strict=True):
            own[...] = part.detach().cpu().numpy() if isinstance(part, Tensor) else part

    def reset(self) -> None:
        """Start again from zeros."""
        for own in self._states:
            own.fill(0)

    def __reduce__(self) -> NoReturn:
        """A copy's buffers would no longer be those that its kernel reads."""
        raise UsageError("a Stepper cannot be copied or pickled: make another one, and hand its `state` over")

    def _refuse(self, x: object) -> NoReturn:
        shapes = " or ".join(str(shape) for shape in self._answers)
        given = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise ShapeError(f"x ({given}) must be a NumPy array, {self._input.dtype} {shapes}")
