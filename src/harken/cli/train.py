"""``harken train``: a file of rows in, a run folder with a trained model out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from harken.cli import autoencoder
from harken.cli.examples import read_file, with_known_labels
from harken.cli.options import Debug, Json, described, fields, takes
from harken.cli.output import INTERRUPTED, chatter_aside, print_json, print_metrics, said_once, say, show, working
from harken.cli.texts import warn_of_skipped
from harken.config import AutoencoderRun, LanguageModelRun, RunConfig, Seq2SeqRun, SequenceRun
from harken.errors import DataError, UsageError

EXAMPLE = "harken train pairs.txt --epochs 5 --out runs/mine"


@takes(*(name for name in fields() if name != "train"))  # its option is the argument DATA
def train(
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help=described("train"), show_default=False),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the run. Default: runs/ and the data file's name."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML file of options, as --print-config prints it.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.OPTION=VALUE", help="Change one option of the file; may be repeated."),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print all options with their values and help, and stop.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
    as_json: Json = False,
    debug: Debug = False,
    options: dict[str, Any],
) -> None:
    """Train a model on a file of rows or of running text. Options win over --set, and --set over --config."""
    if data is not None:
        options["train"] = data
    if resume and overwrite:
        raise UsageError("--resume goes on with a run and --overwrite replaces it: leave one of them out")
    if out is None and data is not None:
        out = _folder(data)
    settings = _base(config, out, resume, options).override(assignments or [], **options)
    if print_config:
        print(settings.to_yaml(), end="")
        return
    if settings.data.train is None:
        raise UsageError("there are no rows to train on: name a file, as in harken train pairs.csv")
    if out is None:
        out = _folder(settings.data.train)
    with chatter_aside(as_json):
        speaks = _fit(settings, out, resume=resume, overwrite=overwrite)
    if not speaks:
        return  # with --devices 2 or more Lightning runs this program once for each; one speaks
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    if as_json:
        print_json({"out": out, "task": settings.task, **metrics})
    else:
        _print(metrics, settings)
    if metrics["interrupted"]:
        say(f"interrupted: {out} holds the best model so far; harken train --resume --out {out} goes on")
        raise typer.Exit(INTERRUPTED)
    say(f"the model is in {out / 'bundle'}, how it learned in metrics.json, history.csv and curves.png beside it")


def _base(config: Path | None, out: Path | None, resume: bool, options: Mapping[str, Any]) -> RunConfig:
    """The options to start from: the file that was named, the resumed run's own, or the defaults of the data's task."""
    if config is not None:
        return RunConfig.from_yaml(_text(config, f"--config {config}"))
    if resume:
        if out is None:
            raise UsageError("--resume needs the run's folder: add --out FOLDER")
        return RunConfig.from_yaml(_text(out / "config.yaml", f"--resume: {out} holds no run, as its config.yaml"))
    task = options.get("task")
    if task is None and "train" in options:
        from harken.data.kinds import infer_task

        with working(f"Looking at {options['train']}"):
            task = infer_task(options["train"], options)
    return RunConfig.build({"task": task or "seq2seq"})


def _folder(data: str) -> Path:
    """Where the run of a data file goes when nobody says."""
    return Path("runs") / (Path(data).name.split(".")[0] or "run")


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{name} cannot be read ({(error.strerror or str(error)).lower()})") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name} is not a text file in UTF-8") from None


def _fit(config: RunConfig, out: Path, *, resume: bool, overwrite: bool) -> bool:
    """Read the rows and train on them; True in the first of the processes that do."""
    from harken.data.unused import refuse_unused
    from harken.training.run_folder import is_first_process

    if is_first_process():
        show(f"task: {config.task}")
    given = config.changed()
    refuse_unused(given["train"], given, beside=given.get("validation"))
    how = {"resume": resume, "overwrite": overwrite}
    match config:
        case Seq2SeqRun():
            _fit_pairs(config, out, **how)
        case SequenceRun():
            _fit_examples(config, out, **how)
        case LanguageModelRun():
            _fit_text(config, out, **how)
        case AutoencoderRun():
            autoencoder.fit(config, out, **how)
    return is_first_process()


def _fit_pairs(config: Seq2SeqRun, out: Path, *, resume: bool, overwrite: bool) -> None:
    from harken.data.rows import NO_DELIMITER
    from harken.data.sources import read_pairs
    from harken.estimators.seq2seq import Seq2Seq

    with working(f"Reading {config.data.train}"):
        try:
            pairs = read_pairs(str(config.data.train), config.data)
        except DataError as error:
            if NO_DELIMITER not in str(error):
                raise
            raise DataError(f"{error}; running text is learned with --task language-model") from None
        held_out = config.data.validation
        validation = read_pairs(held_out, config.data) if isinstance(held_out, str) else None
    warn_of_skipped(pairs)
    if validation is not None:
        warn_of_skipped(validation)
    estimator = Seq2Seq.from_config(config)
    estimator.fit_pairs(pairs, validation=validation, out=out, resume=resume, overwrite=overwrite, show=show)


def _fit_examples(config: SequenceRun, out: Path, *, resume: bool, overwrite: bool) -> None:
    from harken.data.labels import fit_heads
    from harken.estimators.loading import ESTIMATORS
    from harken.training.run_folder import is_first_process

    examples = read_file(str(config.data.train), config.data, config.task, require_key=True, require_weights=True)
    for sentence in examples.described if is_first_process() else []:
        show(sentence)
    held_out = config.data.validation
    validation = None
    if isinstance(held_out, str):
        validation = read_file(held_out, examples.config, config.task)
        if examples.labels is not None:
            heads = fit_heads(examples.labels, config.task, config.model.binary)
            skip = config.data.skip_bad_rows
            validation = with_known_labels(validation, heads, held_out, skip_bad_rows=skip)
    estimator = ESTIMATORS[config.task].from_config(config)
    estimator.fit_examples(examples, validation=validation, out=out, resume=resume, overwrite=overwrite, show=show)


def _fit_text(config: LanguageModelRun, out: Path, *, resume: bool, overwrite: bool) -> None:
    from harken.estimators.language_model import LanguageModel

    model = LanguageModel.from_config(config)
    model.fit(Path(str(config.data.train)), out=out, resume=resume, overwrite=overwrite, show=show)


def _print(metrics: Mapping[str, Any], config: RunConfig) -> None:
    """How good the best epoch is, and how long it took."""
    found = {f"validation {name}": value for name, value in said_once(metrics["validation"] or {}).items()}
    rest = {name: value for name, value in metrics.items() if name not in ("validation", "interrupted")}
    counted = "tokens" if isinstance(config, LanguageModelRun) else "rows"
    print_metrics({re.sub("rows$", counted, name): value for name, value in (found | rest).items()})
