"""Running text on the command line, every way in and every complaint; the short way through is test_language_model."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import harken as library
from harken.config import RunConfig


@pytest.fixture(scope="module")
def model(writer):
    return library.load(writer)


# Training


def test_what_is_told_and_what_is_kept(harken, text, tiny_text, tmp_path):
    result = harken("train", text, *tiny_text, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == "task: language-model"
    assert lines[1].startswith("text: ")
    assert lines[3].startswith("recipe: a vector of 16 for each token → 2 × LSTM of 16 → dot attention over 12 past")
    assert lines[4].startswith("epoch 1/1: perplexity ")
    assert lines[5].startswith("  “")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert f"training tokens                 {metrics['training_rows']:,} " in result.out
    assert f"validation tokens               {metrics['validation']['rows']:,} " in result.out
    assert "rows" not in result.out


def test_json_is_one_object(harken, text, tiny_text, tmp_path):
    result = harken("train", text, *tiny_text, "--out", tmp_path / "run", "--json")
    assert (result.code, result.json["task"]) == (0, "language-model")
    assert result.json["validation"]["perplexity"] > 1
    assert result.json["training_rows"] > 300
    assert "epoch 1/1: perplexity" in result.err


@pytest.mark.parametrize("options", [["--bptt", "20"], ["--tokens", "character"], ["--task", "language-model"]])
def test_an_option_says_that_plain_text_is_running_text(harken, text, options):
    result = harken("train", text, *options, "--print-config")
    assert (result.code, RunConfig.from_yaml(result.out).task) == (0, "language-model")


def test_pairs_without_a_delimiter_might_be_running_text(harken, text, tmp_path):
    result = harken("train", text, "--out", tmp_path / "run")
    assert result.code == 1
    assert "book.txt, line 1: there is no delimiter" in result.sentence
    assert "--task language-model" in result.sentence


def test_a_folder_of_texts_a_file_to_validate_on_and_a_configuration(harken, text, tiny_text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "books").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "books" / name).write_text(text.read_text())
    first = harken("train", "books", *tiny_text, "--validation", "book.txt", "--print-config")
    assert (first.code, first.err) == (0, "")
    (tmp_path / "lm.yaml").write_text(first.out)
    result = harken("train", "--config", "lm.yaml", "--set", "model.num_layers=1", "--json")
    assert result.code == 0, result.err
    assert result.json["out"] == "runs/books"
    held_out = library.load("runs/books").evaluate(text)
    assert result.json["validation"]["rows"] == held_out["tokens"]
    assert result.json["training_rows"] == 2 * held_out["tokens"]
    assert result.json["validation"]["perplexity"] == pytest.approx(held_out["perplexity"])


def test_a_run_is_refused_resumed_or_replaced(harken, text, tiny_text, tmp_path):
    out = tmp_path / "run"
    command = ["train", text, *tiny_text, "--out", out]
    assert harken(*command).code == 0
    refused = harken(*command)
    assert refused.code == 2
    assert "--resume" in refused.sentence
    more = harken("train", "--resume", "--out", out, "--epochs", "2", "--json")
    assert (more.code, more.json["epochs"]) == (0, 2), more.err
    assert "epoch 2/2" in more.err
    assert "epoch 1/2" not in more.err
    other = harken("train", "--resume", "--out", out, "--bptt", "5")
    assert (other.code, "bptt" in other.sentence) == (2, True)
    assert harken(*command, "--overwrite", "--json").json["epochs"] == 1


def test_ctrl_c_keeps_the_best_model(harken, interrupted, text, tiny_text, tmp_path):
    out = tmp_path / "run"
    interrupted(text, *tiny_text, "--out", out)
    assert harken("evaluate", out, "--data", text).code == 0


BAD = {
    "missing file": (None, (), ("book.txt does not exist",)),
    "empty file": (b"", (), ("book.txt", "must have two")),
    "empty file, another to validate on": (b"", ("--validation", "other.txt"), ("book.txt is empty: give a text",)),
    "not UTF-8": (b"good\nline\ncaf\xe9\n", (), ("book.txt, line 3: byte 0xe9 is not UTF-8", "iconv", "--encoding")),
    "binary": (bytes(range(256)), (), ("book.txt is a binary file",)),
    "a vocabulary of one": (b"a" * 99, ("--tokens", "character"), ("nothing to predict", "every token of", "'a'")),
    "nothing but ends of lines": (b"\n" * 9, (), ("nothing to predict", "book.txt")),
    "a vocabulary without room": (b"a b\n" * 9, ("--vocabulary-size", "4"), ("vocabulary_size (4)", "more than 4")),
    "nothing to validate on": (b"a b\n" * 9, ("--validation", "empty.txt"), ("empty.txt is empty: give a text",)),
    "no file to validate on": (b"a b\n" * 9, ("--validation", "nope.txt"), ("nope.txt does not exist",)),
    "a wrong encoding": (b"a b\n" * 9, ("--encoding", "utf-9"), ("encoding ('utf-9') is not known",)),
    "another task's option": (b"a b\n" * 9, ("--label", "x"), ("'label'", "not of task=language-model")),
    "nothing to share a layer": (
        b"a b\n" * 9,
        ("--attention", "none", "--attend-layers", "all"),
        ("attend_layers ('all') needs attention",),
    ),
    "no tokens to write": (b"a b\n" * 9, ("--max-tokens", "0"), ("max_tokens (0)", "greater than or equal to 1")),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_text_is_one_sentence_and_leaves_nothing(harken, tiny_text, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    content, options, words = BAD[case]
    if content is not None:
        Path("book.txt").write_bytes(content)
    Path("other.txt").write_text("a b\nb a\n")
    Path("empty.txt").touch()
    result = harken("train", "book.txt", *tiny_text, *options, "--out", "run")
    assert result.code in (1, 2)
    assert all(word in result.sentence for word in words), result.sentence
    assert not Path("run").exists()


# Measuring


def test_the_estimators_numbers(harken, writer, model, tmp_path):
    (tmp_path / "test.txt").write_text("the dog saw a zebra\n")
    result = harken("evaluate", writer, "--data", tmp_path / "test.txt", "--json")
    truth = model.evaluate(tmp_path / "test.txt")
    assert result.code == 0, result.err
    assert result.json == {"data": str(tmp_path / "test.txt"), **truth, "unknown_share": pytest.approx(1 / 6)}
    table = harken("evaluate", writer, "--data", tmp_path / "test.txt").out
    for line in (
        f"perplexity           {truth['perplexity']:.4g}",
        f"bits per character   {truth['bits_per_character']:.4g}",
        f"loss                 {truth['loss']:.4g}",
        "tokens               6",
        "unknown share        16.67%",
    ):
        assert line in table


@pytest.mark.parametrize(
    ("content", "arguments", "code", "words"),
    [
        (b"", [], 1, ("test.txt is empty: give a text",)),
        (None, [], 1, ("test.txt does not exist",)),
        (b"a\n\xff\n", [], 1, ("test.txt, line 2: byte 0xff is not UTF-8",)),
        (b"a\n", ["--confusion", "a.png"], 2, ("--confusion is about classes",)),
        (b"a\n", ["--temperature", "0.5"], 2, ("--temperature changes nothing", "evaluate")),
        (b"a\n", ["--seed", "5"], 2, ("--seed changes nothing",)),
        (b"a\n", ["--label", "x"], 2, ("'label'", "not of task=language-model")),
    ],
)
def test_what_cannot_be_measured(harken, writer, tmp_path, monkeypatch, content, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("test.txt").write_bytes(content)
    result = harken("evaluate", writer, "--data", "test.txt", *arguments)
    assert result.code == code, result.err
    assert all(word in result.sentence for word in words), result.sentence
    assert result.out == ""


def test_another_encoding(harken, writer, tmp_path):
    (tmp_path / "test.txt").write_bytes(b"the caf\xe9\n")
    arguments = ["evaluate", writer, "--data", tmp_path / "test.txt", "--encoding", "latin-1", "--json"]
    assert harken(*arguments).json["characters"] == 9


# Showing


def test_a_picture_and_a_page(harken, writer, tmp_path):
    for name, begin in (("map.png", b"\x89PNG"), ("map.html", b"<!doctype html>")):
        result = harken("explain", writer, "the dog saw the cat", "--out", tmp_path / name)
        assert (result.code, result.out, result.err) == (0, "", f"wrote {tmp_path / name}\n")
        assert (tmp_path / name).read_bytes().startswith(begin)
    page = (tmp_path / "map.html").read_text()
    assert "<h2><bdi>the dog saw the cat</bdi></h2>" in page
    assert "layer 1</caption>" in page


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_rows(harken, writer, model, tmp_path, suffix):
    out = tmp_path / f"map{suffix}"
    assert harken("explain", writer, "the dog", "a cat sat", "--out", out).code == 0
    rows = json.loads(out.read_text()) if suffix == ".json" else pq.read_table(out).to_pylist()
    expected = [line for n, a in enumerate(model.explain(["the dog", "a cat sat"])) for line in a.rows(n)]
    assert len(rows) == 2 * (2 * 2 + 3 * 3)
    assert [r["weight"] for r in rows] == pytest.approx([e["weight"] for e in expected])
    assert [{**r, "weight": 0} for r in rows] == [{**e, "weight": 0} for e in expected]


def test_the_table_names_the_past(harken, writer):
    out = harken("explain", writer, "the dog saw").out
    text, _, header, _, *lines = [line.strip() for line in out.splitlines()]
    assert text == "the dog saw"
    assert header.split() == ["next", "token", "layer", "looked", "at"]
    assert [line.split()[:2] for line in lines if line] == [[f"'{w}'", n] for n in "01" for w in ("the", "dog", "saw")]
    assert lines[0].split() == ["'the'", "0"], "before the first token there is nothing to look at"
    assert lines[1].split() == ["'dog'", "0", r"'\n'", "1.00"]


def test_lines_of_a_file_keep_their_numbers(harken, writer, tmp_path):
    (tmp_path / "in.txt").write_text("the dog\n\n  \na cat sat\n")
    found = harken("explain", writer, "--data", tmp_path / "in.txt", "--json").json
    assert found["texts"] == ["the dog", "a cat sat"]
    assert {row["row"] for row in found["rows"]} == {0, 3}
    piped = harken("explain", writer, "--json", stdin="the dog\n\n  \na cat sat\n").json
    assert piped == found | {"out": None}


def test_unknown_words_are_a_warning(harken, writer):
    result = harken("explain", writer, "the zebra", "a cat")
    assert result.code == 0
    assert "warning: texts with something that training never showed: 1 of 2 ('zebra')" in result.err
    assert "'zebra'" in result.out


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        ([""], None, 2, ("text 1 is empty",)),
        (["a", "--by", "gradients"], None, 2, ("--by and --believe",)),
        (["a", "--believe"], None, 2, ("--by and --believe",)),
        (["a", "--seed", "3"], None, 2, ("--seed changes nothing",)),
        (["a", "--encoding", "latin-1"], None, 2, ("--encoding changes nothing",)),
        (["a", "--max-length", "3"], None, 2, ("'max_length'", "task=seq2seq")),
        (["a", "--data", "in.txt"], None, 2, ("leave one of them out",)),
        (["--data", "blank.txt"], None, 1, ("blank.txt holds no text",)),
        (["--data", "nope.txt"], None, 1, ("nope.txt does not exist",)),
        (["a " * 2001], None, 1, ("2,001 tokens", "too long to show", "2,000")),
        ([], "", 1, ("standard input is empty",)),
        ([], "\n\n", 1, ("standard input holds no text",)),
    ],
)
def test_what_cannot_be_shown(harken, writer, tmp_path, monkeypatch, arguments, stdin, code, words):
    monkeypatch.chdir(tmp_path)
    Path("blank.txt").write_text("\n \n")
    result = harken("explain", writer, *arguments, stdin=stdin)
    assert result.code == code, result.err
    assert all(word in result.sentence for word in words), result.sentence
    assert result.out == ""


def test_a_model_that_does_not_attend(harken, text, tiny_text, tmp_path):
    out = tmp_path / "run"
    assert harken("train", text, *tiny_text, "--attention", "none", "--out", out).code == 0
    result = harken("explain", out, "the dog", "--out", tmp_path / "map.png")
    assert result.code == 2
    assert "attention=none does not attend" in result.sentence
    assert not (tmp_path / "map.png").exists()
    assert "the output layer sees last h (16)\n" in harken("inspect", out).out


# Looking into


def test_layers(harken, writer, model, tmp_path):
    result = harken("inspect", writer, "--out", tmp_path / "model.png")
    assert (result.code, result.err) == (0, f"wrote {tmp_path / 'model.png'}\n")
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    assert "a linear map (16) of h of layer 0 (16) ⊕ h of layer 1 (16) ⊕ context 0 (16) ⊕ context 1 (16)" in result.out
    found = harken("inspect", writer, "--json").json
    total = sum(parameter.numel() for parameter in model.predictor.model.parameters())
    assert found["parameters"] == total == sum(layer["parameters"] for layer in found["layers"])
