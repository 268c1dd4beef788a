"""harken.cli.predict: answers in the order of the texts, on standard output or in a whole file."""

import sys

import pyarrow.parquet as pq
import pytest
import yaml

import harken as library

TEXTS = ["1037", "99", "2", "1074111"]


@pytest.fixture(scope="module")
def expected(run):
    return library.load(run).predict_with_probability(TEXTS)


def test_one_answer_per_line_in_order(harken, run, expected):
    result = harken("predict", run, *TEXTS)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == expected.texts


def test_standard_input_is_one_text_per_line(harken, run, expected):
    result = harken("predict", run, stdin="\r\n".join(TEXTS))
    assert result.out.splitlines() == expected.texts
    assert harken("predict", run, stdin="\n".join(TEXTS) + "\n").out == result.out


def test_json(harken, run, expected):
    result = harken("predict", run, *TEXTS, "--json")
    answers = result.json["answers"]
    assert [answer["prediction"] for answer in answers] == expected.texts
    assert [answer["probability"] for answer in answers] == pytest.approx(expected.probabilities)
    assert [answer["row"] for answer in answers] == [0, 1, 2, 3]


def test_the_bundle_folder_works_too(harken, run, expected):
    assert harken("predict", run / "bundle", *TEXTS).out.splitlines() == expected.texts


def test_a_file_in_and_a_file_out_with_row_numbers(harken, run, tmp_path, expected):
    (tmp_path / "in.csv").write_text("question\n" + "".join(f"{text}\n" for text in TEXTS))
    out = tmp_path / "answers.parquet"
    result = harken("predict", run, "--data", tmp_path / "in.csv", "--out", out)
    assert (result.code, result.out) == (0, "")
    assert str(out) in result.err
    assert pq.read_table(out).to_pydict() == {
        "row": [0, 1, 2, 3],
        "prediction": expected.texts,
        "probability": pytest.approx(expected.probabilities),
    }
    assert {path.name for path in tmp_path.iterdir()} == {"answers.parquet", "in.csv"}


def test_the_key_column_takes_the_place_of_the_row(harken, run, tmp_path, expected):
    lines = "".join(f"k{n},{text}\n" for n, text in enumerate(TEXTS))
    (tmp_path / "in.csv").write_text(f"id,question\n{lines}")
    out = tmp_path / "answers.csv"
    result = harken("predict", run, "--data", tmp_path / "in.csv", "--key", "id", "--out", out)
    assert result.code == 0, result.err
    header, *rows = out.read_text().splitlines()
    assert header == "id,prediction,probability"
    assert [row.split(",")[:2] for row in rows] == [[f"k{n}", text] for n, text in enumerate(expected.texts)]


def test_the_key_of_the_training_run_is_used_where_there_is_one(harken, keyed_run, tmp_path):
    def answer(name, content, *options):
        (tmp_path / name).write_text(content)
        return harken("predict", keyed_run, "--data", tmp_path / name, *options, "--json")

    without = answer("a.csv", "question\n1037\n")
    assert without.code == 0, without.err
    assert without.json["answers"][0]["row"] == 0
    assert answer("b.csv", "id,question\nk7,1037\n").json["answers"][0]["id"] == "k7"
    assert answer("c.txt", "1037\n").json["answers"][0]["row"] == 0
    asked = answer("a.csv", "question\n1037\n", "--key", "id")
    assert asked.code == 1
    assert "no column 'id'" in asked.sentence


def test_a_key_of_the_training_run_that_is_called_like_an_answer_is_left_alone(harken, tiny, tmp_path):
    lines = "".join(f"{n},{n},{n}\n" for n in range(20))
    (tmp_path / "pairs.csv").write_text(f"prediction,question,answer\n{lines}")
    out = tmp_path / "run"
    assert harken("train", tmp_path / "pairs.csv", *tiny, "--key", "prediction", "--out", out).code == 0
    result = harken("predict", out, "--data", tmp_path / "pairs.csv", "--json")
    assert result.code == 0, result.err
    assert [answer["row"] for answer in result.json["answers"]] == list(range(20))


def test_answers_match_the_lines_whatever_training_skipped(harken, keyed_run):
    stdin = "1037\n" + "2" * 50 + "\n99\n"
    result = harken("predict", keyed_run, "--max-characters", "10", stdin=stdin)
    assert (result.code, result.out) == (1, "")
    assert len(harken("predict", keyed_run, "--max-characters", "10", "--skip-bad-rows", stdin=stdin).out.split()) <= 2


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        (["1", '"a"'], ["1", "a"]),
        (['"1"', "null", "2.5", "true", '{"a": [1, "é"]}'], ["1", None, "2.5", "true", '{"a": ["1", "é"]}']),
        (["{}", "{}"], ["{}", "{}"]),
        ([str(2**70), "1"], [str(2**70), "1"]),
        (["1", "null"], [1, None]),
        (['"a"', "null"], ["a", None]),
    ],
    ids=str,
)
def test_keys_of_several_types_become_texts_in_parquet(harken, run, tmp_path, keys, written):
    (tmp_path / "in.jsonl").write_text("".join(f'{{"id": {key}, "question": "1037"}}\n' for key in keys))
    out = tmp_path / "a.parquet"
    result = harken("predict", run, "--data", tmp_path / "in.jsonl", "--key", "id", "--out", out)
    assert result.code == 0, result.err
    assert pq.read_table(out).column("id").to_pylist() == written


