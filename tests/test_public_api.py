"""The names that users may rely on. A change here is a change for them: it belongs in CHANGELOG.md."""

from __future__ import annotations

import inspect

import pytest

import harken

NAMES = [
    "AdditiveAttention",
    "Attended",
    "Attention",
    "Autoencoder",
    "AutoencoderRun",
    "Classifier",
    "DotAttention",
    "Examples",
    "Faithfulness",
    "GRUState",
    "GeneralAttention",
    "LSTMState",
    "LanguageModel",
    "LanguageModelRun",
    "LocalLinear",
    "MaskedConv1d",
    "MultiHeadAttention",
    "Pairs",
    "Pooled",
    "Predictions",
    "Ragged",
    "Reading",
    "Reconstruction",
    "Recurrent",
    "RecurrentOutput",
    "Regressor",
    "RunConfig",
    "Seq2Seq",
    "Seq2SeqRun",
    "SequenceRun",
    "Tagger",
    "__version__",
    "build_pooling",
    "errors",
    "load",
    "read_examples",
    "read_pairs",
    "reference",
    "testing",
]


def test_the_public_names_are_these():
    assert sorted(harken.__all__) == NAMES
    assert sorted(name for name in dir(harken) if name in NAMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_resolves_and_is_documented(name):
    value = getattr(harken, name)
    if name == "__version__":
        assert value.count(".") == 2
        return
    assert inspect.getdoc(value), f"harken.{name} has no docstring"
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'harken' has no attribute 'Seq2Sec'"):
        harken.Seq2Sec  # noqa: B018


def test_the_type_checker_sees_the_names_that_run_time_sees():
    tree = inspect.getsource(harken)
    typed = tree.split("if TYPE_CHECKING:")[1].split("\n_ROOMS")[0]
    for name in harken.__all__:
        assert name == "__version__" or name in typed, f"{name} is missing from the TYPE_CHECKING imports"


def test_the_estimator_s_methods():
    methods = {name for name in dir(harken.Seq2Seq) if not name.startswith("_")}
    assert methods >= {"fit", "predict", "predict_with_probability", "score", "evaluate", "explain", "save", "summary"}
    fit = inspect.signature(harken.Seq2Seq.fit).parameters
    assert list(fit)[:3] == ["self", "sources", "targets"]
    assert all(p.kind is p.KEYWORD_ONLY for name, p in fit.items() if name in {"validation", "out", "resume"})


@pytest.mark.parametrize("name", ["Classifier", "Regressor", "Tagger"])
def test_the_methods_of_estimators_of_labels(name):
    estimator = getattr(harken, name)
    methods = {method for method in dir(estimator) if not method.startswith("_")}
    asked = {"predict", "answers", "evaluate", "score", "explain", "believe"}
    assert methods >= {"fit", "fit_examples", "save", "summary", "get_params", "set_params", *asked}
    assert ("predict_proba" in methods) == ("classes_" in methods) == (name != "Regressor")
    fit = inspect.signature(estimator.fit).parameters
    assert list(fit)[:3] == ["self", "X", "y"]
    options = {"validation", "sample_weight", "out", "resume", "overwrite", "show"}
    assert options <= {name for name, parameter in fit.items() if parameter.kind is parameter.KEYWORD_ONLY}


def test_the_methods_of_the_autoencoder():
    methods = {method for method in dir(harken.Autoencoder) if not method.startswith("_")}
    scores = {"score_samples", "decision_function", "predict", "fit_predict", "offset_", "evaluate"}
    rebuilt = {"transform", "fit_transform", "reconstruct", "errors", "explain"}
    assert methods >= {"fit", "save", "summary", "get_params", "set_params"} | scores | rebuilt
    fit = inspect.signature(harken.Autoencoder.fit).parameters
    assert list(fit)[:3] == ["self", "X", "y"]
    assert {"validation", "out", "resume", "overwrite", "show"} == {
        n for n, p in fit.items() if p.kind is p.KEYWORD_ONLY
    }


def test_load_gives_the_class_of_the_task():
    from harken.config import TASKS
    from harken.estimators.loading import ESTIMATORS

    public = {harken.Seq2Seq, harken.Classifier, harken.Regressor, harken.Tagger, harken.Autoencoder}
    public.add(harken.LanguageModel)
    assert set(ESTIMATORS) == set(TASKS)
    assert set(ESTIMATORS.values()) == public


def test_the_error_tree():
    errors = harken.errors
    assert issubclass(errors.ConfigError, errors.UsageError)
    assert issubclass(errors.UsageError, errors.InputError)
    assert issubclass(errors.InputError, ValueError)
    assert errors.HarkenError.exit_code == 1
    assert errors.UsageError.exit_code == 2
    drawn = inspect.getdoc(errors) or ""
    raised = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]
    assert all(value.__name__ in drawn for value in raised), "the tree in the docstring lacks a class"
