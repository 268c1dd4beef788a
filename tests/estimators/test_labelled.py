"""What `fit`, `predict` and `evaluate` do with their arguments, whatever the rows are."""

from __future__ import annotations

import csv
import json
import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from harken.config import SequenceRun
from harken.data.examples import read_examples
from harken.errors import BundleError, ConfigError, DataError, InputError, ShapeError, UsageError
from harken.estimators.loading import load
from harken.estimators.sequence import Classifier, Regressor, Tagger
from harken.testing import check_estimator_padding
from harken.training import callbacks
from harken.training.callbacks import Epoch, History

TINY: dict[str, Any] = {
    "hidden_size": 4,
    "convolution": 0,
    "batch_size": 8,
    "epochs": 1,
    "min_steps": 0,
    "accelerator": "cpu",
}
LEARNS = TINY | {"hidden_size": 8, "dropout": 0.0, "word_dropout": 0.0, "learning_rate": 0.05, "epochs": 12}


def texts(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """What one word among others says."""
    random = np.random.default_rng(seed)
    rows, labels = [], []
    for row in range(n):
        others = random.choice(["a", "film", "of", "the", "year"], random.integers(0, 4))
        rows.append(" ".join(random.permutation([*others, ("awful", "good")[row % 2]])))
        labels.append(("neg", "pos")[row % 2])
    return rows, labels


def series(n: int, seed: int = 0) -> tuple[list[np.ndarray], list[float]]:
    """The sum of the first channel."""
    random = np.random.default_rng(seed)
    rows = [random.normal(size=(random.integers(1, 6), 2)).astype(np.float32) for _ in range(n)]
    return rows, [float(row[:, 0].sum()) for row in rows]


def weights(model: Any) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = model.model.state_dict()
    return found


def equal(a: Any, b: Any) -> bool:
    return all(torch.equal(value, weights(b)[name]) for name, value in weights(a).items())


def validated(model: Any) -> int:
    """How many rows chose the best epoch."""
    return int(model.predictor.bundle.facts.get("validation", {}).get("rows", 0))


# Validation


@pytest.mark.parametrize(
    ("rows", "option", "argument", "held"),
    [
        (24, None, None, 0),
        (399, None, None, 0),
        (400, None, None, 40),
        (24, 0.25, None, 6),
        (24, 0.25, 0.5, 12),
        (24, 0.25, 0, 0),
        (400, 0.0, None, 0),
        (24, 0.25, texts(5, seed=1), 5),
        (24, None, [*texts(5, seed=1)], 5),
    ],
)
def test_which_rows_validate(rows: int, option: float | None, argument: Any, held: int) -> None:
    X, y = [f"{i} {text}" for i, text in enumerate(texts(rows)[0])], texts(rows)[1]
    model = Classifier(**TINY | {"batch_size": 200}, validation=option).fit(X, y, validation=argument)
    facts = model.predictor.bundle.facts
    assert validated(model) == held
    assert facts["training_rows"] == rows - (0 if isinstance(argument, tuple | list) else held)
    assert bool(model.history_[0].valid) == bool(held)
    assert model.best_epoch_ == model.history_[-1]


def test_validation_rows_of_a_file(tmp_path: Path) -> None:
    rows, labels = texts(6, seed=1)
    pd.DataFrame({"text": rows, "label": labels}).to_csv(tmp_path / "held.csv", index=False)
    model = Classifier(**TINY, validation=str(tmp_path / "held.csv"), text="text", label="label").fit(*texts(24))
    assert validated(model) == 6


@pytest.mark.parametrize("wrong", [1.5, -0.1, 5, ([], [], []), {"a": 1}])
def test_what_is_no_validation(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"validation \(.*must be \(X, y\), or a fraction"):
        Classifier(**TINY).fit(*texts(24), validation=wrong)


def test_validation_rows_are_read_as_those_in_training() -> None:
    X, y = series(12)
    whole = [[[1, 2], [3, 4]], [[5, 6]]]  # would be ids, or series, if asked alone
    assert validated(Regressor(**TINY).fit(X, y, validation=(whole, [1, 2]))) == 2
    with pytest.raises(DataError, match="no training row had"):
        Classifier(**TINY).fit(*texts(24), validation=(["a"], ["other"]))
    with pytest.raises(DataError, match="there are no validation rows: give some"):
        Classifier(**TINY).fit(*texts(24), validation=([], []))


def test_another_fit_reads_other_rows() -> None:
    model = Classifier(**TINY).fit(*texts(12))
    assert model.predictor.encoder.kind == "text"
    X, y = series(12)
    model.fit(X, np.array(y) > 0)
    assert model.predictor.encoder.kind == "series"
    assert model.predict(X).dtype == bool


# Chance, weights, steps


def test_the_same_seed_gives_the_same_model_and_leaves_the_users_chance_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second, other = (Classifier(**TINY | {"epochs": 2, "seed": s}).fit(*texts(24)) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert equal(first, second)
    assert not equal(first, other)


def test_rows_without_weight_teach_nothing() -> None:
    (X, y), (Z, _) = texts(40), texts(40, seed=1)
    lies = [{"neg": "pos", "pos": "neg"}[label] for label in y]
    rows, labels, counts = [*X, *X, *X], [*y, *lies, *lies], [1.0] * 40 + [0.0] * 80
    model = Classifier(**LEARNS).fit(rows, labels, sample_weight=counts)
    assert model.score(Z, y) > 0.9
    assert Classifier(**LEARNS).fit(rows, labels).score(Z, y) < 0.1
    assert model.score(rows, labels, sample_weight=counts) > 0.9
    assert model.evaluate(rows, labels).metrics["accuracy"] < 0.5
    assert equal(model, Classifier(**LEARNS).fit(rows, labels, sample_weight=[4 * w for w in counts]))


def test_how_much_a_row_counts_does_not_depend_on_its_batch() -> None:
    """A mean weighted batch by batch forgets the weight of a row that is alone in its batch."""
    rows, labels, counts = ["good"] * 40, ["pos", "neg"] * 20, [1.0, 0.01] * 20
    alone = Classifier(**LEARNS | {"batch_size": 1, "epochs": 2}).fit(rows, labels, sample_weight=counts)
    assert alone.predict_proba(["good"])[0, 1] > 0.9


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([1.0] * 23, r"\(23,\) must be \(24,\)"),
        ([[1.0]] * 24, r"\(24, 1\) must be \(24,\)"),
        ([1.0] * 23 + [-1], r"row 23 is -1\.0"),
        ([float("nan")] + [1.0] * 23, "row 0 is nan"),
        (["heavy"] * 24, "must be 24 numbers"),
        ([0] * 24, "weights of all training rows are zero"),
    ],
)
def test_weights_that_are_none(wrong: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Classifier(**TINY).fit(*texts(24), sample_weight=wrong)
    assert isinstance(caught.value, ShapeError | DataError)


def test_a_small_set_is_passed_over_until_there_were_enough_steps() -> None:
    once, often = (Classifier(**LEARNS | {"epochs": 2, "min_steps": n}).fit(*texts(16)) for n in (0, 60))
    assert [epoch.epoch for epoch in often.history_] == [1, 2]
    assert often.history_[-1].train_loss < 0.5 * once.history_[-1].train_loss


# Rows


def test_answers_do_not_depend_on_batch_mates() -> None:
    rows = texts(24)[0]
    words = [row.split() for row in rows]
    for model, X, y in (
        (Classifier(**TINY), rows, [i % 3 for i in range(24)]),
        (Classifier(**TINY, pooling="self-attention"), [row.split() for row in rows], [i % 2 for i in range(24)]),
        (Tagger(**TINY), words, [[word[:1] for word in row] for row in words]),
        (Regressor(**TINY), *series(24)),
    ):
        model.fit(X, y)
        check_estimator_padding(model, X).raise_if_failed()
        order = np.random.default_rng(0).permutation(len(X))
        shuffled = model.answers([X[i] for i in order])["label"]
        for part, moved in zip(model.answers(X)["label"][:2], shuffled[:2], strict=True):
            if part is not None:
                assert all(np.allclose(part[i], row, atol=1e-6) for i, row in zip(order, moved, strict=True))


def test_only_the_start_of_a_row_is_read() -> None:
    rows, labels = texts(24)
    model = Classifier(**TINY, truncate=2).fit(rows, labels)
    assert np.array_equal(model.predict_proba(["a film of good"]), model.predict_proba(["a film"]))
    words = [row.split() for row in rows]
    tagger = Tagger(**TINY, truncate=2).fit(words, [[word[:1] for word in row] for row in words])
    assert [len(tags) for tags in tagger.predict(words)] == [min(2, len(row)) for row in words]
    assert tagger.evaluate(words, [[word[:1] for word in row] for row in words]).reports[0].lines


@pytest.mark.parametrize(
    ("missing", "filled"), [("carry", [1, 1, 3]), ("linear", [1, 2, 3]), ("mean", [1, None, 3])], ids=str
)
def test_missing_values_follow_the_rule(missing: str, filled: list[float | None]) -> None:
    X = [np.array([1.0, 2.0, 3.0]), np.array([2.0]), np.array([5.0, np.nan]), np.array([1.0, 1.0])]
    model = Classifier(**TINY, missing=missing, standardize="none").fit(X, [0, 1, 0, 1])
    mean = 15 / 7 if missing == "mean" else 0.0  # of the values that are there
    by_hand = np.array([mean if value is None else value for value in filled])
    assert np.allclose(model.predict_proba([[1.0, np.nan, 3.0]]), model.predict_proba([by_hand]))
    with pytest.raises(DataError, match="row 2, step 1, channel 0 holds NaN"):
        Classifier(**TINY).fit(X, [0, 1, 0, 1])


def test_limits_are_those_of_today_and_reading_is_that_of_training() -> None:
    model = Classifier(**TINY).fit(*texts(12))
    expected = model.predict_proba(["good film"])
    assert np.array_equal(model.set_params(strip=False, input="words").predict_proba(["  good film "]), expected)
    with pytest.raises(DataError, match=r"max_characters \(4\)"):
        model.set_params(max_characters=4).predict(["good film"])
    with pytest.raises(DataError, match="input=text needs a text"):
        model.predict([[1.0, 2.0]])


def test_spans_count_white_space_that_was_stripped() -> None:
    model = Classifier(**TINY).fit(*texts(12))
    reading = model.explain(["  good film "])[0]
    assert reading.source == "  good film "
    assert reading.spans == [(2, 6), (7, 11)]
    assert model.explain(["good film"], by="gradients")[0].spans == [(0, 4), (5, 9)]


# Answers


def test_a_label_column_may_have_any_name_where_it_is_the_only_one() -> None:
    rows, labels = texts(12)
    model = Classifier(**TINY).fit(rows, pd.Series(labels, name="verdict"), validation=(rows, labels))
    assert [head.name for head in model.heads_] == ["verdict"]
    assert model.score(rows, labels) == model.score(rows, {"other": labels})
    several = Classifier(**TINY).fit(rows, {"verdict": labels, "length": [len(row) > 9 for row in rows]})
    with pytest.raises(DataError, match=r"the labels are of verdict, and the model answers 'length' too"):
        several.score(rows, {"verdict": labels})
    assert set(several.predict(rows)) == {"verdict", "length"}
    assert several.score(rows, pd.DataFrame({"length": [None] * 12, "verdict": labels, "more": labels})) >= 0


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (["pos"] * 11 + ["great"], "row 11 has the label 'great' .*which no training row had: training knew 'neg'"),
        (["pos"] * 11, "there are 11 labels for 12 rows"),
        ([["pos"]] * 12, r"row 0 has the label \['pos'\] .*training rows had one label each"),
        (None, "requires y to be passed, but the target y is None"),
        ([None] * 12, "no row that counts has a label"),
    ],
)
def test_answers_that_cannot_be_measured(y: Any, said: str) -> None:
    model = Classifier(**TINY).fit(*texts(12))
    with pytest.raises(DataError, match=said):
        model.evaluate(texts(12)[0], y)