def test_texts_go_in_as_they_are(harken, run, expected):
    """White space around them is not the command line's business: the model ignores it."""
    result = harken("predict", run, *(f" {text}\t" for text in TEXTS))
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == expected.texts
    assert harken("predict", run, stdin="".join(f"  {text} \n" for text in TEXTS)) == result


def test_skipped_rows_keep_the_numbers_of_the_others(harken, run, tmp_path):
    (tmp_path / "in.csv").write_text("question\n1\n" + "2" * 50 + "\n3\n")
    arguments = ["--data", tmp_path / "in.csv", "--max-characters", "10"]
    assert harken("predict", run, *arguments).code == 1
    result = harken("predict", run, *arguments, "--skip-bad-rows", "--json")
    assert result.code == 0, result.err
    assert [answer["row"] for answer in result.json["answers"]] == [0, 2]
    assert "were skipped: 1\n" in result.err


def test_json_with_a_file_says_where(harken, run, tmp_path):
    result = harken("predict", run, "1", "--out", tmp_path / "a.jsonl", "--json")
    assert result.json == {"out": str(tmp_path / "a.jsonl"), "rows": 1}


def test_every_way_of_decoding_is_the_librarys(harken, run, decoding):
    names = [option.removeprefix("--").replace("-", "_") for option in decoding[::2]]
    values = [yaml.safe_load(value) for value in decoding[1::2]]
    estimator = library.load(run)
    estimator.config = estimator.config.override(**dict(zip(names, values, strict=True)))
    assert harken("predict", run, *TEXTS, *decoding).out.splitlines() == estimator.predict(TEXTS)


def test_sampling_follows_the_seed(harken, run):
    def sample(seed):
        return harken("predict", run, *TEXTS, "--decoder", "sample", "--seed", seed).out

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(5)}) > 1


# Bad input


def test_an_empty_text_is_refused(harken, run):
    for empty in ("", "  \t"):
        result = harken("predict", run, "1037", empty)
        assert result.code == 2
        assert "text 2 is empty" in result.sentence
        assert result.out == ""


def test_empty_rows_are_answered_and_counted(harken, run):
    result = harken("predict", run, stdin="1037\n\n  \n99\n")
    assert result.code == 0
    assert "warning: empty texts: 2 of 4" in result.err
    lines = result.out.split("\n")
    assert len(lines) == 5  # the last is what follows the last line
    assert lines[1] == lines[2]


def test_unknown_characters_are_a_warning(harken, run):
    result = harken("predict", run, "10é7", "99", "ß?é")
    assert result.code == 0
    assert len(result.out.splitlines()) == 3
    assert result.err.startswith("warning: ")
    assert "2 of 3 ('é', 'ß', '?')" in result.err
    assert len(result.err.splitlines()) == 1


def test_strict_makes_unknown_characters_an_error(harken, run, tmp_path):
    result = harken("predict", run, "10é7", "--strict", "--out", tmp_path / "a.csv")
    assert result.code == 1
    assert "'é'" in result.sentence
    assert not list(tmp_path.iterdir())
    assert harken("predict", run, "1037", "--strict").code == 0


def test_strict_makes_empty_rows_an_error(harken, run, tmp_path):
    for empty in ("", " \t "):
        result = harken("predict", run, "--strict", "--out", tmp_path / "a.csv", stdin=f"1037\n{empty}\n99\n")
        assert result.code == 1
        assert "empty texts: 1 of 3" in result.sentence
        assert "--strict" in result.sentence
        assert not list(tmp_path.iterdir())
    assert "Refuse empty rows, and rows" in " ".join(harken("predict", "--help").out.split())


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        (["1", "--data", "in.csv"], None, 2, ("--data",)),
        ([], "", 1, ("standard input is empty",)),
        ([], b"ok\ncaf\xe9\n", 1, ("line 2", "UTF-8")),
        ([], "1\n" + "2" * 100_001, 1, ("standard input", "100001", "100000")),
        (["--data", "missing.csv"], None, 1, ("missing.csv",)),
        (["--data", "other.csv"], None, 1, ("question", "reply")),
        (["1", "--out", "answers.xlsx"], None, 2, (".parquet",)),
        (["--data", "in.csv", "--out", "in.csv"], None, 2, ("the file that is read",)),
        (["--data", "in.csv", "--key", "prediction"], None, 2, ("prediction",)),
        (["--data", "in.csv", "--key", "nobody"], None, 1, ("nobody",)),
        (["1", "--beam-size", "0"], None, 2, ("beam_size (0)",)),
        (["\udce9"], None, 2, ("UTF-8",)),
    ],
)
def test_bad_input_is_one_sentence(harken, run, tmp_path, monkeypatch, arguments, stdin, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("question,prediction\n1,2\n")
    (tmp_path / "other.csv").write_text("reply\n1\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = harken("predict", run, *arguments, stdin=stdin)
    assert result.code == code, result.err
    assert all(word in result.sentence.replace(",00", "00") for word in words), result.sentence
    assert result.out == ""
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_nothing_to_answer_on_a_terminal(harken, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    result = harken("predict", run)
    assert result.code == 2
    assert "pipe lines in" in result.sentence


def test_a_closed_pipe_while_answering(start, run):
    """As in ``harken predict RUN < many | head -1``."""
    process = start("predict", run, "--json")
    process.stdout.close()
    try:
        process.stdin.write("1037\n" * 400)
        process.stdin.close()
    except BrokenPipeError:
        pass
    process.wait(timeout=120)
    with process.stderr as err:
        assert err.read() == ""
