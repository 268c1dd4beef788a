"""harken.cli.autoencoder: what each verb does with rows that are rebuilt."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harken as library

TINY = ("--task", "autoencoder", "--hidden-size", "6", "--latent-size", "3", "--epochs", "2", "--min-steps", "30")


def waves(rows: int = 20) -> list[list[list[float]]]:
    random = np.random.default_rng(0)
    starts, lengths = random.uniform(0, 6, rows), random.integers(5, 9, rows)
    times = [start + np.arange(length)[:, None] / 2 for start, length in zip(starts, lengths, strict=True)]
    return [np.concatenate([np.sin(time), np.cos(time)], 1).tolist() for time in times]


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table({"wave": waves(), **columns}), path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A column of series, and no label."""
    return write(tmp_path_factory.mktemp("data") / "waves.parquet")


@pytest.fixture(scope="module")
def labelled_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth row is odd; columns name, kind."""
    kinds = ["odd" if row % 4 == 3 else "good" for row in range(20)]
    names = [f"w{row}" for row in range(20)]
    return write(tmp_path_factory.mktemp("labelled") / "waves.parquet", kind=kinds, name=names)


@pytest.fixture(scope="module")
def run(train: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(data, tmp_path_factory.mktemp("run") / "run", *TINY)


@pytest.fixture(scope="module")
def labelled_run(train: Any, labelled_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = ("--label", "kind", "--normal", "good", "--key", "name", "--validation", "0.2", "--quantile", "0.3")
    return train(labelled_data, tmp_path_factory.mktemp("labelled-run") / "run", *TINY, *options)


def scores_of(run: Path) -> list[float]:
    return library.load(run).score_samples([np.array(row) for row in waves()]).tolist()


# train


def test_train_says_what_it_found(harken: Any, data: Path, tmp_path: Path) -> None:
    result = harken("train", data, *TINY, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert result.out.startswith("task: autoencoder\ninput: series, column 'wave'\n20 rows to learn from, none to")
    assert {"bundle", "config.yaml", "metrics.json", "curves.png"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    again = harken("train", data, *TINY, "--out", tmp_path / "run", "--overwrite", "--json")
    assert again.json["task"] == "autoencoder"
    assert harken("train", "--resume", "--out", tmp_path / "run").code == 0


def test_only_normal_rows_are_learned_from(harken: Any, labelled_data: Path, labelled_run: Path) -> None:
    facts = library.load(labelled_run).predictor.bundle.facts
    assert facts["training_rows"] + facts["validation"]["rows"] == 15
    data = library.load(labelled_run).config.data
    assert (data.series, data.label, data.normal, data.key) == (("wave",), ("kind",), "good", "name")


def test_a_label_that_nobody_asks_for_is_left_alone(harken: Any, tmp_path: Path) -> None:
    data = write(tmp_path / "a.parquet", label=["x", None] * 10)
    result = harken("train", data, *TINY, "--validation", data, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert "not learned from: column 'label'" in result.out
    assert "20 rows to learn from, 20 rows to validate on" in result.out


def test_series_in_wide_and_in_long_form(harken: Any, tmp_path: Path) -> None:
    wide = "a,b,c\n" + "".join(f"{n},{n + 1},{n + 2}\n" for n in range(12))
    long = "id,time,x,y\n" + "".join(f"{n},{t},{n + t},{n - t}\n" for n in range(8) for t in range(4))
    for name, content, said in (("wide", wide, "3 steps of 1 value"), ("long", long, "4 steps of 2 values")):
        (tmp_path / f"{name}.csv").write_text(content)
        result = harken("train", tmp_path / f"{name}.csv", *TINY, "--out", tmp_path / name)
        assert result.code == 0, result.err
        assert said in result.out
        asked = harken("predict", tmp_path / name, "--data", tmp_path / f"{name}.csv", "--json")
        assert len(asked.json["answers"]) == (12 if name == "wide" else 8)


# evaluate


def test_evaluate_without_labels(harken: Any, data: Path, run: Path) -> None:
    found = harken("evaluate", run, "--data", data, "--json").json
    assert found["error"] == pytest.approx(-np.mean(scores_of(run)), rel=1e-4)
    assert found["rows"] == 20
    assert "roc_auc" not in found
    shown = harken("evaluate", run, "--data", data).out
    assert "outliers" in shown
    assert "%" in shown


def test_evaluate_against_labels(harken: Any, labelled_data: Path, labelled_run: Path) -> None:
    found = harken("evaluate", labelled_run, "--data", labelled_data, "--json").json
    scores = np.array(scores_of(labelled_run))
    odd = np.arange(20) % 4 == 3
    pairs = (scores[~odd][:, None] > scores[odd][None]).mean()
    assert found["roc_auc"] == pytest.approx(pairs)
    below = scores < -found["threshold"]
    assert (found["found"], found["false_alarms"]) == pytest.approx((below[odd].mean(), below[~odd].mean()))
    other = harken("evaluate", labelled_run, "--data", labelled_data, "--normal", "odd", "--json").json
    assert other["roc_auc"] == pytest.approx(1 - pairs)


# predict


def test_predict_prints_an_answer_and_a_score_a_line(harken: Any, labelled_data: Path, labelled_run: Path) -> None:
    lines = harken("predict", labelled_run, "--data", labelled_data).out.splitlines()
    model = library.load(labelled_run)
    answers = model.predict([np.array(row) for row in waves()])
    assert [line.split("\t")[0] for line in lines] == ["normal" if a == 1 else "outlier" for a in answers]
    assert [float(line.split("\t")[1]) for line in lines] == pytest.approx(scores_of(labelled_run), rel=1e-4)
    all_normal = harken("predict", labelled_run, "--data", labelled_data, "--quantile", "0")
    assert all_normal.out.count("outlier") < sum(answers == -1)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_files_of_answers(harken: Any, labelled_data: Path, labelled_run: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"answers{suffix}"
    result = harken("predict", labelled_run, "--data", labelled_data, "--out", out)
    assert (result.code, result.out) == (0, ""), result.err
    if suffix == ".parquet":
        rows = pq.read_table(out).to_pylist()
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    else:
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"w{n}" for n in range(20)]
    assert [float(row["score"]) for row in rows] == pytest.approx(scores_of(labelled_run), rel=1e-4)
    if suffix != ".csv":
        latent = library.load(labelled_run).transform([np.array(row) for row in waves()])
        assert np.allclose([row["latent"] for row in rows], latent, atol=1e-5)


def test_rows_without_steps(harken: Any, run: Path, tmp_path: Path) -> None:
    data = tmp_path / "empty.jsonl"
    data.write_text('{"wave": [[1, 2], [3, 4]]}\n{"wave": []}\n')
    result = harken("predict", run, "--data", data)
    assert result.out.splitlines()[1] == "normal\t-0"
    assert "empty rows: 1 of 2" in result.err
    assert harken("predict", run, "--data", data, "--strict").code == 1


# explain, inspect


def test_explain_in_words_and_in_files(harken: Any, data: Path, run: Path, tmp_path: Path) -> None:
    result = harken("explain", run, "--data", data)
    assert result.code == 0, result.err
    assert result.out.count("largest errors: step ") == 20
    found = harken("explain", run, "--data", data, "--json").json
    assert len(found["answers"]) == 20
    assert len(found["rows"]) == sum(map(len, waves()))
    assert harken("explain", run, "--data", data, "--out", tmp_path / "seen.parquet", "--json").json["rows"] == []
    assert pq.read_table(tmp_path / "seen.parquet").num_rows == len(found["rows"])
    one = tmp_path / "one.jsonl"
    one.write_text(json.dumps({"wave": waves()[0]}) + "\n")
    assert harken("explain", run, "--data", one, "--out", tmp_path / "seen.png").code == 0
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")


def test_inspect(harken: Any, run: Path, tmp_path: Path) -> None:
    result = harken("inspect", run, "--out", tmp_path / "model.png")
    total = sum(parameter.numel() for parameter in library.load(run).model.parameters())
    assert f"{total:,}" in result.out
    assert [line.split()[0] for line in result.out.splitlines()[2:7]] == [
        "encoder", "latent", "bridge", "decoder", "output"
    ]  # fmt: skip
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    sees = harken("inspect", run, "--json").json["output_sees"]
    assert sees == ["decoder h (6)"]


# What cannot be done


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "DATA", *TINY, "--normal", "good"], 1, "could be the label"),
        (["train", "LABELLED", *TINY, "--normal", "best", "--label", "kind"], 1, "only 'good', 'odd'"),
        (["train", "DATA", *TINY, "--pooling", "last"], 2, "'pooling' is an option of task=classify"),
        (["predict", "RUN"], 2, "give a file of rows with --data"),
        (["predict", "RUN", "a text"], 2, "give a file of rows with --data"),
        (["explain", "RUN", "a text"], 2, "give a file of rows with --data"),
        (["predict", "RUN", "--data", "DATA", "--decoder", "beam"], 2, "'decoder' is an option of task=seq2seq"),
        (["explain", "RUN", "--data", "DATA", "--believe"], 2, "--by and --believe"),
        (["evaluate", "RUN", "--data", "DATA", "--confusion", "a.png"], 2, "--confusion is about classes"),
        (["evaluate", "RUN", "--data", "WIDE"], 1, "a step of these rows has the shape ()"),
        (["predict", "RUN", "--data", "NAN"], 1, "step 1 of channel 0 (counted from 0) is missing (NaN): --missing"),
        (["train", "EMPTY", *TINY], 1, "could be the input, only 'wave': name it with --series"),
        (["train", "EMPTY", *TINY, "--series", "wave"], 1, "every training row is empty (length 0)"),
        (["predict", "LABELLED_RUN", "--data", "LABELLED", "--key", "score"], 1, "score"),
    ],
)
def test_one_sentence_and_an_exit_code(
    harken: Any, data: Path, labelled_data: Path, run: Path, labelled_run: Path, tmp_path: Path,
    arguments: list[str], code: int, words: str,
) -> None:  # fmt: skip
    files = {"WIDE": '{"wave": [1, 2]}', "NAN": '{"wave": [[1, 2], [null, 4]]}', "EMPTY": '{"wave": []}\n{"wave": []}'}
    places = {name: tmp_path / f"{name}.jsonl" for name in files}
    for name, content in files.items():
        places[name].write_text(content + "\n")
    places |= {"DATA": data, "LABELLED": labelled_data, "RUN": run, "LABELLED_RUN": labelled_run}
    out = ["--out", tmp_path / "run"] if arguments[0] == "train" else []
    result = harken(*(places.get(argument, argument) for argument in arguments), *out)
    assert result.code == code, result.err
    assert words in result.sentence
