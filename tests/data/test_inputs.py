import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harken.config import ExamplesConfig
from harken.data.examples import read_examples
from harken.data.inputs import Inputs, as_inputs, kind_of_lists, sample_of
from harken.data.ragged import Ragged
from harken.errors import DataError, UsageError

TEXTS = ["A rose. Is it?", "", "a rose"]
SENTENCES = [["a rose .", "it is"], [], ["a"]]
NUMBERS = [[5, 6, 7], [], [8]]
FLOATS = [[0.5, 6.0], [], [8.0]]


def made(X, task="classify", **options) -> Inputs:
    return as_inputs(X, ExamplesConfig(**options), task)


def listed(inputs: Inputs) -> list:
    return [row.tolist() for row in inputs.rows] if isinstance(inputs.rows, Ragged) else inputs.rows


def columns(rows, arrow_type=None) -> list:
    """One column in everything that may hold it."""
    table = pa.table({"x": pa.array(rows, arrow_type)})
    frames = [table, table.to_pandas(), pl.DataFrame({"x": rows})]
    return [rows, tuple(rows), table["x"], table["x"].chunk(0), pd.Series(rows), pl.Series(rows), *frames]


@pytest.mark.parametrize("X", [*columns(TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object)], ids=type)
def test_texts(X):
    assert made(X).kind == "text"
    assert listed(made(X)) == TEXTS
    assert listed(made(X, task="tag")) == [["A", "rose.", "Is", "it?"], [], ["a", "rose"]]
    assert listed(made(X, input="sentences")) == [["A rose.", "Is it?"], [], ["a rose"]]


@pytest.mark.parametrize("X", columns(SENTENCES), ids=type)
def test_lists_of_texts(X):
    for task, options, kind in (
        ("classify", {}, "sentences"),
        ("tag", {}, "words"),
        ("regress", {"input": "words"}, "words"),
    ):
        assert made(X, task, **options).kind == kind
        assert listed(made(X, task, **options)) == SENTENCES
        assert made(X, task, **options).lengths.tolist() == [2, 0, 1]


@pytest.mark.parametrize("X", columns([["dogs", "bark"], ["cats", "meow", "loud"]]), ids=type)
def test_lists_of_words(X):
    assert made(X).kind == made(X, "regress").kind == made(X, "tag").kind == "words"


@pytest.mark.parametrize(
    "rows", [[["New York", "is", "big"]], [["it is", "so"]], [["a b"]], [["a"]], [["", "a b"]], [[""]]]
)
def test_lists_of_texts_are_the_same_from_python_and_from_a_file(rows):
    columns = {"x": rows * 2, "label": ["a", "b"]}
    read = read_examples(columns, ExamplesConfig(label="label"), "classify").inputs
    named = read_examples(columns, ExamplesConfig(label="label", text="x"), "classify").inputs
    assert made(rows * 2).kind == read.kind == named.kind
    assert kind_of_lists(rows, "classify") == read.kind


def test_a_kind_is_told_from_rows_everywhere():
    rows = [["word"]] * 3000 + [["a sentence it is"]] * 6000
    assert made(rows).kind == read_examples({"x": rows, "label": ["a", "b"] * 4500}).inputs.kind == "sentences"
    assert sample_of(3) == [0, 1, 2]
    assert (len(sample_of(9000)), sample_of(9000)[0], sample_of(9000)[-1]) == (2000, 0, 8999)


@pytest.mark.parametrize("X", [*columns(NUMBERS), Ragged.from_lists(NUMBERS, torch.int32)], ids=type)
def test_ids(X):
    assert made(X).kind == "ids"
    assert made(X).rows.values.dtype == torch.int64
    assert listed(made(X)) == NUMBERS
    series = made(X, input="series")
    assert series.rows.values.dtype == torch.float32
    assert listed(series) == [[[step] for step in row] for row in NUMBERS]


def test_bytes_are_ids():
    assert listed(made([b"ab", b""])) == [[97, 98], []]


