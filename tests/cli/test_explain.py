"""harken.cli.explain: attention as a picture, as rows and as a table."""

import json

import pyarrow.parquet as pq
import pytest

import harken as library


def test_a_picture(harken, run, tmp_path):
    out = tmp_path / "map.png"
    result = harken("explain", run, "1037", "--out", out)
    assert (result.code, result.out) == (0, "")
    assert out.read_bytes().startswith(b"\x89PNG")
    assert str(out) in result.err


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_rows(harken, run, tmp_path, suffix):
    out = tmp_path / f"map{suffix}"
    assert harken("explain", run, "1037", "99", "--out", out).code == 0
    rows = json.loads(out.read_text()) if suffix == ".json" else pq.read_table(out).to_pylist()
    expected = [line for n, a in enumerate(library.load(run).explain(["1037", "99"])) for line in a.rows(n)]
    assert [r["weight"] for r in rows] == pytest.approx([e["weight"] for e in expected])
    assert [{**r, "weight": 0} for r in rows] == [{**e, "weight": 0} for e in expected]


def test_json_on_standard_output(harken, run):
    result = harken("explain", run, "1037", "--json")
    attention = library.load(run).explain(["1037"])[0]
    assert result.json["answers"] == [attention.target]
    assert len(result.json["rows"]) == attention.weights.numel()


def test_the_table_names_what_was_looked_at(harken, run):
    result = harken("explain", run, "1037")
    attention = library.load(run).explain(["1037"])[0]
    assert result.out.startswith(f"1037 → {attention.target}\n")
    for token, weights in zip(attention.target_tokens, attention.weights, strict=True):
        best = int(weights.argmax())
        assert f"{attention.source_tokens[best]!r} {float(weights[best]):.2f}" in result.out
        assert repr(token) in result.out


def test_rows_of_a_file(harken, learned_run, tmp_path):
    (tmp_path / "in.csv").write_text("question,other\n1037,\n" + "2" * 50 + ",\n99,\n")
    reading = ["--data", tmp_path / "in.csv", "--max-characters", "10", "--skip-bad-rows"]
    result = harken("explain", learned_run, *reading, "--json")
    assert {row["row"] for row in result.json["rows"]} == {0, 2}, "as they stand in the file"
    expected = library.load(learned_run).explain(["1037", "99"])
    assert result.json["answers"] == [attention.target for attention in expected]
    assert len(result.json["rows"]) == sum(attention.weights.numel() for attention in expected) > 0


def test_white_space_around_a_text_is_no_token(harken, learned_run):
    result = harken("explain", learned_run, " 1037  ", "--json")
    assert (result.code, result.err) == (0, "")
    looked = [row for row in result.json["rows"] if row["target_index"] == 0]
    assert [(row["source"], row["span"]) for row in looked] == [(d, [i, i + 1]) for i, d in enumerate("1037", start=1)]


def test_what_training_chose_for_its_own_file_does_not_carry_over(harken, keyed_run, tmp_path):
    (tmp_path / "in.csv").write_text("question\n1037\n" + "2" * 50 + "\n")
    assert harken("explain", keyed_run, "--data", tmp_path / "in.csv").code == 0  # there is no column id
    result = harken("explain", keyed_run, "--data", tmp_path / "in.csv", "--max-characters", "10")
    assert result.code == 1
    assert "line 3" in result.sentence


def test_a_model_that_does_not_attend(harken, plain_run, tmp_path):
    result = harken("explain", plain_run, "1037", "--out", tmp_path / "map.png")
    assert result.code == 2
    assert "plain" in result.sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["1", "--out", "map.gif"], 2, (".png", ".parquet")),
        ([""], 2, ("empty",)),
        (["1", "--key", "id"], 2, ("--key",)),
    ],
)
def test_bad_input_is_one_sentence(harken, run, arguments, code, words):
    result = harken("explain", run, *arguments)
    assert result.code == code
    assert all(word in result.sentence for word in words)
