"""Where each step of each row goes: the index arithmetic behind the portable engine.

The rectangle (B, T) is cut along time into a few *spans*. Rows stand longest first, so that the rows still
running when a span starts are its first ``width``; each span is a small dense rectangle (stop - start, width),
and all of them, one after the other, are one table of steps. A dense batch is one span; a ``PackedSequence``
is the limit of one span per step. A few spans have the first's speed and most of the second's thrift.

NumPy, because these are some thirty operations on small arrays before each call.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints: TypeAlias = npt.NDArray[np.int64]

# What one more span costs (weights packed again, gradients added up, Python), in steps of one row. Measured
# 150 to 190 for hidden sizes 64 and 256 alike: a step of a row and the packing both grow with its square.
SPAN_COST = 180

# The memory of a span, in bytes per row, step and hidden unit, and the most it may be. glibc maps blocks over 32 MiB
# afresh at every call, and faulting their pages in can take a third of the time. The first is what oneDNN's LSTM keeps
# for the backward pass. Without one 24 was the fastest (as much as four gates, h and c in float32): 64 takes 8 % longer
# and no bound 4 %. The GRU and float64 run by other kernels, whose blocks are large in training and out of it: the
# first serves them too, and no bound at all takes 13 % longer for a GRU, and more for float64.
KEPT_BYTES = 64
INFERENCE_BYTES = 24
KEPT_LIMIT = 30 << 20


class Span(NamedTuple):
    """Steps ``start`` to ``stop`` of the first ``width`` rows, longest first."""

    start: int
    stop: int
    width: int


class Plan(NamedTuple):
    """How to read x and how to write the answer; all indices are int64.

    Attributes:
        order: the batch's rows as the spans hold them, longest first (B,); None for as they come.
        place: where each row of the batch went, the inverse of ``order`` (B,) or None.
        read: for each step of the table (N,), its row in x flattened to (B·T, D); B·T stands for padding.
        padding: which steps of the table are padding (N,), bool, or None when none is.
        write: for each step of the outputs (B·T,), its row in the table followed by h0 and a row of zeros;
            then, for each row of the batch (B,), where its last h is.
    """

    order: Tensor | None
    place: Tensor | None
    read: Tensor
    padding: Tensor | None
    write: Tensor


def cut(lengths: Ints, hidden: int, kept: int) -> list[Span]:
    """The spans for rows of these lengths (not all 0): as many as pay, and none that takes too much memory.

    ``kept`` is that memory in bytes per row, step and hidden unit.
    """
    batch, longest = len(lengths), int(lengths.max())
    padding = batch * longest - int(lengths.sum())
    count = max(1, round(math.sqrt(padding / SPAN_COST)))  # n spans save padding·(1 - 1/n) and cost n·SPAN_COST
    room = max(1, KEPT_LIMIT // (kept * batch * hidden))  # steps
    steps = min(-(-longest // count), room)
    if steps >= longest:
        return [Span(0, longest, batch)]
    return [
        Span(start, min(start + steps, longest), int((lengths > start).sum())) for start in range(0, longest, steps)
    ]


def plan(lengths: Ints, spans: list[Span], size: int, reverse: bool, device: torch.device) -> Plan:
    """The indices for rows of these ``lengths`` (B,) in a rectangle of ``size`` steps, cut into ``spans``."""
    batch = len(lengths)
    order = place = None
    member, place_of = (rows := np.arange(batch)), rows  # (B,) which row stands where, and where each row stands
    if len(spans) > 1:
        member = order = np.argsort(-lengths, kind="stable")
        place_of = place = np.empty_like(order)
        place[order] = rows

    nowhere = batch * size
    read, starts, table = [], [], 0
    for start, stop, width in spans:
        step, who = np.arange(start, stop)[:, None], member[:width]  # (t, 1), (w,)
        ends = lengths[who]  # (w,)
        at = ends - 1 - step if reverse else step  # (t, w) or (t, 1)
        read.append(np.where(step < ends, who * size + at, nowhere).ravel())  # (t * w,)
        starts.append(np.arange(stop - start) * width + table)  # (t,)
        table += width * (stop - start)
    index, first = np.concatenate(read), np.concatenate(starts)  # (N,); (T',) where each step's rows start

    step, ends = np.arange(size), lengths[:, None]  # (T,), (B, 1)
    at = np.clip(ends - 1 - step if reverse else step, 0, len(first) - 1)  # (B, T) or (T,)
    write = np.where(step < ends, first[at] + place_of[:, None], table + batch)  # (B, T)
    last = np.where(lengths > 0, first[lengths - 1] + place_of, table + rows)  # (B,)
    padding = index == nowhere if table > lengths.sum() else None

    def to_torch(array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return Plan(
        None if order is None else to_torch(order),
        None if place is None else to_torch(place),
        to_torch(index),
        None if padding is None else to_torch(padding),
        to_torch(np.concatenate([write.ravel(), last])),
    )
