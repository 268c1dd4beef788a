"""Rows whose steps are samples of any shape: (T,), (T, D), (T, 8, 8, 3), as rows of D values and that shape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from harken.config import SamplesConfig
from harken.data.examples import Examples, read_examples
from harken.data.inputs import Inputs, as_inputs
from harken.data.ragged import Ragged
from harken.errors import DataError

Array = npt.NDArray[Any]

READ_AS = "classify"
"""The task as which the readers of files see an autoencoder: a row is a series, with a label or without."""


class Samples(NamedTuple):
    """Rows of one kind, flattened."""

    inputs: Inputs  # of kind series or vectors: values (N, D)
    shape: tuple[int, ...]  # of a step as it was given; () for a number

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def rows(self) -> Ragged:
        """The steps of all rows, values (N, D)."""
        assert isinstance(self.inputs.rows, Ragged)
        return self.inputs.rows

    def take(self, indices: Iterable[int]) -> Samples:
        """The rows ``indices``, in that order."""
        return Samples(self.inputs.take(indices), self.shape)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse samples of another shape than a model's; () and (1,) stand for each other, and so do flattened ones.

        Raises:
            DataError: they have another shape.
        """
        flat = {shape, (math.prod(shape),)} | ({()} if math.prod(shape) == 1 else set())
        if len(self.rows.values) and self.shape not in flat:
            raise DataError(
                f"a step of these rows has the shape {self.shape}, and the model was trained on {shape}: give rows "
                "(steps, …) of that shape"
            )

    def restored(self, rows: Ragged, shape: tuple[int, ...]) -> list[Array]:
        """Values (N, D) of the same rows as arrays (T, …); ``shape`` is for rows that have no step to tell."""
        shape = self.shape if len(self.rows.values) else shape
        return [rows[i].view(len(rows[i]), *shape).numpy() for i in range(len(rows))]


def as_samples(X: Any, config: SamplesConfig) -> Samples:
    """Make rows of samples of what a user has.

    Args:
        X: what `as_inputs` takes as series — arrays (n, T) and (n, T, D), lists of arrays (T,) and (T, D), columns,
            data frames, `Ragged` — and the same with more dimensions: (n, T, …), lists of arrays (T, …), `Ragged` of
            values (N, …).
        config: what is missing, cut or too long.

    Raises:
        DataError: rows that hold something else than numbers, or whose steps have several shapes; says which.
        UsageError: something that holds no rows.
    """
    X, shape = _flattened(X)
    inputs = as_inputs(X, config.reading(), "autoencoder")
    width = inputs.rows.values.shape[1] if isinstance(inputs.rows, Ragged) and inputs.rows.values.dim() > 1 else 0
    if inputs.kind not in ("series", "vectors"):
        raise DataError(f"the rows are {inputs.kind}, and an autoencoder rebuilds numbers: give series")
    if shape is None:
        shape = () if width == 1 else (width,)
    return Samples(inputs, shape)


def read_normal(source: str | Path | object, config: SamplesConfig) -> Samples:
    """The rows of a file or a table that are to be learned from, see `normal_samples`."""
    return normal_samples(
        read_examples(source, config.reading(), READ_AS, require_labels=config.normal is not None), config
    )


def normal_samples(examples: Examples, config: SamplesConfig) -> Samples:
    """The rows that are as they should be: those whose label is ``config.normal``; all, where it is None.

    Raises:
        DataError: there is none; names some labels that there are.
    """
    samples = samples_of(examples)
    if config.normal is None:
        return samples
    there = is_normal(examples, config)
    if not any(there):
        assert examples.labels is not None
        labels = dict.fromkeys(str(label) for label in next(iter(examples.labels.columns.values())))
        listed = ", ".join(map(repr, list(labels)[:5])) + (", …" if len(labels) > 5 else "")
        raise DataError(f"no row has the label {config.normal!r} that normal names, only {listed}: name one of these")
    return samples.take([row for row, normal in enumerate(there) if normal])


def is_normal(examples: Examples, config: SamplesConfig) -> list[bool]:
    """For every row whether its label, as a text, is ``config.normal``.

    Raises:
        DataError: the rows have no labels.
    """
    if examples.labels is None:
        raise DataError(f"the rows have no labels to find the {config.normal!r} among: name their column with --label")
    return [str(label) == config.normal for label in next(iter(examples.labels.columns.values()))]


def samples_of(examples: Examples) -> Samples:
    """Rows of a file, in which a step is a number or a vector."""
    assert isinstance(examples.inputs.rows, Ragged)
    width = examples.inputs.rows.values.shape[1]
    return Samples(examples.inputs, () if width == 1 else (width,))


def _flattened(X: Any) -> tuple[Any, tuple[int, ...] | None]:
    """Steps as vectors, and the shape that they had; None where only the reading will tell."""
    if isinstance(X, Tensor):
        X = X.detach().cpu().numpy()
    if isinstance(X, Ragged):
        shape = tuple(X.values.shape[1:])
        return (Ragged(X.values.flatten(1), X.offsets) if len(shape) > 1 else X), shape
    if isinstance(X, np.ndarray) and X.dtype.kind in "iufb":
        if X.ndim < 3:
            return X, None
        return X.reshape(*X.shape[:2], math.prod(X.shape[2:])), X.shape[2:]
    if not isinstance(X, list | tuple) and not (isinstance(X, np.ndarray) and X.ndim == 1):
        return X, None
    rows: list[Any] = [[] if getattr(row, "ndim", 0) > 2 and not len(row) else row for row in X]  # they hold nothing
    found = _shape_of(rows)
    return (rows if found is None or len(found) < 2 else list(_flattened_rows(rows, found))), found


def _shape_of(rows: Sequence[Any]) -> tuple[int, ...] | None:
    """The shape of the first step of all; None where rows have none, or it is no array."""
    row = next((row for row in rows if not isinstance(row, str) and hasattr(row, "__len__") and len(row)), None)
    try:
        return None if row is None else tuple(np.shape(row[0]))
    except (ValueError, TypeError, KeyError, IndexError):  # of unequal lengths, or no sequence at all
        return None


def _flattened_rows(rows: Sequence[Any], shape: tuple[int, ...]) -> Iterator[Array]:
    """Rows (T, …) as (T, D)."""
    for number, row in enumerate(rows):
        if isinstance(row, Tensor):
            row = row.detach().cpu().numpy()
        try:
            array = np.asarray(row)
        except ValueError:
            raise DataError(
                f"row {number} holds steps of several shapes: every step of every row must have the same one"
            ) from None
        if len(array) and array.shape[1:] != shape:
            raise DataError(
                f"row {number} has steps of the shape {array.shape[1:]}, and the first rows have {shape}: every step "
                "of every row must have the same one"
            )
        yield array.reshape(len(array), math.prod(shape))
