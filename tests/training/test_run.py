"""A run of any task: here values are learned from one number a row, so that every line can be checked."""

from __future__ import annotations

import csv
import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from harken.bundle import Bundle
from harken.config import SequenceRun
from harken.data.ordering import RowLoader
from harken.errors import ConfigError, UsageError
from harken.training import callbacks
from harken.training.callbacks import Epoch, History
from harken.training.kept import Kept
from harken.training.objective import Loss, Objective
from harken.training.run import Trained, epoch_steps, train
from harken.training.run_folder import CHECKPOINT


class Points(NamedTuple):
    x: Tensor  # (B, 1)
    y: Tensor  # (B, 1)


class PointLoader(RowLoader[Points]):
    """y = 3 x - 1, with an extra point far off in the last row."""

    def __init__(self, rows: int, batch_size: int = 8, *, shuffle: bool = False, steps: int | None = None) -> None:
        self.x = torch.linspace(-1, 1, rows).unsqueeze(1)
        super().__init__(
            torch.ones(rows, dtype=torch.int64),
            batch_size=batch_size,
            shuffle=shuffle,
            bucket=False,
            seed=0,
            steps=steps,
        )

    def _batch(self, rows: Tensor) -> Points:
        return Points(self.x[rows], 3 * self.x[rows] - 1)


class Squares(Objective):
    """Squared error, and the share of answers that are nearly right."""

    unit = "squared error"
    shares: tuple[str, ...] = ("near",)
    headline: tuple[str, ...] = ("near", "rmse", "loss")

    def loss(self, model: nn.Module, batch: Points) -> Loss:
        return Loss((model(batch.x) - batch.y).square().sum(), torch.tensor(len(batch.x)))

    def reset(self) -> None:
        self.errors: list[Tensor] = []

    def add(self, model: nn.Module, batch: Points) -> None:
        assert not model.training
        error = (model(batch.x) - batch.y).flatten()
        assert not error.requires_grad
        self.errors.append(error)

    def result(self) -> dict[str, float]:
        errors = torch.cat(self.errors)
        mse = float(errors.square().mean())
        return {"loss": mse, "score": -mse, "rmse": math.sqrt(mse), "near": float((errors.abs() < 0.1).float().mean())}

    def examples(self) -> list[str]:
        return ["  one row"]


