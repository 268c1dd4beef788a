"""A run of an autoencoder: options that mean what they mean elsewhere, and those that are its own."""

from __future__ import annotations

import pytest

from harken.config import AutoencoderRun, ExamplesConfig, RunConfig, SamplesConfig
from harken.errors import ConfigError

SHARED = SamplesConfig.model_fields.keys() & ExamplesConfig.model_fields.keys() - {"train", "label"}


@pytest.mark.parametrize("name", sorted(SHARED))
def test_an_option_about_files_is_the_one_of_the_other_tasks(name: str) -> None:
    ours, theirs = SamplesConfig.model_fields[name], ExamplesConfig.model_fields[name]
    assert (ours.default, ours.description) == (theirs.default, theirs.description)
    assert {*map(repr, ours.metadata)} == {*map(repr, theirs.metadata)}


def test_files_are_read_as_series_with_the_same_options() -> None:
    data = SamplesConfig(series=("a", "b"), label=("kind",), normal="x", id="n", time="t", truncate=5, missing="carry")
    reading = data.reading()
    assert (reading.input, reading.series, reading.label) == ("series", ("a", "b"), ("kind",))
    assert (reading.id, reading.time, reading.truncate, reading.missing) == ("n", "t", 5, "carry")


def test_it_is_written_and_read_back() -> None:
    run = RunConfig.build({"task": "autoencoder"}).override(latent_size=3, normal="1", feed_back=True, quantile=0.1)
    assert isinstance(run, AutoencoderRun)
    assert RunConfig.from_yaml(run.to_yaml()) == run
    assert run.changed() == {"latent_size": 3, "normal": "1", "feed_back": True, "quantile": 0.1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"time": "t"}, "id must name the column"),
        ({"quantile": 1.0}, r"detection.quantile \(1.0\)"),
        ({"latent_size": 0}, r"model.latent_size \(0\)"),
        ({"monitor": "score"}, "monitor"),
        ({"pooling": "last"}, "'pooling' is an option of task=classify or regress or tag, not of task=autoencoder"),
    ],
)
def test_what_it_does_not_take(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        AutoencoderRun().override(**options)
