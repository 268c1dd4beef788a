"""harken.cli.answers: files of answers, whole or not at all."""

import csv
import json

import pyarrow.parquet as pq
import pytest

from harken.cli.answers import SUFFIXES, check_out, storable, write_answers
from harken.errors import UsageError

COLUMNS = {
    "row": [0, 2, 3],
    "prediction": ['say "hi", or\nnot', "", "\tä "],
    "probability": [0.25, 1e-9, 1.0],
}


def read(path):
    """Columns of texts and numbers, by a reader that is not the writer."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {name: [row[name] for row in rows] for name in rows[0]}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    kinds = {"row": int, "prediction": str, "probability": float}
    return {name: [kind(row[name]) for row in rows] for name, kind in kinds.items()}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_back(tmp_path, suffix):
    out = tmp_path / f"answers{suffix}"
    write_answers(out, COLUMNS)
    assert read(out) == COLUMNS
    assert list(tmp_path.iterdir()) == [out]


def test_suffixes_in_capitals(tmp_path):
    out = tmp_path / "ANSWERS.JSONL"
    check_out(out, None)
    write_answers(out, COLUMNS)
    assert out.read_text().startswith('{"row": 0')


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_file_whole(tmp_path, suffix):
    class Unwritable:
        def __str__(self):
            raise OSError("disk full")

    out = tmp_path / f"answers{suffix}"
    out.write_text("old")
    with pytest.raises(Exception, match=r"disk full|Unwritable"):
        write_answers(out, {"row": [0], "prediction": [Unwritable()]})
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    write_answers(link, COLUMNS)
    assert link.is_symlink()
    assert read(target) == COLUMNS
    assert sorted(tmp_path.iterdir()) == [link, target]


def test_only_parquet_needs_keys_of_one_type(tmp_path):
    keys = [1, "a", None, True, {"b": "é"}]
    for suffix in SUFFIXES:
        out = tmp_path / f"answers{suffix}"
        held = storable(keys, out)
        assert held == (["1", "a", None, "true", '{"b": "é"}'] if suffix == ".parquet" else keys)
        write_answers(out, {"id": held})
        assert out.stat().st_size
    assert storable([1, None], tmp_path / "a.parquet") == [1, None]
    assert storable(keys, None) == keys


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("answers.xlsx", (".parquet", ".jsonl")),
        ("answers", (".csv",)),
        ("folder.csv", ("is a folder",)),
        ("rows.csv", ("the file that is read",)),
    ],
)
def test_files_that_must_not_be_written(tmp_path, name, words):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "rows.csv").write_text("source\n1\n")
    with pytest.raises(UsageError) as refused:
        check_out(tmp_path / name, str(tmp_path / "rows.csv"))
    assert all(word in str(refused.value) for word in words)
