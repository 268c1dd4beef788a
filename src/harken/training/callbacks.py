"""What happens around the loop: the best model is kept, history written, examples shown, the run made resumable."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor

from harken.files import beside, write_whole
from harken.training.module import TrainingModule
from harken.training.objective import Objective

if TYPE_CHECKING:
    from harken.training.kept import Kept


def agreed(trainer: pl.Trainer, wanted: bool) -> bool:
    """Does any process want it? Then all do it, at the same step: each has its own clock and its own signals."""
    if trainer.world_size == 1:
        return wanted
    return bool(trainer.strategy.reduce_boolean_decision(wanted, all=False))


class Epoch(NamedTuple):
    """One line of history.csv."""

    epoch: int  # 1-based
    train_loss: float  # in the objective's unit, dropout and label smoothing on, measured while the weights moved
    valid: dict[str, float]  # scores on the validation rows by name, ``loss`` among them; empty where there are no rows
    learning_rate: float  # after the epoch's last step
    seconds: float  # training and validation of this epoch
    train_seconds: float  # training alone

    def columns(self) -> dict[str, float]:
        """The same without a dictionary inside; the validation loss is called ``valid_loss``."""
        scores = sorted(self.valid.items(), key=lambda score: score[0] != "loss")  # the losses stand side by side
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            **{"valid_loss" if name == "loss" else name: value for name, value in scores},
            "learning_rate": self.learning_rate,
            "seconds": self.seconds,
            "train_seconds": self.train_seconds,
        }


class Interrupted(Exception):
    """Somebody asked training to stop; raised between two steps, when everything is consistent."""


class Begin(pl.Callback):
    """Calls something once, in the first process, when the first step is about to be taken."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Rows, options and checkpoint have all been found good by now."""
        if trainer.is_global_zero:
            self.action()


class Stop(pl.Callback):
    """Turns a request to stop (Ctrl-C) into `Interrupted` at the end of the step that is running."""

    def __init__(self) -> None:
        self.requested = False

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stop here, but let an epoch that is all but over have its validation: Lightning would not catch up on it."""
        if not trainer.is_last_batch and agreed(trainer, self.requested):
            raise Interrupted

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop after a validation too."""
        if agreed(trainer, self.requested):
            raise Interrupted


