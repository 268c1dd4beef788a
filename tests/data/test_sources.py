import gzip
import json
import re

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harken.config import DataConfig
from harken.data.sources import Pairs, read_pairs
from harken.errors import ConfigError, DataError, UsageError

COLUMNS = {
    "id": [7, 8, 9],
    "source": [" 27 sept 1994 ", "", "naïve, “1/2/03”\u2028"],
    "target": ["1994-09-27", "nothing ", "007"],
}
EXPECTED = Pairs(COLUMNS["source"], COLUMNS["target"], None, [0, 1, 2], 0)


def write(path, content: str | bytes):
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def text_of(kind: str) -> str:
    if kind in ("csv", "tsv"):
        return pd.DataFrame(COLUMNS).to_csv(index=False, sep="," if kind == "csv" else "\t")
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
    if kind in ("jsonl", "ndjson"):
        return "\n\n".join(json.dumps(row) for row in rows)
    return "".join(f"{row['source']}\t{row['target']}\n" for row in rows)


def read(place, *, require_target=True, **options) -> Pairs:
    return read_pairs(place, DataConfig(**options), require_target=require_target)


@pytest.mark.parametrize("wrap", [str, lambda path: path])
@pytest.mark.parametrize("name", ["a.txt", "a", "A.CSV", "a.b.csv.gz", "a.tsv", "a.jsonl", "a.ndjson.gz", "a.txt.gz"])
def test_the_same_pairs_from_every_kind_of_text(name, wrap, tmp_path):
    kind = name.lower().removesuffix(".gz").rpartition(".")[2]
    path = write(tmp_path / name, text_of(kind))
    assert read(wrap(path)) == EXPECTED


@pytest.mark.parametrize("kind", ["csv", "txt", "jsonl"])
def test_windows_files(kind, tmp_path):
    path = write(tmp_path / f"a.{kind}", b"\xef\xbb\xbf" + text_of(kind).replace("\n", "\r\n").encode())
    assert read(path) == EXPECTED


def categories(columns):
    return pd.DataFrame(columns).astype({"source": "category"})


def polars_categories(columns):
    return pl.DataFrame(columns).with_columns(pl.col("source").cast(pl.Categorical))


def chunks(columns):
    return pa.concat_tables([pa.table(columns).slice(0, 1), pa.table(columns).slice(1)])


@pytest.mark.parametrize(
    "make",
    [pd.DataFrame, pl.DataFrame, pa.table, dict, pa.RecordBatch.from_pydict, categories, polars_categories, chunks],
)
def test_the_same_pairs_from_every_kind_of_table(make, tmp_path):
    table = make(COLUMNS)
    assert read(table) == EXPECTED
    assert read(table, key="id").keys == [7, 8, 9]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, categories, chunks])
def test_parquet(make, tmp_path):
    pq.write_table(pa.table(make(COLUMNS)), tmp_path / "a.parquet")
    pairs = read(tmp_path / "a.parquet", key="id")
    assert pairs == Pairs(EXPECTED.sources, EXPECTED.targets, [7, 8, 9], [0, 1, 2], 0)


def test_filtered_frames_count_their_own_rows():
    frame = pd.DataFrame(COLUMNS)
    assert read(frame[frame.id != 8]).rows == [0, 1]
    assert read(frame[frame.id != 8]).targets == ["1994-09-27", "007"]


@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl", "frame"])
def test_white_space_alone_is_empty_where_it_is_ignored(kind, strip, tmp_path):
    columns = {"source": ["a", " ", "c"], "target": ["b", "x", " "]}
    rows = list(zip(*columns.values(), strict=True))
    content = {
        "txt": "\r\n".join(f"{source}\t{target}" for source, target in [*rows, ("d", "e")]),
        "csv": "source,target\n" + "".join(f"{source},{target}\n" for source, target in rows),
        "jsonl": "\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows),
    }
    source = columns if kind == "frame" else write(tmp_path / f"a.{kind}", content[kind])
    if strip:
        with pytest.raises(DataError, match="the target is empty"):
            read(source)
    pairs = read(source, strip=strip, skip_bad_rows=strip)
    assert pairs.sources[:2] == ["a", " "]
    assert pairs.skipped == int(strip)
    assert pairs.rows[:3] == ([0, 1] if strip else [0, 1, 2]) + ([3] if strip and kind == "txt" else [])
    if not strip:
        assert pairs.targets[:3] == columns["target"]


