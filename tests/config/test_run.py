"""Options: one field, three spellings, errors in one sentence."""

from __future__ import annotations

import pytest

from harken.config import TASKS, RunConfig, Seq2SeqRun, SequenceRun
from harken.errors import ConfigError

RUNS = [Seq2SeqRun, SequenceRun]


@pytest.mark.parametrize("run", RUNS)
def test_a_field_name_is_unique_over_all_sections(run: type[RunConfig]) -> None:
    names = [name for section in run.sections().values() for name in section.model_fields]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("run", RUNS)
def test_every_field_has_its_sentence_of_help(run: type[RunConfig]) -> None:
    for section in run.sections().values():
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert field.description, name
            assert field.description[0].isupper() or ":" in field.description, name
            assert field.description.endswith((".", "…")), name


def test_a_task_has_one_class_of_runs_and_the_base_finds_it() -> None:
    assert set(TASKS) == {"seq2seq", "classify", "regress", "tag", "autoencoder", "language-model"}
    assert RunConfig.build({}) == RunConfig.from_yaml("") == Seq2SeqRun()
    for task, run in TASKS.items():
        made = RunConfig.from_yaml(f"task: {task}\ntraining: {{epochs: 3}}")
        assert type(made) is run
        assert (made.task, made.training.epochs) == (task, 3)
        assert RunConfig.from_yaml(made.to_yaml()) == made
        assert RunConfig.build(made.model_dump(mode="json")) == made


def test_another_task_keeps_what_was_changed_and_fits() -> None:
    before = Seq2SeqRun().override(hidden_size=9, epochs=3, source="typed", learning_rate=0.005)
    after = before.override(task="tag", words="1")
    assert isinstance(after, SequenceRun)
    assert after.task == "tag"
    assert after.changed() == {"hidden_size": 9, "epochs": 3, "words": "1"}
    back = after.override(task="seq2seq")
    assert back == Seq2SeqRun().override(hidden_size=9, epochs=3)
    assert after.override(task="classify").changed() == after.changed()


def test_changed_is_the_inverse_of_override() -> None:
    for run in (Seq2SeqRun(), SequenceRun()):
        assert run.changed() == {}
        options = {"hidden_size": 7, "delimiter": "_", "dropout": 0.25, "validation": "held out.csv"}
        assert run.override(**options).changed() == options


def test_yaml_gives_the_same_config_back() -> None:
    config = Seq2SeqRun().override(hidden_size=128, delimiter="_", validation="held out.csv", patience=3, warmup=0.0)
    assert Seq2SeqRun.from_yaml(config.to_yaml()) == config
    assert Seq2SeqRun.from_yaml(Seq2SeqRun().to_yaml()) == Seq2SeqRun()
    assert all(line.startswith(("#", "  #")) or ":" in line or not line for line in config.to_yaml().splitlines())


def test_part_of_a_yaml_keeps_the_other_defaults() -> None:
    config = Seq2SeqRun.from_yaml("model: {hidden_size: 7}")
    assert config == Seq2SeqRun().override(hidden_size=7)
    assert Seq2SeqRun.from_yaml("") == Seq2SeqRun()


def test_three_spellings() -> None:
    flat = Seq2SeqRun().override(hidden_size=128)
    assert flat == Seq2SeqRun().override(["model.hidden_size=128"]) == Seq2SeqRun.from_yaml("model: {hidden_size: 128}")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Seq2SeqRun().override(hiden_size=3), "'hiden_size' is not an option: did you mean 'hidden_size'?"),
        (
            lambda: Seq2SeqRun.from_yaml("model: {hiden_size: 3}"),
            "'hiden_size' is not an option: did you mean 'hidden_size'?",
        ),
        (lambda: Seq2SeqRun.from_yaml("modle: {}"), "'modle' is not an option: did you mean 'model'?"),
        (
            lambda: Seq2SeqRun().override(["modle.hidden_size=3"]),
            "'modle' is not an option: did you mean 'model'?",
        ),
        (lambda: Seq2SeqRun().override(["hidden_size=3"]), "is not section.option=value"),
        (
            lambda: Seq2SeqRun().override(hidden_size=0),
            "model.hidden_size (0): input should be greater than or equal to 1",
        ),
        (lambda: Seq2SeqRun().override(validation=2.0), "data.validation (2.0): input should be less than 1"),
        (
            lambda: Seq2SeqRun().override(kind="peek"),
            "model.kind ('peek'): input should be 'plain', 'peeky' or 'attention'",
        ),
        (lambda: Seq2SeqRun.from_yaml("task: classify"), "task ('classify'): input should be 'seq2seq'"),
        (
            lambda: RunConfig.from_yaml("task: juggle"),
            "task ('juggle'): input should be 'autoencoder', 'classify', 'language-model', 'regress', "
            "'seq2seq' or 'tag'",
        ),
        (lambda: RunConfig.from_yaml("task: [tag]"), "task (['tag'])"),
        (lambda: Seq2SeqRun().override(task="juggle"), "task ('juggle')"),
        (
            lambda: Seq2SeqRun().override(tokens="word"),
            "'tokens' is an option of task=classify or language-model or regress or tag, "
            "not of task=seq2seq: did you mean",
        ),
        (
            lambda: SequenceRun().override(task="regress", source_tokens="word"),
            "'source_tokens' is an option of task=seq2seq, not of task=regress: did you mean 'tokens'?",
        ),
        (
            lambda: SequenceRun().override(["decoding.beam_size=3"]),
            "'decoding' is an option of task=seq2seq, not of task=classify: leave it out",
        ),
        (
            lambda: RunConfig.from_yaml("task: tag\nmodel: {score: dot}"),
            "'score' is an option of task=seq2seq, not of task=classify or regress or tag",
        ),
        (lambda: Seq2SeqRun.from_yaml("[1, 2]"), "must be a mapping"),
        (lambda: Seq2SeqRun.from_yaml("a: [1"), "is not YAML"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(make, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_options_are_checked_together() -> None:
    config = Seq2SeqRun().override(["model.bidirectional=true", "model.hidden_size=8"], score="general", hidden_size=16)
    assert (config.model.bidirectional, config.model.score, config.model.hidden_size) == (True, "general", 16)
