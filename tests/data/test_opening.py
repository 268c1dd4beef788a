import gzip
from pathlib import Path

import pytest

from harken.data import opening
from harken.data.opening import as_delimiter, csv_records, read_lines, read_text, suffix, text_blocks
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


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("encoding", [None, "utf-8", "utf-16", "latin-1"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_blocks_of_any_size_are_the_text_with_line_feeds(size, encoding, zipped, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_BLOCK", size)
    text = "é one\r\ntwo\f\u0085 \rthree\n\n" + ("" if encoding == "latin-1" else "\U0001f600\u2028 ") + "last\r"
    content = text.encode(encoding or "utf-8")
    if encoding is None:
        content = b"\xef\xbb\xbf" + content
    path = tmp_path / "a.txt"
    path.write_bytes(gzip.compress(content) if zipped else content)
    blocks = list(text_blocks(path, encoding))
    assert "".join(blocks) == text.replace("\r\n", "\n").replace("\r", "\n")
    assert all(blocks)
    assert read_text(path, encoding) == text


@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize(
    ("content", "encoding", "said"),
    [
        (b"one\r\ntwo\nna\xefve\n", None, r"a.txt, line 3: byte 0xef is not UTF-8; .* utf-8$"),
        (b"one\ntwo \xc3", "utf-8", r"line 2: byte 0xc3 is not UTF-8; .*, or say what it is, such as --encoding lat"),
        (b"one\n\x81", "cp1252", "line 2: byte 0x81 is not cp1252"),
        (b"one\n\0", None, "a.txt is a binary file: give text"),
        ("one".encode("utf-16"), None, "a.txt is UTF-16: save it as UTF-8$"),
        (b"one", "rot13", r"encoding \('rot13'\) is not known"),
        (gzip.compress(b"one\n" * 99, mtime=0)[:-9], None, "a.txt is a damaged gzip file"),  # its bytes name the test
        (b"\x1f\x8bnonsense", None, "a.txt is a damaged gzip file"),
    ],
)
def test_what_blocks_complain_of(content, encoding, said, size, tmp_path, monkeypatch):
    if "UTF-16" in said and size == 1:
        size = 2  # else a byte that is no UTF-8 comes first
    monkeypatch.setattr(opening, "_BLOCK", size)
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises((DataError, ConfigError), match=said):
        list(text_blocks(path, encoding))
    with pytest.raises((DataError, ConfigError), match=said):  # as of the whole text
        read_text(path, encoding)


def test_no_file(tmp_path):
    for read in (read_text, lambda path: list(text_blocks(path))):
        with pytest.raises(DataError, match="is a folder: name a file in it"):
            read(tmp_path)
        with pytest.raises(DataError, match="a does not exist: check the name"):
            read(tmp_path / "a")


def test_records_tell_where_they_begin():
    records = list(csv_records("name", ["a,b\n", '"c\n', 'd",e\n', "\n", 'f,"g"h\n', "i,j\n"], 10, ","))
    assert records[:2] == [(1, ["a", "b"]), (2, ["c\nd", "e"])]
    assert records[2][0] == 5
    assert "not valid CSV" in records[2][1]
    assert records[3] == (6, ["i", "j"])
    with pytest.raises(ConfigError, match="delimiter"):
        next(csv_records("name", [], 0, "=>"))
