"""scikit-learn takes the estimators for its own: its checks of estimators, pipelines, searches, cross-validation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.metrics import make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    check_cv,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, scale
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from harken.errors import ConfigError, DataError, NotFittedError, UsageError
from harken.estimators.sequence import Classifier, Regressor, Tagger

SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "convolution": 0,
    "bidirectional": False,
    "dropout": 0.0,
    "epochs": 25,
    "batch_size": 32,
    "min_steps": 0,
    "learning_rate": 0.05,
    "show_examples": 0,
    "accelerator": "cpu",
}
TEXTS = SMALL | {"embedding_size": 8, "word_dropout": 0.0, "epochs": 12, "batch_size": 8, "pooling": "max"}

OTHERWISE = {
    "check_no_attributes_set_in_init": "config holds the options, checked, in their sections",
    "check_do_not_raise_errors_in_init_or_set_params": "a wrong option is refused where it is given, not later in fit",
    "check_n_features_in_after_fitting": "axis 1 is time and rows may be of any length: they have no features",
    "check_n_features_in": "axis 1 is time and rows may be of any length: they have no features",
    "check_estimators_empty_data_messages": "axis 1 is time: what is refused are training rows without any step",
    "check_sample_weight_equivalence_on_dense_data": "a row that stands there twice changes which rows make a batch",
}
"""Checks that do not make sense for sequences, and why: each must fail, so that one that makes sense is noticed."""

OTHERWISE_CLASSIFIED = {
    "check_classifiers_train": "X.T is refused, it says, and here it holds longer series; see test_a_classifier_agrees",
    "check_classifiers_multilabel_representation_invariance": "lists are each row's labels; a table is an array",
    "check_class_weight_classifiers": "class_weight is none or balanced; other weights are given by sample_weight",
}

ROUNDED = {
    "check_methods_subset_invariance": "it asks for 1e-7, which is float32's rounding; see test_answers_do_not_depend",
    "check_methods_sample_order_invariance": "it asks for 1e-9; see test_answers_do_not_depend",
}
"""Checks that hold or fail by the last bit, which is another on other processors: left out."""


def otherwise(estimator: Any) -> dict[str, str]:
    return OTHERWISE | (OTHERWISE_CLASSIFIED if isinstance(estimator, Classifier) else {})


def own_checks() -> pytest.MarkDecorator:
    with warnings.catch_warnings():  # a base class of scikit-learn's would make `import harken` slow
        warnings.filterwarnings("ignore", message=".*does not inherit from `sklearn.base.BaseEstimator`")
        estimators = [Classifier(**SMALL), Regressor(**SMALL)]
        return parametrize_with_checks(estimators, expected_failed_checks=otherwise, xfail_strict=True)


@pytest.mark.filterwarnings("ignore:.*delay parameter validation until fit")
@own_checks()
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    name = check.func.__name__
    if name in ROUNDED:
        pytest.skip(ROUNDED[name])
    check(estimator)


def test_a_classifier_agrees_with_itself() -> None:
    """What check_classifiers_train asks beside the shape of X."""
    X, y = make_blobs(n_samples=150, random_state=0)
    X = scale(X)
    for classes in (2, 3):
        rows, labels = X[y < classes], y[y < classes]
        with pytest.raises(DataError, match=r"labels for .* rows"):
            Classifier(**SMALL).fit(rows, labels[:-1])
        model = Classifier(**SMALL).fit(rows, labels)
        said, chances, decision = model.predict(rows), model.predict_proba(rows), model.decision_function(rows)
        assert said.shape == labels.shape
        assert (said == labels).mean() > 0.83
        assert chances.shape == (len(rows), classes)
        assert (chances.argmax(1) == said).all()
        assert np.allclose(chances.sum(1), 1)
        if classes == 2:
            assert decision.shape == (len(rows),)
            assert ((decision > 0) == said).all()
        else:
            assert decision.shape == (len(rows), 3)
            assert (decision.argmax(1) == said).all()
        assert len(model.predict(rows.T)) == 2  # longer series than in training


@pytest.mark.parametrize("binary", ["one-logit", "two-logits"])
def test_answers_do_not_depend_on_company_or_order(binary: str) -> None:
    random = np.random.default_rng(0)
    X = 3 * random.uniform(size=(20, 3))
    models = (
        Classifier(**SMALL, binary=binary).fit(X, X[:, 0] > 1.5),
        Classifier(**SMALL, binary=binary).fit(X, X[:, 0].astype(int)),
        Regressor(**SMALL).fit(X, X[:, 0]),
    )
    order = random.permutation(len(X))
    for model in models:
        for name in ("predict", "predict_proba", "decision_function"):
            if hasattr(model, name):
                ask = getattr(model, name)
                together = ask(X)
                assert np.allclose(together, np.concatenate([ask(row[None]) for row in X]), rtol=1e-5, atol=1e-6)
                assert np.allclose(together[order], ask(X[order]), rtol=1e-5, atol=1e-6)


def texts(n: int = 96) -> tuple[list[str], list[str]]:
    """What one word among others says."""
    random = np.random.default_rng(0)
    words, rows, labels = ["a", "film", "of", "the", "year"], [], []
    for row in range(n):
        label = ("awful", "good")[row % 2]
        row_words = [*random.choice(words, random.integers(0, 4)), label.upper()]
        rows.append(" ".join(random.permutation(row_words)))
        labels.append("neg" if label == "awful" else "pos")
    return rows, labels


def small_letters(rows: list[str]) -> list[str]:
    return [row.lower() for row in rows]


def test_tags_say_what_an_estimator_is() -> None:
    assert is_classifier(Classifier())
    assert is_regressor(Regressor())
    assert not is_classifier(Tagger())
    assert not is_regressor(Tagger())
    assert isinstance(check_cv(3, texts()[1], classifier=is_classifier(Classifier())), StratifiedKFold)
    assert Classifier(missing="carry").__sklearn_tags__().input_tags.allow_nan
    assert not Classifier().__sklearn_tags__().input_tags.allow_nan


def test_clone_takes_the_options_and_nothing_that_was_learned() -> None:
    model = Classifier(**TEXTS).fit(*texts())
    check_is_fitted(model)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert repr(twin) == repr(model)
    for ask in (twin.predict, twin.predict_proba, twin.decision_function, twin.explain, twin.answers):
        with pytest.raises(NotFittedError, match=r"this Classifier is not fitted: call fit first"):
            ask(None)  # before anything else is looked at
    with pytest.raises(SklearnNotFittedError):
        check_is_fitted(twin)
    for error in (NotFittedError, SklearnNotFittedError, ValueError, AttributeError):
        with pytest.raises(error):
            twin.score(None, None)
    assert not hasattr(twin, "classes_")


def test_a_pipeline_with_texts() -> None:
    rows, labels = texts()
    model = make_pipeline(FunctionTransformer(small_letters), Classifier(**TEXTS, lowercase=False))
    model.fit(rows, labels, classifier__sample_weight=np.ones(len(rows)))
    assert model.score(rows, labels) == 1.0
    assert list(model.classes_) == ["neg", "pos"]
    assert model.predict(["GOOD", "awful"]).tolist() == ["pos", "neg"]
    assert model.predict_proba(["good"]).shape == (1, 2)
    assert model[-1].predict(["GOOD"]).tolist() == model[-1].predict(["never"]).tolist()


def test_a_grid_search_over_options() -> None:
    rows, labels = texts()
    search = GridSearchCV(Classifier(**TEXTS), {"learning_rate": [1e-6, 0.05], "cell": ["gru"]}, cv=2)
    search.fit(rows, labels)
    assert search.best_params_ == {"learning_rate": 0.05, "cell": "gru"}
    assert search.best_score_ > 0.9
    assert search.predict(["GOOD", "AWFUL"]).tolist() == ["pos", "neg"]
    with pytest.raises(ConfigError, match="hidden_size"):
        GridSearchCV(Classifier(**TEXTS), {"hiden_size": [4]}, cv=2, error_score="raise").fit(rows, labels)


@pytest.mark.parametrize("column", [list, np.array, pd.Series])
def test_cross_validation_of_texts_with_labels_that_are_texts(column: Any) -> None:
    rows, labels = map(column, texts())
    model = Classifier(**TEXTS)
    assert cross_val_score(model, rows, labels, cv=2).mean() > 0.9
    assert cross_val_score(model, rows, labels, cv=2, scoring="roc_auc").mean() > 0.9
    chances = cross_val_predict(model, rows, labels, cv=2, method="predict_proba")
    assert chances.shape == (len(labels), 2)
    assert (chances.argmax(1) == (np.asarray(labels) == "pos")).mean() > 0.9
    decision = cross_val_predict(model, rows, labels, cv=2, method="decision_function")
    assert ((decision > 0) == chances.argmax(1)).all()


def test_cross_validation_of_series_with_values_and_weights() -> None:
    random = np.random.default_rng(0)
    rows = [random.normal(size=(random.integers(1, 6), 2)).astype(np.float32) for _ in range(60)]
    values = np.array([row[:, 0].sum() for row in rows])
    model = Regressor(**SMALL | {"pooling": "sum"})
    found = cross_validate(model, rows, values, cv=2, params={"sample_weight": np.ones(len(rows))})
    assert found["test_score"].mean() > 0.5
    assert cross_val_predict(model, rows, values, cv=2).shape == values.shape
    worst = make_scorer(lambda true, said: -np.abs(true - said).max())
    assert (cross_val_score(model, rows, values, cv=2, scoring=worst) < 0).all()


def test_what_is_no_array_and_what_is_sparse() -> None:
    from scipy import sparse

    class Column:
        def __init__(self, content: Any) -> None:
            self.content = np.asarray(content)

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.asarray(self.content, dtype)

    X, y = np.random.default_rng(0).normal(size=(8, 3)), [0, 1] * 4
    options = SMALL | {"epochs": 1}
    expected = Classifier(**options).fit(X, y).predict_proba(X)
    model = Classifier(**options).fit(Column(X), Column(y), sample_weight=Column(np.ones(8)))
    assert (model.predict_proba(Column(X)) == expected).all()
    with pytest.raises(UsageError, match=r"X is a csr_array, and sparse input is not supported"):
        model.predict(sparse.csr_array(X))
    with pytest.raises(UsageError, match="y is"):
        Classifier(**options).fit(X, np.array(3))
    with pytest.raises(DataError, match="Complex data not supported"):
        model.predict(X + 1j)
