"""harken.Autoencoder: embeddings, reconstructions, and scores of what is normal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harken
from harken.bundle import Bundle
from harken.errors import BundleError, ConfigError, DataError, NotFittedError, UsageError
from harken.estimators.autoencoder import Autoencoder
from harken.testing import check_estimator_padding

SMALL: dict[str, Any] = {
    "hidden_size": 12,
    "latent_size": 4,
    "epochs": 6,
    "batch_size": 8,
    "min_steps": 150,
    "learning_rate": 0.02,
    "weight_decay": 0.0,
    "accelerator": "cpu",
}
QUICK = SMALL | {"epochs": 1, "min_steps": 0}


def waves(rows: int = 40, seed: int = 0, shape: tuple[int, ...] = (2,)) -> list[np.ndarray]:
    """Rows of 6 to 12 steps, in units far from mean 0 and variance 1: sines of a phase of their own."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(rows):
        time = np.arange(random.integers(6, 13)) / 2 + random.uniform(0, 6)
        shift = np.linspace(0, 3, int(np.prod(shape)))
        found.append((100 + 20 * np.sin(time[:, None] + shift)).reshape(-1, *shape).astype(np.float32))
    return found


@pytest.fixture(scope="module")
def fitted() -> Autoencoder:
    return Autoencoder(**SMALL).fit(waves(100), validation=waves(20, seed=1))


def strange(row: np.ndarray) -> np.ndarray:
    odd = row.copy()
    odd[3] += 60
    return odd


def test_it_learns_and_says_where_a_row_is_strange(fitted: Autoencoder) -> None:
    rows = waves(30, seed=2)
    odd = [strange(row) for row in rows]
    assert np.mean([np.abs(a - b).mean() for a, b in zip(fitted.reconstruct(rows), rows, strict=True)]) < 5  # of 20
    assert np.quantile(fitted.score_samples(rows), 0.1) > fitted.score_samples(odd).max()
    assert (fitted.predict(odd) == -1).all()
    assert (fitted.predict(rows) == 1).mean() > 0.7
    assert np.mean([errors.argmax() in (2, 3, 4) for errors in fitted.errors(odd)]) > 0.8


def test_what_it_says_agrees_with_itself(fitted: Autoencoder) -> None:
    rows = waves(9, seed=3)
    scores, errors = fitted.score_samples(rows), fitted.errors(rows)
    assert np.allclose(scores, [-e.mean() for e in errors])
    model, rebuilt = fitted.model, fitted.reconstruct(rows)
    scale = model.frontend.scale.numpy()
    by_hand = [(((a - b) / scale) ** 2).mean(1) for a, b in zip(rows, rebuilt, strict=True)]
    assert all(np.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(errors, by_hand, strict=True))
    assert np.allclose(fitted.decision_function(rows), scores - fitted.offset_)
    latent = fitted.transform(rows)
    assert (latent.shape, latent.dtype) == ((9, 4), np.float32)
    with torch.no_grad():
        decoded = model.decode(torch.from_numpy(latent[:1]), torch.tensor([len(rows[0])]), len(rows[0]))
    assert np.allclose(decoded[0].numpy() * scale + model.frontend.mean.numpy(), rebuilt[0], atol=1e-2)


def test_the_threshold_is_a_quantile_of_the_scores_of_rows_held_out(fitted: Autoencoder) -> None:
    held_out = fitted.score_samples(waves(20, seed=1))
    assert fitted.offset_ == pytest.approx(np.quantile(held_out, 0.05))
    other = Autoencoder.from_bundle(fitted.predictor.bundle).set_params(quantile=0.5)
    assert other.offset_ == pytest.approx(np.quantile(held_out, 0.5))
    assert (other.predict(waves(20, seed=1)) == -1).sum() == 10


def test_without_rows_held_out_training_rows_make_the_threshold() -> None:
    rows = waves(12)
    model = Autoencoder(**QUICK, quantile=0.25).fit(rows, validation=0)
    assert model.offset_ == pytest.approx(np.quantile(model.score_samples(rows), 0.25), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"feed_back": True, "reverse_target": True}, {"cell": "gru"}], ids=str)
def test_answers_do_not_depend_on_company(options: dict[str, Any]) -> None:
    rows = waves(5)
    model = Autoencoder(**(QUICK | options)).fit(rows, validation=0)
    check_estimator_padding(model, rows).raise_if_failed()
    alone = np.concatenate([model.transform([row]) for row in rows])
    assert np.allclose(model.transform([rows[0][:0], *rows])[1:], alone, atol=1e-5)
    assert np.allclose(model.reconstruct([*rows, rows[0][:0]])[2], model.reconstruct([rows[2]])[0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(), (1,), (8, 8, 3)], ids=str)
