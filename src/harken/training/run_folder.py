"""The folder of a run: what is in it, who may write there, what a resumed run must agree with.

    OUT/
    ├── config.yaml     every option
    ├── bundle/         the best epoch (without validation rows: the last), safe to load anywhere
    ├── resume.ckpt     what `--resume` continues from (Lightning's file, read with weights_only=True)
    ├── metrics.json  history.csv  curves.png  map.png
    └── logs/           of a Lightning logger, where one was asked for

`check_folder` refuses before any work is done and changes nothing. `begin_run` is called when the first step is about
to be taken, when all that could be wrong with rows and options has been found; an older bundle that is to be
overwritten stands until the new run has one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harken.bundle import FOLDER, refuse_foreign
from harken.config import RunConfig
from harken.errors import ConfigError, UsageError
from harken.files import write_whole
from harken.training.callbacks import Epoch
from harken.training.curves import draw_curves

CONFIG, CHECKPOINT, METRICS, HISTORY, CURVES, LOGS = (
    "config.yaml",
    "resume.ckpt",
    "metrics.json",
    "history.csv",
    "curves.png",
    "logs",
)
MAP = "map.png"  # where `harken demo` draws what its model looked at
_FILES = {CONFIG, CHECKPOINT, METRICS, HISTORY, CURVES, MAP}

RESUMABLE = {"train", "show_examples", "accelerator", "logger", "checkpoint_minutes", "epochs"}
"""Options that a resumed run may change. More epochs re-plan the cosine schedule from the step that is reached."""


def check_folder(out: Path | None, config: RunConfig, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that this run must not write to. Nothing is changed, and only the first process looks.

    Raises:
        UsageError: the folder holds something already, or nothing to resume; or a run is resumed without a folder.
        ConfigError: a resumed run was asked for options that differ from those it began with.
    """
    if out is None:
        if resume:
            raise UsageError("resume=True needs out=, the folder of the run to continue")
        return
    if not is_first_process():
        return
    if resume:
        if not (out / CHECKPOINT).is_file() or not (out / CONFIG).is_file():
            raise UsageError(f"{out} holds no run to resume: leave out --resume to start one")
        _check_options(out, config)
    elif out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: give a folder with --out")
    elif overwrite:
        _check_strangers(out)
    elif out.is_dir() and any(out.iterdir()) and not _only_begun(out, config):
        raise UsageError(
            f"{out} is not empty: --resume continues the run in it, --overwrite replaces it, "
            "another --out leaves it alone"
        )


def begin_run(out: Path, config: RunConfig, *, resume: bool) -> None:
    """Write down the options; a run that starts anew first clears away what an older one left,
    but for its bundle and its logs."""
    out.mkdir(parents=True, exist_ok=True)
    if not resume:
        for name in _FILES - {CONFIG}:
            (out / name).unlink(missing_ok=True)
    if not _same(out / CONFIG, config):
        write_whole(out / CONFIG, config.to_yaml())


def write_report(
    out: Path,
    epochs: list[Epoch],
    facts: Mapping[str, Any],
    *,
    parameters: int,
    interrupted: bool,
    seconds: float,
    unit: str,
    shares: Sequence[str],
) -> None:
    """metrics.json and curves.png.

    Args:
        facts: of the bundle that was kept.
        parameters: how many numbers the model has.
        seconds: since training was asked for.
        unit, shares: as in `draw_curves`.
    """
    metrics = {
        "best_epoch": facts.get("epoch"),
        "validation": facts.get("validation"),
        "training_rows": facts["training_rows"],
        "parameters": parameters,
        "epochs": len(epochs),
        "interrupted": interrupted,
        "training_seconds": round(sum(e.train_seconds for e in epochs), 3),
        "epoch_seconds": round(sum(e.seconds for e in epochs), 3),
        "seconds": round(seconds, 3),
    }
    write_whole(out / METRICS, json.dumps(metrics, indent=2) + "\n")
    if epochs:
        picture = io.BytesIO()
        draw_curves(epochs, unit, shares, picture)
        write_whole(out / CURVES, picture.getvalue())


def is_first_process() -> bool:
    """False in the processes that Lightning starts beside the first one, which runs the same program again."""
    from lightning.pytorch.utilities import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


def _check_options(out: Path, config: RunConfig) -> None:
    before = RunConfig.from_yaml((out / CONFIG).read_text(encoding="utf-8"))
    if before.task != config.task:
        raise ConfigError(
            f"task was {before.task!r} when {out} began and is {config.task!r} now: "
            "resume with the same task, or start anew with --overwrite"
        )
    for section, fields in before.sections().items():
        for name in fields.model_fields:
            old, new = getattr(getattr(before, section), name), getattr(getattr(config, section), name)
            if old != new and name not in RESUMABLE:
                raise ConfigError(
                    f"{name} was {old!r} when {out} began and is {new!r} now: "
                    "resume with the same options, or start anew with --overwrite"
                )


def _check_strangers(out: Path) -> None:
    """--overwrite replaces a run and nothing else that a user keeps in its folder."""
    ours = _FILES | {LOGS, FOLDER, f".{FOLDER}.new", f".{FOLDER}.old"}
    strangers = [p.name for p in out.iterdir() if p.name not in ours and not _left_over(p)] if out.is_dir() else []
    if strangers:
        raise UsageError(
            f"{out} holds {strangers[0]!r}, which no run wrote: --overwrite replaces runs only, so give another --out"
        )
    refuse_foreign(out / FOLDER)


def _left_over(path: Path) -> bool:
    """A file that a killed process was writing beside one of ours."""
    return any(path.name.startswith(f".{name}.") for name in _FILES)


def _only_begun(out: Path, config: RunConfig) -> bool:
    """Nothing there but the options of this very run, from a start that was killed before it had more."""
    return {p.name for p in out.iterdir() if not _left_over(p)} <= {CONFIG} and _same(out / CONFIG, config)


def _same(file: Path, config: RunConfig) -> bool:
    """Does the file say what would be written? Then it stays, with the comments that somebody may have added."""
    try:
        return RunConfig.from_yaml(file.read_text(encoding="utf-8")) == config
    except (OSError, UnicodeDecodeError, ConfigError):
        return False
