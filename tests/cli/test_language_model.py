"""What each verb does with a language model, and what it says of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TINY = (
    *("--task", "language-model", "--hidden-size", "8", "--embedding-size", "8", "--num-layers", "1"),
    *("--epochs", "1", "--batch-size", "4", "--bptt", "10", "--memory-length", "6"),
)
TEXT = "the cat sat on the mat\na dog sat on a log\n" * 20


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "book.txt"
    file.write_text(TEXT)
    return file


@pytest.fixture(scope="module")
def run(train: Any, book: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(book, tmp_path_factory.mktemp("run") / "run", *TINY)


def test_train_tells_the_text_the_vocabulary_and_the_perplexity(harken: Any, book: Path, tmp_path: Path) -> None:
    result = harken("train", book, *TINY, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert "task: language-model" in result.out
    assert "tokens to learn from" in result.out
    assert "epoch 1/1: perplexity" in result.out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["validation"]["perplexity"] > 1
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_an_option_that_only_a_language_model_has_says_what_is_to_be_learned(
    harken: Any, book: Path, tmp_path: Path
) -> None:
    result = harken("train", book, *TINY[2:], "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert "task: language-model" in result.out


def test_a_folder_is_its_texts(harken: Any, book: Path, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    for name in ("one.txt", "two.txt"):
        (tmp_path / "books" / name).write_text(TEXT)
    result = harken("train", tmp_path / "books", *TINY, "--validation", book, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert "560 tokens to learn from, 280 to validate on" in result.out


def test_evaluate_says_perplexity_and_bits_per_character(harken: Any, run: Path, book: Path) -> None:
    result = harken("evaluate", run, "--data", book)
    assert result.code == 0, result.err
    assert "perplexity" in result.out
    assert "bits per character" in result.out
    found = harken("evaluate", run, "--data", book, "--json").json
    assert found["tokens"] == 280
    assert found["unknown"] == 0
    refused = harken("evaluate", run, "--data", book, "--confusion", "who.png")
    assert refused.code == 2
    assert "--confusion" in refused.sentence


def test_predict_goes_on_after_a_prompt(harken: Any, run: Path) -> None:
    asked = ("predict", run, "--max-tokens", "8", "--seed", "1", "--temperature", "0.8", "--top-p", "0.9")
    result = harken(*asked, "--prompt", "the cat")
    assert result.code == 0, result.err
    assert result.out.startswith("the cat")
    found = harken(*asked, "--prompt", "the cat", "--json").json
    assert found["prompt"] == "the cat"
    assert result.out.rstrip("\n") == ("the cat" + found["text"]).rstrip("\n")
    assert harken(*asked, stdin="the cat\n").out == result.out, "what is piped in is the prompt"
    greedy = ("predict", run, "--temperature", "0", "--max-tokens", "5", "--prompt", "a")
    assert harken(*greedy).out == harken(*greedy, "--seed", "9").out


def test_an_empty_prompt_begins_a_text_and_an_unknown_one_is_warned_of(harken: Any, run: Path) -> None:
    assert harken("predict", run, "--prompt", "", "--max-tokens", "4").code == 0
    result = harken("predict", run, "--prompt", "zebra quagga", "--max-tokens", "4")
    assert result.code == 0
    assert "warning: prompts with something that training never showed: 1 of 1 ('zebra', 'quagga')" in result.err
    strict = harken("predict", run, "--prompt", "zebra", "--max-tokens", "4", "--strict")
    assert strict.code == 1
    assert "'zebra'" in strict.sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prompt", "a", "--temperature", "-1"), ("temperature", "-1", "greater than or equal to 0")),
        (("--prompt", "a", "--top-p", "0"), ("top_p", "greater than 0")),
        (("--prompt", "a", "--top-p", "1.5"), ("top_p", "less than or equal to 1")),
        (("--prompt", "a", "--max-tokens", "0"), ("max_tokens", "greater than or equal to 1")),
        (("a text",), ("--prompt",)),
        (("--prompt", "a", "--out", "text.csv"), ("--out",)),
    ],
)
def test_predict_refuses_in_one_sentence(
    harken: Any, run: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    result = harken("predict", run, *arguments)
    assert result.code == 2
    assert all(word in result.sentence for word in words), result.sentence


def test_explain_shows_the_past_words_that_were_looked_at(harken: Any, run: Path, tmp_path: Path) -> None:
    result = harken("explain", run, "the cat sat on a mat")
    assert result.code == 0, result.err
    assert "'mat'" in result.out
    rows = harken("explain", run, "the cat sat", "--json").json["rows"]
    assert {row["target"] for row in rows} == {"the", "cat", "sat"}
    assert all(row["weight"] == 0 for row in rows if row["source_index"] >= row["target_index"])
    for name in ("map.png", "map.html", "map.parquet", "map.json"):
        written = harken("explain", run, "the cat sat", "--out", tmp_path / name)
        assert written.code == 0, written.err
        assert (tmp_path / name).stat().st_size > 100


def test_inspect_shows_the_layers(harken: Any, run: Path, tmp_path: Path) -> None:
    result = harken("inspect", run, "--out", tmp_path / "layers.png")
    assert result.code == 0, result.err
    assert "PastAttention" in result.out
    assert "the output layer sees" in result.out
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("has 0 characters",)),
        (b"one two\nth\xe9 three\n", ("line 2", "byte 0xe9", "utf-8")),
        (b"a\0b\n" * 9, ("binary",)),
    ],
    ids=["empty", "latin", "binary"],
)
def test_a_text_that_cannot_be_read_is_refused_with_its_place(
    harken: Any, tmp_path: Path, content: bytes, words: tuple[str, ...]
) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    result = harken("train", tmp_path / "text.txt", *TINY, "--out", tmp_path / "run")
    assert result.code == 1
    assert all(word in result.err.lower() for word in words), result.err
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_of_one_is_refused_and_a_text_shorter_than_a_window_is_not(harken: Any, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("aaaa" * 30)
    result = harken("train", tmp_path / "one.txt", *TINY, "--tokens", "character", "--out", tmp_path / "one")
    assert result.code == 1
    assert "nothing to predict: every token" in result.err
    (tmp_path / "short.txt").write_text("one two three\nfour five\nsix\n")
    result = harken("train", tmp_path / "short.txt", *TINY, "--bptt", "500", "--out", tmp_path / "short")
    assert result.code == 0, result.err


def test_a_missing_file_is_said_to_be_missing(harken: Any, tmp_path: Path) -> None:
    result = harken("train", tmp_path / "nothing.txt", *TINY, "--out", tmp_path / "run")
    assert result.code == 1
    assert "does not exist" in result.err