class Line(nn.Module):
    """Slope and offset; the frozen one wants no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        return found


OPTIONS: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 8,
    "min_steps": 0,
    "learning_rate": 0.1,
    "accelerator": "cpu",
    "schedule": "constant",
}


def run(
    validation: int | None = 8, objective: Any = None, steps: int | None = None, rows: int = 32, **arguments: Any
) -> Trained:
    """Train; what is no argument of `train` is an option."""
    own = {name: arguments.pop(name) for name in ("out", "resume", "overwrite", "show") if name in arguments}
    config = SequenceRun().override(task="regress").settled("series").override(**OPTIONS | arguments)
    return train(
        config,
        Line,
        objective or Squares(),
        lambda weights, facts: Bundle(config, {}, weights, {"mine": 1} | facts),
        PointLoader(rows, shuffle=True, steps=steps),
        None if validation is None else PointLoader(validation),
        fingerprint="points",
        **own,
    )


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    step = callbacks.Stop.on_train_batch_end

    def on_train_batch_end(self: callbacks.Stop, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == steps:
            signal.raise_signal(signal.SIGINT)
        step(self, trainer, *rest)

    monkeypatch.setattr(callbacks.Stop, "on_train_batch_end", on_train_batch_end)


def same(a: Bundle, b: Bundle) -> bool:
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


def test_scores_go_to_history_metrics_facts_and_the_user(tmp_path: Path) -> None:
    lines: list[str] = []
    trained = run(out=tmp_path / "run", show=lines.append)
    assert [e.epoch for e in trained.epochs] == [1, 2, 3, 4]
    assert trained.best is not None
    rows = list(csv.DictReader((tmp_path / "run/history.csv").read_text().splitlines()))
    assert list(rows[0]) == [
        *("epoch", "train_loss", "valid_loss", "score", "rmse", "near", "learning_rate", "seconds", "train_seconds")
    ]
    assert [float(r["rmse"]) for r in rows] == [e.valid["rmse"] for e in trained.epochs]
    facts = Bundle.load(tmp_path / "run").facts
    assert facts == trained.bundle.facts
    assert (facts["mine"], facts["training_rows"], facts["epoch"]) == (1, 32, trained.best.epoch)
    assert facts["validation"] == trained.best.valid | {"rows": 8}
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert (metrics["validation"], metrics["parameters"], metrics["epochs"]) == (facts["validation"], 5, 4)
    first = trained.epochs[0].valid
    assert lines[0] == (
        f"epoch 1/4: near {first['near']:.2%}, rmse {first['rmse']:.4f}, loss {first['loss']:.4f} on 8 validation rows"
    )
    assert lines[1] == "  one row"
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("epochs", [1, 3])
def test_without_validation_rows_the_last_epoch_is_kept(epochs: int, tmp_path: Path) -> None:
    lines: list[str] = []
    trained = run(None, epochs=epochs, out=tmp_path / "run", show=lines.append, patience=1)
    assert [e.valid for e in trained.epochs] == [{}] * epochs
    assert trained.best == trained.epochs[-1]
    assert trained.bundle.facts["epoch"] == epochs
    assert "validation" not in trained.bundle.facts
    assert same(trained.bundle, Bundle.load(tmp_path / "run"))
    assert json.loads((tmp_path / "run/metrics.json").read_text())["validation"] is None
    header = (tmp_path / "run/history.csv").read_text().splitlines()[0]
    assert header == "epoch,train_loss,learning_rate,seconds,train_seconds"
    assert lines == [f"epoch {e.epoch}/{epochs}: loss {e.train_loss:.4f} in training" for e in trained.epochs]
    assert all(e.seconds >= e.train_seconds > 0 for e in trained.epochs)
    assert (tmp_path / "run/curves.png").exists()


@pytest.mark.parametrize(("validation", "minutes", "savings"), [(None, 5.0, 2), (None, 1e-9, 6), (8, 5.0, 6)])
def test_the_disk_is_written_no_more_often_than_needed(
    validation: int | None, minutes: float, savings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without validation every epoch is the best: the first is written, then the last, and between them what is due."""
    saved: list[int] = []
    save = Bundle.save
    monkeypatch.setattr(Bundle, "save", lambda b, path: (saved.append(b.facts["epoch"]), save(b, path)))
    trained = run(
        validation, epochs=6, checkpoint_minutes=minutes, monitor="loss", learning_rate=0.01, out=tmp_path / "r"
    )
    assert len(saved) == savings
    assert saved[-1] == 6
    assert same(trained.bundle, Bundle.load(tmp_path / "r"))


