"""harken.cli.options: a field of the configuration is an option, whatever its type."""

import re
from typing import Literal, get_args, get_origin

import pytest

from harken.cli.options import ANSWERING, READING, RUNS, described, fields, takes, tasks_of
from harken.config import TASKS, RunConfig

# A value other than the default for each option that is neither a choice nor a flag.
NUMBERS = {
    "validation": "0.25",
    "max_characters": "77",
    "vocabulary_size": "300",
    "embedding_size": "12",
    "hidden_size": "48",
    "num_layers": "5",
    "dropout": "0.5",
    "num_heads": "2",
    "epochs": "3",
    "batch_size": "7",
    "batch_steps": "1000",
    "min_steps": "20",
    "learning_rate": "1e-4",
    "warmup": "0",
    "weight_decay": "0.01",
    "clip_norm": "0",
    "label_smoothing": "0.1",
    "patience": "2",
    "seed": "5",
    "show_examples": "0",
    "devices": "2",
    "checkpoint_minutes": "0.5",
    "beam_size": "3",
    "length_penalty": "0",
    "temperature": "0.7",
    "max_length": "9",
    "truncate": "50",
    "max_steps": "5000",
    "min_count": "2",
    "embedding_dropout": "0.25",
    "word_dropout": "0.2",
    "rare_word_dropout": "0.3",
    "local": "4",
    "local_size": "2",
    "convolution": "0",
    "kernel_size": "3",
    "mlp_size": "10",
    "character_size": "5",
    "character_hidden": "6",
    "image_size": "32",
    "max_pixels": "5000000",
    "sample_rate": "8000",
    "max_seconds": "2.5",
    "mels": "40",
    "window": "0.05",
    "hop": "0.02",
    "cnn": "16",
    "cnn_layers": "2",
    "shift": "0",
    "jitter": "0.2",
    "memory_length": "30",
    "input_dropout": "0.15",
    "weight_dropout": "0.35",
    "bptt": "20",
    "top_p": "0.9",
    "max_tokens": "10",
    "latent_size": "5",
    "quantile": "0.01",
}
TEXTS = {
    "source": "007",
    "target": "no",  # YAML would read a flag
    "key": "null",
    "delimiter": ",",
    "accelerator": "cpu",
    "precision": "bf16-mixed",
    "text": "review",
    "vectors": "chunks",
    "words": "1",
    "image": "path",
    "audio": "path",
    "root": "pictures",
    "label_delimiter": ";",
    "weight": "7",
    "id": "series",
    "time": "t",
    "encoding": "latin-1",
    "word_vectors": "glove.txt",
    "init_from": "runs/other",
    "normal": "1",
}
NEEDED = {  # (task, option) → what it cannot do without
    ("seq2seq", "--bidirectional"): {"score": "general"},
    ("classify", "--time"): {"id": "series"},
    ("classify", "--freeze-vectors"): {"word_vectors": "glove.txt"},
    ("autoencoder", "--time"): {"id": "series"},
    ("autoencoder", "--label"): {"normal": "1"},
}


REFUSED = {"autoencoder": {"label_smoothing"}}  # options that a task has only to refuse them
ONE = {("autoencoder", "label")}  # of columns, but no more than one


def choices(annotation):
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for member in get_args(annotation) if (found := choices(member))), ())


def cases():
    """(task, arguments, name, value) for every option of every kind of run, every choice and both flags."""
    for run in RUNS:
        task = next(task for task, kind in TASKS.items() if kind is run)
        for section in run.sections().values():
            for name, field in section.model_fields.items():
                dashed = f"--{name.replace('_', '-')}"
                if name in REFUSED.get(task, ()):
                    continue
                if name == "train":
                    yield task, ["rows.csv"], name, "rows.csv"
                elif found := choices(field.annotation):
                    yield from ((task, [dashed, choice], name, choice) for choice in found)
                elif field.annotation in (bool, bool | None):
                    yield task, [dashed], name, True
                    yield task, [dashed.replace("--", "--no-", 1)], name, False
                elif get_origin(field.annotation) is tuple:
                    yield task, [dashed, "a"], name, ("a",)
                    if (task, name) not in ONE:
                        yield task, [dashed, "a", dashed, "b c"], name, ("a", "b c")
                elif name in NUMBERS:
                    yield task, [dashed, NUMBERS[name]], name, float(NUMBERS[name])
                else:
                    yield task, [dashed, TEXTS[name]], name, TEXTS[name]
        yield task, ["--validation", "held-out.csv"], "validation", "held-out.csv"
        yield task, ["--devices", "0,1"], "devices", "0,1"
        yield task, ["--devices", "auto"], "devices", "auto"
        yield task, [], "task", task
    yield "classify", ["--validation", "0"], "validation", 0.0
    yield "regress", ["--label", "a"], "label", ("a",)
    yield "tag", ["--words", "1"], "words", "1"


