"""Lightning turns the loop; what surrounds it is made to fit a library: quiet, interruptible, resumable."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harken.errors import ConfigError, MissingExtraError
from harken.training.callbacks import Begin, Examples, Interrupted, Resume, Stop
from harken.training.progress import Bar
from harken.training.run_folder import CHECKPOINT

if TYPE_CHECKING:
    from harken.training.callbacks import History
    from harken.training.kept import Kept
    from harken.training.module import TrainingModule


def run_loop(
    module: TrainingModule,
    history: History,
    examples: Examples | None,
    *,
    kept: Kept,
    out: Path | None,
    resume: bool,
    begin: Callable[[], None],
) -> bool:
    """Let Lightning turn the loop; True when somebody interrupted it.

    Args:
        examples: tells what every epoch brings; None: the loop is silent.
        kept: the best epoch, which the history keeps; it is written beside resume.ckpt.
        begin: called when the first step is about to be taken.

    Raises:
        ConfigError: Lightning refuses one of the options that are handed to it.
    """
    import lightning.pytorch as pl
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    options = module.options
    stop = Stop()
    callbacks: list[pl.Callback] = [Begin(begin), history, *([] if examples is None else [examples]), stop]
    if bar := examples is not None and os.isatty(2):
        callbacks.append(Bar())
    if out is not None:
        callbacks.append(Resume(out / CHECKPOINT, options.checkpoint_minutes, kept))
    try:
        trainer = pl.Trainer(
            max_epochs=options.epochs,
            accelerator=options.accelerator,
            devices=options.devices,
            precision=options.precision,  # type: ignore[arg-type]  # Lightning checks it
            gradient_clip_val=options.clip_norm or None,
            logger=_logger(options.logger, out),
            callbacks=callbacks,
            default_root_dir=out,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=bar,
            num_sanity_val_steps=0,
            limit_val_batches=0 if module.validation_batches is None else None,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or options.logger, options.logger) from error
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        asked = ", ".join(f"{n}={getattr(options, n)}" for n in ("accelerator", "devices", "precision", "logger"))
        raise ConfigError(f"Lightning refuses {asked}: {_sentence(error)}") from error
    checkpoint = str(out / CHECKPOINT) if resume and out is not None else None
    with _sigint(stop):
        try:
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
        except (Interrupted, KeyboardInterrupt):
            return True
        except SystemExit:  # a second Ctrl-C: Lightning exits, which would take a notebook's kernel along
            if not trainer.interrupted:
                raise
            return True
    return False


def _sentence(error: Exception) -> str:
    """The first sentence of what another library says, on one line."""
    return " ".join(str(error).split()).partition(". ")[0]


@contextmanager
def _sigint(stop: Stop) -> Iterator[None]:
    """The first Ctrl-C stops after the step that is running, the second at once; the old handler comes back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(signum: int, frame: Any) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _logger(name: str, out: Path | None) -> Any:
    if name == "none" or out is None:  # without a folder nothing is written
        return False
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    return (CSVLogger if name == "csv" else TensorBoardLogger)(out, name="logs")


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning's advice about data loaders and its log lines are not for harken's users."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*(does not have many workers|LeafSpec|isinstance\(treespec).*")
            yield
    finally:
        logger.setLevel(level)
