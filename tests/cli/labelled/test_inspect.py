"""harken.cli.inspect on runs with labels, values and tags."""

import pytest

import harken as library


@pytest.mark.parametrize("name", ["reviews", "attributes", "vowels", "documents", "tagged"])
def test_every_parameter_is_counted_and_every_head_named(harken, labelled, tmp_path, name):
    _, run = labelled(name)
    estimator = library.load(run)
    result = harken("inspect", run, "--out", tmp_path / "model.png")
    assert (result.code, result.err) == (0, f"wrote {tmp_path / 'model.png'}\n")
    assert f"{sum(parameter.numel() for parameter in estimator.model.parameters()):,}" in result.out
    assert all(head.name in result.out for head in estimator.heads_)
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    found = harken("inspect", run, "--json").json
    assert sum(layer["parameters"] for layer in found["layers"]) == found["parameters"]
