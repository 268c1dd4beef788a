"""harken.predictor.autoencoder: answers in the order of the rows, and scores as they are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harken.bundle import Bundle
from harken.config import AutoencoderRun, SamplesConfig, Seq2SeqRun
from harken.data.encoding import Encoder
from harken.data.samples import as_samples
from harken.errors import BundleError, DataError
from harken.models.autoencoder import Autoencoder
from harken.predictor.autoencoder import QUANTILES, AutoencoderPredictor, quantiles_of


@pytest.fixture
def predictor() -> AutoencoderPredictor:
    run = AutoencoderRun().override(hidden_size=4, latent_size=3)
    facts = {"encoder": Encoder("series", width=2, means=(0.0, 0.0)).facts(), "shape": [2], "scores": [-3.0, -2.0, 0.0]}
    torch.manual_seed(0)
    return AutoencoderPredictor.from_bundle(Bundle(run, {}, Autoencoder(run.model, 2).state_dict(), facts))


def test_answers_are_in_the_order_of_the_rows(predictor: AutoencoderPredictor) -> None:
    random = np.random.default_rng(0)
    rows = [random.normal(size=(steps, 2)) for steps in (9, 0, 3, 300, 3)]
    inputs = as_samples(rows, SamplesConfig()).inputs
    found = predictor.answers(inputs)
    assert torch.equal(found.latent, predictor.latent(inputs))
    assert torch.equal(found.scores, predictor.scores(inputs))
    assert found.reconstruction.lengths.tolist() == found.errors.lengths.tolist() == [9, 0, 3, 300, 3]
    for row, values in enumerate(rows):
        alone = predictor.answers(as_samples([values], SamplesConfig()).inputs)
        assert torch.allclose(found.latent[row], alone.latent[0], atol=1e-6)
        assert torch.allclose(found.reconstruction[row], alone.reconstruction[0], atol=1e-5)
        assert torch.allclose(found.errors[row], alone.errors[0], atol=1e-5)


def test_no_rows_have_no_answers(predictor: AutoencoderPredictor) -> None:
    inputs = as_samples([], SamplesConfig()).inputs
    assert predictor.latent(inputs).shape == (0, 3)
    assert len(predictor.answers(inputs).reconstruction) == len(predictor.scores(inputs)) == 0


def test_the_threshold_lies_between_the_scores(predictor: AutoencoderPredictor) -> None:
    assert [predictor.threshold(quantile) for quantile in (0.0, 0.25, 0.5)] == [-3.0, -2.5, -2.0]


def test_scores_as_they_are_kept() -> None:
    assert quantiles_of(torch.tensor([-1.0, -3.0, -2.0])) == [-3.0, -2.0, -1.0]
    many = torch.randn(5 * QUANTILES, generator=torch.Generator().manual_seed(0))
    kept = quantiles_of(many)
    assert len(kept) == QUANTILES
    assert np.quantile(kept, 0.05) == pytest.approx(np.quantile(many.numpy(), 0.05), abs=1e-3)


def test_a_bundle_of_another_task_is_refused() -> None:
    with pytest.raises(BundleError, match="for the task 'seq2seq'"):
        AutoencoderPredictor.from_bundle(Bundle(Seq2SeqRun(), {}, {}))


def test_rows_of_other_channels_are_refused(predictor: AutoencoderPredictor) -> None:
    with pytest.raises(DataError, match="the rows have 3 channels, and the training rows had 2"):
        predictor.scores(as_samples([np.ones((2, 3))], SamplesConfig()).inputs)
