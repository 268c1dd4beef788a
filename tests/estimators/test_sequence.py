"""Every kind of input under every kind of head: fitted, asked, measured, saved, loaded, the same bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.estimators.answers import HeadAnswers
from harken.estimators.loading import load
from harken.estimators.sequence import Classifier, Regressor, Tagger

TINY: dict[str, Any] = {
    "hidden_size": 4,
    "convolution": 0,
    "batch_size": 8,
    "epochs": 1,
    "min_steps": 2,
    "accelerator": "cpu",
}
ROWS = 12
LENGTHS = [3, 1, 5, 0, 2, 4, 1, 3, 0, 2, 5, 4]  # two rows are empty
CHANCE = np.random.default_rng(0)
WORDS = ["sun", "rain", "wind", "snow", "fog"]


def numbers(*shape: int) -> np.ndarray:
    return CHANCE.normal(size=shape).astype(np.float32)


def words(length: int) -> list[str]:
    return [str(word) for word in CHANCE.choice(WORDS, length)]


INPUTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "text": ([" ".join(words(length)) for length in LENGTHS], {}),
    "characters": ([" ".join(words(length)) for length in LENGTHS], {"tokens": "character"}),
    "bytes": ([" ".join(words(length)) for length in LENGTHS], {"tokens": "byte"}),
    "ids": ([CHANCE.integers(0, 9, length).tolist() for length in LENGTHS], {}),
    "series of one channel": ([numbers(length) for length in LENGTHS], {}),
    "series of two channels": ([numbers(length, 2) for length in LENGTHS], {"convolution": 3}),
    "series with a local layer": ([numbers(length, 4) for length in LENGTHS], {"local": 2, "local_size": 2}),
    "lists of numbers": ([numbers(length).tolist() for length in LENGTHS], {"cell": "gru"}),
    "array of two dimensions": (numbers(ROWS, 3), {}),
    "array of three dimensions": (numbers(ROWS, 3, 2), {}),
    "vectors": ([numbers(length, 3) for length in LENGTHS], {"input": "vectors"}),
    "sentences": ([[" ".join(words(3)) for _ in range(length)] for length in LENGTHS], {}),
    "words": ([words(length) for length in LENGTHS], {"input": "words", "character_size": 2, "character_hidden": 2}),
}
KINDS = {
    "text": "text", "characters": "text", "bytes": "text", "ids": "ids", "vectors": "vectors", "sentences": "sentences",
    "words": "words",
}  # fmt: skip
"""Those that are no series."""

TWO = [("no", "yes")[row % 2] for row in range(ROWS)]
SETS = [[name for bit, name in enumerate(["a", "b", "c"]) if row >> bit & 1] for row in range(ROWS)]
TABLE = np.array([[row >> bit & 1 for bit in range(3)] for row in range(ROWS)])
ANSWERS: dict[str, tuple[type[Any], Any, dict[str, Any]]] = {
    "binary": (Classifier, TWO, {}),
    "binary, two logits": (Classifier, TWO, {"binary": "two-logits"}),
    "classes": (Classifier, [row % 3 for row in range(ROWS)], {"class_weight": "balanced"}),
    "several labels": (Classifier, SETS, {}),
    "table of 0 and 1": (Classifier, TABLE, {"class_weight": "balanced"}),
    "attributes": (
        Classifier,
        {
            "color": [None if row == 4 else ("red", "green", "blue")[row % 3] for row in range(ROWS)],
            "big": [None if row > 8 else bool(row % 2) for row in range(ROWS)],
            "marks": [None if row == 0 else SETS[row] for row in range(ROWS)],
        },
        {},
    ),
    "value": (Regressor, [0.5 * row for row in range(ROWS)], {}),
    "values": (Regressor, np.stack([np.arange(ROWS), np.arange(ROWS) ** 2], 1), {}),
    "named values": (Regressor, {"size": [None, *range(1, ROWS)], "age": [1.5 * row for row in range(ROWS)]}, {}),
}
TAGGED = ("words", "text", "ids", "series of one channel", "series of two channels", "vectors")


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | HeadAnswers):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b)


def goes_round(model: Any, X: Any, y: Any, folder: Path) -> None:
    """Everything that can be asked works, and a saved model gives the same answers."""
    assert model.fit(X, y) is model
    found = model.evaluate(X, y)
    assert found.metrics["rows"] == len(X)
    assert found.metrics["score"] == pytest.approx(model.score(X, y))
    assert np.isfinite(found.metrics["loss"])
    assert [report.head for report in found.reports] == list(model.heads_)
    model.save(folder)
    again = load(folder)
    assert type(again) is type(model)
    for name in ("predict", "predict_proba", "decision_function", "answers"):
        if hasattr(model, name):
            assert same(getattr(model, name)(X), getattr(again, name)(X)), name
    assert again.evaluate(X, y).metrics == found.metrics
    assert same(model.answers(X[:0]), {n: head_of_none(each) for n, each in model.answers(X).items()})


def head_of_none(answers: HeadAnswers) -> HeadAnswers:
    return HeadAnswers(*(None if each is None else each[:0] for each in answers))


@pytest.mark.parametrize("asked", ANSWERS)
@pytest.mark.parametrize("read", INPUTS)
def test_rows_are_answered(read: str, asked: str, tmp_path: Path) -> None:
    (X, reading), (kind, y, answering) = INPUTS[read], ANSWERS[asked]
    model = kind(**TINY | reading | answering)
    goes_round(model, X, y, tmp_path / "bundle")
    assert model.predictor.encoder.kind == KINDS.get(read, "series")
    said, answers = model.predict(X), model.answers(X)
    single = len(model.heads_) == 1
    for head in model.heads_:
        own = said if single else said[head.name]
        logits, chances, labels = answers[head.name]
        assert logits.shape == (ROWS, head.width)
        assert len(labels) == ROWS
        assert asked in ("table of 0 and 1", "values") or list(own) == labels
        if kind is Regressor:
            assert chances is None
            assert own.dtype == np.float64
            assert own.shape == ((ROWS, 2) if asked == "values" else (ROWS,))
            assert np.allclose(own.reshape(ROWS, -1), logits * head.scales + head.means)
            continue
        classes = model.classes_ if single else model.classes_[head.name]
        assert classes.tolist() == list(head.classes)
        asked_for = model.predict_proba(X) if single else model.predict_proba(X)[head.name]
        assert same(chances, asked_for)
        assert chances.shape == (ROWS, len(classes))
        if head.kind == "multi-label":
            assert np.allclose(chances, 1 / (1 + np.exp(-logits)), atol=1e-6)
            assert labels == [[name for name, p in zip(classes, row, strict=True) if p > 0.5] for row in chances]
        else:
            assert np.allclose(chances.sum(1), 1, atol=1e-6)
            assert labels == classes[chances.argmax(1)].tolist()


def test_a_table_comes_back_as_a_table() -> None:
    X, _ = INPUTS["text"]
    model = Classifier(**TINY).fit(X, TABLE)
    said = model.predict(X)
    assert said.dtype == np.int64
    assert (said == (model.predict_proba(X) > 0.5)).all()
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict([]).shape == (0, 3)


@pytest.mark.parametrize("binary", ["one-logit", "two-logits"])
def test_two_classes_are_decided_by_one_number(binary: str) -> None:
    X, _ = INPUTS["text"]
    model = Classifier(**TINY, binary=binary).fit(X, TWO)
    logits, chances, labels = model.answers(X)["label"]
    assert logits.shape == (ROWS, 1 if binary == "one-logit" else 2)
    decision = model.decision_function(X)
    assert decision.shape == (ROWS,)
    assert np.allclose(1 / (1 + np.exp(-decision)), chances[:, 1], atol=1e-6)
    assert [("no", "yes")[int(z > 0)] for z in decision] == labels


@pytest.mark.parametrize("read", TAGGED)
def test_steps_are_tagged(read: str, tmp_path: Path) -> None:
    X, reading = INPUTS[read]
    y = [[("even", "odd")[step % 2] for step in range(length)] for length in LENGTHS]
    model = Tagger(**TINY | reading)
    goes_round(model, X, y, tmp_path / "bundle")
    said, (logits, chances, labels) = model.predict(X), model.answers(X)["label"]
    assert said == labels
    assert [len(tags) for tags in said] == [len(each) for each in logits] == LENGTHS
    assert same(chances, model.predict_proba(X))
    for row, tags in zip(chances, said, strict=True):
        assert row.shape == (len(tags), 2)
        assert np.allclose(row.sum(-1), 1, atol=1e-6)
        assert model.classes_[row.argmax(-1)].tolist() == tags


def test_tags_of_several_kinds_and_some_that_are_missing(tmp_path: Path) -> None:
    X, reading = INPUTS["words"]
    y = {
        "part": [[("even", "odd")[step % 2] for step in range(length)] for length in LENGTHS],
        "first": [None if row == 2 else [step == 0 for step in range(n)] for row, n in enumerate(LENGTHS)],
    }
    y["part"][0][1] = None  # type: ignore[call-overload]
    model = Tagger(**TINY | reading)
    goes_round(model, X, y, tmp_path / "bundle")
    found = model.evaluate(X, y)
    assert [sum(line.support for line in report.lines) for report in found.reports] == [29, 25]
    assert set(model.predict(X)) == {"part", "first"}


@pytest.mark.parametrize(
    "pooling",
    [
        "last",
        "sum",
        "mean",
        "max",
        "attention-linear",
        "query",
        "self-attention",
        "self-attention-query",
        "gated",
        "gated-query",
    ],
)
def test_every_pooling(pooling: str, tmp_path: Path) -> None:
    X, _ = INPUTS["series of two channels"]
    heads = {"num_heads": 2} if pooling in ("attention-linear", "self-attention", "self-attention-query") else {}
    model = Classifier(**TINY | {"mlp_size": 3, "num_layers": 2}, pooling=pooling, **heads)
    goes_round(model, X, TWO, tmp_path / "bundle")


def test_labels_keep_their_types() -> None:
    X, _ = INPUTS["text"]
    for labels in ([1, "one", 2], [True, False], [0.5, 1.0, 2.5], ["a", "a\0"], [-3, 7]):
        y = [labels[row % len(labels)] for row in range(ROWS)]
        model = Classifier(**TINY).fit(X, y)
        said = model.predict(X).tolist()
        assert {(type(label), label) for label in [*said, *model.classes_.tolist()]} == {(type(n), n) for n in labels}
        assert model.predict([]).dtype == model.classes_.dtype
