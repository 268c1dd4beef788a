"""The front door, on a task small enough to learn in seconds."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import harken
from harken.config import DecodingConfig, Seq2SeqRun
from harken.errors import BundleError, ConfigError, DataError, NotFittedError, UsageError

OPTIONS: dict[str, Any] = {
    "hidden_size": 32,
    "embedding_size": 16,
    "batch_size": 32,
    "epochs": 12,
    "learning_rate": 0.02,
    "accelerator": "cpu",
}


def pairs(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Words of one to five letters; each letter becomes the next one of the alphabet."""
    chance = random.Random(seed)
    sources = ["".join(chance.choices("abcdef", k=chance.randint(1, 5))) for _ in range(n)]
    return sources, ["".join(chr(ord(c) + 1) for c in s) for s in sources]


@pytest.fixture(scope="module")
def fitted() -> harken.Seq2Seq:
    return harken.Seq2Seq(**OPTIONS).fit(*pairs(1500))


def test_it_learns(fitted: harken.Seq2Seq) -> None:
    sources, targets = pairs(200, seed=1)
    assert fitted.score(sources, targets) > 0.9
    assert fitted.score(sources, targets) == pytest.approx(
        sum(a == b for a, b in zip(fitted.predict(sources), targets, strict=True)) / 200
    )


def test_evaluate_says_what_its_names_say(fitted: harken.Seq2Seq) -> None:
    sources, targets = pairs(50, seed=2)
    scores = fitted.evaluate(sources, targets)
    assert set(scores) == {"exact_match", "token_accuracy", "loss", "perplexity", "rows"}
    assert scores["rows"] == 50
    assert scores["perplexity"] == pytest.approx(math.exp(scores["loss"]))
    total = tokens = 0.0
    for source, target in zip(sources, targets, strict=True):  # one at a time, by the definition
        ids = fitted.target_tokenizer.encode([target])[0].tolist()
        read = fitted.source_tokenizer.encode([source])[0].unsqueeze(0)
        said = torch.tensor([[fitted.target_tokenizer.bos_id, *ids]])
        with torch.no_grad():
            logits = fitted.model(read, torch.tensor([read.shape[1]]), said, torch.tensor([len(ids) + 1])).logits[0]
        true = torch.tensor([*ids, fitted.target_tokenizer.eos_id])
        total -= float(logits.log_softmax(-1).gather(1, true[:, None]).sum())
        tokens += len(true)
    assert scores["loss"] == pytest.approx(total / tokens, rel=1e-4)


def test_probability_is_the_answers_own(fitted: harken.Seq2Seq) -> None:
    texts, probabilities = fitted.predict_with_probability(["abc", "ffff", ""])
    for source, text, probability in zip(["abc", "ffff", ""], texts, probabilities, strict=True):
        loss = fitted.evaluate([source], [text])
        assert probability == pytest.approx(math.exp(-loss["loss"] * (len(text) + 1)), rel=1e-3)


def test_answers_come_in_the_order_asked_and_do_not_depend_on_company(fitted: harken.Seq2Seq) -> None:
    sources, _ = pairs(40, seed=3)
    together = fitted.predict_with_probability(sources)
    for i in (0, 7, 39):
        alone = fitted.predict_with_probability([sources[i]])
        assert alone.texts[0] == together.texts[i]
        assert alone.probabilities[0] == pytest.approx(together.probabilities[i], rel=1e-4)


def test_what_was_fitted_stays_until_the_next_fit() -> None:
    model = harken.Seq2Seq(**OPTIONS | {"epochs": 1}).fit(*pairs(100))
    sources, _ = pairs(30, seed=9)
    before = model.predict_with_probability(sources)
    assert model.set_params(reverse_source=True, strip=False, kind="plain").predict_with_probability(sources) == before
    assert model.explain(sources[:1])[0].target == before.texts[0]


def test_limits_are_those_of_today(fitted: harken.Seq2Seq) -> None:
    long = harken.Seq2Seq.from_bundle(fitted.predictor.bundle).set_params(max_characters=4)
    with pytest.raises(DataError, match=r"max_characters \(4\)"):
        long.predict(["abcde"])
    with pytest.raises(DataError, match=r"max_characters \(4\)"):
        long.explain(["abcde"])
    assert long.set_params(max_characters=5).predict(["abcde"]) == fitted.predict(["abcde"])


@pytest.mark.parametrize("column", ["list", "pandas", "arrow", "numpy"])
def test_any_column_goes_in_and_rows_stay_in_place(fitted: harken.Seq2Seq, column: str) -> None:
    texts = ["abc", "fed", "a", "ccccc"]
    made = {
        "list": list,
        "pandas": lambda t: pd.Series(t, index=[3, 2, 1, 0]),
        "arrow": pa.array,
        "numpy": np.array,
    }[column](texts)
    assert fitted.predict(made) == fitted.predict(texts)
    assert [a.source for a in fitted.explain(made)] == texts
    assert [a.target for a in fitted.explain(made)] == fitted.predict(texts)


