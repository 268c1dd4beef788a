import numpy as np
import pytest

from harken.config import ExamplesConfig
from harken.data.arrays import read_npz
from harken.data.ragged import Ragged
from harken.errors import DataError

RNG = np.random.default_rng(0)


def read(path, /, config=None, **arrays):
    np.savez(path / "a.npz", **arrays)
    return read_npz(path / "a.npz", ExamplesConfig(**config or {}))


def series(table):
    return [row.numpy() for row in Ragged.from_arrow(table.columns.column(0))]


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (3, 0), (3, 0, 2)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, bool])
def test_series_of_one_length(shape, dtype, tmp_path):
    X = RNG.normal(size=shape).astype(dtype)
    table = read(tmp_path, X=X, y=np.array(["a", "b", "a"]))
    np.testing.assert_array_equal(series(table), X.astype(np.float32))
    assert table.columns.column("label").to_pylist() == ["a", "b", "a"]
    assert (table.fixed, table.labels) == ("series", ("label",))


@pytest.mark.parametrize("channels", [(), (2,)])
def test_series_of_unequal_lengths(channels, tmp_path):
    X = RNG.normal(size=(3, 4, *channels)).astype(np.float32)
    lengths = np.array([4, 0, 2])
    rows = [row[:length] for row, length in zip(X, lengths, strict=True)]
    padded = read(tmp_path, X=X, lengths=lengths)
    flat = read(tmp_path, values=np.concatenate(rows), offsets=np.array([0, 4, 4, 6]), y=[1, 2, 3])
    for table in (padded, flat):
        for found, row in zip(series(table), rows, strict=True):
            np.testing.assert_array_equal(found, row)
    assert (padded.labels, flat.labels) == ((), ("label",))


def test_ids_texts_and_several_labels(tmp_path):
    table = read(tmp_path, {"input": "ids"}, X=np.array([[1, 2], [3, 4]]), y=[[0, 1], [1, 1]])
    assert str(series(table)[0].dtype) == "int64"
    assert table.columns.column("label").to_pylist() == [[0, 1], [1, 1]]
    assert table.fixed == "ids"
    table = read(tmp_path, x=np.array(["a b", "c"]), labels=[True, False])
    assert (table.columns.column(0).to_pylist(), table.fixed) == (["a b", "c"], "text")
    assert table.columns.column("label").to_pylist() == [True, False]


def test_arrays_by_name(tmp_path):
    arrays = {"data": np.ones((2, 3)), "who": [1, 2], "where": [3, 4], "much": [0.5, 1.0], "name": ["p", "q"]}
    config = {"series": "data", "label": ("who", "where"), "weight": "much", "key": "name"}
    table = read(tmp_path, config, **arrays)
    assert table.labels == ("who", "where")
    assert table.columns.column("much").to_pylist() == [0.5, 1.0]
    assert table.columns.column("name").to_pylist() == ["p", "q"]


def test_labels_have_the_name_that_another_file_gave_them(tmp_path):
    table = read(tmp_path, {"series": ("t0", "t1"), "label": "class"}, X=np.ones((2, 3)), y=[1, 2])
    assert table.labels == ("class",)


@pytest.mark.parametrize(
    ("arrays", "config", "complaint"),
    [
        (
            {"X": np.array([np.ones(2), np.ones(3)], dtype=object)},
            {},
            "array 'X' holds Python objects, which are never",
        ),
        ({"X": np.ones((1, 2)), "y": np.array([None])}, {}, "array 'y' holds Python objects"),
        ({"data": np.ones((2, 2))}, {}, "no array 'X' or 'x', nor values and offsets: --series names"),
        ({"X": np.ones((2, 2))}, {"series": "data"}, "no array 'data': --series"),
        ({"X": np.ones(3)}, {}, r"array 'X' is float64 \(3,\), and must be numbers \(rows, steps\)"),
        ({"X": np.ones((2, 2), complex)}, {}, "array 'X' is complex128"),
        ({"X": np.ones((2, 3)), "lengths": [1, 4]}, {}, "lengths must be 2 whole numbers from 0 to 3"),
        ({"X": np.ones((2, 3)), "lengths": [1.0, 2.0]}, {}, "lengths must be 2 whole numbers"),
        ({"X": np.ones((2, 3)), "y": [1, 2, 3]}, {}, r"array 'y' is \(3,\), and must have 2 rows"),
        ({"values": np.ones(3), "offsets": [0, 4]}, {}, "offsets must start at 0 or later, never fall, and end at 3"),
        ({"values": np.ones((3, 1, 1)), "offsets": [0, 3]}, {}, "and must be numbers"),
        ({"X": np.ones((0, 2))}, {}, "is empty"),
    ],
)
def test_arrays_that_do_not_fit(arrays, config, complaint, tmp_path):
    with pytest.raises(DataError, match=complaint):
        read(tmp_path, config, **arrays)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 damaged", "npy"])
def test_files_that_are_none(content, tmp_path):
    path = tmp_path / "a.npz"
    if content == "npy":
        with path.open("wb") as file:
            np.save(file, np.ones((2, 2)))
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged or not an \.npz file"):
        read_npz(path, ExamplesConfig())


def test_damaged_arrays(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", X=RNG.normal(size=(50, 20)), y=np.arange(50))
    whole = (tmp_path / "a.npz").read_bytes()
    for place in range(60, len(whole) - 300, 211):
        (tmp_path / "a.npz").write_bytes(whole[:place] + bytes(9) + whole[place + 9 :])
        with pytest.raises(DataError, match=r"a\.npz"):
            read_npz(tmp_path / "a.npz", ExamplesConfig())


def test_a_real_file(real_files):
    table = read_npz(real_files / "ucr" / "ECG5000_TEST_4499of4500.npz", ExamplesConfig())
    assert len(table) == 4499
    assert {len(row) for row in series(table)} == {140}
    assert set(table.columns.column("label").to_pylist()) == {1, 2, 3, 4, 5}
