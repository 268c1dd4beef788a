"""Runs that classify, regress or tag: what is None is in the recipe, and what does not go together is refused."""

from __future__ import annotations

from typing import Any

import pytest

from harken.config import RECIPES, VALUES, InputKind, RunConfig, SequenceRun
from harken.config.recipes import KINDS, USED_BY, WITHOUT
from harken.errors import ConfigError


@pytest.mark.parametrize("kind", list(RECIPES))
def test_a_settled_run_has_every_value_and_keeps_the_users(kind: InputKind) -> None:
    settled = SequenceRun().settled(kind)
    assert settled.data.input == kind
    values = {n: getattr(getattr(settled, section), n) for n, section in settled.option_names().items()}
    assert {name: values[name] for name in RECIPES[kind]} == RECIPES[kind]
    assert settled.settled(kind) == settled
    assert RunConfig.from_yaml(settled.to_yaml()) == settled

    mine = SequenceRun().override(task="regress", hidden_size=7, bidirectional=False, epochs=1).settled(kind)
    assert (mine.task, mine.model.hidden_size, mine.model.bidirectional, mine.training.epochs) == (
        "regress",
        7,
        False,
        1,
    )
    assert mine.model.dropout == (RECIPES[kind] | VALUES.get(kind, {}))["dropout"]


def test_every_recipe_answers_for_the_options_that_have_no_default_and_for_no_others() -> None:
    defaults, sections = SequenceRun(), SequenceRun.option_names()
    for recipe in RECIPES.values():
        assert recipe.keys() == RECIPES["text"].keys()
        assert all(getattr(getattr(defaults, sections[name]), name) is None for name in recipe)


def test_columns_may_be_one_text_or_several() -> None:
    one, two = SequenceRun().override(label="stars"), SequenceRun().override(label=["colour", "shape"])
    assert (one.data.label, two.data.label) == (("stars",), ("colour", "shape"))
    assert SequenceRun.from_yaml("data: {label: stars}") == one
    assert SequenceRun().override(["data.label=[colour, shape]"]) == two
    assert RunConfig.from_yaml(two.override(task="regress").to_yaml()).data == two.data


