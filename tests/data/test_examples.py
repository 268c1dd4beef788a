import json
import math
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from PIL import Image

from harken.config import ExamplesConfig
from harken.data.examples import Examples, read_examples
from harken.data.tables import read_table
from harken.errors import DataError

REVIEWS = {
    "id": [f"r{n}" for n in range(6)],
    "review": ["good, very", 'a "bad" film', "", " so so ", "good again\nand again", "bad again"],
    "stars": [5, 1, 3, 3, 5, 1],
    "weight": [1.0, 0.5, 1.0, 2.0, 0.0, 1.0],
}
LONG = "id,time,x,y,label\n" + "".join(f"s{i},{t},{t * 0.5},{-t},{'ud'[i % 2]}\n" for t in (10, 9, 1) for i in range(4))
WIDE = "t0,t1,t2,class\n1,2,3,a\n4,5,,b\n6,7,8,a\n,,,b\n"


def write(path, content: str | bytes):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(source, task=None, require_labels=True, **options) -> Examples:
    return read_examples(source, ExamplesConfig(**options), task, require_labels=require_labels)


def steps(examples):
    return [row.tolist() for row in examples.inputs.rows]


def saved(columns, name, tmp_path):
    path, frame = tmp_path / name, pd.DataFrame(columns)
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    elif name.endswith(".jsonl"):
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if name.endswith(".tsv") else ",")
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "pandas", "polars", "dict"])
@pytest.mark.parametrize("told", [False, True])
def test_the_same_examples_from_every_source(name, told, tmp_path):
    frames = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "dict": dict}
    source = frames[name](REVIEWS) if name in frames else saved(REVIEWS, name, tmp_path)
    columns = {"text": "review", "label": "stars"} if told else {"text": "review"}
    examples = read(source, weight="weight", key="id", **columns)
    assert examples.inputs.kind == "text"
    assert examples.inputs.rows == [text.strip() for text in REVIEWS["review"]]
    assert examples.labels.columns == {"stars": REVIEWS["stars"]}
    assert all(type(label) is int for label in examples.labels.columns["stars"])
    assert examples.weights == REVIEWS["weight"]
    assert examples.keys == REVIEWS["id"]
    assert examples.rows == list(range(6))
    assert (len(examples), examples.skipped) == (6, 0)
    assert examples.config == ExamplesConfig(input="text", text="review", label="stars", weight="weight", key="id")
    assert examples.described == ["input: text, column 'review'", "label: column 'stars'"]


def test_a_table_that_is_read_is_taken(tmp_path):
    path = saved(REVIEWS, "a.csv", tmp_path)
    table = read_table(path, ExamplesConfig())
    path.unlink()
    assert read(table, text="review").labels.columns == {"stars": REVIEWS["stars"]}


def test_white_space_stays_where_it_matters():
    assert read(REVIEWS, text="review", strip=False).inputs.rows == REVIEWS["review"]


def test_what_was_told_from_training_rows_holds_for_others(tmp_path):
    train = read(saved(REVIEWS, "a.csv", tmp_path))
    other = {"stars": [1, 3], "note": ["a long text beside the others, and then some more"] * 2, "review": ["7", "8"]}
    path = saved(other, "b.csv", tmp_path)
    assert read(path).config.text == "note", "by itself it would be read in another way"
    again = read_examples(path, train.config, "classify")
    assert (again.inputs.rows, again.labels.columns) == (["7", "8"], {"stars": [1, 3]})
    unlabelled = read_examples({"review": ["a", None]}, train.config, "classify", require_labels=False)
    assert (unlabelled.inputs.rows, unlabelled.labels) == (["a", ""], None)


