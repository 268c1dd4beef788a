"""The work that `engine` measures: shapes, lengths, how many floating point operations they take, and a straight line.

Plain arithmetic, no clock in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

GATES = {"lstm": 4, "gru": 3}
LENGTHS = ("equal", "uniform", "exponential", "two lengths", "one long row")

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Shape(NamedTuple):
    """Sizes of a layer and its batch, spelled `32,100,128,128 bi`."""

    batch: int
    time: int
    input: int
    hidden: int
    bidirectional: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote."""
        sizes, *both = text.split()
        return cls(*map(int, sizes.split(",")), bool(both))

    def __str__(self) -> str:
        return ",".join(map(str, self[:4])) + (" bi" if self.bidirectional else "")

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 1 + self.bidirectional


def training_flop(cell: str, shape: Shape, steps: int) -> int:
    """Useful floating point operations of a training step over `steps` real (row, step) pairs.

    Every gate of every hidden unit is a product with the I inputs and the H states, a multiplication and an addition
    each: 8·H·(I+H) per direction for an LSTM's four gates, 6·H·(I+H) for a GRU's three. Backward takes twice that:
    gradients of the inputs and the states, and of the weights. What is computed on padding counts for nobody.
    """
    forward = 2 * GATES[cell] * shape.hidden * (shape.input + shape.hidden) * shape.directions
    return 3 * forward * steps


def ragged_lengths(batch: int, time: int, seed: int) -> Ints:
    """(B,) lengths, uniform from T/4 up to and including T, at least 1."""
    return np.random.default_rng(seed).integers(max(1, time // 4), time + 1, batch)


def spread_lengths(kind: str, batch: int, mean: int, seed: int) -> Ints:
    """(B,) lengths of about this mean, at least 1, spread as `kind` (of LENGTHS) says."""
    draw = np.random.default_rng(seed)
    match kind:
        case "equal":
            lengths = np.full(batch, mean)
        case "uniform":
            lengths = draw.integers(2 * mean // 5, 8 * mean // 5 + 1, batch)  # T/4 to T
        case "exponential":
            lengths = draw.exponential(mean, batch)
        case "two lengths":
            lengths = np.where(np.arange(batch) % 2, mean // 4, 7 * mean // 4)
        case "one long row":
            lengths = np.where(np.arange(batch), mean * 4 // 5, mean * batch // 5)  # a fifth of all steps
        case _:
            raise ValueError(f"lengths ({kind!r}) must be one of {', '.join(LENGTHS)}")
    return np.maximum(1, lengths).astype(np.int64)


class Line(NamedTuple):
    """y = intercept + slope · x, and the share of y's variance that it explains."""

    intercept: float
    slope: float
    r_squared: float


def straight_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """The least squares line through at least two points of unequal x."""
    across, up = np.asarray(x, float), np.asarray(y, float)
    away = across - across.mean()
    slope = float(away @ (up - up.mean()) / (away @ away))
    intercept = float(up.mean() - slope * across.mean())
    missed, varied = up - intercept - slope * across, up - up.mean()
    return Line(intercept, slope, 1 - float(missed @ missed) / float(varied @ varied) if varied.any() else 1.0)


class Stream(NamedTuple):
    """An LSTM in torch's layout, gates i, f, g, o, and what it reads, step by step; the same in every process."""

    w_ih: Floats  # (4H, I)
    w_hh: Floats  # (4H, H)
    bias: Floats  # (4H,)
    xs: list[Floats]  # each (1, I)


def make_stream(inputs: int, hidden: int, steps: int) -> Stream:
    """Weights as small as torch draws them, and standard normal inputs."""
    draw = np.random.default_rng(0)
    bound = hidden**-0.5
    shapes = (4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,)
    weights = (draw.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes)
    return Stream(*weights, xs=list(draw.standard_normal((steps, 1, inputs), np.float32)))