@pytest.mark.parametrize(
    ("given", "read"), [(None, None), (0, 0.0), (0.0, 0.0), (0.25, 0.25), ("held out.csv", "held out.csv")]
)
def test_validation_is_a_file_a_fraction_none_or_left_open(given: Any, read: Any) -> None:
    assert SequenceRun().override(validation=given).data.validation == read


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"text": "review", "words": "1"}, "text ('review') and words ('1') both say what a row is"),
        ({"time": "t"}, "time ('t') sorts the rows of a series: id must name"),
        ({"freeze_vectors": True}, "freeze_vectors needs word_vectors"),
        ({"text": "a", "label": ("b", "a")}, "label and text are both 'a': a column cannot be learned from itself"),
        ({"series": ("x", "y"), "label": "y"}, "label and series are both 'y'"),
        ({"kernel_size": 4}, "kernel_size (4) must be odd, so that a step stands in the middle: 3 or 5"),
        (
            {"pooling": "self-attention", "hidden_size": 10, "bidirectional": True, "num_heads": 3},
            "num_heads (3) must divide the 20 values of a step",
        ),
        (
            {"pooling": "self-attention-query", "hidden_size": 5, "bidirectional": False, "num_heads": 2},
            "num_heads (2) must divide the 5 values of a step",
        ),
        ({"input": "pictures"}, "data.input ('pictures'): input should be 'text', 'ids'"),
        ({"label": 3}, "data.label (3): input should be a valid tuple"),
        ({"validation": 1.0}, "data.validation (1.0): input should be less than 1"),
        ({"monitor": "exact_match"}, "training.monitor ('exact_match'): input should be 'score' or 'loss'"),
        ({"pooling": "first"}, "model.pooling ('first'): input should be 'last', 'sum'"),
        ({"truncate": 0}, "data.truncate (0): input should be greater than or equal to 1"),
        ({"epochs": 0}, "training.epochs (0): input should be greater than or equal to 1"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SequenceRun().override(**options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_heads_that_do_not_divide_the_recipes_size_are_refused_when_it_is_known() -> None:
    run = SequenceRun().override(pooling="self-attention", num_heads=5)
    with pytest.raises(ConfigError, match=r"num_heads \(5\) must divide"):
        run.settled("text")


def refusal(kind: InputKind, **options: Any) -> str:
    """Why options make no difference; nothing if they do."""
    run = SequenceRun().override(**options)
    settled = run.settled(kind)
    try:
        settled.check_used(run.changed())
    except ConfigError as error:
        assert SequenceRun.from_yaml(settled.to_yaml()).settled(kind) == settled, "a run that was saved is still read"
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (
            "text",
            {"task": "regress", "class_weight": "balanced"},
            "in task=regress: it is for classify and tag, so leave",
        ),
        ("text", {"task": "regress", "binary": "two-logits"}, "binary ('two-logits') does nothing in task=regress"),
        ("text", {"task": "regress", "label_smoothing": 0.5}, "label_smoothing (0.5) does nothing in task=regress"),
        (
            "words",
            {"task": "tag", "pooling": "max"},
            "pooling ('max') does nothing in task=tag: it is for classify and",
        ),
        ("words", {"task": "tag", "num_heads": 2}, "num_heads (2) does nothing in task=tag"),
        ("words", {"task": "tag", "binary": "two-logits"}, "it is for classify, so leave it out"),
        ("words", {"tokens": "byte"}, "tokens ('byte') does nothing for input=words: it is for text and sentences"),
        (
            "words",
            {"characters": False, "character_size": 8},
            "with characters=false: leave it out, or change characters",
        ),
        (
            "text",
            {"characters": True},
            "characters (True) does nothing for input=text: it is for words, so leave it out",
        ),
        ("text", {"standardize": "all"}, "it is for series, vectors, audio and spectrogram"),
        ("text", {"local": 2}, "local (2) does nothing for input=text: it is for series and vectors"),
        ("series", {"local_size": 4}, "local_size (4) does nothing with local=0: leave it out, or change local"),
        ("text", {"missing": "mean"}, "missing ('mean') does nothing for input=text"),
        (
            "text",
            {"kernel_size": 3},
            "kernel_size (3) does nothing with convolution=0: leave it out, or change convolution",
        ),
        ("text", {"pooling": "mean", "num_heads": 2}, "num_heads (2) does nothing with pooling=mean"),
        ("text", {"pooling": "gated", "num_heads": 2}, "num_heads (2) does nothing with pooling=gated"),
        ("text", {"pooling": "gated-query", "num_heads": 2}, "num_heads (2) does nothing with pooling=gated-query"),
        ("text", {"tokens": "byte", "vocabulary_size": 9}, "vocabulary_size (9) does nothing with tokens=byte"),
        ("ids", {"lowercase": True}, "it is for text, sentences and words"),
        ("ids", {"word_vectors": "v.txt"}, "word_vectors ('v.txt') does nothing for input=ids"),
        ("series", {"embedding_size": 8}, "it is for text, ids, sentences and words, so leave it out"),
        ("vectors", {"word_dropout": 0.5}, "word_dropout (0.5) does nothing for input=vectors"),
    ],
)
def test_an_option_that_changes_nothing_is_refused(kind: InputKind, options: dict[str, Any], said: str) -> None:
    assert said in refusal(kind, **options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("text", {"task": "tag", "class_weight": "balanced", "label_smoothing": 0.1, "mlp_size": 3}),
        ("text", {"convolution": 8, "kernel_size": 3, "num_heads": 2, "binary": "two-logits"}),
        ("words", {"task": "tag", "pooling": "attention", "tokens": "wordpunct", "standardize": "none"}),
        ("words", {"character_size": 8, "vocabulary_size": 9, "word_vectors": "v.txt"}),
        ("series", {"task": "regress", "kernel_size": 3, "missing": "mean", "word_dropout": 0.0}),
    ],
)
def test_what_has_a_use_or_is_the_recipes_is_not(kind: InputKind, options: dict[str, Any]) -> None:
    assert refusal(kind, **options) == ""


@pytest.mark.parametrize("task", ["classify", "regress", "tag"])
@pytest.mark.parametrize("kind", list(RECIPES))
def test_a_run_that_was_settled_before_is_accepted(kind: InputKind, task: str) -> None:
    settled = SequenceRun().override(task=task).settled(kind)
    settled.check_used(settled.changed())


def test_every_option_of_the_tables_is_one_and_so_are_their_values() -> None:
    names = SequenceRun.option_names()
    assert {*KINDS, *USED_BY, *WITHOUT, *(other for other, _ in WITHOUT.values())} <= names.keys()
    for other, values in WITHOUT.values():
        for value in values:
            SequenceRun().override(**{other: value})


@pytest.mark.parametrize(
    ("options", "heads"),
    [
        ({}, 0),
        ({"pooling": "self-attention"}, 1),
        ({"pooling": "self-attention", "num_heads": 4}, 4),
        ({"pooling": "self-attention-query", "num_heads": 4}, 4),
        ({"pooling": "gated-query"}, 0),
        ({"pooling": "self-attention", "task": "tag"}, 0),
    ],
)
def test_heads_that_compare_steps_with_steps(options: dict[str, Any], heads: int) -> None:
    assert SequenceRun().override(**options).attention_heads == heads
