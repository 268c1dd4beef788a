"""harken.data.samples: rows whose steps have any shape, flattened and given back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from harken.config import SamplesConfig
from harken.data.examples import read_examples
from harken.data.ragged import Ragged
from harken.data.samples import READ_AS, Samples, as_samples, is_normal, normal_samples, read_normal
from harken.errors import DataError, UsageError

CONFIG = SamplesConfig()
SHAPES = [(), (1,), (3,), (2, 3), (4, 4, 3)]


def rows_of(shape: tuple[int, ...], lengths: tuple[int, ...] = (4, 0, 2)) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=(length, *shape)).astype(np.float32) for length in lengths]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", ["arrays", "lists", "tensors", "Ragged", "tuple", "objects"])
def test_ragged_rows_come_back_as_they_were(shape: tuple[int, ...], form: str) -> None:
    rows = rows_of(shape)
    flat = torch.from_numpy(np.concatenate(rows))
    objects = np.empty(3, dtype=object)
    objects[:] = rows
    X: Any = {
        "arrays": rows,
        "lists": [row.tolist() for row in rows],
        "tensors": list(map(torch.from_numpy, rows)),
        "Ragged": Ragged(flat, torch.tensor([0, 4, 4, 6])),
        "tuple": tuple(rows),
        "objects": objects,
    }[form]
    samples = as_samples(X, CONFIG)
    assert samples.shape == shape
    assert samples.rows.values.shape == (6, int(np.prod(shape)))
    back = samples.restored(samples.rows, (9, 9))
    assert all(np.array_equal(a, b) and a.shape == b.shape for a, b in zip(back, rows, strict=True))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
def test_one_array_of_rows_of_one_length(shape: tuple[int, ...], make: Any) -> None:
    X = np.random.default_rng(0).normal(size=(2, 5, *shape)).astype(np.float32)
    samples = as_samples(make(X), CONFIG)
    assert samples.shape == shape
    assert np.array_equal(np.stack(samples.restored(samples.rows, ())), X)


def test_columns_and_frames() -> None:
    assert as_samples(pa.array([[1.0, 2.0], [3.0]]), CONFIG).shape == ()
    assert as_samples(pa.array([[[1.0, 2.0]], []]), CONFIG).shape == (2,)
    frame = as_samples(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}), CONFIG)  # a step in every column
    assert (frame.shape, frame.rows.lengths.tolist()) == ((), [2, 2])


def test_whole_numbers_are_a_series_too() -> None:
    assert as_samples([[1, 2, 3], [4]], CONFIG).rows.values.dtype == torch.float32


def test_rows_without_steps_take_the_models_shape() -> None:
    samples = as_samples([[], []], CONFIG)
    samples.check_shape((8, 8, 3))
    back = samples.restored(Ragged(torch.zeros(0, 192), torch.zeros(3, dtype=torch.int64)), (8, 8, 3))
    assert [row.shape for row in back] == [(0, 8, 8, 3)] * 2


@pytest.mark.parametrize(
    ("given", "model", "fits"),
    [((), (1,), True), ((1,), (), True), ((6,), (2, 3), True), ((2, 3), (2, 3), True), ((3, 2), (2, 3), False),
     ((2, 3), (6,), False), ((2,), (), False)],
)  # fmt: skip
def test_whose_shape_fits_a_model(given: tuple[int, ...], model: tuple[int, ...], fits: bool) -> None:
    samples = as_samples(rows_of(given), CONFIG)
    if fits:
        samples.check_shape(model)
    else:
        with pytest.raises(DataError, match="a step of these rows has the shape"):
            samples.check_shape(model)


@pytest.mark.parametrize(
    ("X", "config", "words"),
    [
        ([np.zeros((2, 2, 3)), np.zeros((2, 3, 2))], {}, r"row 1 has steps of the shape \(3, 2\), and the first"),
        ([np.zeros((2, 2, 3)), [[[1.0]], [[1.0, 2.0]]]], {}, "row 1 holds steps of several shapes"),
        ([[1.0, 2.0], [float("nan")]], {}, r"row 1, step 0, channel 0 holds NaN: say --missing"),
        ([[1.0, float("inf")]], {"missing": "mean"}, r"row 0, step 1, channel 0 holds inf"),
        ([[1.0] * 9], {"max_steps": 8}, r"row 0 has 9 steps, more than max_steps \(8\)"),
        (["a text"], {}, "row 0"),
        (np.zeros((2, 3, 0, 4)), {}, "the steps of the rows are empty"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used(X: Any, config: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        as_samples(X, SamplesConfig(**config))


def test_one_row_is_no_table_of_rows() -> None:
    with pytest.raises(UsageError, match="X is one float"):
        as_samples(1.0, CONFIG)


# Files


TABLE = {"wave": [[1.0, 2.0], [3.0], [4.0, 5.0]], "kind": ["good", "bad", "good"]}


def test_normal_rows_of_a_table() -> None:
    config = SamplesConfig(normal="good")
    assert read_normal(TABLE, config).rows.lengths.tolist() == [2, 2]
    assert read_normal(TABLE, CONFIG).rows.lengths.tolist() == [2, 1, 2]
    examples = read_examples(TABLE, config.reading(), READ_AS)
    assert is_normal(examples, config) == [True, False, True]
    told = config.told(examples.config)
    assert (told.series, told.label, told.normal) == (("wave",), ("kind",), "good")
    assert CONFIG.told(examples.config).label == ()  # where nobody asks what is normal, no label is kept


def test_a_label_as_a_number_is_named_by_its_text() -> None:
    table = {"wave": [[1.0], [2.0, 3.0]], "label": [1, 2]}
    assert len(read_normal(table, SamplesConfig(normal="2"))) == 1


def test_no_row_is_normal() -> None:
    config = SamplesConfig(normal="fine")
    with pytest.raises(DataError, match="no row has the label 'fine' that normal names, only 'good', 'bad'"):
        normal_samples(read_examples(TABLE, config.reading(), READ_AS), config)


def test_taking_rows() -> None:
    samples = as_samples(rows_of((2, 3)), CONFIG)
    some = samples.take([2, 0])
    assert isinstance(some, Samples)
    assert (len(some), some.shape, some.rows.lengths.tolist()) == (2, (2, 3), [2, 4])