def test_several_labels_are_lists() -> None:
    model = Classifier(**TINY).fit(["a", "b", "c"], [["x"], ["y"], []])
    with pytest.raises(DataError, match=r"row 0 has the label 'x' .*training rows had a list of labels each"):
        model.evaluate(["a"], ["x"])
    with pytest.raises(DataError, match="there are no evaluation rows"):
        model.evaluate([], [])


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (["one"] * 12, "holds only one class, 'one': training needs rows of at least two classes"),
        ([0.1 * row for row in range(12)] + [0.37] * 18, None),
        ([0.1 * row + 0.01 for row in range(30)], "Unknown label type: continuous"),
        (["pos"] * 29, "29 labels for 30 rows"),
        (None, "classify requires y to be passed"),
        ([None, "b"] * 15, "row 0 has no label"),
    ],
)
def test_answers_that_cannot_be_learned(y: Any, said: str | None) -> None:
    rows = texts(30 if y is None or len(y) > 12 else 12)[0]
    if said is None:
        assert len(Classifier(**TINY).fit(rows, y).classes_) == 13
        return
    with pytest.raises(DataError, match=said):
        Classifier(**TINY).fit(rows, y)


def test_many_classes_and_classes_of_one_example() -> None:
    rows = [f"word{i}" for i in range(1200)]
    model = Classifier(**TINY | {"batch_size": 400}).fit(rows, rows)
    assert validated(model) == 0  # a tenth would be enough, but no class can be missed in training
    assert len(model.classes_) == 1200
    with pytest.raises(DataError, match=r"validation \(0\.1\) would hold out only answers that no other input"):
        model.set_params(validation=0.1).fit(rows, rows)
    report = model.evaluate(rows, rows).reports[0]
    assert len(report.lines) == 1200
    assert report.confusion is None


