import gzip
from pathlib import Path

import pytest

from harken.data.opening import as_delimiter, csv_records, read_lines, read_text, suffix
from harken.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("name", "kind"), [("a.csv", ".csv"), ("A.TSV.GZ", ".tsv"), ("a.b.ts", ".ts"), ("a", ""), ("a.gz", "")]
)
def test_the_suffix_decides(name, kind):
    assert suffix(Path(name)) == kind


def test_delimiters_as_shells_hand_them_over():
    assert (as_delimiter(None, ","), as_delimiter("\\t", ","), as_delimiter("=>", ",")) == (",", "\t", "=>")


@pytest.mark.parametrize("encoding", [None, "utf-8", "utf-16", "latin-1"])
def test_lines_and_text_are_the_same_text(encoding, tmp_path):
    text = "é one\r\ntwo\f\u0085 \rthree\n\nlast"
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(text.encode(encoding or "utf-8")))
    lines, size = read_lines(path, encoding)
    assert read_text(path, encoding) == text
    assert list(lines) == ["é one\r\n", "two\f\u0085 \r", "three\n", "\n", "last"]
    assert size == len(text.encode(encoding or "utf-8"))


def test_a_byte_that_is_no_text_is_named_when_its_line_is_reached(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"x\n" * 100_000 + b"na\xefve\n")
    lines, _ = read_lines(path)
    assert next(lines) == "x\n"
    with pytest.raises(DataError, match=r"line 100001: byte 0xef is not UTF-8; .* utf-8$"):
        list(lines)


def test_records_tell_where_they_begin():
    records = list(csv_records("name", ["a,b\n", '"c\n', 'd",e\n', "\n", 'f,"g"h\n', "i,j\n"], 10, ","))
    assert records[:2] == [(1, ["a", "b"]), (2, ["c\nd", "e"])]
    assert records[2][0] == 5
    assert "not valid CSV" in records[2][1]
    assert records[3] == (6, ["i", "j"])
    with pytest.raises(ConfigError, match="delimiter"):
        next(csv_records("name", [], 0, "=>"))