def test_samples_of_any_shape_come_back_in_it(shape: tuple[int, ...], tmp_path: Path) -> None:
    rows = waves(6, shape=shape)
    model = Autoencoder(**QUICK).fit(rows, validation=0)
    rebuilt = model.reconstruct(rows)
    assert [row.shape for row in rebuilt] == [row.shape for row in rows]
    model.save(tmp_path / "bundle")
    loaded = harken.load(tmp_path / "bundle")
    assert isinstance(loaded, Autoencoder)
    assert all(np.array_equal(a, b) for a, b in zip(loaded.reconstruct(rows), rebuilt, strict=True))
    assert loaded.offset_ == model.offset_
    assert loaded.reconstruct([rows[0][:0]])[0].shape == (0, *shape)


def test_a_resumed_run_is_an_uninterrupted_one(tmp_path: Path) -> None:
    rows, held = waves(16), waves(8, seed=1)
    once = Autoencoder(**(QUICK | {"epochs": 3, "schedule": "constant"})).fit(rows, validation=held)
    Autoencoder(**(QUICK | {"epochs": 1, "schedule": "constant"})).fit(rows, validation=held, out=tmp_path / "run")
    model = Autoencoder(**(QUICK | {"epochs": 3, "schedule": "constant"}))
    model.fit(rows, validation=held, out=tmp_path / "run", resume=True)
    assert np.array_equal(model.transform(rows), once.transform(rows))
    assert model.offset_ == once.offset_
    assert harken.load(tmp_path / "run").offset_ == once.offset_
    with pytest.raises(UsageError, match="resume"):
        model.fit(rows, out=tmp_path / "run")


def test_what_it_tells_while_it_learns(tmp_path: Path) -> None:
    said: list[str] = []
    Autoencoder(**QUICK, show_examples=1, dropout=0.1).fit(
        waves(10), validation=waves(5, seed=1), out=tmp_path, show=said.append
    )
    assert said[0] == "10 rows to learn from, 5 rows to validate on"
    assert said[1].endswith("steps of 2 values")
    assert "latent vector of 4" in said[2]
    assert said[4].startswith("epoch 1/1: loss ")
    assert said[5].startswith("  row 0 (")
    assert (tmp_path / "curves.png").exists()


def test_no_constant_channel_and_no_empty_batch_divides_by_zero() -> None:
    rows = [np.stack([np.full(4, 7.0), np.arange(4.0)], 1), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2))]
    model = Autoencoder(**(QUICK | {"batch_size": 1, "epochs": 3})).fit(rows, validation=0)
    assert np.isfinite(model.score_samples(rows)).all()
    assert np.isfinite(model.transform(rows)).all()
    assert model.score_samples(rows)[1] == 0
    constant = Autoencoder(**QUICK).fit([[5.0, 5.0, 5.0]] * 3, validation=0)
    assert np.isfinite(constant.reconstruct([[5.0, 5.0]])[0]).all()


@pytest.mark.parametrize("missing", ["carry", "linear", "mean"])
def test_missing_values_are_filled_as_asked(missing: str) -> None:
    rows = waves(6)
    rows[0][2, 1] = np.nan
    model = Autoencoder(**QUICK, missing=missing).fit(rows, validation=0)
    assert np.isfinite(model.score_samples(rows)).all()
    assert np.isfinite(model.reconstruct(rows)[0]).all()


@pytest.mark.parametrize("how", ["channel", "all", "none"])
def test_standardize(how: str) -> None:
    rows = [np.array([[0.0, 10.0], [2.0, 30.0]]), np.array([[4.0, 50.0]])]
    frontend = Autoencoder(**QUICK, standardize=how).fit(rows, validation=0).model.frontend
    values = np.concatenate(rows)
    mean, scale = {
        "channel": (values.mean(0), values.std(0)),
        "all": ([values.mean()] * 2, [values.std()] * 2),
        "none": ([0, 0], [1, 1]),
    }[how]
    assert np.allclose(frontend.mean, mean)
    assert np.allclose(frontend.scale, scale)


