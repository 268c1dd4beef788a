"""An autoencoder's bundle brought to life: ready to embed, rebuild and score rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from harken.bundle import Bundle
from harken.config import AutoencoderRun
from harken.data.batching import SequenceBatch, SequenceLoader
from harken.data.encoding import Encoder
from harken.data.inputs import Inputs
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.errors import BundleError
from harken.layers.masks import mask_from_lengths
from harken.models.autoencoder import Autoencoder, AutoencoderOutput, row_errors

BATCH_SIZE = 256  # rows answered at once: no gradients are kept, so more fit than in a training step
QUANTILES = 1001  # of the scores that make the threshold: a bundle has no use for more


class Answers(NamedTuple):
    """What is said of n rows, in their order."""

    latent: Tensor  # (n, Z)
    scores: Tensor  # (n,) minus the mean squared error, standardised; 0 for a row of no steps
    reconstruction: Ragged  # values (N, D) in the units of the input
    errors: Ragged  # values (N,) squared error of each step, standardised


class AutoencoderPredictor(NamedTuple):
    """What `fit` and `load` bring; it keeps nothing about what it is asked."""

    bundle: Bundle
    model: Autoencoder  # in eval mode, on the CPU
    encoder: Encoder
    shape: tuple[int, ...]  # of a sample, as training rows had it
    quantiles: tuple[float, ...]  # scores of rows that are normal, rising, from the least to the largest

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """Build the model that a bundle describes.

        Raises:
            BundleError: it is of another task, or weights or facts do not belong to its configuration.
        """
        config = bundle.config
        if not isinstance(config, AutoencoderRun):
            raise BundleError(f"the bundle is for the task {config.task!r}: harken.load(path) opens it")
        try:
            encoder = Encoder.from_facts(bundle.tokenizers, bundle.facts["encoder"])
            shape = tuple(map(int, bundle.facts["shape"]))
            quantiles = tuple(map(float, bundle.facts["scores"]))
            if encoder.kind != "series" or min(shape, default=1) < 1 or np.prod(shape) != encoder.width:
                raise ValueError(f"kind {encoder.kind!r}, shape {shape}, width {encoder.width}")
            if not quantiles or (np.diff(quantiles) < 0).any():
                raise ValueError(f"scores {quantiles[:5]}")
            if config.model.num_layers > len(bundle.weights):
                raise ValueError(f"num_layers={config.model.num_layers}")
            with torch.device("meta"):  # sizes alone: a made-up one could exhaust the memory
                model = Autoencoder(config.model, encoder.width)
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise BundleError(
                f"the bundle's facts do not belong to its configuration, it was tampered with: {error}"
            ) from None
        there = model.state_dict()
        wrong = {
            name for name in there if name not in bundle.weights or bundle.weights[name].shape != there[name].shape
        }
        wrong |= bundle.weights.keys() - there.keys()
        if wrong:
            raise BundleError(f"the bundle's weights do not fit its configuration, it was tampered with: {min(wrong)}")
        # Of other precision where training had one, such as 64-true: answers are made in float32.
        weights = {name: bundle.weights[name].to(there[name].dtype, copy=True) for name in there}
        model.load_state_dict(weights, assign=True)
        return cls(bundle, model.eval(), encoder, shape, quantiles)

    @property
    def config(self) -> AutoencoderRun:
        """As it was when the model was trained."""
        assert isinstance(self.bundle.config, AutoencoderRun)
        return self.bundle.config

    def threshold(self, quantile: float) -> float:
        """The score below which so large a share of normal rows lies."""
        return float(np.quantile(self.quantiles, quantile))

    def batches(self, inputs: Inputs) -> Iterator[SequenceBatch]:
        """Rows of similar length together; `SequenceBatch.rows` says where each belongs.

        Raises:
            DataError: rows of other channels.
        """
        yield from SequenceLoader(
            self.encoder.encode(inputs),
            {},
            None,
            batch_size=BATCH_SIZE,
            shuffle=False,
            bucket=True,
            seed=0,
            batch_steps=self.config.training.batch_steps,
        )

    def answer(self, batch: SequenceBatch) -> AutoencoderOutput:
        """Rebuild one batch."""
        with torch.no_grad():
            output: AutoencoderOutput = self.model(batch.inputs.values, batch.inputs.lengths)
        return output

    def latent(self, inputs: Inputs) -> Tensor:
        """The vector (n, Z) of every row; nothing is decoded."""
        found, rows = [torch.zeros(0, self.config.model.latent_size)], [torch.zeros(0, dtype=torch.int64)]
        with torch.no_grad():
            for batch in self.batches(inputs):
                values, lengths = batch.inputs.values, batch.inputs.lengths
                found.append(self.model.encode(self.model.standardized(values, lengths), lengths))
                rows.append(batch.rows)
        return torch.cat(found)[torch.argsort(torch.cat(rows))]

    def scores(self, inputs: Inputs) -> Tensor:
        """How normal every row is (n,), see `Answers`."""
        found, rows = [torch.zeros(0)], [torch.zeros(0, dtype=torch.int64)]
        for batch in self.batches(inputs):
            found.append(-row_errors(self.answer(batch).errors, batch.inputs.lengths))
            rows.append(batch.rows)
        return torch.cat(found)[torch.argsort(torch.cat(rows))]

    def answers(self, inputs: Inputs) -> Answers:
        """All that can be said of every row."""
        empty = torch.zeros(0)
        latent, scores = [torch.zeros(0, self.config.model.latent_size)], [empty]
        values, errors = [torch.zeros(0, self.encoder.width)], [empty]
        rows, lengths = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int64)]
        for batch in self.batches(inputs):
            output = self.answer(batch)
            lengths.append(batch.inputs.lengths)
            rows.append(batch.rows)
            real = mask_from_lengths(lengths[-1], output.errors.shape[1])  # (B, T)
            latent.append(output.latent)
            scores.append(-row_errors(output.errors, lengths[-1]))
            values.append(output.reconstruction[real])  # (steps, D)
            errors.append(output.errors[real])  # (steps,)
        order, offsets = torch.argsort(torch.cat(rows)), offsets_from_lengths(torch.cat(lengths))
        return Answers(
            torch.cat(latent)[order],
            torch.cat(scores)[order],
            Ragged(torch.cat(values), offsets).take(order),
            Ragged(torch.cat(errors), offsets).take(order),
        )


def quantiles_of(scores: Tensor) -> list[float]:
    """Scores (n,), n ≥ 1, as they are saved: rising; of many, that many quantiles, evenly from least to largest."""
    values = np.sort(scores.double().numpy())
    if len(values) > QUANTILES:
        values = np.quantile(values, np.linspace(0, 1, QUANTILES))
    found: list[float] = values.tolist()
    return found
