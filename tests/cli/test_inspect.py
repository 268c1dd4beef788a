"""harken.cli.inspect: what the estimator's summary says."""

import harken as library


def test_the_table_counts_every_parameter(harken, run):
    result = harken("inspect", run)
    assert (result.code, result.err) == (0, "")
    total = sum(parameter.numel() for parameter in library.load(run).model.parameters())
    assert f"{total:,}" in result.out
    assert "context" in result.out
    assert "\x1b" not in result.out


def test_json(harken, run):
    result = harken("inspect", run, "--json")
    total = sum(parameter.numel() for parameter in library.load(run).model.parameters())
    assert result.json["parameters"] == total
    assert sum(layer["parameters"] for layer in result.json["layers"]) == total
    assert any("context" in part for part in result.json["output_sees"])


def test_a_picture(harken, run, tmp_path):
    result = harken("inspect", run, "--out", tmp_path / "model.png")
    assert result.code == 0
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")


def test_other_suffixes_are_refused(harken, run, tmp_path):
    result = harken("inspect", run, "--out", tmp_path / "model.svg")
    assert result.code == 2
    assert ".png" in result.sentence