def test_without_labels_weights_and_keys_may_be_missing(tmp_path):
    config = {"text": "review", "label": "stars", "weight": "weight", "key": "id"}
    examples = read({"review": ["a", None], "stars": [1, None]}, require_labels=False, **config)
    assert (examples.inputs.rows, examples.labels, examples.weights, examples.keys) == (["a", ""], None, None, None)
    assert read({"review": ["a"], "stars": [None]}, require_labels=False, **config).labels is None
    lines = write(tmp_path / "a.txt", "one\n\ntwo, three\n")
    assert read(lines, require_labels=False, **config).inputs.rows == ["one", "", "two, three"]
    for missing, option in (("stars", "label"), ("weight", "weight"), ("id", "key")):
        columns = {name: cells for name, cells in REVIEWS.items() if name != missing}
        with pytest.raises(DataError, match=f"has no column '{missing}'.*--{option}"):
            read(columns, **config)


def test_labels_and_weights_of_rows_to_answer_are_not_looked_at(tmp_path):
    config = ExamplesConfig(text="text", label="tags", label_delimiter="|", weight="w")
    for cells in ({"tags": ["a|a", "b"], "w": ["x", "-1"]}, {"tags": [{"p": 1}, None], "w": [math.inf, None]}):
        examples = read_examples({"text": ["a", "b"], **cells}, config, "classify", require_labels=False)
        assert (len(examples), examples.labels, examples.weights) == (2, None, None)
    lines = "id,time,x,y,w\na,1,1,p,2\na,2,1,q,x\n"  # within an id they differ
    config = ExamplesConfig(series="x", id="id", time="time", label="y", weight="w")
    assert len(read_examples(write(tmp_path / "a.csv", lines), config, "classify", require_labels=False)) == 1
    np.savez(tmp_path / "a.npz", X=np.ones((2, 3)), y=np.array([1j, 2, 3]))
    assert len(read(tmp_path / "a.npz", require_labels=False)) == 2
    ts = write(tmp_path / "a.ts", "@classLabel true 1 2\n@data\n1,2:9\n5,6:?\n")
    assert read(ts, require_labels=False).labels is None


def test_weights_are_wanted_of_training_rows_alone(tmp_path):
    config = ExamplesConfig(text="review", label="stars", weight="weight")
    rest = {name: cells for name, cells in REVIEWS.items() if name != "weight"}
    assert read_examples(rest, config, "classify", require_weights=False).weights is None
    assert read_examples(REVIEWS, config, "classify", require_weights=False).weights == REVIEWS["weight"]
    long = write(tmp_path / "a.csv", LONG)
    config = ExamplesConfig(series="x", id="id", time="time", label="label", weight="w")
    assert len(read_examples(long, config, "classify", require_weights=False)) == 4
    with pytest.raises(DataError, match=r"has no column 'w'.*--weight"):
        read_examples(long, config, "classify")


def test_nothing_need_be_said():
    assert read_examples({"text": ["a b", "c d"], "label": [0, 1]}).labels.columns == {"label": [0, 1]}


def test_taking_rows():
    taken = read(REVIEWS, text="review", label="stars", weight="weight", key="id").take([5, 0])
    assert (taken.inputs.rows, taken.labels.columns) == (["bad again", "good, very"], {"stars": [1, 5]})
    assert (taken.weights, taken.keys, taken.rows, len(taken)) == ([1.0, 1.0], ["r5", "r0"], [5, 0], 2)
    bare = read({"text": ["a b", "c d"]}, text="text", require_labels=False).take(torch.tensor([1]))
    assert (bare.inputs.rows, bare.labels, bare.weights, bare.keys) == (["c d"], None, None, None)


# Series


def test_long_form(tmp_path):
    path = write(tmp_path / "a.csv", LONG)
    told = read(path, id="id", time="time", series=("x", "y"), label="label")
    for examples in (told, read(path)):
        assert examples.inputs.kind == "series"
        assert examples.inputs.channels == ("x", "y")
        assert steps(examples) == [[[0.5, -1], [4.5, -9], [5, -10]]] * 4
        assert examples.labels.columns == {"label": ["u", "d", "u", "d"]}
        assert examples.keys == ["s0", "s1", "s2", "s3"]
        assert examples.config == told.config.model_copy(update={"input": "series"})
    assert "order of the steps: by column 'time', as numbers" in told.described
    one = write(tmp_path / "b.csv", "id,time,x,y\nq,2,1,2\nq,1,3,4\n")
    assert steps(read_examples(one, told.config, "classify", require_labels=False)) == [[[3, 4], [1, 2]]]


