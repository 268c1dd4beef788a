"""harken.cli.predict with labels, values and tags: what was typed, piped or in a file, and what becomes of it."""

import csv
import json

import pyarrow.parquet as pq
import pytest

import harken as library

TEXTS = ["the plot is warm", "a dull film", "the plot of film 7 is flat"]


@pytest.fixture
def model(labelled):
    return lambda name: library.load(labelled(name)[1])


def read(path):
    """Columns as lists, of whatever the format holds."""
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_typed_piped_and_read_texts_are_answered_alike(harken, labelled, model, tmp_path):
    _, run = labelled("reviews")
    expected = list(model("reviews").predict(TEXTS))
    assert harken("predict", run, *TEXTS).out.splitlines() == expected
    assert harken("predict", run, stdin="\r\n".join(TEXTS)).out.splitlines() == expected
    (tmp_path / "a.csv").write_text("review\n" + "".join(f"{text}\n" for text in TEXTS))
    assert harken("predict", run, "--data", tmp_path / "a.csv").out.splitlines() == expected
    assert harken("predict", run / "bundle", *TEXTS).out.splitlines() == expected


def test_json_has_the_probability_of_the_answer(harken, labelled, model):
    _, run = labelled("reviews")
    answers = harken("predict", run, *TEXTS, "--json").json["answers"]
    assert [answer["row"] for answer in answers] == [0, 1, 2]
    assert [answer["prediction"] for answer in answers] == list(model("reviews").predict(TEXTS))
    best = model("reviews").predict_proba(TEXTS).max(1)
    assert [answer["probability"] for answer in answers] == pytest.approx(best.tolist())


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_files_of_answers(harken, labelled, model, tmp_path, suffix):
    data, run = labelled("reviews")
    out = tmp_path / f"answers{suffix}"
    result = harken("predict", run, "--data", data, "--key", "id", "--out", out)
    assert (result.code, result.out) == (0, ""), result.err
    assert f"wrote 40 answers to {out}" in result.err
    found = read(out)
    assert list(found) == ["id", "prediction", "probability"]
    assert found["id"] == [f"r{n}" for n in range(40)]
    with data.open() as file:
        texts = [row["review"] for row in csv.DictReader(file)]
    assert found["prediction"] == list(model("reviews").predict(texts))
    assert list(map(float, found["probability"])) == pytest.approx(
        model("reviews").predict_proba(texts).max(1).tolist()
    )


def test_the_key_of_the_training_run_names_rows_and_a_typed_one_must_be_there(harken, labelled, tmp_path):
    data, run = labelled("chunks")
    assert harken("predict", run, "--data", data, "--json").json["answers"][3]["name"] == "d3"
    pq.write_table(pq.read_table(data).drop_columns(["name"]), tmp_path / "a.parquet")
    assert harken("predict", run, "--data", tmp_path / "a.parquet", "--json").json["answers"][3]["row"] == 3
    result = harken("predict", run, "--data", tmp_path / "a.parquet", "--key", "name")
    assert (result.code, "no column 'name'" in result.sentence) == (1, True)


def test_rows_in_long_form_go_by_their_id(harken, labelled):
    data, run = labelled("long")
    answers = harken("predict", run, "--data", data, "--json").json["answers"]
    assert [answer["id"] for answer in answers] == [f"s{n}" for n in range(20)]


def test_labels_and_weights_need_not_be_there(harken, labelled, tmp_path):
    for name in ("attributes", "vowels", "tagged"):
        data, run = labelled(name)
        other = tmp_path / data.name
        match name:
            case "attributes":
                other.write_text("review\n" + "".join(f"{text}\n" for text in TEXTS))
            case "vowels":
                header, _, rows = data.read_text().partition("@data\n")
                lines = [line.rpartition(":")[0] for line in rows.splitlines()]
                other.write_text(header.replace("true a e i", "false") + "@data\n" + "\n".join(lines))
            case "tagged":
                unknown = "\t_" * 8
                other.write_text(f"1\tthe{unknown}\n2\tdog{unknown}\n\n" * 3)
        result = harken("predict", run, "--data", other)
        assert result.code == 0, (name, result.err)
        assert len(result.out.splitlines()) == (42 if name == "vowels" else 3)


def test_several_heads_have_a_column_each(harken, labelled, model, tmp_path):
    data, run = labelled("attributes")
    expected = model("attributes").predict(TEXTS)
    lines = harken("predict", run, *TEXTS).out.splitlines()
    assert [line.split("\t") for line in lines] == [list(pair) for pair in zip(*expected.values(), strict=True)]
    assert harken("predict", run, "--data", data, "--out", tmp_path / "a.csv").code == 0
    assert list(read(tmp_path / "a.csv")) == ["row", "mood", "mood_probability", "about", "about_probability"]
    result = harken("predict", run, "--data", data, "--key", "mood")
    assert (result.code, "mood is the name of a column of answers" in result.sentence) == (2, True)


def test_several_labels_are_lists_or_cells_as_the_training_file_had_them(harken, labelled, model, tmp_path):
    data, run = labelled("genres")
    estimator = model("genres")
    with data.open() as file:
        texts = [row["review"] for row in csv.DictReader(file)]
    expected, chances = estimator.predict(texts), estimator.predict_proba(texts)
    answers = harken("predict", run, "--data", data, "--json").json["answers"]
    assert [answer["prediction"] for answer in answers] == expected
    for answer, chance in zip(answers, chances.tolist(), strict=True):
        assert answer["probability"] == pytest.approx([p for p in chance if p > 0.5])
    assert harken("predict", run, "--data", data).out.splitlines() == [";".join(labels) for labels in expected]
    assert harken("predict", run, "--data", data, "--out", tmp_path / "a.csv").code == 0
    assert read(tmp_path / "a.csv")["prediction"] == [";".join(labels) for labels in expected]


