import gzip

import numpy as np
import pytest

from harken.config import ExamplesConfig
from harken.data.ragged import Ragged
from harken.data.timeseries import read_ts
from harken.errors import DataError

HEADER = """# a comment
@problemName Toy
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength false
@classLabel true a b

@data
"""
ROWS = "1,2,3:4,5,6:a\n# another\n\n-1.5:1e3:b\n"


def write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(path, text, **options):
    return read_ts(write(path, text), ExamplesConfig(**options))


def series(table):
    return [row.tolist() for row in Ragged.from_arrow(table.columns.column(0))]


@pytest.mark.parametrize("name", ["a.ts", "a.ts.gz"])
def test_channels_steps_and_labels(name, tmp_path):
    table = read(tmp_path / name, HEADER + ROWS)
    assert series(table) == [[[1, 4], [2, 5], [3, 6]], [[-1.5, 1000]]]
    assert table.columns.column("label").to_pylist() == ["a", "b"]
    assert (table.fixed, table.labels, table.task) == ("series", ("label",), None)
    assert table.lines.tolist() == [11, 14]
    assert read(tmp_path / name, HEADER + ROWS, label="who").labels == ("who",)


def test_windows_line_ends_and_capitals(tmp_path):
    text = (
        (HEADER + ROWS).replace("\n", "\r\n").replace("@data", "@DATA").replace("@classLabel true", "@CLASSLABEL True")
    )
    assert len(series(read(tmp_path / "a.ts", text))) == 2


def test_labels_are_numbers_where_all_classes_are(tmp_path):
    text = HEADER.replace("a b", "1 2") + ROWS.replace(":a", ":1").replace(":b", ":?")
    assert read(tmp_path / "a.ts", text).columns.column("label").to_pylist() == [1, None]


@pytest.mark.parametrize(
    ("tag", "rows", "labels", "task"),
    [
        ("@targetlabel true", "1,2:3,4:0.5\n1:2:?\n", [0.5, None], "regress"),
        ("@classLabel false", "1,2:3,4\n1:2\n", None, None),
        ("@targetlabel false", "1,2:3,4\n1:2\n", None, None),
    ],
)
def test_values_or_no_labels(tag, rows, labels, task, tmp_path):
    table = read(tmp_path / "a.ts", HEADER.replace("@classLabel true a b", tag) + rows)
    assert table.task == task
    assert (table.columns.column("label").to_pylist() if table.labels else None) == labels


def test_missing_values_empty_series_and_time_stamps(tmp_path):
    table = read(tmp_path / "a.ts", HEADER.replace("missing false", "missing true") + "1,?,NaN:4,5,6:a\n::b\n")
    np.testing.assert_array_equal(series(table)[0], [[1, 4], [np.nan, 5], [np.nan, 6]])
    assert series(table)[1] == []
    stamped = HEADER.replace("timeStamps false", "timeStamps true") + (
        "(2020-01-01 10:00,1),(2020-01-01 10:05,2) : (0,3),(1,4):a\n(0,1):(0,2):b\n"
    )
    table = read(tmp_path / "b.ts", stamped)
    assert series(table) == [[[1, 3], [2, 4]], [[1, 2]]]
    assert table.described == ("time stamps: left out",)


BAD_ROWS = [  # what the header says instead, the row, the complaint
    ("", "1,2:3:a", r"channel 1 \(counted from 0\) has 1 steps, and channel 0 has 2"),
    ("", "1,2:a", "the row has 1 channels, and the header says @dimensions 2"),
    ("@dimensions 2", "1:2:3:a", "the row has 3 channels, and the first row has 2"),
    ("@univariate false", "1:2:a", "the row has 2 channels, and the header says @univariate true"),
    ("", "1,2:3,4:c", r"the label 'c' is not among those of the header \(@classLabel true a b\)"),
    ("", "1,x:3,4:a", r"channel 0 \(counted from 0\): could not convert string to float: 'x'"),
    ("", "1,NaN:3,4:a", "a value is missing, and the header says @missing false"),
    ("", "1,2", "the row has no label"),
    ("@equalLength false", "1:2:a", "the row has 1 steps, the first row 3, and the header says @equalLength true"),
]


@pytest.mark.parametrize(("tag", "row", "complaint"), BAD_ROWS)
def test_rows_that_contradict_the_header_are_named_or_skipped(tag, row, complaint, tmp_path):
    header = HEADER.replace(tag + "\n", "" if tag.startswith("@dim") else tag.replace("false", "true") + "\n")
    good = "1,2,3:4,5,6:a\n"
    if tag == "@univariate false":
        header, good = header.replace("@dimensions 2\n", ""), "1,2,3:a\n"
    text = header + good + row + "\n"
    with pytest.raises(DataError, match=rf"a\.ts, line {len(text.splitlines())}: {complaint}"):
        read(tmp_path / "a.ts", text)
    table = read(tmp_path / "a.ts", text, skip_bad_rows=True)
    assert (len(table), table.skipped) == (1, 1)


def test_a_length_that_the_header_states(tmp_path):
    text = HEADER.replace("@equalLength false", "@equalLength true\n@seriesLength 4") + "1,2,3:4,5,6:a\n"
    with pytest.raises(DataError, match="the row has 3 steps, and the header says @seriesLength 4"):
        read(tmp_path / "a.ts", text)


def test_a_value_that_is_no_number(tmp_path):
    with pytest.raises(DataError, match="line 11: the value 'much' is not a number"):
        read(tmp_path / "a.ts", HEADER.replace("@classLabel true a b", "@targetlabel true") + "1:2:much\n")


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (HEADER.replace("@data\n", ""), "no line @data|every line before @data"),
        (HEADER.replace("@classLabel true a b\n", ""), "neither @classLabel nor @targetLabel"),
        (HEADER.replace("univariate false", "univariate maybe"), "line 5: '@univariate maybe' cannot be read: true or"),
        (HEADER.replace("dimensions 2", "dimensions two"), "line 6: '@dimensions two' cannot be read"),
        (HEADER.replace("@missing", "missing"), "line 4: .* every line before @data must begin with @ or #"),
    ],
)
def test_headers_that_cannot_be_read(header, complaint, tmp_path):
    with pytest.raises(DataError, match=complaint):
        read(tmp_path / "a.ts", header + ROWS)


def test_no_rows(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        read(tmp_path / "a.ts", HEADER)


@pytest.mark.parametrize(
    ("name", "rows", "channels", "lengths", "classes"),
    [
        ("ItalyPowerDemand_TRAIN", 67, 1, {24}, {1, 2}),
        ("BasicMotions_TEST", 40, 6, {100}, {"Standing", "Running", "Walking", "Badminton"}),
        ("JapaneseVowels_TRAIN", 270, 12, set(range(7, 27)), set(range(1, 10))),
        ("ECG5000_TRAIN", 500, 1, {140}, set(range(1, 6))),
    ],
)
def test_real_files(name, rows, channels, lengths, classes, real_files):
    table = read_ts(real_files / "ucr" / f"{name}.ts.gz", ExamplesConfig())
    found = Ragged.from_arrow(table.columns.column(0))
    assert (len(table), found.values.shape[1]) == (rows, channels)
    assert set(found.lengths.tolist()) <= lengths
    assert set(table.columns.column("label").to_pylist()) == classes
