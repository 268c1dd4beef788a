"""harken.estimators.language_model: text in, perplexity and text out, whatever the tokens."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harken
from harken.errors import ConfigError, DataError, NotFittedError, UsageError
from harken.estimators.language_model import LanguageModel
from harken.training.callbacks import Stop

LINES = ["the cat sat on the mat", "a dog sat on a log", "the dog saw the cat", "", "a cat is not a dog"]
TEXT = "\n".join(LINES * 12) + "\n"
SMALL: dict[str, Any] = {
    "hidden_size": 12, "embedding_size": 12, "num_layers": 1, "memory_length": 7, "epochs": 2, "batch_size": 4,
    "bptt": 10, "show_examples": 0, "learning_rate": 0.02,
}  # fmt: skip
KINDS = ("word", "wordpunct", "character", "byte", "bpe")


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return LanguageModel(tokens=request.param, vocabulary_size=300, **SMALL).fit(TEXT)


def weights(model: LanguageModel) -> dict[str, torch.Tensor]:
    return dict(model.predictor.bundle.weights)


def test_perplexity_is_that_of_the_log_probability_of_the_same_text(model: LanguageModel) -> None:
    found = model.evaluate(TEXT)
    [total] = model.log_prob([TEXT])
    assert total == pytest.approx(-found["loss"] * found["tokens"], rel=1e-5)
    assert model.perplexity(TEXT) == pytest.approx(math.exp(found["loss"]))
    assert found["bits_per_character"] == pytest.approx(-total / math.log(2) / len(TEXT), rel=1e-5)
    assert found["characters"] == len(TEXT)
    assert model.score(TEXT) == -found["loss"]


def test_a_log_probability_does_not_depend_on_the_texts_beside_it(model: LanguageModel) -> None:
    texts = ["the cat", "", LINES[1] + "\n" + LINES[2], "a", TEXT]
    together = model.log_prob(texts)
    alone = np.array([model.log_prob([text])[0] for text in texts])
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert together[1] == 0
    assert (together[[0, 2, 3, 4]] < 0).all()


def test_a_text_is_as_likely_as_its_beginning_times_what_goes_on(model: LanguageModel) -> None:
    rows = model.predictor.log_probabilities(["the cat\na dog", "the cat\n"])
    torch.testing.assert_close(rows[0][: len(rows[1])], rows[1])


def test_generated_text_follows_from_the_seed_and_comes_piece_by_piece(model: LanguageModel) -> None:
    options = {"max_tokens": 40, "temperature": 0.9, "top_p": 0.95}
    text = model.generate("the cat", seed=1, **options)
    assert "".join(model.stream("the cat", seed=1, **options)) == text
    assert text != model.generate("the cat", seed=2, **options)
    assert list(islice(model.stream("the cat", seed=1, **options), 3)) == list(
        islice(model.stream("the cat", seed=1, **options | {"max_tokens": 4000}), 3)
    )
    assert model.generate("the cat", max_tokens=5, temperature=0) == model.generate(
        "the cat", max_tokens=5, temperature=0, seed=99
    )


def test_greedy_text_is_what_log_probabilities_say(model: LanguageModel) -> None:
    tokenizer = model.predictor.tokenizer
    if tokenizer.kind != "character":
        pytest.skip("a text of one more character has one more token for sure")
    written = model.generate("the ", max_tokens=1, temperature=0)
    letters = sorted(set(TEXT))
    totals = model.log_prob(["the " + letter for letter in letters])
    assert letters[int(totals.argmax())] == written


def test_a_prompt_may_be_empty_or_unknown(model: LanguageModel) -> None:
    for prompt in ("", "\n", "Ωλφ ξξ", "the cat\n"):
        assert isinstance(model.generate(prompt, max_tokens=3), str)
    with pytest.raises(DataError, match="surrogate"):
        model.generate("\ud800")


def test_saved_and_loaded_it_says_the_same(model: LanguageModel, tmp_path: Path) -> None:
    model.save(tmp_path / "lm")
    loaded = harken.load(tmp_path / "lm")
    assert isinstance(loaded, LanguageModel)
    np.testing.assert_array_equal(loaded.log_prob(LINES), model.log_prob(LINES))
    assert loaded.generate("a", seed=3, max_tokens=9) == model.generate("a", seed=3, max_tokens=9)


def test_attention_is_aligned_to_the_text(model: LanguageModel) -> None:
    [attention] = model.explain(["the cat sat\non a mat"])
    steps = len(attention.target_tokens)
    assert attention.weights.shape == (steps, steps)
    assert not attention.weights.triu().any()  # neither the step itself nor the future
    np.testing.assert_allclose(attention.weights[1:].sum(-1), 1, rtol=1e-5)
    assert attention.source_tokens[1:] == attention.target_tokens[:-1]
    if model.predictor.tokenizer.kind in ("word", "wordpunct", "character"):
        spans = [attention.source[start:end] for start, end in attention.spans]
        assert spans[1:] == attention.source_tokens[1:]
        assert attention.source_tokens[0] == "\n"


def test_words_of_a_line_end_with_a_line_feed() -> None:
    model = LanguageModel(**SMALL).fit(TEXT)
    text = model.generate(max_tokens=60, seed=0)
    assert "\n" in text
    assert not any(line.startswith(" ") or line.endswith(" ") for line in text.split("\n"))
    [attention] = model.explain(["the cat\na dog"])
    assert attention.target_tokens == ["the", "cat", "\n", "a", "dog"]


def test_files_are_read_as_the_text_in_them(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(TEXT[: len(TEXT) // 2])
    (tmp_path / "two.txt").write_text(TEXT[len(TEXT) // 2 :])
    both = LanguageModel(tokens="character", **SMALL).fit(tmp_path, validation=tmp_path / "two.txt")
    named = LanguageModel(tokens="character", validation=str(tmp_path / "two.txt"), **SMALL)
    named.fit([tmp_path / "one.txt", tmp_path / "two.txt"])
    memory = LanguageModel(tokens="character", **SMALL).fit(TEXT, validation=TEXT[len(TEXT) // 2 :])
    for other in (named, memory):
        for name, weight in weights(both).items():
            torch.testing.assert_close(weight, weights(other)[name], rtol=0, atol=0)


@pytest.mark.parametrize("steps", [3, 7], ids=["in the first epoch", "in the second"])
def test_an_interrupted_run_resumes_as_if_never_interrupted(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SMALL | {"tokens": "character", "bptt": 60, "epochs": 3, "weight_dropout": 0.3}
    whole = LanguageModel(**options).fit(TEXT, out=tmp_path / "whole")
    assert len(whole.history_) == 3
    with monkeypatch.context() as patch:
        was = Stop.on_train_batch_end

        def stop(self: Stop, trainer: Any, *arguments: Any) -> None:
            self.requested = trainer.global_step >= steps
            was(self, trainer, *arguments)

        patch.setattr(Stop, "on_train_batch_end", stop)
        assert LanguageModel(**options).fit(TEXT, out=tmp_path / "parts").interrupted_
    resumed = LanguageModel(**options).fit(TEXT, out=tmp_path / "parts", resume=True)
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weight, weights(resumed)[name], rtol=0, atol=0)


def test_it_learns_what_can_be_learned() -> None:
    pattern = "abcd" * 300
    options = {"tokens": "character", "epochs": 30, "bptt": 16, "batch_size": 8, "dropout": 0.0, "input_dropout": 0.0}
    model = LanguageModel(**SMALL | options).fit(pattern)
    assert model.perplexity("abcd" * 20) < 1.1
    assert model.generate("abc", max_tokens=6, temperature=0) == "dabcda"


def test_mixed_precision_trains_and_is_scored_in_full_precision() -> None:
    model = LanguageModel(precision="bf16-mixed", **SMALL).fit(TEXT, validation=TEXT)
    assert model.best_epoch_ is not None
    assert model.best_epoch_.valid["loss"] == pytest.approx(model.evaluate(TEXT)["loss"], rel=1e-6)


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to predict: every token"):
        LanguageModel(tokens="character", **SMALL).fit("aaaaaaaaaaaaaaaaaaaaaaaaa", validation="aa")
    for empty in ("", []):
        with pytest.raises(DataError, match=r"empty|no text"):
            LanguageModel(**SMALL).fit(empty, validation=TEXT)
    (tmp_path / "book.txt").write_text(TEXT)
    with pytest.raises(UsageError, match="name of a file"):
        LanguageModel(**SMALL).fit(str(tmp_path / "book.txt"))
    with pytest.raises(DataError, match="does not exist"):
        LanguageModel(**SMALL).fit(tmp_path / "other.txt")
    with pytest.raises(DataError, match="every text must be a str"):
        LanguageModel(**SMALL).fit([1, 2])  # type: ignore[list-item]
    (tmp_path / "latin.txt").write_bytes(b"one\ntwo \xe9t\xe9\n")
    with pytest.raises(DataError, match=r"latin\.txt, line 2: byte 0xe9 is not utf-8|line 2: byte 0xe9"):
        LanguageModel(**SMALL).fit(tmp_path / "latin.txt", validation=TEXT)


def test_a_text_shorter_than_a_window_is_learned_from() -> None:
    model = LanguageModel(**SMALL | {"bptt": 500, "batch_size": 64}).fit("one two three\nfour", validation="one two")
    assert model.evaluate("two three")["tokens"] == 3  # a line's end is one


@pytest.mark.parametrize(
    ("option", "value"), [("temperature", -1), ("top_p", 0), ("top_p", 1.5), ("max_tokens", 0), ("hidden", 3)]
)
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=option):
        LanguageModel(**{option: value})
    model = LanguageModel(**SMALL).fit(TEXT)
    with pytest.raises(ConfigError, match=option):
        model.generate("a", **{option: value})


def test_before_it_is_fitted_it_says_so() -> None:
    for ask in ("perplexity", "generate", "evaluate"):
        with pytest.raises(NotFittedError, match="not fitted"):
            getattr(LanguageModel(), ask)("a text")


def test_without_attention_there_is_nothing_to_explain() -> None:
    model = LanguageModel(attention="none", **{n: v for n, v in SMALL.items() if n != "memory_length"}).fit(TEXT)
    with pytest.raises(UsageError, match="attention=none"):
        model.explain(["the cat"])
    assert model.generate("the", max_tokens=4)
