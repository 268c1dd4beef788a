"""A bundle brought to life, or refused before it can do harm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import harken
from harken.bundle import Bundle
from harken.config import DecodingConfig
from harken.errors import BundleError
from harken.predictor.seq2seq import Predictor


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    sources = [a * n for a in "abcd" for n in range(1, 9)]
    options: dict[str, Any] = {"hidden_size": 8, "embedding_size": 4, "epochs": 1, "accelerator": "cpu"}
    return harken.Seq2Seq(**options).fit(sources, [s.upper() for s in sources]).predictor.bundle


@pytest.mark.parametrize(
    "options",
    [{"hidden_size": 10**9}, {"embedding_size": 10**9}, {"num_layers": 10**9}, {"kind": "plain"}, {"cell": "gru"}],
    ids=str,
)
def test_weights_of_another_configuration_are_refused_at_once(bundle: Bundle, options: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="configuration"):
        Predictor.from_bundle(replace(bundle, config=bundle.config.override(**options)))


@pytest.mark.parametrize("longest", [None, -1, 2**40, 1.5, float("inf"), "9"])
def test_facts_that_make_no_sense_are_refused(bundle: Bundle, longest: Any) -> None:
    with pytest.raises(BundleError, match="facts"):
        Predictor.from_bundle(replace(bundle, facts={**bundle.facts, "longest_target": longest}))


def test_weights_that_are_missing_are_refused(bundle: Bundle) -> None:
    for name in ("encoder.weight_hh_l0", "output.bias"):
        weights = {n: w for n, w in bundle.weights.items() if n != name}
        with pytest.raises(BundleError, match="configuration"):
            Predictor.from_bundle(replace(bundle, weights=weights))


def test_it_draws_nothing_of_the_users_chance(bundle: Bundle) -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    Predictor.from_bundle(bundle)
    assert torch.equal(torch.rand(2), expected)


def test_a_sampled_answer_does_not_depend_on_how_many_are_answered_at_once(bundle: Bundle) -> None:
    predictor, sampling = Predictor.from_bundle(bundle), DecodingConfig(decoder="sample", temperature=3.0)
    texts = ["abcd"[i % 4] * (i % 7) for i in range(30)]

    def answers(batch_size: int) -> dict[int, str]:
        found: dict[int, str] = {}
        for batch in predictor.batches(texts, batch_size=batch_size):
            said = predictor.decode(batch, sampling, seed=4).texts(predictor.target_tokenizer)
            found |= dict(zip(batch.rows.tolist(), said, strict=True))
        return found

    assert answers(30) == answers(7) == answers(1)
    assert len(set(answers(30).values())) > 10