@pytest.mark.parametrize("X", [*columns(FLOATS), [np.array(row) for row in FLOATS]], ids=type)
def test_series_of_one_channel(X):
    assert made(X).kind == "series"
    assert listed(made(X)) == [[[step] for step in row] for row in FLOATS]


STEPS = [[[1.0, 2.0], [3.0, 4.0]], [], [[5.0, 6.0]]]


@pytest.mark.parametrize(
    "X",
    [
        *columns(STEPS),
        pa.array(STEPS, pa.list_(pa.list_(pa.float64(), 2))),
        [np.array(STEPS[0]), np.zeros((0, 2)), torch.tensor(STEPS[2])],
        Ragged(torch.arange(1.0, 7).double().view(3, 2), torch.tensor([0, 2, 2, 3])),
    ],
    ids=type,
)
def test_series_of_several_channels(X):
    assert made(X).kind == "series"
    assert made(X).rows.values.dtype == torch.float32
    assert listed(made(X)) == STEPS
    assert made(X, input="vectors").kind == made(X, vectors="column").kind == "vectors"


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.float16, np.uint8])
def test_arrays_are_series(dtype):
    array = np.arange(12).astype(dtype)
    for X in (array.reshape(3, 4), torch.from_numpy(array.reshape(3, 4)), pd.DataFrame(array.reshape(3, 4))):
        assert made(X).kind == "series"
        assert listed(made(X)) == array.reshape(3, 4, 1).tolist()
    assert listed(made(array.reshape(2, 3, 2))) == array.reshape(2, 3, 2).tolist()
    assert listed(made(pl.DataFrame({"a": [1, 2], "b": [3, 4]}))) == [[[1], [3]], [[2], [4]]]


def test_an_array_of_ids():
    assert listed(made(np.arange(4).reshape(2, 2), input="ids")) == [[0, 1], [2, 3]]


def test_inputs_come_back_as_they_are():
    inputs = made(TEXTS)
    assert made(inputs, input="series") is inputs


@pytest.mark.parametrize("kind", ["text", "sentences", "words", "ids", "series", "vectors"])
def test_no_rows(kind):
    inputs = made([], input=kind)
    assert (inputs.kind, len(inputs), listed(inputs)) == (kind, 0, [])


def test_white_space_around_texts():
    assert listed(made([" a \n"])) == ["a"]
    assert listed(made([" a \n"], strip=False)) == [" a \n"]
    assert listed(made([[" a ", "b"]])) == [["a", "b"]]
    assert listed(made([[" a "]], strip=False)) == [[" a "]]


def test_only_the_start_of_a_row():
    assert listed(made(NUMBERS, truncate=2)) == [[5, 6], [], [8]]
    assert listed(made(SENTENCES, truncate=1)) == [["a rose ."], [], ["a"]]
    assert listed(made(["a b c"], "tag", truncate=2)) == [["a", "b"]]
    assert listed(made(np.ones((1, 3)), truncate=1)) == [[[1]]]
    assert listed(made([[1.0, math.nan]], truncate=1)) == [[[1]]]  # what is not read may be anything
    assert made(["a b c"], truncate=2).truncate == 2  # its steps are not known yet


def test_a_row_of_any_length_where_only_its_start_is_read():
    assert made(["a" * 11], max_characters=10, truncate=3).rows == ["a" * 11]
    assert made([["a" * 11, "b"]], max_characters=10, truncate=1).rows == [["a" * 11]]


def test_missing_values():
    rows = [[1.0, math.nan], [math.nan, 3.0]]
    assert listed(made(rows, missing="linear")) == [[[1], [1]], [[3], [3]]]
    assert made(rows, missing="carry").rows.values.isnan().flatten().tolist() == [False, False, True, False]
    assert made(pa.array([[1, None]]), missing="carry").rows.values.tolist() == [[1], [1]]


def test_names_of_channels():
    config = ExamplesConfig()
    assert as_inputs([[[1.0, 2.0]]], config, "classify", ["x", "y"]).channels == ("x", "y")
    with pytest.raises(DataError, match="row 0, step 0, channel 'y' holds NaN"):
        as_inputs([[[1.0, math.nan]]], config, "classify", ["x", "y"])
    with pytest.raises(DataError, match="1 names for 2 channels"):
        as_inputs([[[1.0, 2.0]]], config, "classify", ["x"])


