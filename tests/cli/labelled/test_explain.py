"""harken.cli.explain on rows with labels: colours in words, files, gradients, and whether to believe it."""

import json

import pyarrow.parquet as pq
import pytest

import harken as library

TEXT = "the plot is warm"


def test_a_pipe_gets_the_strongest_steps_in_words(harken, labelled):
    _, run = labelled("reviews")
    result = harken("explain", run, TEXT)
    reading = library.load(run).explain([TEXT])[0]
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"{reading.title}\n")
    best = int(reading.weights[0].argmax())
    assert f"{reading.steps[best]!r} {float(reading.weights[0, best]):.2f}" in result.out
    assert "\x1b" not in result.out


@pytest.mark.parametrize("name", ["reviews", "vowels", "chunks", "documents", "events", "attributes"])
@pytest.mark.parametrize("by", ["attention", "gradients"])
def test_json_has_the_answers_and_every_weight(harken, labelled, name, by):
    data, run = labelled(name)
    result = harken("explain", run, "--data", data, "--by", by, "--json")
    assert result.code == 0, result.err
    answers, rows = result.json["answers"], result.json["rows"]
    assert [answer["row"] for answer in answers] == list(range(len(answers)))
    assert {row["row"] for row in rows} == set(range(len(answers)))
    assert {row["by"] for row in rows} == {by}
    names = {"mood", "mood_probability"} if name == "attributes" else {"prediction", "probability"}
    assert names <= answers[0].keys()
    if by == "attention":
        total = sum(row["weight"] for row in rows if row["row"] == 0 and row["word"] is None)
        assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["reviews", "vowels", "documents"])
def test_files(harken, labelled, tmp_path, name):
    data, run = labelled(name)
    few = tmp_path / data.name
    lines = data.read_text().splitlines(keepends=True)
    header = {"reviews": 1, "vowels": 6, "documents": 0}[name]
    few.write_text("".join(lines[: header + 2]))
    for suffix, begins in ((".png", b"\x89PNG"), (".html", b"<!"), (".json", b"["), (".parquet", b"PAR1")):
        out = tmp_path / f"seen{suffix}"
        result = harken("explain", run, "--data", few, "--out", out)
        assert (result.code, result.out) == (0, ""), result.err
        files = sorted(tmp_path.glob(f"seen*{suffix}"))
        assert [file.name for file in files] == (["seen-0.png", "seen-1.png"] if suffix == ".png" else [out.name])
        assert files[0].read_bytes().startswith(begins)
    rows = json.loads((tmp_path / "seen.json").read_text())
    table = pq.read_table(tmp_path / "seen.parquet").to_pylist()
    assert [row["weight"] for row in table] == pytest.approx([row["weight"] for row in rows])


def test_gradients_are_of_one_head(harken, labelled):
    _, run = labelled("attributes")

    def weights(*options):
        return [row["weight"] for row in harken("explain", run, TEXT, *options, "--json").json["rows"]]

    gradients = ("--by", "gradients")
    assert weights(*gradients) == weights(*gradients, "--head", "mood") != weights(*gradients, "--head", "about")
    for options, words in (
        (["--head", "mood"], ("--head", "--by gradients")),
        ([*gradients, "--head", "size"], ("'size'", "mood, about")),
    ):
        result = harken("explain", run, TEXT, *options)
        assert result.code == 2
        assert all(word in result.sentence for word in words)


def test_a_tagger_has_gradients_alone(harken, labelled):
    _, run = labelled("tagged")
    result = harken("explain", run, "the dog barks")
    assert (result.code, "gradients" in result.sentence) == (2, True)
    assert harken("explain", run, "the dog barks", "--by", "gradients").code == 0
    assert harken("explain", run, "the dog barks", "--believe").code == 2


def test_believe_is_one_sentence_and_its_numbers(harken, labelled):
    data, run = labelled("reviews")
    result = harken("explain", run, "--data", data, "--believe")
    assert result.code == 0, result.err
    assert result.out.count("\n") == 1
    assert "On 40 rows" in result.out
    assert "rank correlation" in result.out
    numbers = harken("explain", run, "--data", data, "--believe", "--json").json["believe"]
    assert numbers


def test_unknown_words_are_a_warning(harken, labelled):
    _, run = labelled("reviews")
    result = harken("explain", run, "the plot is quixotic")
    assert (result.code, "'quixotic'" in result.err) == (0, True)


@pytest.mark.parametrize("option", [("--by", "gradients"), ("--believe",)])
def test_texts_that_are_written_have_neither(harken, run, option):
    result = harken("explain", run, "1037", *option)
    assert (result.code, "--by and --believe" in result.sentence) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a", "--out", "map.gif"], 2, (".png", ".html")),
        ([""], 2, ("empty",)),
        (["a", "--by", "magic"], 2, ("--by", "'magic'")),
        (["a", "--key", "id"], 2, ("--key",)),
        (["--data", "missing.csv"], 1, ("missing.csv",)),
    ],
)
def test_bad_input_is_one_sentence(harken, labelled, arguments, code, words):
    result = harken("explain", labelled("reviews")[1], *arguments)
    assert result.code == code
    assert all(word in result.sentence for word in words)
