"""A whole training run of an autoencoder: rows in, best model and run folder out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harken.bundle import Bundle
from harken.config import AutoencoderRun
from harken.data.batching import SequenceBatch, SequenceLoader
from harken.data.encoded import Encoded
from harken.data.encoding import Encoder, channel_statistics
from harken.data.samples import Samples
from harken.errors import ConfigError, DataError
from harken.models.autoencoder import Autoencoder, row_errors
from harken.predictor.autoencoder import BATCH_SIZE, AutoencoderPredictor, quantiles_of
from harken.training.objective import Loss, Objective
from harken.training.rows import in_few_words
from harken.training.run import Trained, epoch_steps, train
from harken.training.run_folder import check_folder, is_first_process

SCORED = 1000  # rows whose scores make the threshold, evenly over all of them: more would not move a quantile


def train_autoencoder(
    config: AutoencoderRun,
    training: Samples,
    validation: Samples | None,
    *,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show: Callable[[str], None] | None = None,
) -> Trained:
    """Train on rows and return the best epoch, or the last where nothing is held out to choose by.

    Args:
        config: every option; its data section is written down, not read.
        training: rows to learn from; channel statistics are found on these alone.
        validation: rows that choose the best epoch, and whose scores make the threshold; None: training rows make it.
        out, resume, overwrite, show: see `harken.training.run.train`.

    Raises:
        DataError: no rows, no steps, or rows whose samples have other shapes.
        ConfigError: options that do not fit the rows.
        UsageError: ``out`` must not be written to.
    """
    _check(training, validation, config)
    check_folder(out, config, resume=resume, overwrite=overwrite)
    options, rows = config.training, training.rows
    means, _ = channel_statistics(rows, "channel", training.inputs.channels)
    encoder = Encoder("series", {}, len(means), training.inputs.channels, means=tuple(means.tolist()))
    encoded = encoder.encode(training.inputs)
    try:
        held_out = None if validation is None else encoder.encode(validation.inputs)
    except DataError as error:
        raise DataError(f"validation rows: {error}") from None
    batches = _loader(config, encoded, shuffle=True)
    facts: dict[str, Any] = {"encoder": encoder.facts(), "shape": list(training.shape)}
    if show is not None and is_first_process():
        for line in _announced(config, training, validation, len(batches)):
            show(line)

    def make_model() -> Autoencoder:
        model = Autoencoder(config.model, encoder.width)
        if config.features.standardize != "none":
            model.frontend.standardize(*channel_statistics(rows, config.features.standardize, training.inputs.channels))
        return model

    def make_bundle(weights: dict[str, Tensor], found: dict[str, Any]) -> Bundle:
        bundle = Bundle(config, {}, weights, facts | found | {"scores": [0.0]})
        predictor = AutoencoderPredictor.from_bundle(bundle)
        judged = (training if validation is None else validation).inputs
        chosen = torch.linspace(0, len(judged) - 1, min(len(judged), SCORED)).long()
        scores = quantiles_of(predictor.scores(judged.take(chosen)))
        return Bundle(config, {}, weights, facts | found | {"scores": scores})

    shown = [] if validation is None else in_few_words(validation.inputs, options.show_examples)
    parts = [part.inputs.fingerprint() for part in (training, validation) if part is not None]
    return train(
        config,
        make_model,
        AutoencoderObjective(shown),
        make_bundle,
        batches,
        None if held_out is None else _loader(config, held_out, shuffle=False),
        fingerprint=hashlib.blake2b(b"".join(parts) + json.dumps(facts).encode(), digest_size=16).hexdigest(),
        out=out,
        resume=resume,
        overwrite=overwrite,
        show=show,
    )


class AutoencoderObjective(Objective):
    """The mean squared error of a row over its own real values, in standardised units; every row counts alike.

    In training a decoder that feeds back reads true steps; validation rows are rebuilt as they will be in use.

    Args:
        shown: the first few validation rows in a few words each: those whose errors `examples` tells.
    """

    unit = "squared error, standardised"
    shares: tuple[str, ...] = ()
    headline: tuple[str, ...] = ("loss",)

    def __init__(self, shown: Sequence[str] = ()) -> None:
        self.shown = list(shown)
        self.reset()

    def loss(self, model: Autoencoder, batch: SequenceBatch) -> Loss:
        """The sum of the rows' errors; rows without steps do not count."""
        lengths = batch.inputs.lengths
        errors = row_errors(model(batch.inputs.values, lengths, teacher=True).errors, lengths)  # (B,)
        return Loss(errors.sum(), (lengths > 0).sum())

    def reset(self) -> None:
        """Forget every batch added so far."""
        self._errors: dict[int, float] = {}
        self._sum, self._rows = 0.0, 0

    @torch.no_grad()
    def add(self, model: Autoencoder, batch: SequenceBatch) -> None:
        """Score one validation batch."""
        lengths = batch.inputs.lengths
        errors = row_errors(model(batch.inputs.values, lengths).errors, lengths).double()  # (B,)
        self._sum += float(errors.sum())
        self._rows += int((lengths > 0).sum())
        for row, error in zip(batch.rows.tolist(), errors.tolist(), strict=True):
            if row < len(self.shown):
                self._errors[row] = error

    def result(self) -> dict[str, float]:
        """``loss``: the mean over the rows."""
        return {"loss": self._sum / max(1, self._rows)}

    def examples(self) -> list[str]:
        """The error of each row that is shown."""
        wide = max(map(len, self.shown), default=0)
        return [f"  {text.ljust(wide)}  error {self._errors[row]:.4g}" for row, text in enumerate(self.shown)]


