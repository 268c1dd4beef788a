"""A whole run on a small task: what it writes, that it resumes exactly, that Ctrl-C loses nothing."""

from __future__ import annotations

import csv
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import harken
from harken.errors import ConfigError, DataError, MissingExtraError, UsageError
from harken.training import callbacks
from harken.training.module import learning_rate_factor

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "embedding_size": 8,
    "batch_size": 16,
    "epochs": 3,
    "dropout": 0.2,  # so that chance has to be resumed too
    "num_layers": 2,
    "accelerator": "cpu",
    "learning_rate": 0.01,
}
RUN_FILES = {"bundle", "config.yaml", "resume.ckpt", "metrics.json", "history.csv", "curves.png"}


def pairs(n: int = 160) -> tuple[list[str], list[str]]:
    """Words of one to six letters, to be written in capitals."""
    chance = random.Random(0)
    sources = ["".join(chance.choices("abcde", k=chance.randint(1, 6))) for _ in range(n)]
    return sources, [s.upper() for s in sources]


def weights(estimator: harken.Seq2Seq) -> dict[str, torch.Tensor]:
    return estimator.model.state_dict()


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Send a real SIGINT in the middle of step `steps`, as a user's Ctrl-C does."""
    step = callbacks.Stop.on_train_batch_end

    def on_train_batch_end(self: callbacks.Stop, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == steps:
            signal.raise_signal(signal.SIGINT)
        step(self, trainer, *rest)

    monkeypatch.setattr(callbacks.Stop, "on_train_batch_end", on_train_batch_end)


def test_a_run_folder_holds_what_the_readme_says(tmp_path: Path) -> None:
    lines: list[str] = []
    model = harken.Seq2Seq(**SMALL).fit(*pairs(), out=tmp_path / "run", show=lines.append)
    assert {p.name for p in (tmp_path / "run").iterdir()} == RUN_FILES
    rows = list(csv.DictReader((tmp_path / "run/history.csv").read_text().splitlines()))
    assert [int(r["epoch"]) for r in rows] == [1, 2, 3]
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    best = min(rows, key=lambda r: (-float(r["exact_match"]), float(r["valid_loss"])))
    assert metrics["best_epoch"] == int(best["epoch"])
    assert metrics["validation"]["exact_match"] == pytest.approx(float(best["exact_match"]))
    assert metrics["parameters"] == sum(p.numel() for p in model.model.parameters())
    assert sum(line.startswith("epoch") for line in lines) == 3
    assert sum(line.startswith("  ") for line in lines) == 30
    again = harken.load(tmp_path / "run")
    assert equal(weights(model), weights(again))
    assert again.predict(["abc", "e"]) == model.predict(["abc", "e"])
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_model_and_leaves_the_users_chance_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second, other = (harken.Seq2Seq(**SMALL | {"epochs": 1, "seed": s}).fit(*pairs(64)) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert equal(weights(first), weights(second))
    assert not equal(weights(first), weights(other))


@pytest.mark.parametrize("steps", [4, 9, 13], ids=["first-epoch", "epoch-end", "mid-epoch"])
def test_an_interrupted_run_resumes_as_if_never_interrupted(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = harken.Seq2Seq(**SMALL).fit(*pairs(), out=tmp_path / "whole")
    assert not whole.interrupted_
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        stopped = harken.Seq2Seq(**SMALL).fit(*pairs(), out=tmp_path / "parts")
    assert stopped.interrupted_
    assert len(stopped.predict(["abc"])) == 1, "fit returns normally, with the best model so far"
    assert signal.getsignal(signal.SIGINT) is before
    resumed = harken.Seq2Seq(**SMALL).fit(*pairs(), out=tmp_path / "parts", resume=True)
    assert equal(weights(whole), weights(resumed))
    timing = {"seconds", "train_seconds"}
    for ours, theirs in zip(resumed.history_, whole.history_, strict=True):
        assert {k: v for k, v in ours._asdict().items() if k not in timing} == {
            k: v for k, v in theirs._asdict().items() if k not in timing
        }


def test_a_finished_run_goes_on_with_more_epochs(tmp_path: Path) -> None:
    constant = SMALL | {"schedule": "constant"}
    harken.Seq2Seq(**constant | {"epochs": 2}).fit(*pairs(), out=tmp_path / "run")
    longer = harken.Seq2Seq(**constant).fit(*pairs(), out=tmp_path / "run", resume=True)
    whole = harken.Seq2Seq(**constant).fit(*pairs())
    assert [e.epoch for e in longer.history_] == [1, 2, 3]
    assert equal(weights(longer), weights(whole))


def test_the_resume_file_is_read_without_unpickling_code(tmp_path: Path) -> None:
    harken.Seq2Seq(**SMALL | {"epochs": 1}).fit(*pairs(64), out=tmp_path / "run")
    assert torch.load(tmp_path / "run/resume.ckpt", weights_only=True)["global_step"] == 4


@pytest.mark.parametrize(
    ("change", "arguments", "error", "said"),
    [
        ({}, {}, UsageError, "is not empty: --resume continues"),
        ({"hidden_size": 8}, {"resume": True}, ConfigError, "hidden_size was 16 .* and is 8 now"),
        ({"seed": 5}, {"resume": True}, ConfigError, "seed was 0 .* and is 5 now"),
    ],
)
def test_a_folder_with_a_run_is_not_touched_by_accident(
    change: dict[str, Any], arguments: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    harken.Seq2Seq(**SMALL | {"epochs": 1}).fit(*pairs(64), out=run)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(error, match=said):
        harken.Seq2Seq(**SMALL | {"epochs": 1} | change).fit(*pairs(64), out=run, **arguments)
    assert before == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    harken.Seq2Seq(**SMALL | {"epochs": 1, "hidden_size": 8}).fit(*pairs(64), out=run, overwrite=True)
    assert harken.load(run).config.model.hidden_size == 8


def test_overwrite_replaces_runs_only(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.tex"):
        harken.Seq2Seq(**SMALL).fit(*pairs(64), out=tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(UsageError, match="no run to resume"):
        harken.Seq2Seq(**SMALL).fit(*pairs(64), out=tmp_path / "nothing", resume=True)


@pytest.mark.parametrize("steps", [2, None], ids=["mid-epoch", "finished"])
def test_other_data_cannot_be_resumed_with(steps: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, targets = pairs(64)
    with monkeypatch.context() as patch:
        if steps:
            stop_after(patch, steps)
        harken.Seq2Seq(**SMALL | {"epochs": 1}).fit(sources, targets, out=tmp_path / "run")
    before = (tmp_path / "run/config.yaml").read_text()
    with pytest.raises(DataError, match="resume with the same data"):
        harken.Seq2Seq(**SMALL | {"epochs": 2}).fit(
            sources, targets[1:] + targets[:1], out=tmp_path / "run", resume=True
        )
    assert (tmp_path / "run/config.yaml").read_text() == before


def test_early_stopping_keeps_the_best_epoch() -> None:
    options = SMALL | {"epochs": 30, "patience": 1, "learning_rate": 0.05, "monitor": "loss", "schedule": "constant"}
    model = harken.Seq2Seq(**options).fit(*pairs())
    losses = [e.valid["loss"] for e in model.history_]
    assert len(losses) < 30
    assert model.best_epoch_ is not None
    assert model.best_epoch_.valid["loss"] == min(losses)
    assert losses[-1] > min(losses)


@pytest.mark.parametrize(
    "option",
    [
        {"precision": "64-true"},
        {"precision": "bf16-mixed"},
        {"logger": "csv"},
        {"clip_norm": 0.0},
        {"label_smoothing": 0.1},
        {"weight_decay": 0.01},
        {"bucket": False},
    ],
)
def test_every_training_option_trains(option: dict[str, Any], tmp_path: Path) -> None:
    model = harken.Seq2Seq(**SMALL | {"epochs": 2} | option).fit(*pairs(96), out=tmp_path / "run")
    assert model.history_[1].train_loss < model.history_[0].train_loss
    assert (tmp_path / "run/logs").exists() == ("logger" in option)


REFUSED = [{"accelerator": "banana"}, {"precision": "3-bit"}, {"devices": "many"}, {"logger": "tensorboard"}]


@pytest.mark.parametrize("option", REFUSED, ids=lambda o: next(iter(o)))
def test_what_lightning_refuses_is_one_sentence_and_writes_nothing(option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises((ConfigError, MissingExtraError), match=str(next(iter(option.values())))) as caught:
        harken.Seq2Seq(**SMALL | {"epochs": 1} | option).fit(*pairs(64), out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("option", "rows"),
    [({"precision": "3-bit"}, 64), ({"source_tokens": "bpe", "vocabulary_size": 100}, 64), ({}, 1)],
    ids=["lightning", "tokenizer", "rows"],
)
def test_a_start_that_fails_leaves_the_old_run_alone(option: dict[str, Any], rows: int, tmp_path: Path) -> None:
    run = tmp_path / "run"
    harken.Seq2Seq(**SMALL | {"epochs": 1}).fit(*pairs(64), out=run)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=r"refuses|vocabulary_size|distinct"):
        harken.Seq2Seq(**SMALL | {"epochs": 1} | option).fit(*pairs(rows), out=run, overwrite=True)
    assert before == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}


def test_an_overwritten_bundle_stands_until_the_next_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    old = harken.Seq2Seq(**SMALL | {"epochs": 1}).fit(*pairs(64), out=run)

    def die(*_: Any) -> None:
        raise MemoryError("killed in the first epoch")

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Stop, "on_train_batch_end", die)
        with pytest.raises(MemoryError):
            harken.Seq2Seq(**SMALL | {"hidden_size": 8}).fit(*pairs(64), out=run, overwrite=True)
    assert equal(weights(harken.load(run)), weights(old))
    assert not (run / "resume.ckpt").exists(), "nothing of the old run that --resume could mix up with the new one"


def test_a_users_own_file_named_like_ours_is_not_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "config.yaml"
    mine.write_text("model: {hidden_size: 77}  # my notes")
    with pytest.raises(UsageError, match="is not empty"):
        harken.Seq2Seq(**SMALL | {"epochs": 1}).fit(*pairs(64), out=tmp_path)
    assert "my notes" in mine.read_text()


@pytest.mark.parametrize("monitor", ["loss", "exact_match"])
def test_patience_is_resumed_too(monitor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = SMALL | {"epochs": 25, "patience": 2, "learning_rate": 0.05, "monitor": monitor, "schedule": "constant"}
    whole = harken.Seq2Seq(**options).fit(*pairs())
    assert 3 < len(whole.history_) < 25
    steps = 9 * (len(whole.history_) - 1)  # one epoch before the last
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        harken.Seq2Seq(**options).fit(*pairs(), out=tmp_path / "run")
    resumed = harken.Seq2Seq(**options).fit(*pairs(), out=tmp_path / "run", resume=True)
    assert len(resumed.history_) == len(whole.history_)
    again = harken.Seq2Seq(**options).fit(*pairs(), out=tmp_path / "run", resume=True)
    assert len(again.history_) == len(whole.history_), "a run that has lost its patience has none left"
    assert equal(weights(whole), weights(again))


def test_ties_in_exact_match_are_not_out_of_patience() -> None:
    """While nothing is right yet, the loss says whether it gets better."""
    model = harken.Seq2Seq(**SMALL | {"patience": 1, "learning_rate": 0.001, "epochs": 4}).fit(*pairs())
    assert [e.valid["exact_match"] for e in model.history_] == [model.history_[0].valid["exact_match"]] * 4
    assert [e.epoch for e in model.history_] == [1, 2, 3, 4]


@pytest.mark.parametrize("place", ["step", "saving"])
def test_a_second_ctrl_c_returns_at_once_with_what_there_is(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def twice(self: callbacks.Stop, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 3:
            signal.raise_signal(signal.SIGINT)
            if place == "step":
                signal.raise_signal(signal.SIGINT)
            raise callbacks.Interrupted

    def again(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(callbacks.Stop, "on_train_batch_end", twice)
    if place == "saving":
        monkeypatch.setattr(callbacks.Resume, "on_exception", again)
    model = harken.Seq2Seq(**SMALL).fit(*pairs(), out=tmp_path / "run")
    assert model.interrupted_
    assert signal.getsignal(signal.SIGINT) is before
    assert harken.load(tmp_path / "run").predict(["abc"]) == model.predict(["abc"])


def test_learning_rate_schedules() -> None:
    cosine = learning_rate_factor("cosine", 100, 0.1)
    rates = [cosine(step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[0] > 0
    assert max(rates) == pytest.approx(1.0)
    assert cosine(100) == pytest.approx(0.0)
    assert {learning_rate_factor("constant", 100, 0.1)(step) for step in range(100)} == {1.0}
