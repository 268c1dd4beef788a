"""What happens around the loop: the best model is kept, history written, examples shown, the run made resumable."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor

from harken.files import beside, write_whole
from harken.training.module import Seq2SeqModule


def agreed(trainer: pl.Trainer, wanted: bool) -> bool:
    """Does any process want it? Then all do it, at the same step: each has its own clock and its own signals."""
    if trainer.world_size == 1:
        return wanted
    return bool(trainer.strategy.reduce_boolean_decision(wanted, all=False))


class Epoch(NamedTuple):
    """One line of history.csv."""

    epoch: int  # 1-based
    train_loss: float  # nats per target token, dropout and label smoothing on, measured while the weights moved
    valid_loss: float
    exact_match: float
    token_accuracy: float
    learning_rate: float  # after the epoch's last step
    seconds: float  # training and validation of this epoch
    train_seconds: float  # training alone


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
    """The run's epochs, best epoch and best weights.

    Args:
        monitor: 'exact_match' (larger is better, ties go to the smaller loss) or 'loss'.
        keep: called with the module when an epoch is the best so far.
        path: history.csv, or None.
        patience: stop after this many epochs without a better one; None: never.
    """

    def __init__(
        self,
        monitor: str,
        keep: Callable[[Seq2SeqModule, Epoch], None],
        path: Path | None,
        patience: int | None = None,
    ) -> None:
        self.monitor, self.keep, self.path, self.patience = monitor, keep, path, patience
        self.epochs: list[Epoch] = []
        self.best: Epoch | None = None
        self.spent = 0.0  # seconds of this epoch before an interruption
        self._began = self._validation_began = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a resumed epoch goes on from what was spent."""
        self._began = time.perf_counter() - self.spent
        self._lose_patience(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A new epoch, a new clock."""
        self._began = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Training of the epoch is over."""
        self._validation_began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch down and keep the weights if they are the best."""
        assert isinstance(pl_module, Seq2SeqModule)
        scores = pl_module.scorer.result()
        now = time.perf_counter()
        epoch = Epoch(
            trainer.current_epoch + 1,
            pl_module.train_loss(),
            scores.loss,
            scores.exact_match,
            scores.token_accuracy,
            float(trainer.optimizers[0].param_groups[0]["lr"]),
            now - self._began,
            self._validation_began - self._began,
        )
        self.epochs.append(epoch)
        if self.path is not None and trainer.is_global_zero:
            write_history(self.path, self.epochs)
        if self.best is None or self._rank(epoch) > self._rank(self.best):
            self.best = epoch
            self.keep(pl_module, epoch)
        self._lose_patience(trainer)

    def _lose_patience(self, trainer: pl.Trainer) -> None:
        """Lightning's EarlyStopping knows no ties and is saved an epoch late; this is the same idea of better."""
        if self.patience is not None and self.best is not None:
            trainer.should_stop |= self.epochs[-1].epoch - self.best.epoch >= self.patience

    def _rank(self, epoch: Epoch) -> tuple[float, float]:
        return (epoch.exact_match if self.monitor == "exact_match" else 0.0, -epoch.valid_loss)

    def state_dict(self) -> dict[str, Any]:
        """Plain lists, readable with weights_only=True."""
        return {
            "epochs": [list(e) for e in self.epochs],
            "best": None if self.best is None else list(self.best),
            "spent": time.perf_counter() - self._began,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the history up again."""
        self.epochs = [Epoch(*e) for e in state_dict["epochs"]]
        self.best = None if state_dict["best"] is None else Epoch(*state_dict["best"])
        self.spent = state_dict["spent"]


class Examples(pl.Callback):
    """Shows the first few validation rows, right or wrong, after each epoch."""

    def __init__(
        self, sources: Sequence[str], targets: Sequence[str], epochs: int, show: Callable[[str], None]
    ) -> None:
        self.sources, self.targets, self.epochs, self.show = sources, targets, epochs, show

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """One line of numbers, then the rows."""
        assert isinstance(pl_module, Seq2SeqModule)
        if not trainer.is_global_zero:
            return
        scores = pl_module.scorer.result()
        self.show(
            f"epoch {trainer.current_epoch + 1}/{self.epochs}: exact match {scores.exact_match:.2%}, "
            f"loss {scores.loss:.4f} on {scores.rows:,} validation rows"
        )
        shown = sorted(pl_module.examples.items())
        width = max((len(self.sources[row]) for row, _ in shown), default=0)
        for row, said in shown:
            right = said == self.targets[row]
            told = "" if right else f"   (should be {self.targets[row]})"
            self.show(f"  {'✓' if right else '✗'} {self.sources[row]:<{min(width, 60)}} → {said}{told}")
        pl_module.examples.clear()


class Resume(pl.Callback):
    """Keeps resume.ckpt young: after each epoch, every few minutes, and when training is interrupted.

    Must come last among the callbacks: what it saves holds the state of the others.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self.path, self.seconds = path, 60 * minutes
        self._saved = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save when the last saving is old; the end of the epoch saves anyway."""
        if not trainer.is_last_batch and agreed(trainer, time.monotonic() - self._saved > self.seconds):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after validation."""
        self._save(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save between two steps; after any other exception the state may be half a step old."""
        if isinstance(exception, Interrupted):
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            with beside(self.path) as temporary:
                trainer.save_checkpoint(temporary, weights_only=False)
        else:
            trainer.save_checkpoint(self.path, weights_only=False)  # every process takes part, only the first writes
        self._saved = time.monotonic()


def write_history(path: Path, epochs: Sequence[Epoch]) -> None:
    """history.csv: a line for each epoch."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Epoch._fields)
    writer.writerows(epochs)
    write_whole(path, text.getvalue())


def copy_weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """Weights on the CPU, detached from what training does next."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