def _check(training: Samples, validation: Samples | None, config: AutoencoderRun) -> None:
    """Refuse rows that nothing can be learned or judged from, and an option that has no use without validation rows."""
    for name, rows, way_out in (
        ("training", training, "give more rows, or a smaller --validation"),
        ("validation", validation, "give some, or --validation 0 to go without"),
    ):
        if rows is None:
            continue
        if not len(rows):
            raise DataError(f"there are no {name} rows: {way_out}")
        if not rows.inputs.lengths.any():  # type: ignore[union-attr]  # series have lengths
            raise DataError(
                f"every {name} row is empty (length 0): there is no step to rebuild, so give rows with steps"
            )
    if validation is None and config.training.patience is not None:
        raise ConfigError(
            f"patience ({config.training.patience}) waits for a better epoch on validation rows, and there are none: "
            "hold some out with validation, or leave it out"
        )
    if validation is not None:
        validation.check_shape(training.shape)


def _loader(config: AutoencoderRun, encoded: Encoded, *, shuffle: bool) -> SequenceLoader:
    """Rows as batches: shuffled and of the option's size to learn from, in order of length to measure on."""
    options = config.training
    return SequenceLoader(
        encoded,
        {},
        None,
        batch_size=options.batch_size if shuffle else BATCH_SIZE,
        shuffle=shuffle,
        bucket=options.bucket or not shuffle,
        seed=options.seed,
        steps=epoch_steps(options) if shuffle else None,
        batch_steps=options.batch_steps,
    )


def _announced(config: AutoencoderRun, training: Samples, validation: Samples | None, steps: int) -> list[str]:
    """What is about to be trained."""
    model, options, lengths = config.model, config.training, training.rows.lengths
    low, high = int(lengths.min()), int(lengths.max())
    shape = " × ".join(map(str, training.shape)) or "1"
    held = f"{len(validation):,} rows to validate on" if validation else "none to validate on"
    stack = f"{model.num_layers} × " if model.num_layers > 1 else ""
    reader = f"{stack}{'bi' if model.bidirectional else ''}{model.cell.upper()} of {model.hidden_size}"
    ways = [
        "that reads the step before" if model.feed_back else "",
        "from the row's end" if model.reverse_target else "",
    ]
    writer = " ".join(filter(None, [f"{stack}{model.cell.upper()} of {model.hidden_size}", *ways]))
    return [
        f"{len(training):,} rows to learn from, {held}",
        f"{f'{low:,}' if low == high else f'{low:,} to {high:,}'} steps of {shape} value{'' if shape == '1' else 's'}",
        f"{reader} → latent vector of {model.latent_size} → {writer}, dropout {model.dropout:g}",
        f"{options.epochs} epoch{'' if options.epochs == 1 else 's'} of {steps:,} step{'' if steps == 1 else 's'}, "
        f"{options.batch_size} rows each, learning rate {options.learning_rate:g}",
    ]
