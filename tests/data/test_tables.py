import gzip
import json

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harken.config import ExamplesConfig
from harken.data import tables
from harken.data.tables import read_table
from harken.errors import ConfigError, DataError, UsageError

COLUMNS = {"text": ["a, b", 'say "c"', ""], "label": ["x", "y", "x"]}


def write(path, content: str | bytes):
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path, wanted=None, **options):
    return read_table(path, ExamplesConfig(**options), wanted)


def cells(table):
    return table.columns.to_pydict()


def text_of(kind: str) -> str:
    if kind in ("csv", "tsv"):
        return pd.DataFrame(COLUMNS).to_csv(index=False, sep="," if kind == "csv" else "\t")
    return "\n\n".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in zip(*COLUMNS.values(), strict=True))


@pytest.mark.parametrize("wrap", [str, lambda path: path])
@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.b.csv.gz", "a.tsv", "a.jsonl", "a.ndjson.gz", "a.parquet"])
def test_the_same_columns_from_every_kind_of_file(name, wrap, tmp_path):
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.table(COLUMNS), path)
    else:
        write(path, text_of(name.lower().removesuffix(".gz").rpartition(".")[2]))
    table = read(wrap(path))
    assert cells(table) == COLUMNS
    assert table.there == ("text", "label")
    assert table.numbers.tolist() == [0, 1, 2]
    assert table.written == (name not in ("a.jsonl", "a.ndjson.gz", "a.parquet"))
    assert table.lines is None or table.lines.tolist() == ([1, 3, 5] if "json" in name else [2, 3, 4])
    wanted = read(wrap(path), {"label"})
    assert list(cells(wanted)) == ["label"]
    assert wanted.there == ("text", "label")


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_the_same_columns_from_every_kind_of_table(make):
    assert cells(read(make(COLUMNS))) == COLUMNS


def test_a_table_that_is_read_is_not_read_again():
    table = read(COLUMNS)
    assert read(table) is table


def test_what_is_no_table():
    with pytest.raises(UsageError, match=r"an? int is neither"):
        read(3)
    with pytest.raises(DataError, match="is empty: it has no rows"):
        read({"text": []})


@pytest.mark.parametrize("block", [1, 2, 20_000])
def test_many_blocks_are_one_column(block, monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "_BLOCK", block)
    path = write(tmp_path / "a.csv", "n,m\n" + "".join(f"{n},{n * n}\n" for n in range(5)))
    assert cells(read(path)) == {"n": list("01234"), "m": ["0", "1", "4", "9", "16"]}


def test_a_header_is_optional(tmp_path):
    path = write(tmp_path / "a.tsv", "good\t1\nbad\t0\n")
    assert cells(read(path, header=False)) == {"1": ["good", "bad"], "2": ["1", "0"]}
    assert cells(read(path)) == {"good": ["bad"], "1": ["0"]}


@pytest.mark.parametrize("first", ["1\t0.5\t2.5", "3\t\t-1e5", "nan\t1\t2", "2019\t2020\t2021"])
def test_a_header_of_numbers_is_a_row(first, tmp_path):
    path = write(tmp_path / "a.tsv", f"{first}\n2\t1.5\t3.5\n")
    with pytest.raises(
        DataError, match=r"a\.tsv, line 1: the header names its columns .*, all of them numbers: say --no-h"
    ):
        read(path, {"1"}, label="1")
    assert len(read(path, header=False)) == 2
    assert len(read(path, series=first.split("\t"))) == 1, "a model knows the columns by these names"


@pytest.mark.parametrize("first", ["0\t1\t2", "1\t2\t3", "\t0\t1", "a\t1\t0.5"])
def test_a_header_that_counts_the_columns_is_one(first, tmp_path):
    path = write(tmp_path / "a.tsv", f"{first}\n2\t1.5\t3.5\n")
    assert read(path).there == tuple(first.split("\t"))


def test_lines_of_text_have_no_header_of_numbers(tmp_path):
    assert read(write(tmp_path / "a.txt", "one\ntwo\n"), text="7").there == ("7",)


def test_delimiters_and_encodings(tmp_path):
    path = write(tmp_path / "a.csv", "text;label\ncafé;x\n".encode("latin-1"))
    assert cells(read(path, delimiter=";", encoding="latin-1")) == {"text": ["café"], "label": ["x"]}
    with pytest.raises(DataError, match=r"line 2: byte 0xe9 is not UTF-8.*iconv.*--encoding latin-1"):
        read(path, delimiter=";")
    with pytest.raises(DataError, match="byte 0xe9 is not ascii"):
        read(path, encoding="ascii")
    with pytest.raises(ConfigError, match="encoding \\('utf8mb4'\\) is not known"):
        read(path, encoding="utf8mb4")
    with pytest.raises(ConfigError, match="encoding"):
        read(path, encoding="base64")
    wide = write(tmp_path / "b.csv", "text,label\ncafé,x\n".encode("utf-16"))
    assert cells(read(wide, encoding="utf-16")) == {"text": ["café"], "label": ["x"]}
    with pytest.raises(DataError, match="UTF-16: save it as UTF-8 or say --encoding utf-16"):
        read(wide)