def test_white_space_around_a_text_is_ignored_and_spans_count_it(fitted: harken.Seq2Seq) -> None:
    assert fitted.predict(["  abc "]) == fitted.predict(["abc"])
    attention = fitted.explain(["  abc "])[0]
    assert [attention.source[a:b] for a, b in attention.spans] == ["a", "b", "c"]


def test_decoding_can_be_chosen_at_prediction(fitted: harken.Seq2Seq) -> None:
    sources, targets = pairs(60, seed=4)
    beam = fitted.evaluate(sources, targets, decoding=DecodingConfig(decoder="beam", beam_size=4))
    assert beam["exact_match"] >= fitted.score(sources, targets) - 0.05
    hot = DecodingConfig(decoder="sample", temperature=5.0)
    first, again, other = (fitted.predict_with_probability(sources, decoding=hot, seed=s).texts for s in (1, 1, 2))
    assert first == again
    assert first != other
    short = fitted.predict_with_probability(["abcde"], decoding=DecodingConfig(max_length=2)).texts[0]
    assert len(short) <= 2


def test_unknown_and_empty_inputs_are_answered(fitted: harken.Seq2Seq) -> None:
    assert fitted.source_tokenizer.unknown("aéb日") == ["é", "日"]
    assert all(isinstance(text, str) for text in fitted.predict(["aéb日", "", "日"]))
    assert fitted.predict([]) == []


def test_save_and_load(fitted: harken.Seq2Seq, tmp_path: Path) -> None:
    fitted.save(tmp_path / "bundle")
    again = harken.load(tmp_path / "bundle")
    sources, _ = pairs(50, seed=5)
    assert again.predict_with_probability(sources) == fitted.predict_with_probability(sources)
    assert again.config == fitted.config
    assert repr(again) == repr(harken.Seq2Seq(**OPTIONS))
    with pytest.raises(BundleError):
        harken.load(tmp_path / "nowhere")


def test_explain_goes_with_predict(fitted: harken.Seq2Seq) -> None:
    attention = fitted.explain(["abcde"])[0]
    assert attention.target == fitted.predict(["abcde"])[0]
    assert attention.weights.shape == (len(attention.target), 5)
    assert attention.weights.sum(-1).allclose(torch.ones(len(attention.target)))


def test_explain_is_the_same_for_a_reversed_source() -> None:
    """A model that reads backwards looks, when it has learned to copy, at the same characters of the original."""
    model = harken.Seq2Seq(**OPTIONS | {"reverse_source": True, "epochs": 15}).fit(*pairs(1500))
    attention = model.explain(["abcde"])[0]
    assert attention.source_tokens == list("abcde")
    memory = model.model.encode(torch.tensor([model.source_tokenizer.encode(["edcba"])[0].tolist()]), torch.tensor([5]))
    first = model.model.step(torch.tensor([model.target_tokenizer.bos_id]), model.model.start(memory), memory)
    assert first.weights is not None
    assert torch.allclose(attention.weights[0], first.weights[0].flip(0), atol=1e-6)


def test_scikit_learns_conventions(fitted: harken.Seq2Seq) -> None:
    from sklearn.base import clone
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(fitted)
    twin = clone(fitted)
    assert twin.get_params() == fitted.get_params()
    assert {name: fitted.get_params()[name] for name in OPTIONS} == OPTIONS
    with pytest.raises(NotFittedError, match=r"call fit"):
        twin.predict(["a"])
    assert twin.set_params(hidden_size=8).config.model.hidden_size == 8
    with pytest.raises(ConfigError, match="hidden_size"):
        twin.set_params(hiden_size=8)


def test_from_config_is_the_inverse_of_options() -> None:
    config = Seq2SeqRun().override(hidden_size=7, delimiter="_", beam_size=2)
    assert harken.Seq2Seq.from_config(config).config == config


@pytest.mark.parametrize(
    ("sources", "targets", "arguments", "said"),
    [
        (["a", "b"], ["c"], {}, "2 sources and 1 targets"),
        ("ab", "cd", {}, "sources is one str"),
        (["a", 3], ["b", "c"], {}, r"sources\[1\] is int \(3\)"),
        (["a", "b" * 100_001], ["b", "c"], {}, "100,001 characters, more than max_characters"),
        ([], [], {}, "distinct|rows"),
        (["a", "a"], ["b", "b"], {}, "distinct|validation"),
        (["a", "b"], ["c", "d"], {"validation": ([], [])}, "no validation rows"),
    ],
)
def test_bad_rows(sources: Any, targets: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        harken.Seq2Seq(**OPTIONS).fit(sources, targets, **arguments)


def test_resume_needs_a_folder() -> None:
    with pytest.raises(UsageError, match="out="):
        harken.Seq2Seq(**OPTIONS).fit(*pairs(64), resume=True)
