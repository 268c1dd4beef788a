"""harken.cli.train on rows with labels: what is told before training, how rows are named, what is refused."""

import csv
import json
import re
import signal

import numpy as np
import pytest

import harken as library
from harken.config import RunConfig


def test_every_kind_of_file_is_told_trained_on_and_answered(harken, rows, small, tmp_path):
    data, out = rows.write(tmp_path / rows.file), tmp_path / "run"
    result = harken("train", data, *rows.options, *small, "--out", out)
    assert result.code == 0, result.err
    before = result.out.partition("epoch 1/1: ")[0].splitlines()
    assert set(rows.told) <= set(before), before
    assert re.search(r"^recipe: .*LSTM of 4.*; 1 epoch of \d+ steps?, 32 rows each, learning rate 0\.\d+$", before[-1])
    assert {p.name for p in out.iterdir()} >= {"bundle", "metrics.json", "history.csv", "curves.png", "config.yaml"}
    found = harken("evaluate", out, "--data", data, "--json")
    assert (found.code, found.json["rows"]) == (0, rows.rows), found.err
    answers = harken("predict", out, "--data", data)
    assert (answers.code, len(answers.out.splitlines())) == (0, rows.rows), answers.err


def test_columns_are_told_from_their_names_and_contents(harken, file, small, tmp_path):
    data = file("long")
    assert harken("train", data, *small, "--out", tmp_path / "told").code == 0
    named = ["--id", "id", "--time", "time", "--series", "x", "--series", "y", "--label", "label"]
    assert harken("train", data, *small, *named, "--out", tmp_path / "named").code == 0
    told, said = (library.load(tmp_path / name).config.data for name in ("told", "named"))
    assert (told.id, told.time, told.series, told.label) == (said.id, said.time, said.series, said.label)


def test_the_task_can_be_overridden(harken, small, tmp_path):
    (tmp_path / "a.csv").write_text("review,label\n" + "".join(f"film {n},{n % 3}\n" for n in range(30)))
    for task, words in ((None, "3 classes of 'label': 0 (10), 1 (10), 2 (10)"), ("regress", "values of 'label'")):
        asked = [] if task is None else ["--task", task]
        result = harken("train", tmp_path / "a.csv", *asked, *small, "--overwrite", "--out", tmp_path / "run")
        assert result.out.startswith(f"task: {task or 'classify'}\n")
        assert words in result.out


def test_many_classes_are_told_by_their_ends(harken, small, tmp_path):
    lines = [f"film {n},c{n % 9}\n" for n in range(30)] + ["film x,once\n"]
    (tmp_path / "a.csv").write_text("review,label\n" + "".join(lines))
    result = harken("train", tmp_path / "a.csv", *small, "--out", tmp_path / "run")
    assert "10 classes of 'label': from once (1) to c0 (4); 1 of them only once\n" in result.out
    (tmp_path / "b.csv").write_text("review,label\n" + "".join(lines[:27]))
    result = harken("train", tmp_path / "b.csv", *small, "--out", tmp_path / "run", "--overwrite")
    assert "9 classes of 'label': 3 each\n" in result.out


def test_json_is_one_object_and_chatter_goes_to_standard_error(harken, file, small, tmp_path):
    result = harken("train", file("vowels"), *small, "--out", tmp_path / "run", "--json")
    assert result.code == 0, result.err
    assert (result.json["out"], result.json["task"]) == (str(tmp_path / "run"), "classify")
    assert (result.json["validation"], result.json["training_rows"]) == (None, 42)
    assert "task: classify\ninput: series\n" in result.err
    assert "epoch 1/1: " in result.err


def test_metrics_history_and_table_agree(harken, labelled, file, small, tmp_path):
    _, run = labelled("reviews")
    metrics = json.loads((run / "metrics.json").read_text())
    with (run / "history.csv").open() as lines:
        history = list(csv.DictReader(lines))
    assert float(history[-1]["accuracy"]) == metrics["validation"]["accuracy"]
    assert float(history[-1]["valid_loss"]) == metrics["validation"]["loss"]
    result = harken("train", file("reviews"), "--validation", "0.25", *small, "--out", tmp_path / "run")
    assert f"validation accuracy            {metrics['validation']['accuracy']:.2%} " in result.out
    assert "validation score" not in result.out  # it is the accuracy, under another name
    assert f"epoch 1/1: accuracy {metrics['validation']['accuracy']:.2%}, loss " in result.out