@pytest.mark.parametrize(
    ("X", "options", "complaint"),
    [
        ([1, 2], {}, r"row 0 is int \(1\)"),
        ([1, 2], {"input": "text"}, r"row 0 is int \(1\): input=text needs a text"),
        (["a", 2], {}, r"row 1 is int \(2\): input=text"),
        (["a", None], {}, r"row 1 is NoneType \(None\)"),
        (["a", math.nan], {}, r"row 1 is float \(nan\)"),
        (["a", ["b"]], {}, r"row 1 is list \(\['b'\]\): input=text needs a text"),
        ([["a"], ["b", 3]], {}, r"row 1 holds int \(3\): input=words needs a text or a list of words"),
        ([["a"], 3], {"input": "words"}, r"row 1 is int \(3\)"),
        ([["a"]], {"input": "series"}, "row 0, step 0 holds 'a', which is no number"),
        (["a"], {"input": "ids"}, r"row 0 is str \('a'\)"),
        ([[0.5]], {"input": "ids"}, "input=ids needs whole numbers"),
        ([[[1, 2]]], {"input": "ids"}, "input=ids needs whole numbers"),
        (np.ones((2, 2)), {"input": "text"}, "X holds numbers, and input=text needs texts"),
        (np.ones(3), {}, r"Reshape your data to .*the array is \(3,\)"),
        (np.ones((1, 1, 1, 1)), {}, "shape"),
        (np.ones((3, 10, 0)), {}, "every step must have one value or more"),
        (Ragged(torch.ones(2, 2, 2), torch.tensor([0, 2])), {}, "input=series needs numbers, or vectors"),
        ([[1.0, math.nan]], {}, "row 0, step 1, channel 0 holds NaN: say --missing carry"),
        ([[1.0, math.inf]], {"missing": "mean"}, "row 0, step 1, channel 0 holds inf"),
        ([[1.0], [1e300]], {}, "row 1, step 0, channel 0 holds inf, or a number too large"),
        ([[[1.0, 2.0]], [[1.0]]], {}, "row 1 has 1 channels where row 0 has 2"),
        (["a", "b" * 11], {"max_characters": 10}, "row 1 has 11 characters, more than max_characters"),
        ([["a" * 6, "b" * 5]], {"max_characters": 10}, "row 0 has 11 characters"),
        ([[1], [1, 2, 3]], {"max_steps": 2}, r"row 1 has 3 steps, more than max_steps \(2\)"),
        ([["a"], ["b"] * 3], {"max_steps": 2}, r"row 1 has 3 steps"),
        (pd.DataFrame({"a": ["x"], "b": [1]}), {}, r"X has 2 columns \(a, b\), not all of numbers"),
    ],
    ids=str,
)
def test_rows_that_do_not_fit(X, options, complaint):
    with pytest.raises(DataError, match=complaint):
        made(X, **options)


@pytest.mark.parametrize("X", ["a text", b"ab", {"a": 1}, 5, None, (row for row in TEXTS)])
def test_what_holds_no_rows(X):
    with pytest.raises(UsageError, match="must be a list, array or column of rows"):
        made(X)


def test_a_sparse_matrix():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(UsageError, match="sparse input is not supported"):
        made(sparse.csr_matrix([[0, 1]]))


@pytest.mark.parametrize("kind", ["text", "sentences"])
def test_tagging_needs_steps(kind):
    with pytest.raises(DataError, match=f"input={kind}"):
        made(["a"], "tag", input=kind)


@pytest.mark.parametrize("kind", ["image", "audio", "spectrogram"])
def test_nothing_in_a_file_of_its_own_has_tags(kind):
    with pytest.raises(DataError, match=f"input={kind} has no tags for: say task=classify or regress"):
        made(["nowhere"], "tag", input=kind)