def test_long_form_with_weights_and_keys_and_tags(tmp_path):
    text = LONG.replace("label\n", "label,w,k\n").replace("u\n", "u,2,p\n").replace("d\n", "d,3,q\n")
    path = write(tmp_path / "a.csv", text)
    examples = read(path, id="id", time="time", series="x", label="label", weight="w", key="k")
    assert (examples.weights, examples.keys) == ([2, 3, 2, 3], ["p", "q", "p", "q"])
    tagged = read(path, "tag", id="id", time="time", series="x", label="label")
    assert tagged.labels.columns == {"label": [["u"] * 3, ["d"] * 3] * 2}
    words = read(path, id="id", time="time", words="label", label="k")
    assert (words.inputs.kind, words.inputs.rows[1]) == ("words", ["d", "d", "d"])
    with pytest.raises(DataError, match="--id gathers rows of numbers or words"):
        read(path, id="id", text="label", label="k")


def test_long_form_with_gaps(tmp_path):
    path = write(tmp_path / "a.csv", LONG.replace("s1,9,4.5", "s1,9,"))
    with pytest.raises(
        DataError, match=r"id 's1' \(it begins in line 3\): step 1 of channel 'x' .* is missing \(NaN\)"
    ):
        read(path)
    assert steps(read(path, missing="carry"))[1] == [[0.5, -1], [0.5, -9], [5, -10]]
    skipped = read(path, skip_bad_rows=True)
    assert (skipped.keys, skipped.rows, skipped.skipped) == (["s0", "s2", "s3"], [0, 2, 3], 1)


def test_wide_form(tmp_path):
    examples = read(write(tmp_path / "a.csv", WIDE))
    assert steps(examples) == [[[1], [2], [3]], [[4], [5]], [[6], [7], [8]], []]
    assert examples.labels.columns == {"class": ["a", "b", "a", "b"]}
    assert examples.config.series == ("t0", "t1", "t2")
    assert "a step each (wide form)" in examples.described[0]
    numbered = write(tmp_path / "b.tsv", "2\t0.5\t1.5\n1\t2.5\t3.5\n")
    assert steps(read(numbered, header=False, label="1", series=("2", "3"))) == [[[0.5], [1.5]], [[2.5], [3.5]]]
    with pytest.raises(DataError, match=r"a\.csv, line 3: 'x' in column 't1' is not a number"):
        read(write(tmp_path / "a.csv", WIDE.replace("5", "x")))
    with pytest.raises(DataError, match=r"a\.csv, line 3: step 0 \(counted from 0\) is missing"):
        read(write(tmp_path / "a.csv", WIDE.replace("4", "")))


ROWS = [[[0.5, 1.0], [2.0, 3.0]], [], [[4.0, 5.0]]]


@pytest.mark.parametrize("kind", [pa.list_(pa.list_(pa.float64())), pa.large_list(pa.list_(pa.float32(), 2))])
@pytest.mark.parametrize("option", ["series", "vectors"])
def test_lists_of_vectors_in_parquet(kind, option, tmp_path):
    pq.write_table(pa.table({"x": pa.array(ROWS, kind), "label": ["a", "b", "a"]}), tmp_path / "a.parquet")
    examples = read(tmp_path / "a.parquet", **{option: "x"}, label="label")
    assert examples.inputs.kind == option
    assert steps(examples) == ROWS


