"""Missing values of numeric series: refused, or filled by a stated rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harken.data.ragged import Ragged
from harken.errors import DataError

Array = npt.NDArray[Any]


def fill_missing(series: Ragged, missing: str, channels: Sequence[str] = ()) -> Ragged:
    """The series with as few NaN as the rule allows; what stays NaN is to become the channel's training mean.

        missing   a value that is NaN becomes                                  stays NaN
        refuse    an error
        carry     the last one before it in its row and channel                before the first one
        linear    what lies on the line between its neighbours; beyond the     where the row's channel has no value
                  first or last one, that one
        mean                                                                   everywhere

    Args:
        series: values (N, D) float32.
        missing: see the table.
        channels: their names, for messages; none: they are counted from 0.

    Raises:
        DataError: inf, and with refuse NaN; says row, step and channel.
    """
    values = series.values.numpy()
    if np.isfinite(values).all():
        return series
    _refuse(series, np.isinf(values), channels, "inf, or a number too large for 32 bits: leave it out")
    absent = np.isnan(values)
    if missing == "refuse":
        _refuse(series, absent, channels, "NaN: say --missing carry, linear or mean to fill what is missing")
    if missing == "mean":
        return series
    starts = np.repeat(series.offsets[:-1].numpy(), series.lengths.numpy())[:, None]  # (N, 1), of every step's row
    ends = np.repeat(series.offsets[1:].numpy(), series.lengths.numpy())[:, None]
    first, last = int(series.offsets[0]), int(series.offsets[-1])
    values, absent = values[first:last], absent[first:last]
    steps = np.arange(first, last)[:, None]
    before = np.maximum.accumulate(np.where(absent, -1, steps), axis=0)  # (N, D), the last step that has a value
    filled = np.where(before >= starts, _at(values, before - first), np.nan)
    if missing == "linear":
        after = np.minimum.accumulate(np.where(absent, last, steps)[::-1], axis=0)[::-1]  # (N, D), the next one
        following = np.where(after < ends, _at(values, after - first), np.nan)
        share = (steps - before) / np.maximum(after - before, 1)
        between = filled + share * (following - filled)
        filled = np.where(np.isnan(filled), following, np.where(np.isnan(following), filled, between))
    return Ragged(torch.from_numpy(np.where(absent, filled, values).astype(np.float32)), series.offsets - first)


def _at(values: Array, steps: Array) -> Array:
    """``values[steps[i, d], d]``; steps outside give any value."""
    return np.take_along_axis(values, steps.clip(0, max(0, len(values) - 1)), axis=0)


def _refuse(series: Ragged, wrong: npt.NDArray[np.bool_], channels: Sequence[str], what: str) -> None:
    places = np.argwhere(wrong)
    if len(places) == 0:
        return
    step, channel = map(int, places[0])
    row = int(torch.searchsorted(series.offsets, step, right=True)) - 1
    name = repr(channels[channel]) if channels else channel
    raise DataError(f"row {row}, step {step - int(series.offsets[row])}, channel {name} holds {what}")
