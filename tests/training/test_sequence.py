"""Runs on labelled rows: class weights, word vectors, what is refused before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from harken.config import ExamplesConfig, SequenceRun
from harken.data.labels import Head, Labels
from harken.data.ragged import Ragged
from harken.errors import BundleError, ConfigError, DataError
from harken.estimators.sequence import Classifier, Tagger
from harken.training.rows import label_rows
from harken.training.sequence import answers_of, class_weights, train_sequence

TINY: dict[str, Any] = {
    "hidden_size": 4,
    "embedding_size": 3,
    "convolution": 0,
    "character_size": 2,
    "character_hidden": 2,
    "batch_size": 8,
    "epochs": 2,
    "min_steps": 0,
    "accelerator": "cpu",
}
TEXTS = ["a good film", "a bad film", "good", "bad"]
LABELS = ["pos", "neg", "pos", "neg"]


def test_class_weights_are_scikit_learns_balanced() -> None:
    chance = torch.Generator().manual_seed(0)
    binary = (torch.rand(50, generator=chance) < 0.2).long()
    classes = torch.randint(0, 4, (50,), generator=chance).clamp(max=2)
    missing = torch.where(torch.arange(50) % 5 == 0, -1, classes)
    heads = [
        Head("two", "binary", 1, ("a", "b")),
        Head("three", "classes", 3, ("a", "b", "c")),
        Head("some", "classes", 3, ("a", "b", "c")),
        Head("size", "values", 1, (), (0.0,), (1.0,)),
    ]
    found = class_weights(heads, {"two": binary, "three": classes, "some": missing, "size": torch.zeros(50, 1)})
    assert found.keys() == {"two", "three", "some"}
    for name, target in (("two", binary), ("three", classes), ("some", missing[missing >= 0])):
        expected = compute_class_weight("balanced", classes=np.unique(target), y=target.numpy())
        assert np.allclose(found[name], expected)


def test_class_weights_of_tags_and_of_several_labels() -> None:
    tags = Head("part", "tags", 3, ("N", "V", "X"))
    steps = Ragged(torch.tensor([0, 0, 1, -1, 0, 2]), torch.tensor([0, 4, 6]))
    assert np.allclose(class_weights([tags], {"part": steps})["part"], [5 / 9, 5 / 3, 5 / 3])
    several = Head("genre", "multi-label", 4, ("a", "b", "always", "never"))
    target = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [torch.nan] * 4])
    weights = class_weights([several], {"genre": target})["genre"]
    assert weights.tolist() == [3.0, 1.0, 1.0, 1.0]
    there = (target[:4] * weights).sum(0)[:2]
    assert torch.equal(there, (1 - target[:4]).sum(0)[:2]), "a label that is there weighs as much as one that is not"


def test_balanced_classes_are_found_where_rare_ones_are_drowned() -> None:
    X = ["a"] * 60  # nothing to tell them apart by: the answer is the class that weighs most
    y = ["rare"] * 6 + ["often"] * 54
    options = TINY | {"dropout": 0.0, "word_dropout": 0.0, "learning_rate": 0.05, "epochs": 6}
    assert Classifier(**options).fit(X, y).predict_proba(["a"])[0, 1] < 0.3
    assert Classifier(**options, class_weight="balanced").fit(X, y).predict_proba(["a"])[0, 1] == pytest.approx(
        0.5, abs=0.2
    )


@pytest.fixture
def glove(tmp_path: Path) -> str:
    lines = ["good 1 0 0.5", "bad -1 0 0.5", "movie 0 1 0"]
    (tmp_path / "glove.txt").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "glove.txt")


@pytest.mark.parametrize("kind", ["text", "sentences", "words"])
@pytest.mark.parametrize("freeze", [True, False])
def test_training_starts_from_word_vectors(glove: str, kind: str, freeze: bool) -> None:
    lines: list[str] = []
    X = {"text": TEXTS, "sentences": [[text, text] for text in TEXTS], "words": [text.split() for text in TEXTS]}[kind]
    options = TINY | {"word_vectors": glove, "freeze_vectors": freeze, "learning_rate": 0.01, "word_dropout": 0.0}
    model: Any
    if kind == "words":
        model = Tagger(**options).fit(X, [[word == "good" for word in row] for row in X], show=lines.append)
    else:
        model = Classifier(**options).fit(X, LABELS, show=lines.append)
    assert f"word vectors: {glove} has 2 of the 4 words of the vocabulary (50.0%)" in lines
    frontend = model.model.frontend
    tokens = {
        "text": frontend,
        "sentences": getattr(frontend, "tokens", None),
        "words": getattr(frontend, "words", None),
    }
    vectors = tokens[kind].embedding.weight
    numbers = model.predictor.encoder.tokenizers["input"].encode(["good", "bad"]).values
    moved = (vectors[numbers] - torch.tensor([[1, 0, 0.5], [-1, 0, 0.5]])).abs().max()
    assert moved == 0 if freeze else 0 < moved < 0.1


def test_word_vectors_that_do_not_fit(glove: str) -> None:
    with pytest.raises(ConfigError, match=r"embedding_size \(100\) must be 3, the length of the vectors in .*glove"):
        Classifier(word_vectors=glove).fit(TEXTS, LABELS)
    with pytest.raises(ConfigError, match="needs text, sentences or words, and these rows are ids"):
        Classifier(**TINY, word_vectors=glove).fit([[1], [2], [3], [4]], LABELS)
    with pytest.raises(DataError, match="nowhere"):
        Classifier(**TINY, word_vectors="nowhere.txt").fit(TEXTS, LABELS)


def test_what_is_wrong_is_found_before_anything_is_written(tmp_path: Path) -> None:
    reading = ExamplesConfig()
    good = label_rows(TEXTS, LABELS, None, reading, "classify")
    empty = label_rows([], [], None, reading, "classify")
    config = SequenceRun().override(**TINY)
    for training, validation, options, said in (
        (empty, None, {}, "there are no training rows"),
        (good, empty, {}, "there are no validation rows"),
        (label_rows(TEXTS, LABELS, [0] * 4, reading, "classify"), None, {}, "weights of all training rows are zero"),
        (good, label_rows(TEXTS, LABELS, [0] * 4, reading, "classify"), {}, "of all validation rows are zero"),
        (good, label_rows(["a"], ["new"], None, reading, "classify"), {}, "no training row had"),
        (good, label_rows([["a"]], ["pos"], None, reading, "classify"), {}, "are sentences, and the model reads text"),
        (label_rows(TEXTS, ["pos"] * 4, None, reading, "classify"), None, {}, "only one class"),
        (good, None, {"vocabulary_size": 1}, "vocabulary"),
        (good, None, {"num_heads": 3, "pooling": "self-attention"}, "num_heads"),
        (good, None, {"init_from": "nowhere"}, "no bundle"),
    ):
        with pytest.raises((DataError, ConfigError, BundleError), match=said):
            train_sequence(config.override(**options), training, validation, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_column_for_every_head() -> None:
    one, several = Head("a", "classes", 2, (1, 2)), Head("b", "multi-label", 2, (1, 2))
    assert answers_of(one, Labels({"other": [1, None]})) == [1, None]
    assert answers_of(one, Labels({"b": [[1]], "a": [2]}), 2) == [2]
    assert answers_of(several, Labels({"b": [[1], None]})) == [[1], None]
    with pytest.raises(DataError, match="the labels are of other, and the model answers 'a' too"):
        answers_of(one, Labels({"other": [1]}), 2)
    with pytest.raises(DataError, match=r"row 1 has the label 2 \(b\): training rows had a list of labels each"):
        answers_of(several, Labels({"b": [[1], 2]}))
    with pytest.raises(DataError, match=r"row 0 has the label \[1\] \(a\): training rows had one label each"):
        answers_of(one, Labels({"a": [[1], 2]}))