def test_windows_files(tmp_path):
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbf" + text_of("csv").replace("\n", "\r\n").encode())
    assert cells(read(path)) == COLUMNS


@pytest.mark.parametrize(
    ("name", "content", "complaint", "left"),
    [
        ("a.csv", "a,b\n1,2\n\n3\n4,5\n", "line 4: the row has 1 cells, and the header has 2", [0, 2]),
        ("a.csv", "a;b\n1\n3,0;2\n4", 'the header has 1: say --delimiter ";" if that separates columns', [0, 2]),
        ("a.csv", 'a,b\n"1\n",2\n3,"4"5\n6,7\n', "line 4: not valid CSV", [0, 2]),
        ("a.txt", "1\t2\n3\n\n4\t5", "line 2: the row has 1 cells, and the first row has 2", [0, 2]),
        ("a.jsonl", '{"a": 1}\n{\n{"a": 2}\n', "line 2: not valid JSON", [0, 2]),
        ("a.jsonl", '{"a": 1}\n[1]\n', "line 2: not a JSON object", [0]),
        ("a.jsonl", '{"a": "x"}\n{"a": "\\ud800"}\n', "line 2: .* surrogate", [0]),
        ("a.jsonl", '{"a": "x"}\n' + "[" * 100_000 + "\n", "line 2: not valid JSON", [0]),
    ],
)
def test_bad_rows_are_named_or_skipped(name, content, complaint, left, tmp_path):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=complaint) as error:
        read(path)
    assert str(error.value).startswith(str(path))
    table = read(path, skip_bad_rows=True)
    assert (table.numbers.tolist(), table.skipped) == (left, 1)


@pytest.mark.parametrize("skip", [False, True])
def test_an_open_quote_is_never_skipped_with_all_that_follows(skip, tmp_path):
    path = write(tmp_path / "a.csv", 'a,b\n1,2\n3,"4\n5,6\n')
    with pytest.raises(DataError, match="line 3: a quote that is opened in this row is not closed"):
        read(path, skip_bad_rows=skip)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_empty_files_and_files_of_bad_rows(name, tmp_path):
    with pytest.raises(DataError, match="is empty"):
        read(write(tmp_path / name, ""))
    bad = {"a.csv": "a,b\n1\n2\n", "a.jsonl": "{\n[\n", "a.txt": ""}[name]
    with pytest.raises(DataError, match="all 2 of them are bad, such as line" if bad else "is empty"):
        read(write(tmp_path / name, bad), skip_bad_rows=True)


def test_a_header_alone_is_an_empty_file(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        read(write(tmp_path / "a.csv", "text,label\n"))


def test_text_lines_without_a_delimiter_are_texts(tmp_path):
    path = write(tmp_path / "a.txt", "one\r\n\r\n two, 2\f\n")
    assert cells(read(path)) == {"text": ["one", "", " two, 2\f"]}
    assert cells(read(path, text="review")) == {"review": ["one", "", " two, 2\f"]}
    assert cells(read(path, delimiter=", ", skip_bad_rows=True)) == {"text": ["one", "", " two, 2\f"]}
    assert cells(read(write(tmp_path / "b.txt", "a => x\nb => y\n"), delimiter=" => ")) == {
        "1": ["a", "b"],
        "2": ["x", "y"],
    }


def test_json_columns_may_come_late_and_mix_scalars(tmp_path):
    lines = ['{"a": 1}', '{"b": ["x"], "a": "2"}', '{"a": true}', '{"a": 1.5, "c": [1, 2.5]}', '{"c": null}']
    table = read(write(tmp_path / "a.jsonl", "\n".join(lines)))
    assert cells(table) == {
        "a": ["1", "2", "true", "1.5", None],
        "b": [None, ["x"], None, None, None],
        "c": [None, None, None, [1.0, 2.5], None],
    }
    assert table.there == ("a", "b", "c")


@pytest.mark.parametrize("bad", ['"x"', "[[1]]", '["a"]', str(2**80)])
def test_a_json_column_of_several_kinds_says_so_where_it_is_wanted(bad, tmp_path):
    table = read(write(tmp_path / "a.jsonl", f'{{"a": [1], "b": 1}}\n{{"a": [2], "b": 2}}\n{{"a": {bad}, "b": 3}}\n'))
    assert table.column("b", "label").to_pylist() == [1, 2, 3]
    with pytest.raises(DataError, match="column 'a' cannot be read: line 3 has a value of another kind"):
        table.column("a", "series")


def test_parquet_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="not a Parquet file"):
        read(write(tmp_path / "a.parquet", "text,label"))


def test_texts_that_are_no_text():
    cells = pa.chunked_array([pa.array([b"caf\xe9"]).view(pa.string())])
    with pytest.raises(DataError, match=r"the table is damaged: .*UTF8"):
        read(pa.table({"text": cells}))


def test_long_cells_and_many_columns(tmp_path):
    path = write(tmp_path / "a.csv", "a,b\n" + "x" * 300_000 + ",y\n")
    assert len(cells(read(path))["a"][0]) == 300_000
    path = write(tmp_path / "b.csv", ",".join(map(str, range(3000))) + "\n" + ",".join("1" * 3000) + "\n")
    assert len(read(path).there) == 3000
