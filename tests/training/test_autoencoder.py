"""harken.training.autoencoder: what is lowered, what is told, and which scores are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from harken.config import AutoencoderConfig, AutoencoderRun, SamplesConfig
from harken.data.batching import ModelInputs, SequenceBatch
from harken.data.samples import as_samples
from harken.models.autoencoder import Autoencoder
from harken.predictor.autoencoder import AutoencoderPredictor
from harken.training.autoencoder import SCORED, AutoencoderObjective, train_autoencoder


def batch_of(lengths: list[int], seed: int = 0) -> SequenceBatch:
    values = torch.randn(len(lengths), max(lengths), 2, generator=torch.Generator().manual_seed(seed))
    inputs = ModelInputs(values, torch.tensor(lengths), None)
    return SequenceBatch(inputs, {}, None, torch.arange(len(lengths)))


def build(**options: bool) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(AutoencoderConfig(hidden_size=4, latent_size=3, **options), 2).eval()


def rows_alone(model: Autoencoder, batch: SequenceBatch, *, teacher: bool) -> list[float]:
    """The mean squared error of each row that has steps, without padding."""
    found = []
    for values, length in zip(batch.inputs.values, batch.inputs.lengths.tolist(), strict=True):
        if length:
            output = model(values[None, :length], torch.tensor([length]), teacher=teacher)
            found.append((output.reconstruction[0] - values[:length]).square().mean().item())
    return found


def test_every_row_counts_alike_and_empty_ones_not_at_all() -> None:
    model, batch = build(), batch_of([3, 0, 7])
    loss = AutoencoderObjective().loss(model, batch)
    assert loss.total.item() == pytest.approx(sum(rows_alone(model, batch, teacher=True)), rel=1e-5)
    assert int(loss.counted) == 2


def test_true_steps_are_read_in_training_and_own_ones_in_validation() -> None:
    model, batch, objective = build(feed_back=True), batch_of([5, 8]), AutoencoderObjective()
    taught, own = (np.mean(rows_alone(model, batch, teacher=teacher)) for teacher in (True, False))
    loss = objective.loss(model, batch)
    objective.add(model, batch)
    assert (loss.total / loss.counted).item() == pytest.approx(taught, rel=1e-5)
    assert objective.result()["loss"] == pytest.approx(own, rel=1e-5)
    assert abs(taught - own) > 1e-3


def test_a_batch_of_empty_rows_has_a_gradient_of_zero() -> None:
    model = build(feed_back=True)
    loss = AutoencoderObjective().loss(model, batch_of([0, 0]))
    loss.total.backward()
    assert (loss.total.item(), int(loss.counted)) == (0, 0)
    assert all(p.grad is None or bool((p.grad == 0).all()) for p in model.parameters())


def test_scores_are_forgotten_and_shown_rows_are_told() -> None:
    model, batch, objective = build(), batch_of([3, 6, 4]), AutoencoderObjective(["row 0", "row 1 (long)"])
    objective.add(model, batch_of([9], seed=3))
    objective.reset()
    objective.add(model, batch)
    errors = rows_alone(model, batch, teacher=False)
    assert objective.result()["loss"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert objective.examples() == [f"  row 0         error {errors[0]:.4g}", f"  row 1 (long)  error {errors[1]:.4g}"]


def test_the_scores_that_are_kept_are_those_of_the_weights_that_are_kept() -> None:
    def rows(n: int, seed: int) -> list[Tensor]:
        random = torch.Generator().manual_seed(seed)
        return [torch.randn(4, 2, generator=random) for _ in range(n)]

    run = AutoencoderRun().override(hidden_size=3, latent_size=2, epochs=3, min_steps=0, learning_rate=0.5)
    held = as_samples(rows(12, 1), SamplesConfig())
    trained = train_autoencoder(run, as_samples(rows(20, 0), SamplesConfig()), held)
    predictor = AutoencoderPredictor.from_bundle(trained.bundle)
    assert predictor.quantiles == pytest.approx(sorted(predictor.scores(held.inputs).tolist()))
    assert trained.best is not None
    assert trained.best.valid["loss"] == pytest.approx(-np.mean(predictor.quantiles), rel=1e-4)


def test_of_many_rows_some_make_the_threshold() -> None:
    run = AutoencoderRun().override(hidden_size=2, latent_size=1, epochs=1, min_steps=0, batch_size=512)
    rows = as_samples(np.random.default_rng(0).normal(size=(SCORED + 500, 1)), SamplesConfig())
    scores = train_autoencoder(run, rows, None).bundle.facts["scores"]
    assert len(scores) == SCORED
