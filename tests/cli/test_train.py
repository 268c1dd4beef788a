"""harken.cli.train: a file in, a run folder out, and every bad file refused."""

import gzip
import json

import pytest

from harken.config import Seq2SeqRun
from harken.data.sources import read_pairs
from harken.errors import ConfigError

FILES = {"bundle", "resume.ckpt", "metrics.json", "history.csv", "curves.png", "config.yaml"}


# Options


def test_print_config_is_complete_commented_and_can_be_fed_back(harken, tmp_path):
    (tmp_path / "rows.csv").write_text("source,target\n1,2\n")
    first = harken("train", tmp_path / "rows.csv", "--hidden-size", "48", "--print-config")
    assert (first.code, first.err) == (0, "")
    for name in Seq2SeqRun.option_names():
        assert f"{name}: " in first.out
    assert "# Units per recurrent layer" in first.out
    (tmp_path / "dates.yaml").write_text(first.out)
    again = harken("train", "--config", tmp_path / "dates.yaml", "--print-config")
    assert again.out == first.out


def test_defaults_then_file_then_set_then_options(harken, tmp_path):
    file = tmp_path / "dates.yaml"
    file.write_text("model: {hidden_size: 1, embedding_size: 1, num_layers: 1}\ntraining: {epochs: 1}\n")
    result = harken(
        "train",
        *("--config", file, "--set", "model.hidden_size=2", "--set", "model.embedding_size=2"),
        *("--hidden-size", "3", "--print-config"),
    )
    config = Seq2SeqRun.from_yaml(result.out)
    assert (config.model.hidden_size, config.model.embedding_size, config.training.epochs) == (3, 2, 1)
    assert config.training.batch_size == Seq2SeqRun().training.batch_size


def test_a_flag_can_be_switched_off_again(harken, tmp_path):
    (tmp_path / "a.yaml").write_text("features: {reverse_source: true}\n")
    arguments = ["train", "--config", tmp_path / "a.yaml", "--print-config"]
    assert Seq2SeqRun.from_yaml(harken(*arguments).out).features.reverse_source
    assert not Seq2SeqRun.from_yaml(harken(*arguments, "--no-reverse-source").out).features.reverse_source


def test_a_task_that_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match="task"):
        Seq2SeqRun().override([], task="juggle")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ("no rows to train on", "harken train pairs.csv")),
        (["--set", "modle.hidden_size=3"], ("'modle'", "'model'")),
        (["--set", "model.hiden_size=3"], ("'hiden_size'", "'hidden_size'")),
        (["--set", "hidden_size"], ("section.option=value",)),
        (["--set", "model.hidden_size=[1"], ("model.hidden_size",)),
        (["--config", "missing.yaml"], ("missing.yaml", "no such file")),
        (["--config", "folder"], ("folder", "directory")),
        (["--config", "binary.yaml"], ("binary.yaml", "UTF-8")),
        (["--config", "broken.yaml"], ("not YAML",)),
        (["--config", "typo.yaml"], ("'hiden_size'", "'hidden_size'")),
        (["--resume"], ("--out",)),
        (["--resume", "--out", "folder"], ("folder", "holds no run")),
        (["pairs.csv", "--resume", "--overwrite", "--out", "folder"], ("--resume", "--overwrite")),
    ],
)
def test_wrong_commands_exit_with_2(harken, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "broken.yaml").write_text("model: [unclosed")
    (tmp_path / "typo.yaml").write_text("model: {hiden_size: 3}")
    before = sorted(tmp_path.rglob("*"))
    result = harken("train", *arguments)
    assert result.code == 2
    assert all(word in result.sentence for word in words), result.sentence
    assert result.out == ""
    assert sorted(tmp_path.rglob("*")) == before


# Bad rows: exit code 1, one sentence, no run folder


def text(content):
    return lambda path: path.write_text(content)