def test_lines_of_white_space_count_where_it_is_not_ignored(tmp_path):
    path = write(tmp_path / "a.txt", "a\tb\n \t \n")
    assert len(read(path)) == 1  # the end of a file
    assert read(path, strip=False).targets == ["b", " "]
    assert read(path, strip=False, require_target=False).sources == ["a", " "]


@pytest.mark.parametrize(
    ("name", "first"),
    [("dates/date", ("september 27, 1994           ", "1994-09-27")), ("addition/addition", ("16+75  ", "91  "))],
)
def test_real_files(name, first, real_files):
    pairs = read(real_files / f"{name}.txt.gz", delimiter="_")
    assert (pairs.sources[0], pairs.targets[0]) == first
    assert len(pairs) == len(pairs.targets) == 50_000
    assert pairs.rows == list(range(50_000))
    assert {len(text) for text in pairs.targets} == {len(pairs.targets[0])}, "padded to one width, and left so"


def test_keys_keep_their_type(tmp_path):
    assert read(write(tmp_path / "a.jsonl", text_of("jsonl")), key="id").keys == [7, 8, 9]
    assert read(write(tmp_path / "a.csv", text_of("csv")), key="id").keys == ["7", "8", "9"]
    assert read(write(tmp_path / "a.txt", text_of("txt")), key="id").keys is None


def test_numbers_read_as_their_text(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"source": 1.50, "target": 007}\n'.replace("007", "12345678901234567890"))
    assert (read(path).sources, read(path).targets) == (["1.50"], ["12345678901234567890"])
    path = write(tmp_path / "b.csv", "source,target\n1.50,007\nNA,null\n")
    assert (read(path).sources, read(path).targets) == (["1.50", "NA"], ["007", "null"])
    table = {"source": [1, 2], "target": [True, False]}
    assert (read(table).sources, read(table).targets) == (["1", "2"], ["true", "false"])
    path = write(tmp_path / "c.jsonl", '{"source": 1, "target": true}\n')
    assert read(path).targets == ["true"]


def test_columns_and_delimiters_by_option(tmp_path):
    path = write(tmp_path / "a.csv", 'question; answer;source\n"a;\nb";"c ""d""";x\n\ne;f;y\n')
    pairs = read(path, source="question", target="answer", delimiter=";")
    assert (pairs.sources, pairs.targets, pairs.rows) == (["a;\nb", "e"], ['c "d"', "f"], [0, 1])
    with pytest.raises(DataError, match="line 2: the source has 4 characters"):  # where the row begins
        read(path, source="question", target="answer", delimiter=";", max_characters=3)
    path = write(tmp_path / "b.txt", "a => b\nc\f => d")
    assert read(path, delimiter="=>").targets == [" b", " d"]
    assert read(write(tmp_path / "c.txt", "a\tb"), delimiter="\\t").targets == ["b"]


def test_an_index_without_a_name_is_no_key(tmp_path):
    path = tmp_path / "a.csv"
    pd.DataFrame(COLUMNS).to_csv(path)
    assert read(path) == EXPECTED


# Without answers


def test_text_lines_without_answers(tmp_path):
    pairs = read(write(tmp_path / "a.txt", "one\n\ntwo,2\n\n"), require_target=False, delimiter=",")
    assert pairs == Pairs(["one", "", "two,2", ""], None, None, [0, 1, 2, 3], 0)


def test_text_lines_with_answers_here_and_there(tmp_path):
    pairs = read(write(tmp_path / "a.txt", "one\t1\r\n\r\ntwo\t\r\n"), require_target=False)
    assert pairs == Pairs(["one", "", "two"], ["1", "", ""], None, [0, 1, 2], 0)
    with pytest.raises(DataError, match="line 2: there is no delimiter"):
        read(write(tmp_path / "b.txt", "one\t1\ntwo\n"), require_target=False)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "frame"])
def test_columns_without_answers(kind, tmp_path):
    frame = pd.DataFrame({"source": ["a", None]})
    path = tmp_path / f"a.{kind}"
    {
        "csv": lambda: write(path, "source\na\n\n" + '""\n'),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "parquet": lambda: frame.to_parquet(path),
        "frame": lambda: None,
    }[kind]()
    pairs = read(frame if kind == "frame" else path, require_target=False)
    assert pairs == Pairs(["a", ""], None, None, [0, 1], 0)


