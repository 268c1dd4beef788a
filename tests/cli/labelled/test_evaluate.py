"""harken.cli.evaluate on rows with labels: the library's numbers, class by class, and rows that it cannot judge."""

import itertools
import json
import re

import numpy as np
import pytest

import harken as library
from harken.data.examples import read_examples


@pytest.fixture
def library_says(labelled):
    """The evaluation that Python gives of a set's own file."""

    def evaluate(name):
        data, run = labelled(name)
        estimator = library.load(run)
        return estimator.evaluate_examples(read_examples(str(data), estimator.config.data, estimator.task))

    return evaluate


def table_of(out, first):
    """The cells of the printed table whose header begins with ``first``."""
    lines = itertools.takewhile(str.strip, out[out.index(f" {first}") :].splitlines()[2:])
    return {cells[0]: cells[1:] for cells in map(str.split, lines)}


@pytest.mark.parametrize("name", ["reviews", "attributes", "genres", "values", "tagged", "vowels", "documents"])
def test_json_has_the_librarys_numbers(harken, labelled, library_says, name):
    data, run = labelled(name)
    result = harken("evaluate", run, "--data", data, "--json")
    assert (result.code, result.err) == (0, "")
    expected = library_says(name)
    assert {key: result.json[key] for key in expected.metrics} == pytest.approx(expected.metrics)
    assert list(result.json["heads"]) == [report.head.name for report in expected.reports]
    for report in expected.reports:
        found = result.json["heads"][report.head.name]
        assert found["kind"] == report.head.kind
        assert [line["label"] for line in found["classes"]] == list(report.head.classes)
        assert found["confusion"] == (None if report.confusion is None else report.confusion.tolist())


def test_the_table_has_every_class_their_means_and_who_is_taken_for_whom(harken, labelled, library_says):
    data, run = labelled("vowels")
    out = harken("evaluate", run, "--data", data).out
    (report,), metrics = library_says("vowels").reports, library_says("vowels").metrics
    classes = table_of(out, "class")
    for line in report.lines:
        assert classes[line.label] == [f"{line.precision:.2%}", f"{line.recall:.2%}", f"{line.f1:.2%}", "14"]
    assert classes["mean"][-1] == f"{metrics['macro_f1']:.2%}"
    crossed = table_of(out, "is ↓")
    assert [crossed[label] for label in "aei"] == [list(map(str, row)) for row in report.confusion.tolist()]
    assert f" accuracy            {metrics['accuracy']:.2%}" in out
    assert f"differ by {100 * metrics['calibration_error']:.1f} points" in out
    assert " score " not in out
    assert "\x1b" not in out


def test_each_of_several_heads_has_a_heading(harken, labelled):
    data, run = labelled("attributes")
    out = harken("evaluate", run, "--data", data).out
    assert out.index("\nmood\n") < out.index("\nabout\n") < out.index(" score ")
    assert "calibration of mood: " in out
    assert "calibration of about: " in out


def test_values_have_no_classes(harken, labelled):
    data, run = labelled("values")
    out = harken("evaluate", run, "--data", data).out
    assert all(f" {name} " in out for name in ("r2", "mse", "mae"))
    assert "class" not in out
    assert "calibration" not in out


def test_steps_of_tags_are_called_so(harken, labelled):
    data, run = labelled("tagged")
    assert re.search(r"F1 +steps", harken("evaluate", run, "--data", data).out)


def test_the_confusion_is_drawn(harken, labelled, tmp_path):
    data, run = labelled("vowels")
    result = harken("evaluate", run, "--data", data, "--confusion", tmp_path / "who.png")
    assert (result.code, result.err) == (0, f"wrote {tmp_path / 'who.png'}\n")
    assert (tmp_path / "who.png").read_bytes().startswith(b"\x89PNG")


def test_of_several_heads_each_has_a_picture(harken, labelled, tmp_path):
    data, run = labelled("attributes")
    assert harken("evaluate", run, "--data", data, "--confusion", tmp_path / "who.png").code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"who-mood.png", "who-about.png"}


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("values", ["--confusion", "a.png"], ("--confusion", "leave it out")),
        ("genres", ["--confusion", "a.png"], ("--confusion", "leave it out")),
        ("vowels", ["--confusion", "a.pdf"], ("--confusion a.pdf", ".png")),
        ("vowels", ["--target", "label"], ("'target'", "task=seq2seq")),
        ("vowels", ["--decoder", "beam"], ("'decoder'", "task=seq2seq")),
    ],
)
def test_wrong_commands_exit_with_2(harken, labelled, name, arguments, words):
    data, run = labelled(name)
    result = harken("evaluate", run, "--data", data, *arguments)
    assert result.code == 2
    assert all(word in result.sentence for word in words), result.sentence


# Rows that cannot be judged


def test_a_file_without_labels_is_refused(harken, labelled, tmp_path):
    _, run = labelled("reviews")
    (tmp_path / "a.csv").write_text("review\nthe plot is warm\n")
    result = harken("evaluate", run, "--data", tmp_path / "a.csv")
    assert (result.code, result.out) == (1, "")
    assert "no column 'stars'" in result.sentence
    assert "--label" in result.sentence


def test_a_label_that_training_never_had_is_refused_or_skipped(harken, labelled, tmp_path):
    _, run = labelled("reviews")
    data = tmp_path / "a.csv"
    data.write_text("review,stars\nthe plot is warm,good\nthe plot is odd,so so\nthe plot is flat,bad\n")
    result = harken("evaluate", run, "--data", data)
    assert result.code == 1
    assert all(word in result.sentence for word in ("a.csv, row 1", "'so so'", "'bad', 'good'", "--skip-bad-rows"))
    skipped = harken("evaluate", run, "--data", data, "--skip-bad-rows", "--json")
    assert (skipped.json["rows"], skipped.json["skipped"]) == (2, 1)
    assert "that were skipped: 1\n" in skipped.err
    data.write_text("review,stars\nthe plot is odd,so so\n")
    assert harken("evaluate", run, "--data", data, "--skip-bad-rows").code == 1