BAD = {
    "missing file": ("missing.txt", lambda path: None, ("missing.txt",)),
    "binary file": ("binary.txt", lambda path: path.write_bytes(bytes(range(256)) * 8), ("binary.txt",)),
    "no delimiter": ("rows.txt", text("a\tb\nc\td\nno delimiter here\n"), ("line 3",)),
    "empty file": ("empty.txt", text(""), ("empty",)),
    "empty table": ("empty.csv", text("question,answer\n"), ("empty.csv",)),
    "missing column": ("rows.csv", text("question,reply\na,b\n"), ("answer", "question", "reply")),
    "empty targets": ("rows.csv", text("question,answer\na,\nb,\n"), ("answer",)),
    "one empty target": ("rows.csv", text("question,answer\na,x\nb,\n"), ("row",)),
    "too long": ("rows.txt", text("a\tb\n" + "x" * 100_001 + "\tb\n"), ("100000",)),
    "not UTF-8": ("rows.txt", lambda path: path.write_bytes(b"a\tb\ncaf\xe9\tb\n"), ("UTF-8",)),
    "broken gzip": ("rows.txt.gz", lambda path: path.write_bytes(gzip.compress(b"a\tb\n" * 99)[:-9]), ("rows",)),
    "one row": ("rows.txt", text("a\tb\n"), ()),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_one_sentence_and_leave_nothing(harken, tiny, tmp_path, case):
    name, write, words = BAD[case]
    write(tmp_path / name)
    out = tmp_path / "run"
    result = harken("train", tmp_path / name, *tiny, "--out", out)
    assert result.code in (1, 2)
    assert all(word in result.sentence.replace(",00", "00") for word in words), result.sentence
    assert not out.exists()


def test_bad_rows_can_be_skipped_and_are_counted(harken, tiny, tmp_path):
    rows = "".join(f"{n}\t{n}\n" for n in range(20))
    (tmp_path / "rows.txt").write_text(rows + "no delimiter here\nneither here\n")
    result = harken("train", tmp_path / "rows.txt", *tiny, "--skip-bad-rows", "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert "were skipped: 2\n" in result.err


# Runs


def test_a_run_folder_holds_what_the_readme_says(run):
    assert {path.name for path in run.iterdir()} == FILES


def test_json_is_one_object_and_chatter_goes_to_standard_error(harken, pairs, tiny, tmp_path):
    result = harken("train", pairs, *tiny, "--out", tmp_path / "run", "--json")
    assert result.code == 0, result.err
    assert result.json["out"] == str(tmp_path / "run")
    assert result.json["interrupted"] is False
    assert 0 <= result.json["validation"]["exact_match"] <= 1
    assert "epoch 1/1" in result.err


def test_without_json_the_epochs_and_a_table_are_on_standard_output(harken, pairs, tiny, tmp_path):
    result = harken("train", pairs, *tiny, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert "epoch 1/1" in result.out
    assert "validation exact match" in result.out
    assert "\x1b" not in result.out + result.err


def test_the_folder_is_named_after_the_file(harken, pairs, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert harken("train", "pairs.csv", *tiny).code == 0
    assert (tmp_path / "runs" / "pairs" / "bundle").is_dir()
    more = harken("train", "pairs.csv", "--resume", "--epochs", "2", "--json")  # the run knows its columns
    assert (more.code, more.json["out"], more.json["epochs"]) == (0, "runs/pairs", 2)


def test_a_file_to_validate_on(harken, pairs, tiny, tmp_path):
    held_out = tmp_path / "held-out.csv"
    held_out.write_text("".join(pairs.read_text().splitlines(keepends=True)[:8]))
    arguments = ["--validation", held_out, "--out", tmp_path / "run", "--json"]
    result = harken("train", pairs, *tiny, *arguments)
    assert result.json["validation"]["rows"] == 7
    assert result.json["training_rows"] == 60


def test_a_file_to_validate_on_is_read_once_and_its_skipped_rows_counted(harken, pairs, tiny, tmp_path, monkeypatch):
    held_out, read = tmp_path / "held-out.csv", []
    held_out.write_text("".join(pairs.read_text().splitlines(keepends=True)[:8]) + "r9,12,\n")

    def counted(path, *arguments, **keywords):
        read.append(str(path))
        return read_pairs(path, *arguments, **keywords)

    monkeypatch.setattr("harken.data.sources.read_pairs", counted)
    arguments = ["--validation", held_out, "--skip-bad-rows", "--out", tmp_path / "run", "--json"]
    result = harken("train", pairs, *tiny, *arguments)
    assert (result.code, result.json["validation"]["rows"]) == (0, 7)
    assert read == [str(pairs), str(held_out)]
    assert "were skipped: 1\n" in result.err


def test_a_folder_with_a_run_is_refused_resumed_or_replaced(harken, pairs, tiny, tmp_path):
    out = tmp_path / "run"
    command = ["train", pairs, *tiny, "--out", out]
    assert harken(*command).code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    refused = harken(*command)
    assert refused.code == 2
    assert "--resume" in refused.sentence
    assert "--overwrite" in refused.sentence
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before

    other = harken("train", "--resume", "--out", out, "--hidden-size", "16")
    assert other.code == 2
    assert "hidden_size" in other.sentence

    more = harken(*command, "--resume", "--epochs", "2", "--json")
    assert more.code == 0, more.err
    assert more.json["epochs"] == 2
    assert "epoch 2/2" in more.err
    assert "epoch 1/2" not in more.err

    replaced = harken(*command, "--overwrite", "--json")
    assert replaced.json["epochs"] == 1


def test_ctrl_c_keeps_the_best_model_and_says_how_to_go_on(harken, interrupted, pairs, tiny, tmp_path):
    out = tmp_path / "run"
    err = interrupted(pairs, *tiny, "--out", out)
    assert f"harken train --resume --out {out}" in err
    assert len(err.splitlines()) == 1
    epochs = json.loads((out / "metrics.json").read_text())["epochs"]
    assert harken("predict", out, "1234").code == 0

    more = harken("train", "--resume", "--out", out, "--epochs", str(epochs + 1), "--json")
    assert more.code == 0, more.err
    assert more.json["epochs"] == epochs + 1
    assert more.json["interrupted"] is False