class History(pl.Callback):
    """The run's epochs and the best of them.

    Args:
        monitor: 'loss' (smaller is better) or the name of another score (larger is better, ties go to the smaller
            loss). Where there are no validation rows, a later epoch is better than an earlier one.
        keep: called when an epoch is the best so far, with the weights that it ended with still in the model; and again
            when a run is resumed just there.
        path: history.csv, or None.
        patience: stop after this many epochs without a better one; None: never.
    """

    def __init__(
        self, monitor: str, keep: Callable[[Epoch], None], path: Path | None, patience: int | None = None
    ) -> None:
        self.monitor, self.keep, self.path, self.patience = monitor, keep, path, patience
        self.epochs: list[Epoch] = []
        self.best: Epoch | None = None
        self.spent = 0.0  # seconds of this epoch before an interruption
        self._best_step = -1  # steps that were taken when the best epoch ended
        self._resumed = False  # and nothing done since
        self._began = time.perf_counter()
        self._trained: float | None = None  # when this epoch's training was over, its validation begun

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a resumed epoch goes on from what was spent."""
        self._began = time.perf_counter() - self.spent
        self._keep_again(trainer)
        self._lose_patience(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A resumed run that was through has not started."""
        self._keep_again(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A new epoch, a new clock."""
        self._began, self._trained = time.perf_counter(), None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Training of the epoch is over."""
        self._trained = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch down and keep the weights if they are the best."""
        assert isinstance(pl_module, TrainingModule)
        now = time.perf_counter()
        epoch = Epoch(
            trainer.current_epoch + 1,
            pl_module.train_loss(),
            {} if pl_module.validation_batches is None else pl_module.objective.result(),
            float(trainer.optimizers[0].param_groups[0]["lr"]),
            now - self._began,
            (self._trained or now) - self._began,
        )
        self.epochs.append(epoch)
        if self.path is not None and trainer.is_global_zero:
            write_history(self.path, self.epochs)
        if self.best is None or self._rank(epoch) > self._rank(self.best):
            self.best, self._best_step = epoch, trainer.global_step
            self.keep(epoch)
        self._lose_patience(trainer)

    def _keep_again(self, trainer: pl.Trainer) -> None:
        """A run may have been killed when its best epoch was in resume.ckpt, and not yet in the bundle."""
        if self._resumed and self.best is not None and trainer.global_step == self._best_step:
            self.keep(self.best)
        self._resumed = False

    def _lose_patience(self, trainer: pl.Trainer) -> None:
        """Lightning's EarlyStopping knows no ties and is saved an epoch late; this is the same idea of better."""
        if self.patience is not None and self.best is not None:
            trainer.should_stop |= self.epochs[-1].epoch - self.best.epoch >= self.patience

    def _rank(self, epoch: Epoch) -> tuple[float, float]:
        if not epoch.valid:
            return (epoch.epoch, 0.0)
        if math.isnan(epoch.valid["loss"]):  # the weights are lost, whatever a count of right answers says
            return (-math.inf, -math.inf)
        score = 0.0 if self.monitor == "loss" else epoch.valid.get(self.monitor, math.nan)
        return (_worst_if_nan(score), _worst_if_nan(-epoch.valid["loss"]))

    def state_dict(self) -> dict[str, Any]:
        """Plain lists, readable with weights_only=True."""
        return {
            "epochs": [list(e) for e in self.epochs],
            "best": None if self.best is None else list(self.best),
            "best_step": self._best_step,
            "spent": time.perf_counter() - self._began,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the history up again."""
        self.epochs = [Epoch(*e) for e in state_dict["epochs"]]
        self.best = None if state_dict["best"] is None else Epoch(*state_dict["best"])
        self._best_step = state_dict["best_step"]
        self.spent = state_dict["spent"]
        self._resumed = True


class Examples(pl.Callback):
    """Tells what an epoch brought: a line of numbers, then some validation rows and what is answered to them.

    Must come after the `History`, whose last epoch it tells.
    """

    def __init__(
        self, history: History, objective: Objective, rows: int, epochs: int, show: Callable[[str], None]
    ) -> None:
        self.history, self.objective, self.rows, self.epochs, self.show = history, objective, rows, epochs, show

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """One line of numbers, then the rows."""
        if not trainer.is_global_zero:
            return
        epoch = self.history.epochs[-1]
        if not math.isfinite(epoch.train_loss):
            self.show(
                f"warning: the loss of epoch {epoch.epoch} is {epoch.train_loss}: training has diverged, so lower "
                "learning_rate, or clip_norm"
            )
        if not epoch.valid:
            self.show(f"epoch {epoch.epoch}/{self.epochs}: loss {epoch.train_loss:.4f} in training")
            return
        told = (
            f"{name.replace('_', ' ')} {epoch.valid[name]:{'.2%' if name in self.objective.shares else '.4f'}}"
            for name in self.objective.headline
            if name in epoch.valid
        )
        self.show(
            f"epoch {epoch.epoch}/{self.epochs}: {', '.join(told)} on {self.rows:,} validation {self.objective.noun}"
        )
        for line in self.objective.examples():
            self.show(line)


class Resume(pl.Callback):
    """Keeps resume.ckpt young: after each epoch, every few minutes, and when training is interrupted.

    A run may be killed between any two writings, and its best epoch must then be on the disk: in the bundle, or, where
    that epoch has just ended, as the weights in resume.ckpt. So at the end of an epoch resume.ckpt comes first, and
    inside one the bundle. A checkpoint never knows less than the bundle beside it.

    Must come last among the callbacks: what it saves holds the state of the others.
    """

    def __init__(self, path: Path, minutes: float, kept: Kept) -> None:
        self.path, self.seconds, self.kept = path, 60 * minutes, kept
        self._saved = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """What was taken over from resume.ckpt will not be in the next one."""
        self.kept.write()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save when the last saving is old; the end of the epoch saves anyway."""
        if not trainer.is_last_batch and agreed(trainer, time.monotonic() - self._saved > self.seconds):
            self.kept.write()
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after validation."""
        self._save(trainer)
        self.kept.write_if_due()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save between two steps; after any other exception the state may be half a step old."""
        if isinstance(exception, Interrupted):
            if not trainer.is_last_batch:
                self.kept.write()
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            with beside(self.path) as temporary:
                trainer.save_checkpoint(temporary, weights_only=False)
        else:
            trainer.save_checkpoint(self.path, weights_only=False)  # every process takes part, only the first writes
        self._saved = time.monotonic()


def _worst_if_nan(value: float) -> float:
    """Larger is better, and every number is better than none: NaN would win every comparison by losing none."""
    return -math.inf if math.isnan(value) else value


def write_history(path: Path, epochs: Sequence[Epoch]) -> None:
    """history.csv: a line for each epoch, of which there is at least one."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    table = [epoch.columns() for epoch in epochs]
    writer.writerow(table[0])
    writer.writerows(line.values() for line in table)
    write_whole(path, text.getvalue())


def copy_weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """Weights on the CPU, detached from what training does next."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