def test_lists_in_json_and_ids(tmp_path):
    rows = [{"events": [3, 1], "steps": [0.5, None], "label": 1}, {"events": [], "steps": [], "label": 0}]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert steps(read(path, input="ids", series="events", label="label")) == [[3, 1], []]
    assert steps(read(path, series="steps", missing="linear", label="label")) == [[[0.5], [0.5]], []]


def test_files_of_time_series(tmp_path):
    ts = write(tmp_path / "a.ts", "@classLabel true 1 2\n@data\n1,2:3,4:1\n5:6:2\n")
    examples = read(ts)
    assert (steps(examples), examples.labels.columns) == ([[[1, 3], [2, 4]], [[5, 6]]], {"label": [1, 2]})
    np.savez(tmp_path / "b.npz", X=np.ones((2, 3, 2)), y=[2, 1])
    other = read_examples(tmp_path / "b.npz", examples.config, "classify")
    assert (other.inputs.lengths.tolist(), other.labels.columns) == ([3, 3], {"label": [2, 1]})
    value = write(tmp_path / "c.ts", "@targetlabel true\n@data\n1,2:1\n5:2\n")
    assert read(value).labels.columns == {"label": [1.0, 2.0]}
    with pytest.raises(DataError, match=r"c\.ts, line 3: the label \(column 'label'\) is missing"):
        read(write(tmp_path / "c.ts", "@targetlabel true\n@data\n1,2:?\n5:2\n"))


def test_several_labels_and_values_in_an_array(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)), y=[[0, 1], [1, 1], [0, 0]])
    labels = read(tmp_path / "a.npz").labels
    assert labels.columns == {"label": [[1], [0, 1], []]}
    np.savez(tmp_path / "a.npz", X=np.ones((3, 2)), y=[[0.5, 1], [1, 1], [0, 0]])
    assert read(tmp_path / "a.npz", "regress").labels.columns == {"label": [(0.5, 1), (1, 1), (0, 0)]}


# Labels


def test_several_attributes_may_be_missing_here_and_there(tmp_path):
    path = write(tmp_path / "a.csv", "text,colour,size\na b,red,1\nc d,,2\ne f,blue,\n")
    examples = read(path, text="text", label=("colour", "size"))
    assert examples.labels.columns == {"colour": ["red", None, "blue"], "size": [1, 2, None]}
    assert examples.described[1] == "label: columns 'colour', 'size'"
    for label in ("colour", "size"):
        with pytest.raises(DataError, match=rf"the label \(column '{label}'\) is missing \(--skip-bad-rows"):
            read(path, text="text", label=label)
    assert read(path, text="text", label="colour", skip_bad_rows=True).skipped == 1
    with pytest.raises(DataError, match="has no labels: column 'size' is empty in every row"):
        read(write(tmp_path / "b.csv", "text,size\na,\nb,\n"), text="text", label="size", skip_bad_rows=True)


def test_several_labels_in_a_cell(tmp_path):
    path = write(tmp_path / "a.csv", "text,tags\na b,x|y\nc d,\ne f,y\n")
    examples = read(path, text="text", label="tags", label_delimiter="|")
    assert examples.labels.columns == {"tags": [["x", "y"], [], ["y"]]}


def test_rows_that_name_a_label_twice_are_bad_rows(tmp_path):
    path = write(tmp_path / "a.csv", "text,tags\na b,x|y\nc d,y|x|y\ne f,y\n")
    config = {"text": "text", "label": "tags", "label_delimiter": "|"}
    with pytest.raises(DataError, match=r"line 3: the labels 'y', 'x', 'y' \(column 'tags'\) name one twice"):
        read(path, **config)
    examples = read(path, skip_bad_rows=True, **config)
    assert (examples.labels.columns, examples.skipped) == ({"tags": [["x", "y"], ["y"]]}, 1)
    rows = {"text": ["a", "b", "c"], "tags": [["x"], ["x", None], ["y", "y"]]}
    assert read(rows, "classify", text="text", label="tags", skip_bad_rows=True).rows == [0]