# Bad input


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"no\.txt does not exist"):
        read(tmp_path / "no.txt")
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.txt.gz"])
def test_binary_files(name, tmp_path):
    with pytest.raises(DataError, match="is a binary file"):
        read(write(tmp_path / name, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"))


def test_damaged_files(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(text_of("txt").encode())[:-12])
    with pytest.raises(DataError, match="damaged gzip"):
        read(path)
    with pytest.raises(DataError, match="not a Parquet file"):
        read(write(tmp_path / "a.parquet", "source,target"))


def test_damaged_pages_of_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    texts = [str(n**5) for n in range(400)]
    pq.write_table(pa.table({"source": texts, "target": texts}), path, compression="zstd")
    whole, complaints = path.read_bytes(), []
    for place in range(4, len(whole) - 8, 40):
        path.write_bytes(whole[:place] + bytes(byte ^ 0xFF for byte in whole[place : place + 8]) + whole[place + 8 :])
        try:
            read(path)  # a few bytes can be spared
        except DataError as error:
            complaints.append(str(error))
    assert len(complaints) > 50
    assert all(complaint.startswith(str(path)) and "\n" not in complaint for complaint in complaints)
    assert any("a.parquet is damaged or not a Parquet file: " in complaint for complaint in complaints)


def test_bytes_that_are_no_text():
    cells = pa.chunked_array([pa.array([b"caf\xe9"]).view(pa.string())])
    with pytest.raises(DataError, match=r"column 'source' holds bytes that are not UTF-8"):
        read(pa.table({"source": cells, "target": ["a"]}))


def test_other_encodings(tmp_path):
    with pytest.raises(DataError, match=r"a\.txt, line 2: byte 0xef is not UTF-8.*iconv"):
        read(write(tmp_path / "a.txt", "a\tb\nna\xefve\tb\n".encode("latin-1")))
    with pytest.raises(DataError, match="UTF-16"):
        read(write(tmp_path / "b.txt", "a\tb\n".encode("utf-16")))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", ""),
        ("a.txt", "\n\n"),
        ("a.txt.gz", ""),
        ("a.csv", ""),
        ("a.csv", "source,target\n"),
        ("a.jsonl", "\n"),
    ],
)
def test_empty_files(name, content, tmp_path):
    with pytest.raises(DataError, match="is empty"):
        read(write(tmp_path / name, content))
    with pytest.raises(DataError, match="is empty"):
        read({"source": [], "target": []}, skip_bad_rows=True)


JSON = '{"source": "a", "target": "b"}\n'
BAD_ROWS = [  # file, its content, the complaint, the rows that are left, the number skipped
    ("a.txt", "a\tb\nc\n\nd\te\n", r"line 2: there is no delimiter '\\t'", [0, 3], 2),
    ("a.txt", "a\tb\nc\td\te\n", r"line 2: the delimiter '\\t' occurs 2 times", [0], 1),
    ("a.txt", "a\tb\nc\t \n", r"line 2: the target is empty", [0], 1),
    ("a.csv", "source,target\na,b\nc\nd,e\n", r"line 3: the row has 1 cells, and the header has 2", [0, 2], 1),
    ("a.csv", 'source,target\na,b\nd,"e"f\ng,h\n', r"line 3: not valid CSV", [0, 2], 1),
    ("a.csv", "source,target\na,b\nc,\n", r"line 3: the target is empty", [0], 1),
    ("a.jsonl", JSON + '{\n{"target": "c"}\n', r"line 2: not valid JSON", [0], 2),
    ("a.jsonl", JSON + '\n{"target": "c"}\n', r"line 3: the source is null", [0], 1),
    ("a.jsonl", JSON + "[1]\n" + JSON, r"line 2: not a JSON object", [0, 2], 1),
    ("a.jsonl", JSON + '{"source": [], "target": "b"}\n', r"line 2: a list stands", [0], 1),
    ("a.jsonl", JSON + '{"source": "\\ud800", "target": "b"}\n', r"line 2: .* surrogate", [0], 1),
]


@pytest.mark.parametrize(("name", "content", "complaint", "left", "skipped"), BAD_ROWS)
def test_bad_rows_are_named_or_skipped(name, content, complaint, left, skipped, tmp_path):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=complaint) as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    pairs = read(path, skip_bad_rows=True)
    assert (pairs.rows, pairs.skipped) == (left, skipped)
    assert pairs.sources[0] == "a"


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('source,target\na,b\nd,"e\ng,h\ni,j\n', 3),
        ('source,target\na,b\nd,"e', 3),
        ('source,target\n"a\n",b\nd,"e\ng,h\n"i",j\nk,l\n', 4),  # closed by a later row's quote
        ('"source"s,target\na,b\n', 1),
        ('"source,target\na,b\n', 1),
    ],
)
def test_an_open_quote_is_never_skipped_with_all_that_follows(content, line, skip, tmp_path):
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(DataError, match=rf"a\.csv, line {line}: a quote .* is not closed .*; close it"):
        read(path, skip_bad_rows=skip)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
