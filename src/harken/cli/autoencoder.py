"""What the verbs do with an autoencoder: rows in a file are learned from, scored and rebuilt."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harken.cli.answers import leave_out_key, row_names
from harken.cli.examples import read_file
from harken.cli.output import print_metrics, say_written, show, working
from harken.cli.texts import warn_of_empty
from harken.config import AutoencoderRun
from harken.errors import DataError, UsageError

if TYPE_CHECKING:
    from harken.data.examples import Examples
    from harken.data.samples import Samples
    from harken.estimators.autoencoder import Autoencoder

OURS = ("prediction", "score", "latent")  # columns of answers, beside the key or the row


def fit(config: AutoencoderRun, out: Path, *, resume: bool, overwrite: bool) -> None:
    """Learn from a file of rows."""
    from harken.data.samples import normal_samples
    from harken.estimators.autoencoder import Autoencoder
    from harken.training.run_folder import is_first_process

    path, data = str(config.data.train), config.data
    examples = _read(path, config, labelled=data.normal is not None, require_key=True)
    data = data.told(examples.config)
    for sentence in examples.described if is_first_process() else []:
        show(sentence if data.normal is not None else sentence.replace("label: ", "not learned from: ", 1))
    with _of(path):
        training = normal_samples(examples, data)
    if data.normal is not None and is_first_process():
        show(f"normal: {len(training):,} of {len(examples):,} rows, those with the label {data.normal!r}")
    validation = None
    if isinstance(config.data.validation, str):
        held_out = _read(
            config.data.validation, config.model_copy(update={"data": data}), labelled=data.normal is not None
        )
        with _of(config.data.validation):
            validation = normal_samples(held_out, data)
    estimator = Autoencoder.from_config(config)
    estimator.fit_samples(
        training, validation=validation, data=data, out=out, resume=resume, overwrite=overwrite, show=show
    )


def evaluate(estimator: Autoencoder, data: str, confusion: Path | None, as_json: bool) -> dict[str, Any]:
    """How well rows are rebuilt and, where labels say which are normal, how well the scores tell them from the rest."""
    from harken.data.samples import is_normal

    if confusion is not None:
        raise UsageError("--confusion is about classes, and this run rebuilds rows: leave it out")
    config = estimator.config
    examples = _read(data, config, labelled=config.data.normal is not None)
    with _of(data):
        normal = None if config.data.normal is None else is_normal(examples, config.data)
    samples = _samples(estimator, examples, data)
    with working(f"Answering {len(examples)} rows"):
        metrics = estimator.evaluate(samples, normal)
    if not as_json:
        print_metrics(metrics)
    return {"skipped": examples.skipped, **metrics}


def predict(
    estimator: Autoencoder,
    texts: list[str] | None,
    data: str | None,
    out: Path | None,
    options: dict[str, Any],
    strict: bool,
) -> tuple[dict[str, Sequence[Any]], list[str]]:
    """The columns of answers, and a line for each."""
    leave_out_key(estimator, options, OURS)
    examples = _asked(estimator, texts, data, require_key="key" in options)
    column = examples.config.key or examples.config.id
    name, names = row_names(column, examples.keys, examples.rows, OURS, out)
    samples = _samples(estimator, examples, str(data))
    warn_of_empty(int((samples.rows.lengths == 0).sum()), len(samples), "rows", strict)
    with working(f"Answering {len(examples)} rows"):
        found, threshold = estimator.predictor.answers(samples.inputs), estimator.offset_
    scores = found.scores.tolist()
    answers = ["outlier" if score < threshold else "normal" for score in scores]
    columns: dict[str, Sequence[Any]] = {name: names, "prediction": answers, "score": scores}
    if out is not None and out.suffix.lower() in (".parquet", ".jsonl"):  # which have lists
        columns["latent"] = found.latent.tolist()
    return columns, [f"{answer}\t{score:.6g}" for answer, score in zip(answers, scores, strict=True)]


def explain(
    estimator: Autoencoder, texts: list[str] | None, data: str | None, out: Path | None, as_json: bool
) -> dict[str, Any]:
    """Every row beside what was rebuilt, and the error of each step."""
    from harken.explain.reconstruction import write

    examples = _asked(estimator, texts, data)
    samples = _samples(estimator, examples, str(data))
    with working(f"Answering {len(examples)} rows"):
        found = estimator.explain(samples)
    if out is not None:
        say_written(write(found, out, examples.rows))
    elif not as_json:
        for one in found:
            _show(one)
    numbered = list(zip(examples.rows, found, strict=True))
    answers = [{"row": row, "prediction": one.prediction, "score": one.score} for row, one in numbered]
    return {"answers": answers, "rows": [] if out else [line for row, one in numbered for line in one.rows(row)]}


def _asked(estimator: Autoencoder, texts: list[str] | None, data: str | None, *, require_key: bool = False) -> Examples:
    """The rows to answer; labels among them are not looked at."""
    if data is None or texts:
        raise UsageError("this model rebuilds series, which cannot be typed: give a file of rows with --data")
    return _read(data, estimator.config, labelled=False, require_key=require_key)


def _read(path: str, config: AutoencoderRun, *, labelled: bool, require_key: bool = False) -> Examples:
    from harken.data.samples import READ_AS

    return read_file(path, config.data.reading(), READ_AS, require_labels=labelled, require_key=require_key)


def _samples(estimator: Autoencoder, examples: Examples, path: str) -> Samples:
    """The rows as the model reads them."""
    from harken.data.samples import samples_of

    samples = samples_of(examples)
    with _of(path):
        samples.check_shape(estimator.predictor.shape)
    return samples


@contextmanager
def _of(path: str) -> Iterator[None]:
    """What is wrong with rows is said with the name of their file."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _show(one: Any) -> None:
    """Curves of blocks; where no terminal reads them, the worst steps in words."""
    from harken.explain.reconstruction_text import colored, listed

    if not sys.stdout.isatty():
        print(listed(one))
        return
    from rich.console import Console

    Console().print(colored(one), soft_wrap=True)