def test_rows_with_another_number_of_values_are_bad_rows():
    rows = {"text": ["a", "b", "c", "d", "e"], "v": [[1.0, 2.0], [3.0], [4.0, None], [math.inf, 1.0], None]}
    with pytest.raises(DataError, match=r"row 1 .*: there are 1 values \(column 'v'\), and most rows have 2 \(--skip"):
        read(rows, "regress", text="text", label="v")
    examples = read(rows, "regress", text="text", label="v", skip_bad_rows=True)
    assert (examples.rows, examples.skipped) == ([0, 2], 3)


def test_a_table_of_labels_with_a_row_that_is_missing():
    for cells, task, left in (
        ([[0, 1], None, [1, 1]], "classify", [[1], [0, 1]]),
        ([[0.5, 1], None, [1, 1]], "regress", [(0.5, 1), (1, 1)]),
    ):
        columns = {"text": ["a", "b", "c"], "y": pa.array(cells, pa.list_(pa.float64(), 2))}
        with pytest.raises(DataError, match=r"row 1 .*: the label \(column 'y'\) is missing"):
            read(columns, task, text="text", label="y")
        examples = read(columns, task, text="text", label="y", skip_bad_rows=True)
        assert examples.labels.columns == {"y": left}
        several = read(columns | {"z": [0, 1, 1]}, task, text="text", label=("y", "z"))
        assert several.labels.columns["y"] == [left[0], None, left[1]]


@pytest.mark.parametrize("split", [False, True])
def test_two_columns_of_words_and_tags(split, tmp_path):
    words, tags = [["the", "cat"], [], ["sat"]], [["D", "N"], [], ["V"]]
    if split:
        words, tags = ([" ".join(row) for row in rows] for rows in (words, tags))
    path = saved({"words": words, "tags": tags}, "a.csv" if split else "a.jsonl", tmp_path)
    examples = read(path, words="words", label="tags")
    assert examples.inputs.rows == [["the", "cat"], [], ["sat"]]
    assert examples.labels.columns == {"tags": [["D", "N"], [], ["V"]]}
    assert read(path, "tag").labels.columns == examples.labels.columns


def test_tags_that_do_not_fit_their_words():
    columns = {"words": [["a", "b"], ["c"]], "tags": [["x"], ["y"]]}
    with pytest.raises(DataError, match=r"row 0 .*: there are 1 tags \(column 'tags'\) for 2 steps"):
        read(columns, "tag", words="words", label="tags")
    assert read(columns, "tag", words="words", label="tags", skip_bad_rows=True).rows == [1]
    cut = read({"words": [["a", "b"]], "tags": [["x", "y"]]}, "tag", words="words", label="tags", truncate=1)
    assert (cut.inputs.rows, cut.labels.columns) == ([["a"]], {"tags": [["x"]]})


def test_ten_thousand_classes():
    n = 20_000
    examples = read({"text": [f"row {i}" for i in range(n)], "label": [f"c{i % 10_000}" for i in range(n)]})
    assert len(set(examples.labels.columns["label"])) == 10_000


# Bad input


def test_bad_rows_of_every_column_are_counted_once(tmp_path):
    lines = ["text,label,w", "a,x,1", "b,,1", "c,y,-1", "d,z", f"{'e' * 50},x,1", "f,,nan", "g,y,2"]
    path = write(tmp_path / "a.csv", "\n".join(lines))
    options = {"text": "text", "label": "label", "weight": "w", "max_characters": 40}
    examples = read(path, skip_bad_rows=True, **options)
    assert (examples.inputs.rows, examples.rows, examples.skipped) == (["a", "g"], [0, 6], 5)
    assert (examples.labels.columns, examples.weights) == ({"label": ["x", "y"]}, [1, 2])
    complaints = [
        "the label .* is missing",
        "the weight '-1'",
        "2 cells",
        "50 characters, more than max_char",
        "the label",
    ]
    for number, complaint in enumerate(complaints, start=2):
        bad = write(tmp_path / "b.csv", "\n".join([*lines[:2], lines[number]]))
        with pytest.raises(DataError, match=rf"b\.csv, line 3: .*{complaint}.*--skip-bad-rows"):
            read(bad, **options)


