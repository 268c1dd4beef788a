"""harken.cli.options: a field of the configuration is an option, whatever its type."""

from typing import Literal, get_args, get_origin

import pytest

from harken.cli.options import ANSWERING, READING, fields, takes
from harken.config import RunConfig

# A value other than the default for each option that is neither a choice nor a flag.
OTHER = {
    "source": "007",
    "target": "no",  # YAML would read a flag
    "key": "null",
    "delimiter": ",",
    "validation": "0.25",
    "max_characters": "77",
    "vocabulary_size": "300",
    "embedding_size": "12",
    "hidden_size": "64",
    "num_layers": "2",
    "dropout": "0.5",
    "num_heads": "2",
    "epochs": "3",
    "batch_size": "7",
    "learning_rate": "1e-4",
    "warmup": "0",
    "weight_decay": "0.01",
    "clip_norm": "0",
    "label_smoothing": "0.1",
    "patience": "2",
    "seed": "5",
    "show_examples": "0",
    "accelerator": "cpu",
    "devices": "2",
    "precision": "bf16-mixed",
    "checkpoint_minutes": "0.5",
    "beam_size": "3",
    "length_penalty": "0",
    "temperature": "0.7",
    "max_length": "9",
}


def cases():
    """(arguments, name, value) for every option, every choice and both flags."""
    for name, field in fields().items():
        dashed = name.replace("_", "-")
        if name == "train":
            yield ["rows.csv"], name, "rows.csv"
        elif get_origin(field.annotation) is Literal:
            for choice in get_args(field.annotation):
                yield [f"--{dashed}", choice], name, choice
        elif field.annotation is bool:
            yield [f"--{dashed}"], name, True
            yield [f"--no-{dashed}"], name, False
        else:
            value = OTHER[name]
            number = name not in ("source", "target", "key", "delimiter", "accelerator", "precision")
            yield [f"--{dashed}", value], name, float(value) if number else value
    yield ["--validation", "held-out.csv"], "validation", "held-out.csv"
    yield ["--devices", "0,1"], "devices", "0,1"
    yield ["--devices", "auto"], "devices", "auto"


@pytest.mark.parametrize(("arguments", "name", "value"), list(cases()), ids=str)
def test_every_option_reaches_the_configuration(harken, arguments, name, value):
    needed = {"score": "general"} if value is True and name == "bidirectional" else {}
    result = harken("train", *arguments, *(f"--{n}={v}" for n, v in needed.items()), "--print-config")
    assert result.code == 0, result.err
    config = RunConfig.from_yaml(result.out)
    options = {} if name == "task" else {name: value, **needed}
    assert config == RunConfig().override(**options)
    if name in OTHER:
        assert config != RunConfig()


def test_every_option_is_in_the_help_of_train(harken):
    out = harken("train", "--help").out
    for name in fields():
        assert name == "train" or f"--{name.replace('_', '-')} " in out


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_verbs_on_a_run_say_whose_defaults_hold(harken, verb):
    out = " ".join(harken(verb, "--help").out.split())
    for name in (*READING, *ANSWERING):
        assert (f"--{name.replace('_', '-')} " in out) == (name != "key" or verb == "predict")
    assert "instead of stopping at the first. Default: no." in out
    assert "Default: as the run has it." in out
    assert "Default: greedy" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs", "0"], ("training.epochs (0)", "greater than or equal to 1")),
        (["--epochs", "many"], ("--epochs", "integer")),
        (["--kind", "fancy"], ("--kind", "'fancy'", "attention")),
        (["--validation", "1.5"], ("data.validation (1.5)", "less than 1")),
        (["--num-heads", "3", "--score", "multi-head"], ("num_heads (3) must divide hidden_size (256)",)),
        (["--input-feeding", "--kind", "plain"], ("input_feeding needs kind=attention",)),
        (["--epochs"], ("--epochs", "requires an argument")),
    ],
)
def test_values_that_an_option_does_not_take(harken, arguments, words):
    result = harken("train", "rows.csv", *arguments)
    assert result.code == 2
    assert all(word in result.sentence for word in words)


def test_a_verb_gets_what_was_typed_and_nothing_else():
    got = []

    @takes("epochs", "dropout", "bidirectional")
    def verb(*, options):
        got.append(options)

    verb(epochs=3, dropout=None, bidirectional=False)
    assert got == [{"epochs": 3, "bidirectional": False}]