@pytest.mark.parametrize(("task", "arguments", "name", "value"), list(cases()), ids=str)
def test_every_option_reaches_the_configuration(harken, task, arguments, name, value):
    needed = NEEDED.get((task, arguments[0]), {}) if arguments else {}
    dashed = (f"--{n.replace('_', '-')}={v}" for n, v in needed.items())
    result = harken("train", "--task", task, *arguments, *dashed, "--print-config")
    assert result.code == 0, result.err
    config, defaults = RunConfig.from_yaml(result.out), RunConfig.build({"task": task})
    assert config == defaults.override(**{name: value, **needed})
    if name in NUMBERS or name in TEXTS:
        assert config != defaults


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "classify", "--source-tokens", "word"], ("'source_tokens'", "task=classify", "'tokens'")),
        (
            ["--task", "seq2seq", "--text", "review"],
            ("'text'", "task=classify or regress or tag", "not of task=seq2seq"),
        ),
        (["--task", "tag", "--monitor", "exact_match"], ("monitor", "'exact_match'", "'score' or 'loss'")),
        (["--task", "autoencoder", "--label-smoothing", "0.1"], ("'label_smoothing'", "not of task=autoencoder")),
        (["--task", "autoencoder", "--label", "a"], ("label ('a')", "needs normal")),
        (["--task", "autoencoder", "--label", "a", "--label", "b", "--normal", "1"], ("'a', 'b'", "one column")),
        (["--task", "classify", "--latent-size", "4"], ("'latent_size'", "task=autoencoder")),
        (["--task", "seq2seq", "--monitor", "score"], ("monitor", "'score'", "'exact_match' or 'loss'")),
    ],
)
def test_an_option_of_another_task_is_refused(harken, arguments, words):
    result = harken("train", "rows.csv", *arguments)
    assert result.code == 2
    assert all(word in result.sentence for word in words), result.sentence


def test_help_says_whose_an_option_is_and_what_holds_without_it(harken):
    out = " ".join(harken("train", "--help").out.split()).replace("language- model", "language-model")  # broken there
    assert "the previous attentional vector (Luong et al. 2015, section 3.3). Default: no." in out
    assert "Column of the texts. Default: told from the data. --" in out
    assert "Default: by the kind of input (classify, regress and tag), word (language-model)." in out
    assert "autoencoder rebuilds every row. Default: told from the data, but never autoencoder. --" in out
    assert (
        "Seq2seq, classify, regress, tag and autoencoder: Rows per step. Language-model: Places at which the text"
        in out
    )
    assert (
        "Default: 128 (seq2seq), by the kind of input (classify, regress and tag), 20 (language-model), "
        "32 (autoencoder)." in out
    )
    assert "Default: 4 (seq2seq), 1 (classify, regress and tag)." in out
    assert "Ignore white space around every text. Not for language-model and autoencoder. Default: yes." in out
    assert "Length of a character's vector, where words have characters. Default: 32." in out, "as the heading says"
    assert described("seed") == "Seed of initialisation, order, dropout and sampling."
    assert described("train").startswith("Seq2seq: File of training rows: text, CSV")
    assert "Classify, regress and tag: File of training rows: CSV" in described("train")
    assert "Language-model: File of running text" in described("train")


def test_every_kind_of_run_is_asked_for_its_options():
    assert set(RUNS) == set(TASKS.values())
    assert [tasks_of([run]) for run in RUNS] == [
        "seq2seq",
        "classify, regress and tag",
        "language-model",
        "autoencoder",
    ]
    assert tasks_of(RUNS) == "seq2seq, classify, regress, tag, language-model and autoencoder"


def test_help_has_a_heading_for_each_section_and_kind_of_run(harken):
    """Under the heading of one kind of run stand the options that no other has, and nothing else."""
    groups, group = {}, []
    for line in harken("train", "--help").out.splitlines():
        if re.fullmatch(r"\S.*:", line):
            group = groups.setdefault(line.removesuffix(":"), [])
        elif option := re.match(r"  --([a-z-]+)", line):
            group.append(option[1].replace("-", "_"))
    assert list(groups)[:5] == ["Arguments", "Options", "Data", "Data of seq2seq", "Data of classify, regress and tag"]
    assert {"task", "out", "resume", "help"} <= set(groups["Options"])
    for name, found in fields().items():
        whose = f" of {tasks_of(found)}"
        sections = {run.option_names()[name] for run in TASKS.values() if name in run.option_names()}
        if name not in ("task", "train"):
            title = min(sections).capitalize() + (whose if len(found) == 1 else "")
            assert name in groups[title], (name, title)


def test_every_option_is_in_the_help_of_train(harken):
    out = harken("train", "--help").out
    for name in fields():
        assert name == "train" or f"--{name.replace('_', '-')} " in out


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_verbs_on_a_run_say_whose_defaults_hold(harken, verb):
    out = " ".join(harken(verb, "--help").out.split())
    assert ("--top-p " in out) == ("--max-tokens " in out) == ("--prompt " in out) == (verb == "predict")
    for name in (*READING, *ANSWERING):
        assert (f"--{name.replace('_', '-')} " in out) == (name != "key" or verb == "predict")
    assert "instead of stopping at the first. Not for language-model. Default: no." in out
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
    result = harken("train", "rows.csv", "--task", "seq2seq", *arguments)
    assert result.code == 2
    assert all(word in result.sentence for word in words)


def test_a_verb_gets_what_was_typed_and_nothing_else():
    got = []

    @takes("epochs", "dropout", "bidirectional")
    def verb(*, options):
        got.append(options)

    verb(epochs=3, dropout=None, bidirectional=False)
    assert got == [{"epochs": 3, "bidirectional": False}]