def test_of_several_heads_the_score_is_shown(harken, file, small, tmp_path):
    arguments = ["--label", "mood", "--label", "about", "--validation", "0.25", *small]
    result = harken("train", file("attributes"), *arguments, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert all(f"validation {name} " in result.out for name in ("score", "mood accuracy", "about macro f1"))


@pytest.mark.parametrize(("how", "kept", "held"), [("0", 40, None), ("0.25", 30, 10), ("FILE", 40, 12)])
def test_rows_to_validate_on(harken, file, small, tmp_path, how, kept, held):
    data = file("reviews")
    if how == "FILE":
        lines = data.read_text().splitlines(keepends=True)
        how = tmp_path / "held-out.csv"  # without the key that training names
        how.write_text("".join(line.partition(",")[2] for line in lines[:13]))
    arguments = ["--key", "id", "--weight", "weight", "--validation", how, *small, "--out", tmp_path / "run", "--json"]
    result = harken("train", data, *arguments)
    assert result.code == 0, result.err
    assert result.json["training_rows"] == kept
    assert (result.json["validation"] or {}).get("rows") == held


def test_a_printed_configuration_can_be_fed_back(harken, file, small, tmp_path):
    data = file("vowels")
    printed = harken("train", data, *small, "--print-config")
    assert (printed.code, printed.err) == (0, "")
    assert RunConfig.from_yaml(printed.out).task == "classify"
    (tmp_path / "vowels.yaml").write_text(printed.out)
    assert harken("train", "--config", tmp_path / "vowels.yaml", "--print-config").out == printed.out
    result = harken("train", "--config", tmp_path / "vowels.yaml", "--out", tmp_path / "run")
    assert (result.code, "recipe: " in result.out) == (0, True), result.err


def test_ctrl_c_keeps_the_best_model_and_resuming_goes_on(harken, file, small, tmp_path, monkeypatch):
    out, told = tmp_path / "run", []

    def stop_at_the_second_epoch(line):
        told.append(line)
        if line.startswith("epoch 2/"):
            signal.raise_signal(signal.SIGINT)

    data, arguments = file("reviews"), ["--validation", "0.25", *small, "--out", out]
    with monkeypatch.context() as patch:
        patch.setattr("harken.cli.train.show", stop_at_the_second_epoch)
        result = harken("train", data, *arguments, "--epochs", "100")
    assert result.code == 130
    assert f"harken train --resume --out {out}" in result.sentence
    assert sum(line.startswith("epoch") for line in told) == 2
    assert harken("predict", out, "the plot is warm").code == 0

    refused = harken("train", "--resume", "--out", out, "--hidden-size", "5")
    assert (refused.code, "hidden_size was 4" in refused.err) == (2, True)
    more = harken("train", "--resume", "--out", out, "--epochs", "3", "--json")
    assert (more.code, more.json["epochs"], more.json["interrupted"]) == (0, 3, False), more.err
    assert "epoch 2/3" not in more.err


def test_word_vectors_tell_their_coverage(harken, file, small, tmp_path):
    (tmp_path / "glove.txt").write_text("plot 1 2 3\nwarm 4 5 6\nunheard 7 8 9\n")
    arguments = ["train", file("reviews"), "--word-vectors", tmp_path / "glove.txt", *small, "--out", tmp_path / "run"]
    refused = harken(*arguments, "--embedding-size", "4")
    assert refused.code == 2
    assert "embedding_size (4) must be 3" in refused.err
    result = harken(*arguments, "--freeze-vectors")  # the size is the file's
    assert result.code == 0, result.err
    assert re.search(r"word vectors: .*glove.txt has 2 of the \d+ words of the vocabulary", result.out)


def test_training_starts_from_another_run(harken, file, labelled, tmp_path):
    _, run = labelled("reviews")
    arguments = ["--init-from", run, "--epochs", "1", "--out", tmp_path / "run"]
    result = harken("train", file("reviews"), *arguments)
    assert (result.code, "LSTM of 4" in result.out) == (0, True), result.err  # sizes are that run's
    other = harken("train", file("vowels"), *arguments, "--overwrite")
    assert (other.code, "reads text, and these rows are series" in other.err) == (2, True)


# Bad rows: exit code 1 for the rows, 2 for the command; one sentence, no run folder


def _series(cell="1", rows=6):
    lines = "".join(f"{n},2,{cell if n == 3 else 1},4,{'ab'[n % 2]}\n" for n in range(rows))
    return "t0,t1,t2,t3,label\n" + lines


HEADER = "@problemName x\n@univariate true\n@equalLength true\n@seriesLength 2\n@classLabel true a b\n@data\n"
TEXTS = "review,label\n" + "".join(f"film {n},{'ab'[n % 2]}\n" for n in range(20))

BAD = {
    "no labels": ("a.csv", "review,label\nfilm 1,\nfilm 2,\n", [], 1, ("'label'", "empty in every row")),
    "one class": ("a.csv", "review,label\nfilm 1,a\nfilm 2,a\n", [], 1, ("only one class, 'a'",)),
    "no such text": ("a.csv", TEXTS, ["--text", "revue", "--label", "label"], 1, ("--text review",)),
    "no such label": ("a.csv", TEXTS, ["--label", "lable"], 1, ("--label label",)),
    "no such key": ("a.csv", TEXTS, ["--key", "id"], 1, ("no column 'id'", "--key")),
    "no such weight": ("a.csv", TEXTS, ["--weight", "w"], 1, ("no column 'w'", "--weight")),
    "texts that are numbers": (
        *("a.csv", "review,label\n1,a\n2,b\n3,a\n4,b\n", []),
        *(1, ("--text", "column 'review' holds numbers, and --text review reads them as texts")),
    ),
    "only rare words": ("a.csv", TEXTS, ["--min-count", "50"], 2, ("min_count (50) leaves none of the 21 words",)),
    "a word among numbers": ("a.csv", _series("oops"), [], 1, ("line 5", "'oops'", "'t2'")),
    "a missing value": ("a.csv", _series("nan"), [], 1, ("line 5", "--missing")),
    "an infinite value": ("a.csv", _series("inf"), [], 1, ("line 5", "infinite")),
    "a text to regress": ("a.csv", TEXTS, ["--task", "regress"], 1, ("line 2", "not a number")),
    "ragged channels": (
        "a.jsonl",
        "".join(json.dumps({"x": [[1, 2]] * 3 if n != 3 else [[1, 2, 3]], "label": n % 2}) + "\n" for n in range(6)),
        [],
        1,
        ("line 4", "3 values", "2"),
    ),
    "a header that lies": ("a.ts", f"{HEADER}1,2:a\n1,2,3:b\n", [], 1, ("line 8", "3 steps")),
    "a class that the header has not": ("a.ts", f"{HEADER}1,2:a\n1,2:c\n", [], 1, ("line 8", "'c'")),
    "columns of CoNLL": ("a.conllu", "1\tThe\n\n", [], 1, ("line 1", "10")),
    "too many characters": ("a.csv", f"{TEXTS}{'x' * 100_001},a\n", [], 1, ("line 22", "max_characters", "--truncate")),
    "an unknown label to validate on": (
        "a.csv",
        TEXTS,
        ["--validation", "b.csv"],
        1,
        ("b.csv, row 0", "'neutral'", "'a', 'b'"),
    ),
    "no file to validate on": ("a.csv", TEXTS, ["--validation", "c.csv"], 1, ("c.csv", "does not exist")),
    "too much to validate on": ("a.csv", TEXTS, ["--validation", "1.5"], 2, ("validation (1.5)",)),
    "a task that does not fit": ("a.csv", TEXTS, ["--task", "tag"], 1, ("line 2",)),
    "an input that does not fit": ("a.csv", TEXTS, ["--text", "review", "--input", "series"], 1, ("series",)),
    "an even kernel": ("a.csv", TEXTS, ["--kernel-size", "4"], 2, ("kernel_size (4)",)),
    "heads that do not divide": (
        *("a.csv", TEXTS, ["--pooling", "self-attention", "--num-heads", "3"]),
        *(2, ("num_heads (3) must divide",)),
    ),
    "no word vectors": ("a.csv", TEXTS, ["--word-vectors", "glove.txt"], 1, ("glove.txt",)),
    "vectors of a series": ("a.csv", _series(), ["--word-vectors", "b.csv"], 2, ("word_vectors",)),
    "time without id": ("a.csv", TEXTS, ["--time", "label"], 2, ("id must name",)),
    "no run to start from": ("a.csv", TEXTS, ["--init-from", "nowhere"], 1, ("nowhere", "no such folder")),
    "a label where labels have no name": (
        *("a.ts", f"{HEADER}1,2:a\n3,4:b\n", ["--label", "nope"]),
        *(1, ("a.ts: label ('nope')", "labels have no name: leave it out")),
    ),
    "an id where a row is a series": ("a.ts", f"{HEADER}1,2:a\n3,4:b\n", ["--id", "who"], 1, ("id ('who')", ".ts")),
    "a header of sentences": ("a.conllu", "1\tThe" + "\t_" * 8 + "\n\n", ["--no-header"], 1, ("header (False)", "CSV")),
    "a delimiter of JSON": ("a.jsonl", '{"review": "a", "label": 1}\n', ["--delimiter", ";"], 1, ("delimiter (';')",)),
    "a strange encoding": ("a.csv", TEXTS, ["--encoding", "klingon"], 2, ("klingon",)),
    "an option of another task": (
        "a.ts",
        f"{HEADER}1,2:a\n",
        ["--task", "classify", "--kind", "plain"],
        2,
        ("'kind'",),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_and_commands_are_one_sentence_and_leave_nothing(harken, small, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    name, content, options, code, words = BAD[case]
    (tmp_path / "b.csv").write_text("review,label\nfilm,neutral\n")
    (tmp_path / name).write_text(content)
    result = harken("train", name, *small, *options, "--out", "run")
    assert result.code == code, result.err
    assert all(word in result.sentence for word in words), result.sentence
    assert not (tmp_path / "run").exists()


def test_texts_that_are_numbers_are_read_if_asked_for(harken, small, tmp_path):
    (tmp_path / "a.csv").write_text("review,label\n007,a\n1.50,b\n3,a\n4,b\n")
    arguments = ["--text", "review", *small, "--out", tmp_path / "run", "--json"]
    result = harken("train", tmp_path / "a.csv", *arguments)
    assert (result.code, result.json["training_rows"]) == (0, 4), result.err
    assert "input: text, column 'review'" in result.err


def test_rows_to_validate_on_with_unknown_labels_are_skipped_if_asked_for(harken, file, small, tmp_path):
    (tmp_path / "b.csv").write_text("review,stars\nwarm,good\nso so,neutral\nflat,bad\n")
    arguments = ["train", file("reviews"), *small, "--validation", tmp_path / "b.csv", "--out", tmp_path / "run"]
    refused = harken(*arguments)
    assert refused.code == 1
    assert "b.csv, row 1 (counted from 0): the label 'neutral' (stars)" in refused.err
    assert "only 'bad', 'good'" in refused.err
    skipped = harken(*arguments, "--skip-bad-rows", "--json")
    assert (skipped.code, skipped.json["validation"]["rows"]) == (0, 2), skipped.err


def test_labels_of_an_npz_file_are_arrays_in_it(harken, file, small, tmp_path):
    data, arguments = file("waves"), [*small, "--out", tmp_path / "run"]
    result = harken("train", data, "--label", "nope", *arguments)
    assert result.code == 1
    assert "waves.npz has no array 'nope', only 'X', 'y': choose one with --label" in result.sentence
    result = harken("train", data, "--label", "y", *arguments)
    assert (result.code, "classes of 'y'" in result.out) == (0, True), result.err


def test_npz_never_unpickles(harken, small, tmp_path):
    np.savez(tmp_path / "a.npz", X=np.array([[1, 2], [3]], dtype=object), y=np.array([1, 2]))
    result = harken("train", tmp_path / "a.npz", *small, "--out", tmp_path / "run")
    assert (result.code, "Python objects" in result.sentence) == (1, True)


def test_a_long_row_is_truncated_only_if_told_to(harken, small, tmp_path):
    (tmp_path / "a.csv").write_text(f"{TEXTS}{'word ' * 40_000},a\n")
    arguments = ["train", tmp_path / "a.csv", *small, "--out", tmp_path / "run", "--json"]
    assert harken(*arguments).code == 1
    assert harken(*arguments, "--truncate", "50").json["training_rows"] == 21
    assert harken(*arguments, "--skip-bad-rows", "--overwrite").json["training_rows"] == 20


def test_missing_values_are_filled_if_told_how(harken, small, tmp_path):
    (tmp_path / "a.csv").write_text(_series("", rows=8))
    for how in ("carry", "linear", "mean"):
        result = harken("train", tmp_path / "a.csv", *small, "--missing", how, "--overwrite", "--out", tmp_path / "run")
        assert result.code == 0, result.err
    assert harken("predict", tmp_path / "run", "--data", tmp_path / "a.csv").code == 0  # as in training


def test_empty_rows_are_legal(harken, small, tmp_path):
    (tmp_path / "a.csv").write_text(TEXTS + ",a\n  ,b\n")
    result = harken("train", tmp_path / "a.csv", "--text", "review", *small, "--out", tmp_path / "run", "--json")
    assert (result.code, result.json["training_rows"]) == (0, 22), result.err