def test_values_are_numbers(harken, labelled, model):
    _, run = labelled("values")
    expected = model("values").predict(TEXTS)
    assert list(map(float, harken("predict", run, *TEXTS).out.splitlines())) == pytest.approx(expected, rel=1e-5)
    answers = harken("predict", run, *TEXTS, "--json").json["answers"]
    assert [answer["prediction"] for answer in answers] == pytest.approx(expected)
    assert "probability" not in answers[0]


def test_every_word_has_a_tag(harken, labelled, model, tmp_path):
    data, run = labelled("tagged")
    expected = model("tagged").predict([["the", "dog", "barks"], ["the"]])
    result = harken("predict", run, "the dog  barks", "the")
    assert [line.split() for line in result.out.splitlines()] == expected
    answers = harken("predict", run, "the dog barks", "--json").json["answers"]
    assert answers[0]["prediction"] == expected[0]
    assert len(answers[0]["probability"]) == 3
    assert harken("predict", run, "--data", data, "--out", tmp_path / "a.parquet").code == 0
    assert len(read(tmp_path / "a.parquet")["prediction"][1]) == 3


def test_a_typed_document_is_cut_into_sentences(harken, labelled, model):
    _, run = labelled("documents")
    expected = model("documents").predict([["The plot is warm.", "The cast is flat."]])
    assert harken("predict", run, "The plot is warm. The cast is flat.").out.splitlines() == list(expected)


# What training never showed


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("reviews", "the plot is quixotic and zany", "'quixotic', 'and', 'zany'"),
        ("documents", "The plot is warm. Zounds, it is warm.", "'Zounds'"),
        ("tagged", "the ocelot barks", "'ocelot'"),
    ],
)
def test_unknown_words_are_a_warning_or_refused(harken, labelled, tmp_path, name, text, pieces):
    _, run = labelled(name)
    known = "the dog barks" if name == "tagged" else "the plot is warm"
    result = harken("predict", run, known, text)
    assert (result.code, len(result.out.splitlines())) == (0, 2)
    assert result.err.startswith("warning: rows with something that training never showed: 1 of 2 (")
    assert pieces in result.err
    assert ("its characters" if name == "tagged" else "read as unknown") in result.err
    strict = harken("predict", run, text, "--strict", "--out", tmp_path / "a.csv")
    assert (strict.code, pieces in strict.sentence) == (1, True)
    assert not list(tmp_path.iterdir())
    assert harken("predict", run, known, "--strict").err == ""


def test_unknown_numbers_too(harken, labelled, tmp_path):
    _, run = labelled("events")
    (tmp_path / "a.jsonl").write_text('{"events": [1, 2]}\n{"events": [99, 1, -5]}\n{"events": []}\n')
    result = harken("predict", run, "--data", tmp_path / "a.jsonl")
    assert result.code == 0, result.err
    assert "1 of 3 (99, -5)" in result.err
    assert "empty rows: 1 of 3" in result.err


def test_empty_rows_are_answered_counted_or_refused(harken, labelled, tmp_path):
    _, run = labelled("reviews")
    result = harken("predict", run, stdin="the plot is warm\n\n  \n")
    assert (result.code, len(result.out.splitlines())) == (0, 3)
    assert "warning: empty rows: 2 of 3" in result.err
    strict = harken("predict", run, "--strict", stdin="the plot is warm\n\n")
    assert (strict.code, "empty rows: 1 of 2" in strict.sentence) == (1, True)
    data, vowels = labelled("vowels")
    assert harken("predict", vowels, "--data", data, "--strict").code == 0


@pytest.mark.parametrize(
    ("name", "arguments", "stdin", "code", "words"),
    [
        ("reviews", ["a", "--data", "in.csv"], None, 2, ("--data",)),
        ("reviews", ["warm", ""], None, 2, ("text 2 is empty",)),
        ("reviews", ["\udce9"], None, 2, ("UTF-8",)),
        ("reviews", [], "", 1, ("standard input is empty",)),
        ("reviews", [], b"ok\ncaf\xe9\n", 1, ("line 2", "UTF-8")),
        ("reviews", [], "x" * 100_001, 1, ("standard input", "max_characters")),
        ("reviews", ["--data", "missing.csv"], None, 1, ("missing.csv",)),
        ("reviews", ["--data", "in.csv"], None, 1, ("no column 'review'", "--text")),
        ("reviews", ["a", "--out", "answers.xlsx"], None, 2, (".parquet",)),
        ("reviews", ["--data", "in.csv", "--out", "in.csv"], None, 2, ("the file that is read",)),
        ("reviews", ["--data", "in.csv", "--text", "words", "--key", "prediction"], None, 2, ("prediction",)),
        ("reviews", ["a", "--beam-size", "3"], None, 2, ("'beam_size'", "task=seq2seq")),
        ("reviews", ["a", "--max-steps", "0"], None, 2, ("max_steps (0)",)),
        ("vowels", ["1 2 3"], None, 2, ("series", "--data")),
        ("events", ["1 2 3"], None, 2, ("ids", "--data")),
        ("vowels", [], "1\n", 2, ("series", "--data")),
        ("vowels", ["--data", "in.csv"], None, 1, ("in.csv",)),
    ],
)
def test_bad_input_is_one_sentence(harken, labelled, tmp_path, monkeypatch, name, arguments, stdin, code, words):
    _, run = labelled(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("words,prediction\nwarm,2\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = harken("predict", run, *arguments, stdin=stdin)
    assert result.code == code, result.err
    assert all(word in result.sentence for word in words), result.sentence
    assert result.out == ""
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