def test_a_model_that_diverges_is_no_crash() -> None:
    X, y = series(24)
    options = TINY | {"learning_rate": 1e30, "clip_norm": 0, "epochs": 2}
    model = Regressor(**options).fit(X, y, validation=0.25)
    assert not model.history_[-1].valid["score"] > 0
    flagged = Classifier(**options).fit(X, [value > 0 for value in y], validation=0.25)
    assert len(flagged.predict(X)) == 24
    lines: list[str] = []
    Regressor(**options).fit(X, y, validation=0, show=lines.append)
    assert any("warning: the loss of epoch 2 is nan: training has diverged, so lower" in line for line in lines), lines


def test_an_epoch_whose_loss_is_nan_is_never_the_best() -> None:
    history = History("score", lambda epoch: None, None)
    good, lost = (Epoch(1, 0.5, {"loss": loss, "score": score}, 0.1, 1.0, 1.0) for loss, score in
                  ((9.0, 0.1), (math.nan, 1.0)))  # fmt: skip
    assert history._rank(good) > history._rank(lost)


@pytest.mark.parametrize(
    ("X", "options"), [(["", " ", ""], {}), ([[], [], []], {"input": "ids"}), ([np.zeros((0, 2))] * 3, {})]
)
def test_rows_without_any_step_are_not_learned_from(X: list[Any], options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="every training row is empty: there is no step to learn from"):
        Classifier(**TINY | options).fit(X, [0, 1, 0])


