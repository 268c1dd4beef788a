"""scikit-learn takes the autoencoder for its own: an outlier detector that transforms."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_outlier_detector
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from harken.estimators.autoencoder import Autoencoder

SMALL: dict[str, Any] = {
    "hidden_size": 4,
    "latent_size": 2,
    "epochs": 2,
    "min_steps": 0,
    "learning_rate": 0.02,
    "show_examples": 0,
    "accelerator": "cpu",
}
_LONGER = "X.T is refused, it says, and here it holds longer series; see test_an_outlier_detector_agrees"
OTHERWISE = {
    "check_no_attributes_set_in_init": "config holds the options, checked, in their sections",
    "check_do_not_raise_errors_in_init_or_set_params": "a wrong option is refused where it is given, not later in fit",
    "check_n_features_in_after_fitting": "axis 1 is time and rows may be of any length: they have no features",
    "check_n_features_in": "axis 1 is time and rows may be of any length: they have no features",
    "check_estimators_empty_data_messages": "axis 1 is time: what is refused are training rows without any step",
    "check_dtype_object": "what is no number is a DataError that names its row and step, no TypeError",
    "check_transformer_general": _LONGER,
    "check_outliers_train": _LONGER,
}
"""Checks that do not make sense for sequences, and why: each must fail, so that one that makes sense is noticed."""
ROUNDED = {"check_methods_subset_invariance", "check_methods_sample_order_invariance"}
"""Checks that ask for 1e-7 and 1e-9, which is float32's rounding; tests/models has them at 1e-10."""


def own_checks() -> pytest.MarkDecorator:
    with warnings.catch_warnings():  # a base class of scikit-learn's would make `import harken` slow
        warnings.filterwarnings("ignore", message=".*does not inherit from `sklearn.base.BaseEstimator`")
        return parametrize_with_checks(
            [Autoencoder(**SMALL)], expected_failed_checks=lambda _: OTHERWISE, xfail_strict=True
        )


@pytest.mark.filterwarnings("ignore:.*delay parameter validation until fit")
@own_checks()
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    if check.func.__name__ in ROUNDED:
        pytest.skip("rounding")
    check(estimator)


def blobs() -> np.ndarray:
    """Rows of three numbers near one of two places, and three far from both."""
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 3)) * 0.1 + np.repeat([[0.0, 1, 2], [2, 1, 0]], 30, axis=0)
    X[:3] += 4
    return X


def test_an_outlier_detector_agrees_with_itself() -> None:
    """What check_outliers_train and check_transformer_general ask beside the shape of X."""
    X = blobs()
    model = Autoencoder(**SMALL, quantile=0.1).fit(X[3:])
    scores = model.score_samples(X)
    assert is_outlier_detector(model)
    assert np.allclose(model.decision_function(X), scores - model.offset_)
    assert (model.predict(X) == np.where(scores < model.offset_, -1, 1)).all()
    assert (model.predict(X[3:]) == -1).sum() == 6  # a tenth of the rows that the threshold was made from
    assert (model.predict(X[:3]) == -1).all()
    assert np.array_equal(Autoencoder(**SMALL, quantile=0.1).fit_predict(X[3:]), model.predict(X[3:]))
    assert np.array_equal(Autoencoder(**SMALL).fit_transform(X[3:]), model.transform(X[3:]))
    assert model.transform(X.T).shape == (3, 2)  # longer series than in training


def test_it_clones_and_works_in_a_pipeline() -> None:
    model = Autoencoder(**SMALL)
    assert clone(model).get_params() == model.get_params()
    pipeline = make_pipeline(FunctionTransformer(lambda X: X[:, :, None]), model).fit(blobs(), np.zeros(60))
    assert pipeline.predict(blobs()).shape == pipeline.score_samples(blobs()).shape == (60,)
