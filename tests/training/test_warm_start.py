"""Training that starts from a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harken
from harken.errors import BundleError, ConfigError, DataError
from harken.estimators.sequence import Classifier, Regressor, Tagger

TINY: dict[str, Any] = {
    "hidden_size": 4,
    "embedding_size": 3,
    "cell": "gru",
    "tokens": "character",
    "batch_size": 8,
    "epochs": 2,
    "min_steps": 0,
    "accelerator": "cpu",
}
STILL: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-12, "accelerator": "cpu"}  # weights stay as they begin
TEXTS = ["a good film", "a bad film", "good", "bad", "so good", "so bad"]
COLORS = {"sense": ["pos", "neg"] * 3, "color": ["red", "green", "blue"] * 2}


@pytest.fixture
def start(tmp_path: Path) -> Classifier:
    model = Classifier(**TINY).fit(TEXTS, COLORS)
    model.save(tmp_path / "start")
    return model


def weights(model: Any) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = model.model.state_dict()
    return found


def test_the_same_heads_go_on_where_they_were(start: Classifier, tmp_path: Path) -> None:
    """Options that were left alone are the old run's, whatever their defaults are."""
    model = Classifier(init_from=str(tmp_path / "start"), **STILL).fit(TEXTS, COLORS)
    for name, value in weights(start).items():
        assert torch.allclose(weights(model)[name], value, atol=1e-9), name
    config = model.predictor.config
    assert (config.model.cell, config.features.tokens, config.model.hidden_size) == ("gru", "character", 4)
    moved = Classifier(init_from=str(tmp_path / "start"), accelerator="cpu", dropout=0.1).fit(TEXTS, COLORS)
    assert moved.predictor.config.model.dropout == 0.1
    assert not torch.equal(weights(moved)["heads.linears.0.weight"], weights(start)["heads.linears.0.weight"])


def test_another_order_of_heads_and_new_ones(start: Classifier, tmp_path: Path) -> None:
    answers = {"new": ["x", "y"] * 3, "color": COLORS["color"], "sense": ["pos", "neg", "neutral"] * 2}
    model = Classifier(init_from=str(tmp_path / "start"), **STILL).fit(TEXTS, answers)
    before, after = weights(start), weights(model)
    assert torch.allclose(after["heads.linears.1.weight"], before["heads.linears.1.weight"])  # color
    assert after["heads.linears.2.weight"].shape == (3, 8)  # sense has other classes: a new question
    assert torch.allclose(after["frontend.embedding.weight"], before["frontend.embedding.weight"])
    assert np.allclose(model.predict_proba(TEXTS)["color"], start.predict_proba(TEXTS)["color"], atol=1e-6)


def test_another_task_and_fewer_heads(start: Classifier, tmp_path: Path) -> None:
    model = Regressor(init_from=str(tmp_path / "start"), **STILL).fit(TEXTS, [1.0, 2, 3, 4, 5, 6])
    assert torch.allclose(weights(model)["recurrent.weight_hh_l0"], weights(start)["recurrent.weight_hh_l0"])
    other = Classifier(init_from=str(tmp_path / "start"), binary="two-logits", **STILL)
    assert weights(other.fit(TEXTS, COLORS))["heads.linears.0.weight"].shape == (2, 8)


def test_letters_never_seen_are_unknown(start: Classifier, tmp_path: Path) -> None:
    model = Classifier(init_from=str(tmp_path / "start"), **STILL).fit([*TEXTS, "日本"], [*COLORS["sense"], "neg"])
    assert np.array_equal(model.predict_proba(["日"]), model.predict_proba(["x"]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden_size": 5}, r"is \(.*\) here and \(.*\) in the run of init_from: leave out the options that change"),
        ({"num_layers": 2}, "here and absent in the run of init_from"),
        ({"pooling": "mean"}, "is absent here and"),
        ({"cell": "lstm", "mlp_size": 3}, "leave out the options that change the model"),
        ({"tokens": "word"}, r"tokens \('word'\) was 'character' in the run of init_from: leave out the option"),
        ({"word_vectors": "glove.txt"}, "which has vectors: leave out the option, or init_from"),
    ],
    ids=str,
)
def test_options_that_do_not_fit(start: Classifier, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Classifier(init_from=str(tmp_path / "start"), **STILL | options).fit(TEXTS, COLORS)


def test_rows_that_do_not_fit(start: Classifier, tmp_path: Path) -> None:
    home = str(tmp_path / "start")
    with pytest.raises(ConfigError, match="reads text, and these rows are ids"):
        Classifier(init_from=home, **STILL).fit([[1], [2]], ["a", "b"])
    with pytest.raises(BundleError, match="no such folder"):
        Classifier(init_from=str(tmp_path / "nowhere"), **STILL).fit(TEXTS, COLORS)
    harken.Seq2Seq(hidden_size=4, epochs=1, accelerator="cpu").fit(TEXTS * 2, TEXTS * 2).save(tmp_path / "pairs")
    with pytest.raises(ConfigError, match="is of the task seq2seq: name a run that reads the same rows"):
        Classifier(init_from=str(tmp_path / "pairs"), **STILL).fit(TEXTS, COLORS)


def test_series_keep_the_scale_that_they_were_trained_with(tmp_path: Path) -> None:
    X = [np.full((3, 2), i, dtype=np.float32) for i in range(6)]
    options = {name: value for name, value in TINY.items() if name not in ("tokens", "embedding_size")}
    Regressor(**options).fit(X, range(6)).save(tmp_path / "start")
    model = Regressor(init_from=str(tmp_path / "start"), **STILL).fit([x + 100 for x in X], range(6))
    assert weights(model)["frontend.mean"].tolist() == [2.5, 2.5]
    for given, said in (
        ({"local": 2, "local_size": 2}, r"local \(2\) was 0 in the run of init_from: leave out the option"),
        ({"local_size": 2}, r"local_size \(2\) was 8 in the run of init_from"),
    ):
        with pytest.raises(ConfigError, match=said):
            Regressor(init_from=str(tmp_path / "start"), **STILL | given).fit(X, range(6))
    with pytest.raises(DataError, match="the rows have 1 channels, and the training rows had 2"):
        Regressor(init_from=str(tmp_path / "start"), **STILL).fit([x[:, 0] for x in X], range(6))


def test_a_tagger_starts_from_a_tagger(tmp_path: Path) -> None:
    words = [text.split() for text in TEXTS]
    options = {name: value for name, value in TINY.items() if name != "tokens"} | {"character_hidden": 2}
    tagger = Tagger(**options).fit(words, [[word == "good" for word in row] for row in words])
    tagger.save(tmp_path / "start")
    model = Tagger(init_from=str(tmp_path / "start"), **STILL).fit(
        words, [[len(word) for word in row] for row in words]
    )
    assert model.predictor.encoder.tokenizers.keys() == {"input", "characters"}
    with pytest.raises(ConfigError, match="pooling"):
        Classifier(init_from=str(tmp_path / "start"), input="words", **STILL).fit(words, COLORS["sense"])
