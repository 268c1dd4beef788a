import io
import zipfile

import numpy as np
import pytest

from harken.config import ExamplesConfig
from harken.data import arrays
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
    wide = {"series": ("x", "y")}  # the columns of another file, which a model was trained on
    other = read(tmp_path, wide, values=np.concatenate(rows), offsets=np.array([0, 4, 4, 6]))
    for table in (padded, flat, other):
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
        ({"X": np.ones((3, 10, 0))}, {}, r"array 'X' is float64 \(3, 10, 0\), and must be numbers"),
        ({"values": np.ones((3, 0)), "offsets": [0, 3]}, {}, "lists hold numbers or vectors of one number or more"),
        ({"X": np.ones((2, 2)), "y": np.ones(2, complex)}, {}, "array 'y' is complex128, and must be numbers, truth"),
        ({"X": np.ones((2, 2)), "y": np.ones((2, 0))}, {}, r"array 'y' is \(2, 0\), and must have 2 rows"),
        ({"X": np.ones((2, 2)), "y": np.zeros(2, [("a", int)])}, {}, "array 'y' is .*'a'.*, and must be numbers"),
        ({"X": np.array([b"\xff", b"a"])}, {}, "array 'X' holds bytes that are not UTF-8"),
    ],
)
def test_arrays_that_do_not_fit(arrays, config, complaint, tmp_path):
    with pytest.raises(DataError, match=complaint):
        read(tmp_path, config, **arrays)


def test_labels_of_many_types(tmp_path):
    for y, labels in (
        (np.array(["a", "é"]), ["a", "é"]),
        (np.array(["é".encode(), b"b"]), ["é", "b"]),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), ["2020-01-01", "2020-01-02"]),
        (np.array([1, 2**63], np.uint64), [1, 2**63]),
        (np.array([0.5, 2], np.longdouble), [0.5, 2.0]),
    ):
        assert read(tmp_path, X=np.ones((2, 2)), y=y).columns.column("label").to_pylist() == labels


def header(shape, descr="<f8", size=16) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(size)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (header((10**14, 1)), r"array 'X' is float64 \(100000000000000, 1\), 800,000,000,000,000 bytes, and the file"),
        (header((1, 1)), r"\(1, 1\), 8 bytes, and the file holds others"),
        (header((-1, -2)), r"and the file holds others"),
        (header((0, 10**30), size=0), "damaged or not an .npz file"),
        (header((2, 1))[:-1], "16 bytes, and the file holds others"),
        (b"text", "damaged or not an .npz file"),
    ],
)
def test_a_header_that_claims_what_is_not_there(content, complaint, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", content)
    with pytest.raises(DataError, match=complaint):
        read_npz(tmp_path / "a.npz", ExamplesConfig())


def test_an_array_that_is_packed_too_tight(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("X.npy", header((2, 1)))
    with pytest.raises(DataError, match=r"write it again with numpy\.savez"):
        read_npz(tmp_path / "a.npz", ExamplesConfig())
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((1000, 100)))
    assert len(read_npz(tmp_path / "a.npz", ExamplesConfig())) == 1000, "as tight as zip files are"
    monkeypatch.setattr(arrays, "_LARGEST", 2**19)
    with pytest.raises(DataError, match="array 'X' has 0 GiB, more than"):
        read_npz(tmp_path / "a.npz", ExamplesConfig())


def test_one_bare_array_of_objects(tmp_path):
    with (tmp_path / "o.npz").open("wb") as file:
        np.save(file, np.array([None, "a"]), allow_pickle=True)
    with pytest.raises(DataError, match=r"it holds one bare array: save it with numpy\.savez"):
        read_npz(tmp_path / "o.npz", ExamplesConfig())


def test_labels_are_not_looked_at_where_none_are_wanted(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones((2, 2)), y=np.ones(2, complex), w=np.array([None, 1]))
    table = read_npz(tmp_path / "a.npz", ExamplesConfig(weight="w"), require_labels=False)
    assert (len(table), table.labels, table.there) == (2, (), ("input",))


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