@pytest.mark.parametrize("steps", [2, 9], ids=["first-epoch", "third-epoch"])
def test_without_validation_a_run_is_interrupted_and_resumed_exactly(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(None)
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        stopped = run(None, out=tmp_path / "run")
    assert stopped.interrupted
    done = steps // 4
    assert (stopped.best.epoch if stopped.best else 0) == done
    assert Bundle.load(tmp_path / "run").facts.get("epoch", 0) == done
    with monkeypatch.context() as patch:
        stop_after(patch, steps + 1)  # again, before another epoch is through
        again = run(None, out=tmp_path / "run", resume=True)
    assert same(again.bundle, stopped.bundle) == bool(done)
    assert (again.best.epoch if again.best else 0) == done
    resumed = run(None, out=tmp_path / "run", resume=True)
    assert same(resumed.bundle, whole.bundle)
    assert [e.train_loss for e in resumed.epochs] == [e.train_loss for e in whole.epochs]


def left_by_kills(out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[Path]:
    """What a run leaves in its folder if it is killed before or after any writing of bundle or resume.ckpt."""
    left: list[Path] = []

    def around(write: Any) -> Any:
        def written(*arguments: Any) -> None:
            for moment in ("before", "after"):
                if moment == "after":
                    write(*arguments)
                if (out / CHECKPOINT).exists():
                    left.append(folder / f"{out.name} {len(left)}")
                    shutil.copytree(out, left[-1])

        return written

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Resume, "_save", around(callbacks.Resume._save))
        patch.setattr(Bundle, "save", around(Bundle.save))
        run(out=out, **options)
    return left


def stop_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_train_batch_end(self: callbacks.Stop, trainer: Any, *_: Any) -> None:
        if not trainer.is_last_batch:
            raise callbacks.Interrupted

    monkeypatch.setattr(callbacks.Stop, "on_train_batch_end", on_train_batch_end)


def is_resumed_to(whole: Trained, out: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """After another stop, at the first step, the best epoch so far is there; after that the run is as it would be."""
    for stops in (True, False):
        with monkeypatch.context() as patch:
            if stops:
                stop_at_once(patch)
            found = run(out=out, resume=True, **options)
        best = min(found.epochs, key=lambda e: e.valid.get("loss", -e.epoch), default=None)
        assert (found.best and found.best.epoch) == (best and best.epoch) == found.bundle.facts.get("epoch")
        assert same(found.bundle, Bundle.load(out))
    assert same(found.bundle, whole.bundle)
    assert [(e.train_loss, e.valid) for e in found.epochs] == [(e.train_loss, e.valid) for e in whole.epochs]


@pytest.mark.parametrize(
    ("validation", "minutes", "rate", "stop"),
    [
        *((None, 5.0, 0.1, None), (None, 5.0, 0.1, 10), (None, 1e-9, 0.1, None)),
        *((8, 5.0, 2.0, None), (8, 5.0, 0.8, None), (8, 5.0, 0.8, 12)),
    ],
    ids=["none held out", "stopped", "saved at every step", "better, worse", "worse, better", "stopped after an epoch"],
)
def test_a_run_that_is_killed_at_any_moment_is_resumed_exactly(
    validation: int | None,
    minutes: float,
    rate: float,
    stop: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harken.training.run.write_report", lambda *_, **__: None)  # a picture takes long
    if minutes < 1:  # resume.ckpt is due before the bundle, as one of them was written earlier
        monkeypatch.setattr(Kept, "write_if_due", lambda kept: None)
    options: dict[str, Any] = {"validation": validation, "epochs": 3, "checkpoint_minutes": minutes, "monitor": "loss"}
    options["learning_rate"] = rate
    whole = run(**options)
    assert whole.best is not None
    assert (whole.best.epoch == 3) == (rate < 1)
    with monkeypatch.context() as patch:
        if stop is not None:
            stop_after(patch, stop)
        left = left_by_kills(tmp_path / "run", tmp_path, monkeypatch, **options)
    assert len(left) >= 4
    for folder in left:
        if rate > 1:  # killed a second time
            again = shutil.copytree(folder, tmp_path / f"{folder.name} again")
            for later in left_by_kills(again, tmp_path, monkeypatch, resume=True, **options):
                is_resumed_to(whole, later, monkeypatch, **options)
        is_resumed_to(whole, folder, monkeypatch, **options)


def test_an_exception_does_not_lose_the_epoch_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: Any, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 10:
            raise MemoryError

    monkeypatch.setattr(callbacks.Stop, "on_train_batch_end", die)
    with pytest.raises(MemoryError):
        run(None, out=tmp_path / "run")
    assert Bundle.load(tmp_path / "run").facts["epoch"] == 2


def test_what_wants_no_gradient_stays_and_the_rest_learns() -> None:
    start, trained = run(epochs=1, learning_rate=1e-9), run(epochs=40, weight_decay=0.1, monitor="loss")
    assert torch.equal(start.bundle.weights["frozen"], trained.bundle.weights["frozen"])
    assert trained.bundle.weights["layer.weight"].item() == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize(("epochs", "min_steps", "steps"), [(4, 0, 4), (4, 16, 4), (4, 41, 11), (3, 100, 34)])
def test_a_small_set_is_passed_over_until_there_were_enough_steps(epochs: int, min_steps: int, steps: int) -> None:
    options = SequenceRun().settled("series").override(epochs=epochs, min_steps=min_steps).training
    asked = epoch_steps(options)
    assert (asked is None) == (min_steps == 0)
    trained = run(steps=asked, epochs=epochs, schedule="cosine", warmup=0.0)
    assert len(PointLoader(32, steps=asked)) == steps
    last = 0.5 * (1 + math.cos(math.pi * steps * (epochs - 1) / (steps * epochs)))
    assert trained.epochs[-2].learning_rate == pytest.approx(0.1 * last)  # the schedule spans all steps of all epochs


def test_an_epoch_of_another_length_is_not_resumed_in_its_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 12)
        run(steps=10, epochs=2, out=tmp_path / "run")
    with pytest.raises(
        ConfigError, match=r"epochs \(4\) gives an epoch 5 steps, and the run was interrupted in one of 10"
    ):
        run(steps=5, epochs=4, out=tmp_path / "run", resume=True)
    assert len(run(steps=10, epochs=2, out=tmp_path / "run", resume=True).epochs) == 2
    assert len(run(steps=5, epochs=4, out=tmp_path / "run", resume=True).epochs) == 4


def test_a_batch_with_nothing_to_answer_changes_nothing() -> None:
    class Nothing(Squares):
        def loss(self, model: nn.Module, batch: Points) -> Loss:
            return Loss(0 * model(batch.x).sum(), torch.tensor(0.0))

    trained, start = run(objective=Nothing()), run(epochs=1, learning_rate=1e-9)
    assert trained.bundle.weights["layer.weight"].item() == pytest.approx(start.bundle.weights["layer.weight"].item())
    assert math.isnan(trained.epochs[0].train_loss)


def test_another_task_is_not_resumed(tmp_path: Path) -> None:
    run(epochs=1, out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"task was 'regress' when .* and is 'classify' now"):
        run(epochs=1, out=tmp_path / "run", resume=True, task="classify")
    with pytest.raises(UsageError, match="out="):
        run(resume=True)


def history(monitor: str, *scores: tuple[float, float]) -> int | None:
    """The best epoch of some, each with (score, loss)."""
    kept: list[Epoch] = []
    found = History(monitor, kept.append, None)
    for number, (score, loss) in enumerate(scores, start=1):
        epoch = Epoch(number, 1.0, {"score": score, "loss": loss}, 0.1, 1.0, 1.0)
        if found.best is None or found._rank(epoch) > found._rank(found.best):
            found.best = epoch
    return found.best.epoch if found.best else None


@pytest.mark.parametrize(
    ("monitor", "scores", "best"),
    [
        ("score", [(0.1, 9.0), (0.9, 9.0), (0.5, 1.0)], 2),
        ("score", [(0.5, 3.0), (0.5, 1.0), (0.5, 2.0)], 2),  # a tie goes to the smaller loss
        ("loss", [(0.9, 3.0), (0.1, 1.0), (0.5, 2.0)], 2),
        ("loss", [(0.9, math.nan), (0.1, 1.0), (0.5, math.nan)], 2),
        ("score", [(math.nan, 1.0), (-7.0, 2.0)], 2),
    ],
)
def test_which_epoch_is_the_best(monitor: str, scores: list[tuple[float, float]], best: int) -> None:
    assert history(monitor, *scores) == best