def test_paths_are_pictures_recordings_or_spectrograms(tmp_path):
    Image.new("RGB", (3, 3), "red").save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.ones((4, 5)))
    pictures, frames = made([tmp_path / "a.png"], image_size=2), made([tmp_path / "a.npy"])
    assert (pictures.kind, tuple(pictures.rows.values.shape)) == ("image", (2, 2, 3))
    assert (frames.kind, tuple(frames.rows.values.shape)) == ("spectrogram", (5, 4))
    assert made([str(tmp_path / "a.png")]).kind == "text", "what a text names is read only if somebody says so"
    for X in ([tmp_path / "a.png", tmp_path / "a.npy"], [tmp_path / "a"], [tmp_path / "a.png", "a text"]):
        with pytest.raises(DataError, match="X holds paths, and not all rows are paths of pictures"):
            made(X)


def test_arrays_of_pictures_are_told_how_to_be_read():
    with pytest.raises(DataError, match=r"the array is \(2, 4, 4, 3\); if its rows are pictures, say input=image"):
        made(np.ones((2, 4, 4, 3)))
    with pytest.raises(DataError, match=r"row 0 is an array of shape .* unless they are pictures \(input=image\)"):
        made([np.ones((4, 4, 3))])
    assert made(np.ones((2, 4, 5, 3)), input="image", image_size=4).lengths.tolist() == [4, 4]


def test_spectrograms_have_steps_that_are_cut_filled_and_counted():
    frames = [[[1.0, 2.0], [math.nan, 4.0]], [[5.0, 6.0]]]
    found = made(frames, input="spectrogram", missing="carry", truncate=2)
    assert listed(found) == [[[1, 2], [1, 4]], [[5, 6]]]
    assert listed(made(frames, input="spectrogram", truncate=1)) == [[[1, 2]], [[5, 6]]]
    with pytest.raises(DataError, match="max_steps"):
        made(frames, input="spectrogram", missing="carry", max_steps=1)
    with pytest.raises(DataError, match="single numbers, and input=spectrogram needs two frequencies"):
        made([[[1.0], [2.0]]], input="spectrogram")


def test_recordings_at_another_rate_have_another_fingerprint():
    rows = Ragged(torch.zeros(4), torch.tensor([0, 4]))
    slow, fast = (Inputs("audio", rows, rate=rate) for rate in (8000, 16000))
    assert slow.fingerprint() != fast.fingerprint()
    assert slow.take([0]).rate == 8000


ALL = [TEXTS, SENTENCES, NUMBERS, FLOATS, STEPS]


@pytest.mark.parametrize("X", ALL)
def test_taking_rows(X):
    inputs = made(X, truncate=3)
    for indices in (torch.tensor([2, 0, 2]), np.array([2, 0, 2]), [2, 0, 2]):
        taken = inputs.take(indices)
        assert listed(taken) == [listed(inputs)[i] for i in (2, 0, 2)]
        assert (taken.kind, taken.truncate, taken.max_steps) == (inputs.kind, 3, inputs.max_steps)
    assert len(inputs.take([])) == 0


@pytest.mark.parametrize("X", ALL)
def test_keys_and_fingerprints(X):
    inputs, again = made(X), made(X)
    assert inputs.fingerprint() == again.fingerprint()
    assert inputs.fingerprint() != inputs.take([1, 0, 2]).fingerprint()
    assert inputs.fingerprint() != inputs.take([0, 1]).fingerprint()
    keys = inputs.take([0, 1, 0, 2]).keys()
    assert all(isinstance(key, str) for key in keys)
    assert keys[0] == keys[2]
    assert len(set(keys)) == 3


@given(st.lists(st.lists(st.text("ab\n", max_size=2), max_size=3), min_size=2, max_size=2))
def test_different_rows_have_different_keys(rows):
    one, other = Inputs("words", rows).keys()
    assert (one == other) == (rows[0] == rows[1])


def test_other_kinds_of_the_same_rows_have_other_fingerprints():
    prints = {Inputs(kind, [["a"]]).fingerprint() for kind in ("words", "sentences")}
    prints |= {made(NUMBERS, input=kind).fingerprint() for kind in ("ids", "series", "vectors")}
    assert len(prints) == 5