def test_an_unknown_tag_or_one_of_several_labels_too(harken, labelled, tmp_path):
    data, run = labelled("tagged")
    other = tmp_path / "a.conllu"
    other.write_text(data.read_text().replace("VERB", "AUX", 1))
    refused = harken("evaluate", run, "--data", other)
    assert (refused.code, "'AUX'" in refused.sentence) == (1, True)
    assert harken("evaluate", run, "--data", other, "--skip-bad-rows", "--json").json["rows"] == 23

    data, run = labelled("genres")
    other = tmp_path / "a.csv"
    other.write_text(data.read_text().replace(",war", ",opera", 1))
    refused = harken("evaluate", run, "--data", other)
    assert (refused.code, "'opera'" in refused.sentence) == (1, True)
    assert harken("evaluate", run, "--data", other, "--skip-bad-rows", "--json").json["rows"] == 39


def test_labels_that_spell_numbers_are_those_of_training(harken, train, small, tmp_path):
    """Alone they read as numbers; beside a text, as in training, they are texts."""
    lines = [f"film {n},{('1', '2', 'none')[n % 3]}\n" for n in range(30)]
    (tmp_path / "a.csv").write_text("review,label\n" + "".join(lines))
    run = train(tmp_path / "a.csv", tmp_path / "run", *small)
    (tmp_path / "b.csv").write_text("review,label\nfilm 1,1\nfilm 2,2\n")
    assert harken("evaluate", run, "--data", tmp_path / "b.csv", "--json").json["rows"] == 2


def test_rows_of_another_kind_or_width_are_refused(harken, labelled, tmp_path):
    texts, reviews = labelled("reviews")
    series, vowels = labelled("vowels")
    for run, data, words in ((reviews, series, "input=text"), (vowels, texts, "--series")):
        result = harken("evaluate", run, "--data", data)
        assert (result.code, words in result.sentence) == (1, True), result.err
    np.savez(tmp_path / "a.npz", X=np.zeros((2, 4, 3)), y=np.array(["a", "e"]))
    result = harken("evaluate", vowels, "--data", tmp_path / "a.npz")
    assert result.code == 1
    assert all(word in result.sentence for word in ("a.npz: ", "3 channels", "had 2"))


def test_weights_count_where_the_file_has_them_and_must_if_named(harken, file, train, small, tmp_path):
    data = file("reviews")
    run = train(data, tmp_path / "run", "--weight", "weight", *small)
    weighed = harken("evaluate", run, "--data", data, "--json")
    assert "rows count by their weights in column 'weight'\n" in weighed.err
    support = [line["support"] for line in weighed.json["heads"]["stars"]["classes"]]
    assert support == [40, 20]  # the bad ones weigh twice as much

    other = tmp_path / "b.csv"
    other.write_text("\n".join(line.rpartition(",")[0] for line in data.read_text().splitlines()) + "\n")
    plain = harken("evaluate", run, "--data", other, "--json")
    assert plain.code == 0, plain.err
    assert [line["support"] for line in plain.json["heads"]["stars"]["classes"]] == [20, 20]
    asked = harken("evaluate", run, "--data", other, "--weight", "weight")
    assert (asked.code, "no column 'weight'" in asked.sentence) == (1, True)


def test_columns_of_another_name(harken, labelled, tmp_path):
    data, run = labelled("reviews")
    other = tmp_path / "a.csv"
    other.write_text(data.read_text().replace("id,review,stars", "id,text,verdict", 1))
    options = ["--text", "text", "--label", "verdict", "--json"]
    assert harken("evaluate", run, "--data", other, *options).json["rows"] == 40


def test_another_format_is_read_with_what_it_has_of_the_runs_options(harken, labelled, tmp_path):
    """The columns of a CSV file in long form that a run was trained on name nothing in the others."""
    _, run = labelled("long")
    series = np.ones((2, 4, 2)).tolist()
    header = "@univariate false\n@classLabel true good bad\n@data\n"
    (tmp_path / "a.ts").write_text(header + "1,2,3:4,5,6:good\n1,2:3,4:bad\n")
    np.savez(tmp_path / "a.npz", X=series, y=["good", "bad"])
    for name in ("a.ts", "a.npz"):
        result = harken("evaluate", run, "--data", tmp_path / name, "--json")
        assert (result.code, result.json["rows"]) == (0, 2), result.err
        assert harken("predict", run, "--data", tmp_path / name).code == 0


@pytest.mark.parametrize(
    ("verb", "options", "words"),
    [
        ("evaluate", ["--label", "kind"], ("label ('kind')", "labels have no name: leave it out")),
        ("evaluate", ["--id", "who", "--time", "when"], ("id ('who') does nothing for a .ts file",)),
        ("predict", ["--delimiter", ";"], ("delimiter (';') does nothing", "CSV, TSV and text lines")),
        ("explain", ["--no-header"], ("header (False) does nothing", "CSV and TSV")),
    ],
)
def test_an_option_that_the_format_has_no_use_for_is_refused(harken, labelled, verb, options, words):
    data, run = labelled("vowels")
    result = harken(verb, run, "--data", data, *options)
    assert (result.code, result.out) == (1, "")
    assert all(word in result.sentence for word in words), result.sentence


def test_json_is_json(harken, labelled):
    data, run = labelled("genres")
    assert json.loads(harken("evaluate", run, "--data", data, "--json").out)["data"] == str(data)
