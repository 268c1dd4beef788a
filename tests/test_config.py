"""Options: one field, three spellings, errors in one sentence."""

from __future__ import annotations

import pytest

from harken.config import RunConfig
from harken.errors import ConfigError


def test_a_field_name_is_unique_over_all_sections() -> None:
    names = [name for section in RunConfig.sections().values() for name in section.model_fields]
    assert len(names) == len(set(names))


def test_every_field_has_its_sentence_of_help() -> None:
    for section in RunConfig.sections().values():
        for name, field in section.model_fields.items():
            assert field.description, name
            assert field.description[0].isupper() or ":" in field.description, name
            assert field.description.endswith((".", "…")), name


def test_yaml_gives_the_same_config_back() -> None:
    config = RunConfig().override(hidden_size=128, delimiter="_", validation="held out.csv", patience=3, warmup=0.0)
    assert RunConfig.from_yaml(config.to_yaml()) == config
    assert RunConfig.from_yaml(RunConfig().to_yaml()) == RunConfig()
    assert all(line.startswith(("#", "  #")) or ":" in line or not line for line in config.to_yaml().splitlines())


def test_part_of_a_yaml_keeps_the_other_defaults() -> None:
    config = RunConfig.from_yaml("model: {hidden_size: 7}")
    assert config == RunConfig().override(hidden_size=7)
    assert RunConfig.from_yaml("") == RunConfig()


def test_three_spellings() -> None:
    flat = RunConfig().override(hidden_size=128)
    assert flat == RunConfig().override(["model.hidden_size=128"]) == RunConfig.from_yaml("model: {hidden_size: 128}")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RunConfig().override(hiden_size=3), "'hiden_size' is not an option: did you mean 'hidden_size'?"),
        (
            lambda: RunConfig.from_yaml("model: {hiden_size: 3}"),
            "'hiden_size' is not an option: did you mean 'hidden_size'?",
        ),
        (lambda: RunConfig.from_yaml("modle: {}"), "'modle' is not an option: did you mean 'model'?"),
        (
            lambda: RunConfig().override(["modle.hidden_size=3"]),
            "'modle' is not an option: did you mean 'model'?",
        ),
        (lambda: RunConfig().override(["hidden_size=3"]), "is not section.option=value"),
        (
            lambda: RunConfig().override(hidden_size=0),
            "model.hidden_size (0): input should be greater than or equal to 1",
        ),
        (lambda: RunConfig().override(validation=2.0), "data.validation (2.0): input should be less than 1"),
        (
            lambda: RunConfig().override(kind="peek"),
            "model.kind ('peek'): input should be 'plain', 'peeky' or 'attention'",
        ),
        (lambda: RunConfig.from_yaml("task: classify"), "task ('classify'): input should be 'seq2seq'"),
        (lambda: RunConfig.from_yaml("[1, 2]"), "must be a mapping"),
        (lambda: RunConfig.from_yaml("a: [1"), "is not YAML"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(make, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_options_are_checked_together() -> None:
    config = RunConfig().override(["model.bidirectional=true", "model.hidden_size=8"], score="general", hidden_size=16)
    assert (config.model.bidirectional, config.model.score, config.model.hidden_size) == (True, "general", 16)
