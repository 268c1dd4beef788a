"""harken.cli.evaluate: the numbers that the estimator gives, for people and for machines."""

import json
import shutil

import pytest
import yaml

import harken as library


@pytest.fixture
def truth(run):
    """What the library says about the same rows."""
    pairs = library.read_pairs(str(run.parent / "pairs.csv"), library.load(run).config.data)
    return library.load(run).evaluate(pairs.sources, pairs.targets)


def test_json_has_the_estimators_numbers(harken, run, truth):
    result = harken("evaluate", run, "--data", run.parent / "pairs.csv", "--json")
    assert result.code == 0, result.err
    assert {name: result.json[name] for name in truth} == pytest.approx(truth)
    assert result.json["rows"] == 60
    assert result.json["skipped"] == 0


def test_the_table_has_the_same(harken, run, truth):
    out = harken("evaluate", run, "--data", run.parent / "pairs.csv").out
    assert f"{truth['exact_match']:.2%}" in out
    assert f"{truth['loss']:.4g}" in out


def test_the_bundle_folder_works_too(harken, run):
    assert harken("evaluate", run / "bundle", "--data", run.parent / "pairs.csv").code == 0


@pytest.fixture
def match(harken, learned_run):
    """The share of whole answers that are right, with any options about decoding."""

    def evaluate(*options):
        result = harken("evaluate", learned_run, "--data", learned_run.parent / "pairs.csv", *options, "--json")
        assert result.code == 0, result.err
        assert result.json["rows"] == 60
        return result.json["exact_match"]

    return evaluate


def test_every_way_of_decoding_is_the_librarys(match, learned_run, decoding):
    names = [option.removeprefix("--").replace("-", "_") for option in decoding[::2]]
    values = [yaml.safe_load(value) for value in decoding[1::2]]
    estimator = library.load(learned_run)
    pairs = library.read_pairs(str(learned_run.parent / "pairs.csv"), estimator.config.data)
    estimator.config = estimator.config.override(**dict(zip(names, values, strict=True)))
    answers = estimator.predict(pairs.sources)
    right = sum(answer == target for answer, target in zip(answers, pairs.targets, strict=True))
    assert match(*decoding) == pytest.approx(right / 60)


def test_ways_of_decoding_differ(match):
    assert match() > 0.2
    assert match("--max-length", "1") == 0  # the answers have four digits
    assert match("--decoder", "sample", "--temperature", "50") < match()
    samples = [match("--decoder", "sample", "--temperature", "0.8", "--seed", str(seed)) for seed in (1, 1, 2, 3)]
    assert samples[0] == samples[1]
    assert len(set(samples)) > 1


def test_what_training_chose_for_its_own_file_does_not_carry_over(harken, keyed_run, tmp_path):
    (tmp_path / "test.csv").write_text("question,answer\n1037,7301\n1074,4701\n")  # without a column id
    assert harken("evaluate", keyed_run, "--data", tmp_path / "test.csv", "--json").json["rows"] == 2
    (tmp_path / "test.csv").write_text("question,answer\n1037,7301\n1074,\n")
    result = harken("evaluate", keyed_run, "--data", tmp_path / "test.csv")
    assert result.code == 1
    assert "line 3" in result.sentence
    refused = harken("evaluate", keyed_run, "--data", tmp_path / "test.csv", "--key", "id")
    assert (refused.code, "--key" in refused.sentence) == (2, True)


def test_columns_of_another_name(harken, run, tmp_path):
    (tmp_path / "test.csv").write_text("q,a\n1037,7301\n")
    arguments = ["--data", tmp_path / "test.csv", "--source", "q", "--target", "a", "--json"]
    assert harken("evaluate", run, *arguments).json["rows"] == 1


def test_rows_without_answers_are_refused_or_skipped(harken, run, tmp_path):
    (tmp_path / "test.csv").write_text("question,answer\n1037,7301\n1074,\n")
    result = harken("evaluate", run, "--data", tmp_path / "test.csv")
    assert result.code == 1
    assert "row" in result.sentence
    skipped = harken("evaluate", run, "--data", tmp_path / "test.csv", "--skip-bad-rows", "--json")
    assert (skipped.json["rows"], skipped.json["skipped"]) == (1, 1)
    assert "were skipped: 1\n" in skipped.err


def test_a_tampered_bundle_is_refused(harken, run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run / "bundle", copy)
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    result = harken("evaluate", copy, "--data", run.parent / "pairs.csv")
    assert result.code == 1
    assert "weights.safetensors" in result.sentence


def test_a_bundle_of_another_task_is_refused(harken, run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run / "bundle", copy)
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(manifest | {"task": "classify"}))
    for verb, *rest in (["evaluate", "--data", run.parent / "pairs.csv"], ["explain", "1"], ["predict", "1"]):
        result = harken(verb, copy, *rest)
        assert result.code == 1
        assert "classify" in result.sentence