def test_patience_without_validation_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"patience \(2\) waits for a better epoch on validation rows"):
        Regressor(**TINY, patience=2).fit(*series(12), validation=0)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions_are_answered_in_float32(precision: str, tmp_path: Path) -> None:
    model = Regressor(**TINY, precision=precision).fit(*series(12), validation=0.25)
    model.save(tmp_path / "bundle")
    again = load(tmp_path / "bundle")
    assert np.array_equal(again.predict(series(5)[0]), model.predict(series(5)[0]))
    assert {value.dtype for value in weights(model).values()} == {torch.float32}


# The folder of a run


def test_a_run_folder_holds_what_was_settled_and_found(tmp_path: Path) -> None:
    lines: list[str] = []
    model = Classifier(**TINY | {"epochs": 2}).fit(*texts(40), validation=0.25, out=tmp_path / "run", show=lines.append)
    names = {"bundle", "config.yaml", "resume.ckpt", "metrics.json", "history.csv", "curves.png"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == names
    config = SequenceRun.from_yaml((tmp_path / "run/config.yaml").read_text())
    assert config == model.predictor.config == model.config.settled("text")
    assert (config.data.input, config.features.tokens, config.model.pooling) == ("text", "wordpunct", "attention")
    history = list(csv.DictReader((tmp_path / "run/history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert {"train_loss", "valid_loss", "score", "accuracy", "macro_f1", "calibration_error"} <= history[0].keys()
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert (metrics["training_rows"], metrics["validation"]["rows"]) == (30, 10)
    assert metrics["validation"]["accuracy"] == model.best_epoch_.valid["accuracy"]
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")
    assert sum(line.startswith("epoch") for line in lines) == 2
    assert sum(line.startswith("  ") for line in lines) == 20
    again = load(tmp_path / "run")
    assert np.array_equal(again.predict_proba(texts(5)[0]), model.predict_proba(texts(5)[0]))
    assert repr(again).startswith("Classifier(input='text'")
    with pytest.raises(UsageError, match="is not empty: --resume continues"):
        Classifier(**TINY).fit(*texts(40), out=tmp_path / "run")
    Classifier(**TINY).fit(*texts(40), out=tmp_path / "run", overwrite=True)
    assert len((tmp_path / "run/history.csv").read_text().splitlines()) == 2
    with pytest.raises(UsageError, match="out="):
        Classifier(**TINY).fit(*texts(40), resume=True)


@pytest.mark.parametrize("steps", [2, 9, 12], ids=["first-epoch", "mid-epoch", "epoch-end"])
@pytest.mark.parametrize("kind", ["text", "series"])
def test_an_interrupted_run_resumes_as_if_never_interrupted(
    kind: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = texts(40) if kind == "text" else series(40)
    estimator, options = Classifier if kind == "text" else Regressor, TINY | {"epochs": 3, "min_steps": 18}
    how: dict[str, Any] = {"validation": 0.25, "sample_weight": [1 + i % 3 for i in range(40)]}
    whole = estimator(**options).fit(X, y, **how)
    step = callbacks.Stop.on_train_batch_end

    def on_train_batch_end(self: callbacks.Stop, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == steps:
            signal.raise_signal(signal.SIGINT)
        step(self, trainer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Stop, "on_train_batch_end", on_train_batch_end)
        stopped = estimator(**options).fit(X, y, out=tmp_path / "run", **how)
    assert stopped.interrupted_
    assert len(stopped.predict(X)) == 40, "fit returns normally, with the best model so far"
    resumed = estimator(**options).fit(X, y, out=tmp_path / "run", resume=True, **how)
    assert not resumed.interrupted_
    assert equal(whole, resumed)
    assert [(e.train_loss, e.valid) for e in resumed.history_] == [(e.train_loss, e.valid) for e in whole.history_]


def test_other_rows_or_options_are_not_resumed(tmp_path: Path) -> None:
    rows, labels = texts(40)
    Classifier(**TINY).fit(rows, labels, out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"hidden_size was 4 when .* and is 5 now"):
        Classifier(**TINY | {"hidden_size": 5}).fit(rows, labels, out=tmp_path / "run", resume=True)
    more = Classifier(**TINY | {"epochs": 2})
    for changed in ([*rows[:-1], "other"], rows):
        weight = None if changed is not rows else [2.0] * 40
        with pytest.raises(DataError, match="the rows are not those that the run began with"):
            more.fit(changed, labels, sample_weight=weight, out=tmp_path / "run", resume=True)
    assert len(more.fit(rows, labels, out=tmp_path / "run", resume=True).history_) == 2


# Files


def test_rows_of_a_table(tmp_path: Path) -> None:
    rows, labels = texts(24)
    table = pd.DataFrame({"review": rows, "stars": labels, "much": [1 + i % 2 for i in range(24)]})
    table.to_csv(tmp_path / "rows.csv", index=False)
    model = Classifier(**TINY, text="review", label="stars", weight="much")
    examples = read_examples(tmp_path / "rows.csv", model.config.data, "classify")
    model.fit_examples(examples, out=tmp_path / "run")
    trained = model.predictor.config.data
    assert (trained.input, trained.text, trained.label) == ("text", "review", ("stars",))
    assert equal(model, Classifier(**TINY).fit(rows, labels, sample_weight=table["much"]))
    found = model.evaluate_examples(read_examples(tmp_path / "rows.csv", load(tmp_path / "run").config.data))
    assert found.metrics == model.evaluate(rows, labels, sample_weight=table["much"]).metrics
    assert validated(model.fit_examples(examples, validation=examples)) == 24
    assert validated(Classifier(**TINY, validation=0.25).fit_examples(examples)) == 6
    with pytest.raises(UsageError, match="names a file: read it too"):
        Classifier(**TINY, validation="held.csv").fit_examples(examples)
    unlabelled = read_examples(table[["review"]], model.config.data, "classify", require_labels=False)
    with pytest.raises(DataError, match="the rows have no labels: name their column with --label"):
        model.evaluate_examples(unlabelled)


def test_a_bundle_of_another_task_is_refused(tmp_path: Path) -> None:
    Classifier(**TINY).fit(*texts(12)).save(tmp_path / "bundle")
    model = load(tmp_path / "bundle")
    with pytest.raises(ConfigError, match=r"task \('classify'\) is not Tagger's"):
        Tagger.from_bundle(model.predictor.bundle)
    assert Classifier.from_config(model.config).get_params()["hidden_size"] == 4
    with pytest.raises(BundleError):
        load(tmp_path / "nowhere")