def test_a_row_of_a_million_characters():
    columns = {"text": ["a", "b" * 1_000_000], "label": [0, 1]}
    with pytest.raises(DataError, match=r"row 1 .*: the input has 1,000,000 characters, more than max_characters"):
        read(columns, text="text", label="label")
    assert len(read(columns, text="text", label="label", max_characters=1_000_000)) == 2
    with pytest.raises(DataError, match="the input has 1,000,000 characters"):
        read({"text": [["a"], ["b" * 600_000, "c" * 400_000]], "label": [0, 1]}, text="text", label="label")


def test_the_start_of_a_row_of_any_length(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\na b,x\n" + "c " * 60_000 + ",y\n")
    with pytest.raises(DataError, match=r"line 3: the input has 120,000 characters, .*--truncate.*--skip-bad-rows"):
        read(path, text="text", label="label")
    assert len(read(path, text="text", label="label", truncate=5)) == 2
    assert read(path, text="text", label="label", input="words", truncate=2).inputs.rows == [["a", "b"], ["c", "c"]]


@pytest.mark.parametrize("value", [np.nan, np.inf, None])
def test_missing_and_infinite_values_name_row_and_channel(value):
    columns = {"x": [[1.0, 2.0], [3.0, value]], "y": [[1.0, 2.0], [3.0, 4.0]], "label": ["a", "b"]}
    with pytest.raises(
        DataError, match=r"the table, row 1 \(counted from 0\): step 1 of channel 'x' \(counted from 0\) is"
    ):
        read(columns, series=("x", "y"), label="label")


def test_ragged_channel_counts():
    with pytest.raises(DataError, match=r"row 1 .* has 1 values, and most steps have 2"):
        read({"x": [[[1, 2], [3, 4]], [[5]]], "label": ["a", "b"]})


def test_numbers_as_text(tmp_path):
    path = write(tmp_path / "a.csv", "code,label\n007,x\n1.50,y\n")
    assert read(path, text="code", label="label").inputs.rows == ["007", "1.50"]
    assert read({"code": [7, 1], "label": ["x", "y"]}, text="code", label="label").inputs.rows == ["7", "1"]
    with pytest.raises(DataError, match="no column that could be the input"):
        read(path)


def test_inputs_that_are_null():
    columns = {"text": ["a", None], "label": [0, 1]}
    with pytest.raises(DataError, match=r"the input \(column 'text'\) is null"):
        read(columns, text="text", label="label")
    assert read(columns, require_labels=False, text="text", label="label").inputs.rows == ["a", ""]
    for rows, kind in (([["a", None], ["b"]], "words"), ([["a a", None], ["b b"]], "text")):
        with pytest.raises(DataError, match=r"row 0 .* holds a null"):
            read({"x": rows, "label": [0, 1]}, **{kind: "x"}, label="label")
    assert steps(read({"x": [[1.0], None]}, require_labels=False, series="x")) == [[[1]], []]


def test_columns_of_the_wrong_type():
    with pytest.raises(DataError, match=r"column 'x' holds .*list<.*, and must hold texts or lists of texts"):
        read({"x": [[1], [2]], "label": [0, 1]}, words="x", label="label")
    with pytest.raises(DataError, match=r"column 'x' holds .*, which is not text"):
        read({"x": [["a"], ["b"]], "label": [0, 1]}, text="x", input="text", label="label")


def test_what_inputs_complain_of_names_the_file():
    with pytest.raises(DataError, match=r"^the table: .*row 1"):
        read({"x": [["a"], ["b", "c", "d"]], "label": [0, 1]}, words="x", label="label", max_steps=2)


# Real files


def test_sst2(real_files):
    examples = read(real_files / "sst2" / "train.tsv.gz", header=False)
    assert (len(examples), examples.config.text, examples.config.label) == (6920, "1", ("2",))
    assert set(examples.labels.columns["2"]) == {0, 1}


def test_trec_is_latin_1(real_files, tmp_path):
    with zipfile.ZipFile(real_files / "trec" / "qc.zip") as archive:
        path = write(tmp_path / "train.txt", archive.read("qc/train.txt"))
    with pytest.raises(DataError, match=r"line .*--encoding latin-1"):
        read(path, require_labels=False)
    examples = read(path, require_labels=False, encoding="latin-1")
    assert len(examples) == 5452
    assert examples.inputs.rows[0] == "DESC:manner How did serfdom develop in and then leave Russia ?"


def test_japanese_vowels(real_files):
    train = read(real_files / "ucr" / "JapaneseVowels_TRAIN.ts.gz")
    assert train.inputs.rows.values.shape[1] == 12
    assert set(train.labels.columns["label"]) == set(range(1, 10))
    assert train.config == ExamplesConfig(input="series")


def test_ecg_trains_on_one_format_and_is_tested_on_another(real_files):
    train = read(real_files / "ucr" / "ECG5000_TRAIN.ts.gz")
    test = read_examples(real_files / "ucr" / "ECG5000_TEST_4499of4500.npz", train.config, "classify")
    assert len(test) == 4499
    assert set(test.labels.columns["label"]) == set(train.labels.columns["label"])


def test_english_ewt(real_files):
    examples = read(real_files / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz")
    assert (examples.inputs.kind, examples.config.words, examples.config.label) == ("words", "FORM", ("UPOS",))
    assert sum(map(len, examples.labels.columns["UPOS"])) == int(examples.inputs.lengths.sum()) == 25147


# Rows in files of their own


def pictures(folder, rows=4):
    for n in range(rows):
        Image.new("RGB", (5, 5), (n, 0, 0)).save(folder / f"{n}.png")
    return [f"{n}.png" for n in range(rows)]


def test_pictures_of_a_table(tmp_path):
    names = pictures(tmp_path)
    table = saved({"file": names, "color": ["r", "g"] * 2, "shape": ["o", None, None, "x"]}, "a.csv", tmp_path)
    examples = read(table, label=("color", "shape"), image_size=2)
    assert (examples.inputs.kind, examples.inputs.rows.lengths.tolist()) == ("image", [2] * 4)
    assert [int(picture[0, 0, 0]) for picture in examples.inputs.rows] == [0, 1, 2, 3]
    assert examples.labels.columns == {"color": ["r", "g"] * 2, "shape": ["o", None, None, "x"]}
    assert (examples.keys, examples.config.key, examples.config.image) == (names, "file", "file")
    again = read_examples(table, examples.config, "classify")
    assert again.inputs.fingerprint() == examples.inputs.fingerprint()


def test_a_frame_in_memory_names_files_from_where_the_program_stands(tmp_path, monkeypatch):
    frame = pd.DataFrame({"file": pictures(tmp_path), "label": ["r", "g"] * 2})
    with pytest.raises(DataError, match=r"the table, row 0 .*0\.png cannot be read"):
        read(frame)
    monkeypatch.chdir(tmp_path)
    assert len(read(frame)) == 4


def test_bad_files_are_bad_rows_among_others(tmp_path):
    names = pictures(tmp_path, 6)
    (tmp_path / "1.png").write_bytes(b"no picture")
    names[3] = "../3.png"
    columns = {"file": names, "label": ["r", "g", "r", "g", "r", "g"], "weight": [1, 1, 1, 1, -1, 1]}
    table = saved(columns, "a.csv", tmp_path)
    with pytest.raises(DataError, match=r"a\.csv, line 3: .*1\.png is no picture: .*--skip-bad-rows"):
        read(table, weight="weight")
    examples = read(table, weight="weight", skip_bad_rows=True)
    assert (examples.rows, examples.skipped) == ([0, 2, 5], 3)
    assert [int(picture[0, 0, 0]) for picture in examples.inputs.rows] == [0, 2, 5]


def test_rows_without_a_file_may_be_answered_and_not_learned_from(tmp_path):
    table = pa.table(
        {"file": [str(tmp_path / name) for name in pictures(tmp_path, 2)] + [None], "label": ["a", "b", "a"]}
    )
    with pytest.raises(DataError, match=r"row 2 .*the input .* is null"):
        read(table)
    assert read(table, require_labels=False, image_size=3).inputs.lengths.tolist() == [3, 3, 0]


def test_the_rate_of_recordings_is_kept(tmp_path):
    for n, rate in enumerate((8000, 16000, 16000)):
        soundfile.write(tmp_path / f"{n}.wav", np.zeros(rate // 100), rate)
    table = saved({"clip": [f"{n}.wav" for n in range(3)], "label": ["a", "b", "a"]}, "a.csv", tmp_path)
    examples = read(table)
    assert (examples.inputs.rate, examples.config.sample_rate) == (16000, 16000)
    assert examples.inputs.rows.lengths.tolist() == [160] * 3
    assert read(table, sample_rate=8000).inputs.rows.lengths.tolist() == [80] * 3


def test_spectrograms_that_are_too_long_or_hold_gaps_are_bad_rows(tmp_path):
    for n, steps_of in enumerate((3, 3, 9, 2)):
        frames = np.ones((4, steps_of))
        frames[0, 0] = np.nan if n == 1 else 1
        np.save(tmp_path / f"{n}.npy", frames)
    table = saved({"clip": [f"{n}.npy" for n in range(4)], "label": ["a", "b", "a", "b"]}, "a.csv", tmp_path)
    with pytest.raises(DataError, match=r"a\.csv, line 3: .*--missing"):
        read(table, max_steps=5)
    assert read(table, max_steps=5, skip_bad_rows=True).rows == [0, 3]
    assert read(table, max_steps=5, missing="mean", truncate=5).inputs.lengths.tolist() == [3, 3, 5, 2]


def test_spectrograms_in_the_table_itself(tmp_path):
    frames = [[[0.5, 1.0], [1.5, 2.0]], [[2.5, 3.0]]] * 2
    examples = read({"x": frames, "label": ["a", "b"] * 2}, input="spectrogram")
    assert examples.inputs.kind == "spectrogram"
    assert steps(examples) == frames
    with pytest.raises(DataError, match="single numbers"):
        read({"x": [[1.5, 2.0]] * 4, "label": ["a", "b"] * 2}, input="spectrogram")


def test_what_files_cannot_be(tmp_path):
    columns = {"file": pictures(tmp_path), "label": ["r", "g"] * 2}
    table = saved(columns, "a.csv", tmp_path)
    with pytest.raises(DataError, match=r"a\.csv: tagging .* input=image has no tags for: say task=classify"):
        read(table, "tag")
    with pytest.raises(DataError, match="--id gathers rows of numbers or words"):
        read(table, image="file", id="label", label=("label",))


def test_a_folder_is_read_as_the_table_was(tmp_path):
    for color in ("red", "blue"):
        (tmp_path / color).mkdir()
        pictures(tmp_path / color, 2)
    told = read(tmp_path)
    assert (told.labels.columns, told.config.image) == ({"label": ["blue", "blue", "red", "red"]}, "path")
    assert told.keys == ["blue/0.png", "blue/1.png", "red/0.png", "red/1.png"]
    named = read(tmp_path, image="file", label=("color",), key="file")
    assert (named.labels.columns, named.keys) == ({"color": ["blue", "blue", "red", "red"]}, told.keys)
