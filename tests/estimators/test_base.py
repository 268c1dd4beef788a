"""What every estimator is: options by name, as scikit-learn wants them."""

from __future__ import annotations

import pytest
from sklearn.base import clone

import harken
from harken.config import Seq2SeqRun, SequenceRun
from harken.errors import ConfigError, NotFittedError


def test_get_params_names_every_option_and_clone_takes_them_all() -> None:
    model = harken.Seq2Seq(hidden_size=7, validation="rows.csv")
    params = model.get_params()
    assert params.keys() == Seq2SeqRun.option_names().keys()
    assert (params["hidden_size"], params["validation"], params["epochs"]) == (7, "rows.csv", 10)
    twin = clone(model)
    assert twin is not model
    assert twin.config == model.config
    assert twin.get_params() == params


def test_set_params_is_all_or_nothing() -> None:
    model = harken.Seq2Seq(hidden_size=7)
    assert model.set_params(epochs=2) is model
    assert model.config == Seq2SeqRun().override(hidden_size=7, epochs=2)
    with pytest.raises(ConfigError, match="hidden_size"):
        model.set_params(epochs=3, hiden_size=8)
    assert model.config.training.epochs == model.get_params()["epochs"] == 2


def test_repr_says_what_is_not_the_default() -> None:
    model = harken.Seq2Seq(epochs=2, hidden_size=256, source="typed")
    assert repr(model) == "Seq2Seq(source='typed', epochs=2)"
    assert repr(clone(model)) == repr(model)
    assert repr(harken.Seq2Seq()) == "Seq2Seq()"


def test_another_task_is_refused() -> None:
    assert harken.Seq2Seq(task="seq2seq").config == Seq2SeqRun()
    with pytest.raises(ConfigError, match=r"task \('classify'\) is not Seq2Seq's, which is 'seq2seq'"):
        harken.Seq2Seq(task="classify")
    with pytest.raises(ConfigError, match=r"task \('classify'\) is not Seq2Seq's, which is 'seq2seq'"):
        harken.Seq2Seq.from_config(SequenceRun())
    with pytest.raises(ConfigError, match="'tokens' is an option of task=classify"):
        harken.Seq2Seq(tokens="word")


def test_what_is_not_fitted_says_so() -> None:
    with pytest.raises(NotFittedError, match=r"this Seq2Seq is not fitted: call fit first, or harken\.load"):
        _ = harken.Seq2Seq().predictor
