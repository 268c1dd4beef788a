"""The folder of a run: what is in it, who may write there, what a resumed run must agree with.

OUT/
├── config.yaml     every option
├── bundle/         the best epoch, safe to load anywhere
├── resume.ckpt     what `--resume` continues from (Lightning's file, read with weights_only=True)
├── metrics.json  history.csv  curves.png
└── logs/           of a Lightning logger, where one was asked for
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harken.bundle import Bundle
from harken.config import RunConfig
from harken.errors import ConfigError, UsageError
from harken.training.callbacks import Epoch
from harken.training.curves import draw_curves

_FINAL = {"bundle", "resume.ckpt", "metrics.json", "history.csv", "curves.png", "config.yaml", "logs"}
_HALF_WRITTEN = {".bundle.new", ".bundle.old", "resume.tmp", "metrics.json.tmp", "history.tmp", "config.yaml.tmp"}
OURS = _FINAL | _HALF_WRITTEN
_ONLY_BEGUN = _HALF_WRITTEN - {".bundle.new", ".bundle.old"} | {"config.yaml"}
"""What a run leaves that failed before its first step: nothing that anybody would miss."""

RESUMABLE = {"train", "show_examples", "accelerator", "logger", "checkpoint_minutes", "epochs"}
"""Options that a resumed run may change. More epochs re-plan the cosine schedule from the step that is reached."""


def prepare_folder(out: Path, config: RunConfig, *, resume: bool, overwrite: bool) -> RunConfig:
    """Make the run folder, and say with which options the run goes on.

    Raises:
        UsageError: the folder holds something already, or nothing to resume.
        ConfigError: a resumed run was asked for options that differ from those it began with.
    """
    written = out / "config.yaml"
    if resume:
        if not (out / "resume.ckpt").is_file() or not written.is_file():
            raise UsageError(f"{out} holds no run to resume: leave out --resume to start one")
        before = RunConfig.from_yaml(written.read_text())
        for section, fields in before.sections().items():
            for name in fields.model_fields:
                old, new = getattr(getattr(before, section), name), getattr(getattr(config, section), name)
                if old != new and name not in RESUMABLE:
                    raise ConfigError(
                        f"{name} was {old!r} when {out} began and is {new!r} now: "
                        "resume with the same options, or start anew with --overwrite"
                    )
    elif out.exists() and (not out.is_dir() or any(p.name not in _ONLY_BEGUN for p in out.iterdir())):
        if not overwrite:
            raise UsageError(
                f"{out} is not empty: "
                "--resume continues the run in it, --overwrite replaces it, another --out leaves it alone"
            )
        _remove_run(out)
    out.mkdir(parents=True, exist_ok=True)
    beside = out / "config.yaml.tmp"
    beside.write_text(config.to_yaml())
    beside.replace(written)
    return config


def _remove_run(out: Path) -> None:
    """Remove a run's own files and nothing else that a user keeps there."""
    strangers = [p.name for p in out.iterdir() if p.name not in OURS] if out.is_dir() else [out.name]
    if strangers:
        raise UsageError(
            f"{out} holds {strangers[0]!r}, which no run wrote: --overwrite replaces runs only, so give another --out"
        )
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_report(
    out: Path, epochs: list[Epoch], bundle: Bundle, parameters: int, interrupted: bool, seconds: float
) -> None:
    """metrics.json and curves.png."""
    metrics = {
        "best_epoch": bundle.facts.get("epoch"),
        "validation": bundle.facts.get("validation"),
        "training_rows": bundle.facts["training_rows"],
        "parameters": parameters,
        "epochs": len(epochs),
        "interrupted": interrupted,
        "training_seconds": round(sum(e.train_seconds for e in epochs), 3),
        "epoch_seconds": round(sum(e.seconds for e in epochs), 3),
        "seconds": round(seconds, 3),
    }
    beside = out / "metrics.json.tmp"
    beside.write_text(json.dumps(metrics, indent=2) + "\n")
    beside.replace(out / "metrics.json")
    if epochs:
        draw_curves(epochs, out / "curves.png")