@pytest.mark.parametrize("size", [101_000, 300_000])
def test_texts_that_are_too_long(name, size, tmp_path):
    long = "x" * size
    content = {
        "a.txt": f"a\tb\n{long}\tb\n",
        "a.csv": f"source,target\na,b\n{long},b\n",
        "a.jsonl": f'{{"source": "a", "target": "b"}}\n{{"source": "{long}", "target": "b"}}\n',
    }[name]
    path = write(tmp_path / name, content)
    place = "line 3" if name == "a.csv" else "line 2"
    with pytest.raises(
        DataError, match=rf"{place}: the source has {size:,} characters, more than max_characters \(100,000\)"
    ):
        read(path)
    assert read(path, skip_bad_rows=True).skipped == 1
    assert len(read(path, max_characters=size).sources[1]) == size


def test_bad_rows_of_tables():
    with pytest.raises(DataError, match=r"the table, row 1 \(counted from 0\): the target is empty"):
        read(pd.DataFrame({"source": ["a", "b"], "target": ["c", None]}))
    with pytest.raises(DataError, match=r"row 0 .*the source is null"):
        read(pl.DataFrame({"source": [None, "b"], "target": ["c", "d"]}))
    pairs = read(pl.DataFrame({"source": [None, "b"], "target": ["c", "d"]}), skip_bad_rows=True)
    assert pairs == Pairs(["b"], ["d"], None, [1], 1)


def test_nothing_but_bad_rows(tmp_path):
    with pytest.raises(DataError, match="no row that can be read: all 2"):
        read(write(tmp_path / "a.txt", "a\nb\n"), skip_bad_rows=True)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "frame"])
def test_targets_that_are_all_empty(name, skip, tmp_path):
    content = {
        "a.txt": "a\t\nb\t \n",
        "a.csv": "source,target\na,\nb, \n",
        "a.jsonl": '{"source": "a", "target": null}\n',
    }
    source = (
        pd.DataFrame({"source": ["a"], "target": [None]}) if name == "frame" else write(tmp_path / name, content[name])
    )
    with pytest.raises(DataError, match=r"'target'\) is empty in every row"):
        read(source, skip_bad_rows=skip)


@pytest.mark.parametrize("option", ["source", "target", "key"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "frame"])
def test_missing_columns(option, kind, tmp_path):
    source = pd.DataFrame(COLUMNS) if kind == "frame" else write(tmp_path / f"a.{kind}", text_of(kind))
    known = re.escape("has no column 'nmae', only 'id', 'source', 'target': choose one of them with --" + option)
    with pytest.raises(DataError, match=known):
        read(source, **{option: "nmae"})


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "frame", "txt"])
def test_keys_where_there_are_some(kind, tmp_path):
    frame, path = pd.DataFrame(COLUMNS), tmp_path / f"a.{kind}"
    if kind == "parquet":
        frame.to_parquet(path)
    elif kind != "frame":
        write(path, text_of(kind))
    source = frame if kind == "frame" else path
    config = DataConfig(key="nmae")
    assert read_pairs(source, config, require_key=False) == EXPECTED
    if kind != "txt":
        found = read_pairs(source, DataConfig(key="id"), require_key=False).keys
        assert list(map(str, found)) == ["7", "8", "9"]
        with pytest.raises(DataError, match="'nmae'"):
            read_pairs(source, config)


def test_a_key_that_two_columns_have_is_none_unless_it_is_asked_for(tmp_path):
    path = write(tmp_path / "a.csv", "source,target,id,id\na,b,c,d\n")
    assert read_pairs(path, DataConfig(key="id"), require_key=False).keys is None
    with pytest.raises(DataError, match="2 columns called 'id'"):
        read_pairs(path, DataConfig(key="id"))


def test_columns_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="2 columns called 'source'"):
        read(write(tmp_path / "a.csv", "source,source,target\na,b,c\n"))
    with pytest.raises(DataError, match=r"'source' holds list<.*which is not text"):
        read({"source": [[1]], "target": ["a"]})
    with pytest.raises(DataError, match="the table cannot be read"):
        read({"source": ["a", "b"], "target": ["a"]})
    with pytest.raises(UsageError, match="a int is neither"):
        read(3)
    with pytest.raises(ConfigError, match="one character"):
        read(write(tmp_path / "b.csv", "source,target\n"), delimiter="=>")