@pytest.mark.parametrize(
    ("X", "options", "words"),
    [
        ([], {}, "there are no training rows"),
        ([[], []], {}, r"every training row is empty \(length 0\)"),
        ([[1.0, float("nan")]], {}, "row 0, step 1, channel 0 holds NaN: say --missing"),
        ([[float("nan")] * 3], {"missing": "mean"}, "channel 0 has no value in any training row"),
        (["a text"], {}, "the rows|row 0"),
    ],
)
def test_rows_that_cannot_be_learned_from(X: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Autoencoder(**QUICK, **options).fit(X)


def test_validation_rows_that_cannot_be_used() -> None:
    for held, words in (([[]], "every validation row is empty"), ([], "no validation rows"), ([[1.0]], "shape")):
        with pytest.raises(DataError, match=words):
            Autoencoder(**QUICK).fit(waves(4), validation=held)
    with pytest.raises(UsageError, match=r"validation \(1.5\)"):
        Autoencoder(**QUICK).fit(waves(4), validation=1.5)
    with pytest.raises(ConfigError, match=r"patience \(2\) waits for a better epoch"):
        Autoencoder(**QUICK, patience=2).fit(waves(4))


def test_a_tenth_is_held_out_where_that_is_forty_rows() -> None:
    rows = waves(400, shape=())
    model = Autoencoder(**(QUICK | {"batch_size": 64, "hidden_size": 2})).fit(rows)
    assert model.predictor.bundle.facts["training_rows"] == 360
    assert len(model.predictor.quantiles) == 40
    assert Autoencoder(**QUICK).fit(rows[:20], validation=0.25).predictor.bundle.facts["training_rows"] == 15


@pytest.mark.parametrize(
    "ask", ["predict", "score_samples", "decision_function", "transform", "reconstruct", "errors", "explain"]
)
def test_asked_before_it_was_fitted(ask: str) -> None:
    with pytest.raises(NotFittedError, match="this Autoencoder is not fitted: call fit first"):
        getattr(Autoencoder(), ask)([[1.0]])


def test_a_threshold_asked_before_it_was_fitted() -> None:
    with pytest.raises(NotFittedError):
        Autoencoder().offset_  # noqa: B018


def test_rows_of_another_shape_are_refused(fitted: Autoencoder) -> None:
    with pytest.raises(DataError, match=r"has the shape \(3,\), and the model was trained on \(2,\)"):
        fitted.predict(waves(2, shape=(3,)))


def test_how_well_scores_tell_normal_rows_from_the_rest(fitted: Autoencoder) -> None:
    rows = waves(10, seed=4)
    odd = [strange(row) for row in rows]
    metrics = fitted.evaluate([*rows, *odd], [True] * 10 + [False] * 10)
    assert (metrics["roc_auc"], metrics["found"], metrics["rows"]) == (1.0, 1.0, 20)
    assert metrics["outliers"] == pytest.approx((1 + metrics["false_alarms"]) / 2)
    assert metrics["threshold"] == -fitted.offset_
    assert metrics["error"] == pytest.approx(-fitted.score_samples([*rows, *odd]).mean())
    alike = fitted.evaluate(rows, [True] * 10)
    assert alike["roc_auc"] is None
    assert alike["found"] is None
    assert "roc_auc" not in fitted.evaluate(rows)
    with pytest.raises(DataError, match="no rows to evaluate"):
        fitted.evaluate([])
    with pytest.raises(DataError, match=r"normal \(1,\) must be \(10,\)"):
        fitted.evaluate(rows, [True])


@pytest.mark.parametrize(
    ("facts", "weights"),
    [({"scores": []}, {}), ({"scores": [2.0, 1.0]}, {}), ({"shape": [3]}, {}), ({"encoder": {}}, {}),
     ({}, {"latent.bias": torch.zeros(5)}), ({}, {"more": torch.zeros(5)})],
)  # fmt: skip
def test_a_bundle_that_was_tampered_with(
    fitted: Autoencoder, facts: dict[str, Any], weights: dict[str, torch.Tensor]
) -> None:
    bundle = fitted.predictor.bundle
    changed = Bundle(bundle.config, {}, {**bundle.weights, **weights}, {**bundle.facts, **facts})
    with pytest.raises(BundleError, match="tampered with"):
        Autoencoder.from_bundle(changed)


def test_a_backbone_is_of_no_use(fitted: Autoencoder, tmp_path: Path) -> None:
    fitted.save(tmp_path / "bundle")
    with pytest.raises(UsageError, match="a model of autoencoder reads no pictures"):
        harken.load(tmp_path / "bundle", backbone=torch.nn.Identity())
