"""A training run of any task: model, objective and batches in; best weights and run folder out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from harken.bundle import FOLDER, Bundle
from harken.training.allocator import keep_freed_memory
from harken.training.callbacks import Epoch, Examples, History, copy_weights
from harken.training.kept import Kept
from harken.training.loop import quiet, run_loop
from harken.training.module import TrainingModule
from harken.training.objective import Objective
from harken.training.run_folder import HISTORY, begin_run, check_folder, is_first_process, write_report

if TYPE_CHECKING:
    from harken.config import RunConfig, TrainingConfig
    from harken.data.ordering import Loader


class Trained(NamedTuple):
    """What a run found."""

    bundle: Bundle  # of the best epoch; without validation rows, of the last
    epochs: list[Epoch]
    best: Epoch | None  # the bundle's; None when the run was interrupted before it was through with that epoch
    interrupted: bool


def train(
    config: RunConfig,
    make_model: Callable[[], nn.Module],
    objective: Objective,
    make_bundle: Callable[[dict[str, Tensor], dict[str, Any]], Bundle],
    batches: Loader[Any],
    validation_batches: Loader[Any] | None,
    *,
    fingerprint: str,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show: Callable[[str], None] | None = None,
) -> Trained:
    """Train a model and return its best epoch.

    Args:
        config: every option, settled; only its training section is read here, all of it is written down.
        make_model: called once, with chance seeded by the option `seed`; the user's own is untouched.
        objective: loss and scores of the task.
        make_bundle: weights and facts → all that is to be saved. The facts are those found here, to be joined with the
            caller's: training_rows, and of the epoch that is kept its number (epoch) and its scores (validation).
        batches: training rows, as many batches in an epoch as `epoch_steps` asks for.
        validation_batches: rows that choose the best epoch; None: there are none, and the last epoch is kept.
        fingerprint: the same for the same rows in the same order under the same vocabulary, which a resumed run must
            share.
        out: the run folder; None keeps everything in memory.
        resume: continue from ``out/resume.ckpt`` as if never interrupted.
        overwrite: replace the run in ``out``.
        show: takes each line of progress; None shows nothing.

    Raises:
        DataError: the rows are not those that a resumed run began with.
        UsageError, ConfigError: ``out`` must not be written to (`check_folder`, which may be asked before any work is
            done), or not with these options; or Lightning refuses one.
    """
    check_folder(out, config, resume=resume, overwrite=overwrite)
    began, options = time.perf_counter(), config.training
    validation_rows = 0 if validation_batches is None else _rows(validation_batches)
    show = show if is_first_process() else None
    begun = False

    def begin() -> None:
        nonlocal begun
        begun = True
        if out is not None:
            begin_run(out, config, resume=resume)

    keep_freed_memory()
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(options.seed)
        model = make_model()
        module = TrainingModule(model, objective, options, batches, validation_batches, fingerprint)

        def bundle(weights: dict[str, Tensor], epoch: Epoch | None) -> Bundle:
            facts: dict[str, Any] = {"training_rows": _rows(batches)}
            if epoch is not None:
                facts["epoch"] = epoch.epoch
                if epoch.valid:
                    facts["validation"] = epoch.valid | {"rows": validation_rows}
            return make_bundle(weights, facts)

        # Without validation rows every epoch is the best so far, and a disk is slower than a small epoch.
        pause = 60 * options.checkpoint_minutes if validation_batches is None else 0.0
        kept = Kept(bundle, None if out is None else out / FOLDER, pause)
        history = History(
            options.monitor,
            lambda epoch: kept.keep(copy_weights(model), epoch),
            None if out is None else out / HISTORY,
            options.patience,
        )
        try:
            interrupted = run_loop(
                module,
                history,
                None if show is None else Examples(history, objective, validation_rows, options.epochs, show),
                kept=kept,
                out=out,
                resume=resume,
                begin=begin,
            )
        finally:
            kept.write()
    if not begun and not interrupted and show is not None:
        show("the run was through already: nothing was left to do")

    if kept.bundle is not None:
        found, best = kept.bundle, history.best
    elif history.best is not None and out is not None:  # resumed, and the best epoch lay before
        found = Bundle.load(out / FOLDER)
        best = next((e for e in history.epochs if e.epoch == found.facts.get("epoch")), None)
    else:  # interrupted before the first epoch was through: what there is
        found, best = bundle(copy_weights(model), None), None
        if out is not None and is_first_process():
            found.save(out / FOLDER)
    if out is not None and is_first_process():
        write_report(
            out,
            history.epochs,
            found.facts,
            parameters=sum(p.numel() for p in model.parameters()),
            interrupted=interrupted,
            seconds=time.perf_counter() - began,
            unit=objective.unit,
            shares=objective.shares,
        )
    return Trained(found, history.epochs, best, interrupted)


def epoch_steps(options: TrainingConfig) -> int | None:
    """The fewest steps of an epoch, so that all epochs together have `min_steps`; None: one pass will do."""
    return -(-options.min_steps // options.epochs) or None


def _rows(loader: Loader[Any]) -> int:
    rows: int = loader.state_dict()["rows"]
    return rows
