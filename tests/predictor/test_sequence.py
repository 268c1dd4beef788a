"""A bundle that answers rows brought to life, or refused before it can do harm."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import harken
from harken.bundle import Bundle
from harken.config import ExamplesConfig
from harken.data.inputs import as_inputs
from harken.data.ragged import Ragged
from harken.errors import BundleError, UsageError
from harken.estimators.loading import load
from harken.estimators.sequence import Classifier, Regressor, Tagger
from harken.models.heads import probabilities
from harken.predictor.sequence import SequencePredictor

TINY: dict[str, Any] = {
    "hidden_size": 4,
    "convolution": 3,
    "mlp_size": 3,
    "epochs": 1,
    "min_steps": 0,
    "accelerator": "cpu",
}
TOKENS = TINY | {"embedding_size": 3}
TEXTS = ["a b c", "d", "", "e f", "a a", "b c d e"]
IDS = [[3, 1, 4], [1], [], [5, 9], [2, 6, 5], [3]]
SERIES = [np.ones((n, 2), dtype=np.float32) * n for n in (3, 1, 2, 0, 4, 2)]
WORDS = [text.split() for text in TEXTS]
LABELS = ["x", "y"] * 3


@cache
def bundle(kind: str) -> Bundle:
    model: Any
    match kind:
        case "text":
            y = {"sense": LABELS, "several": [["p"], [], ["p", "q"]] * 2, "color": [1, 2, 3] * 2}
            model = Classifier(**TOKENS, pooling="self-attention", num_heads=2).fit(TEXTS, y)
        case "table":
            model = Classifier(**TOKENS).fit(TEXTS, np.eye(6, 3, dtype=int))
        case "ids":
            model = Classifier(**TOKENS, num_heads=2).fit(IDS, LABELS)
        case "series":
            model = Regressor(**TINY).fit(SERIES, [[1.0, n] for n in range(6)])
        case "sentences":
            model = Classifier(**TOKENS, input="sentences").fit(WORDS, LABELS)
        case "image" | "audio" | "spectrogram":
            options = {"image": {"image_size": 8}, "audio": {"sample_rate": 1000, "mels": 8}}.get(kind, {})
            model = Classifier(**TINY, **options, cnn=4, cnn_layers=2, input=kind).fit(ROWS[kind], LABELS)
        case _:
            model = Tagger(**TOKENS, character_size=2, character_hidden=2).fit(
                WORDS, [[word in "ab" for word in row] for row in WORDS]
            )
    found: Bundle = model.predictor.bundle
    return found


PICTURES = [*np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8), None]
CLIPS = [np.sin(np.arange(samples) / 3, dtype=np.float32) for samples in (90, 25, 0, 40, 10, 200)]
FRAMES = [np.ones((n, 5), dtype=np.float32) * n for n in (3, 1, 2, 0, 4, 2)]

KINDS = ("text", "table", "ids", "series", "sentences", "words", "image", "audio", "spectrogram")
ROWS: dict[str, Any] = {
    **{"text": TEXTS, "table": TEXTS, "ids": IDS, "series": SERIES, "sentences": WORDS, "words": WORDS},
    **{"image": PICTURES, "audio": CLIPS, "spectrogram": FRAMES},
}


def inputs(kind: str) -> Any:
    predictor = SequencePredictor.from_bundle(bundle(kind))
    reading = ExamplesConfig(input=predictor.encoder.kind)
    if kind in ("image", "audio", "spectrogram"):
        reading = predictor.config.data
    return as_inputs(ROWS[kind], reading, predictor.config.task)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_come_in_the_rows_order_however_they_are_batched(kind: str) -> None:
    predictor, rows = SequencePredictor.from_bundle(bundle(kind)), inputs(kind)
    logits, chances = predictor.logits(rows), None if kind == "series" else predictor.probabilities(rows)
    for head in predictor.heads:
        for row in range(len(rows)):
            (batch,) = predictor.batches(rows.take([row]))
            alone = predictor.answer(batch).logits[head.name][0]
            assert torch.allclose(logits[head.name][row], alone, atol=1e-6)
        assert isinstance(logits[head.name], Ragged) == (kind == "words")
        if chances is not None:
            whole, flat = (
                each.values if isinstance(each, Ragged) else each for each in (chances[head.name], logits[head.name])
            )
            assert torch.equal(whole, probabilities(head, flat))
    sizes = [len(batch.rows) for batch in predictor.batches(rows, batch_size=4)]
    assert sizes == [4, 2]
    none = predictor.logits(rows.take([]))
    assert {name: len(value) for name, value in none.items()} == dict.fromkeys(none, 0)


def test_a_head_by_its_name() -> None:
    predictor = SequencePredictor.from_bundle(bundle("text"))
    assert predictor.head("color") is predictor.heads[2]
    with pytest.raises(UsageError, match="there is no head 'size': the model answers sense, several, color"):
        predictor.head("size")
    assert SequencePredictor.from_bundle(bundle("table")).indicators == {"label"}
    assert predictor.indicators == frozenset()


@pytest.mark.parametrize("kind", KINDS)
def test_it_draws_nothing_of_the_users_chance_and_shares_no_memory(kind: str) -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    predictor = SequencePredictor.from_bundle(bundle(kind))
    assert torch.equal(torch.rand(2), expected)
    assert not predictor.model.training
    before = {name: value.clone() for name, value in bundle(kind).weights.items()}
    for value in predictor.model.state_dict().values():
        value.zero_()
    assert all(torch.equal(value, before[name]) for name, value in bundle(kind).weights.items())


def refused(kind: str, **changes: Any) -> None:
    with pytest.raises(BundleError, match="tampered"):
        SequencePredictor.from_bundle(replace(bundle(kind), **changes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {"hidden_size": 10**9},
        {"hidden_size": 10**15},
        {"num_layers": 10**9},
        {"mlp_size": 10**12},
        {"convolution": 10**9},
        {"num_layers": 2},
        {"cell": "gru"},
        {"bidirectional": False},
        {"hidden_size": None},
        {"pooling": None},
        {"dropout": None},
        {"input": "vectors"},
        {"input": None},
        {"word_dropout": None},
        {"batch_size": None},
    ],
    ids=str,
)
def test_another_configuration_is_refused_at_once(kind: str, options: dict[str, Any]) -> None:
    refused(kind, config=bundle(kind).config.override(**options))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("text", {"embedding_size": 10**12}),
        ("ids", {"num_heads": 10**9}),
        ("text", {"pooling": "last"}),
        ("words", {"character_hidden": 10**10}),
        ("words", {"character_size": 10**10}),
        ("series", {"kernel_size": 10**9 + 1}),
        ("image", {"cnn": 10**9}),
        ("image", {"cnn_layers": 3}),
        ("image", {"skip": False}),
        ("audio", {"cnn": 10**9}),
        ("audio", {"mels": 16}),
        ("audio", {"sample_rate": 2000}),
        ("spectrogram", {"cnn_layers": 3}),
        ("series", {"task": "classify"}),
        ("ids", {"task": "regress"}),
        ("words", {"task": "classify"}),
    ],
    ids=str,
)
def test_other_sizes_are_refused_at_once(kind: str, options: dict[str, Any]) -> None:
    refused(kind, config=bundle(kind).config.override(**options))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_missing_others_or_too_many_are_refused(kind: str) -> None:
    weights = dict(bundle(kind).weights)
    name = next(iter(weights))
    refused(kind, weights={n: value for n, value in weights.items() if n != name})
    refused(kind, weights=weights | {"more": torch.zeros(1)})
    refused(kind, weights=weights | {name: weights[name][..., :-1]})
    refused(kind, weights=weights | {name: weights[name].long()})
    refused(kind, weights={})
    double = SequencePredictor.from_bundle(
        replace(bundle(kind), weights={n: value.double() for n, value in weights.items()})
    )
    assert {value.dtype for value in double.model.state_dict().values()} == {torch.float32}


HEAD: dict[str, Any] = {"name": "a", "kind": "classes", "width": 3, "classes": [1, 2, 3], "means": [], "scales": []}


@pytest.mark.parametrize(
    "heads",
    [
        None,
        [],
        3,
        {},
        "heads",
        [3],
        [{}],
        [HEAD, HEAD],
        *(
            [HEAD | change]
            for change in (
                {"name": 3},
                {"kind": "magic"},
                {"kind": ["classes"]},
                {"kind": "binary"},
                {"kind": "values"},
                {"kind": "tags"},
                {"width": 10**12},
                {"width": -3},
                {"width": "3"},
                {"width": True},
                {"classes": [1, 2]},
                {"classes": [1, 2, 2]},
                {"classes": [1, 2, None]},
                {"classes": [1, 2, [3]]},
                {"classes": 3},
                {"means": [0.0]},
                {"kind": "values", "classes": [], "means": [0.0] * 3, "scales": [1.0, 1.0, 0.0]},
                {"kind": "values", "classes": [], "means": [0.0, 0.0, float("nan")], "scales": [1.0] * 3},
                {"kind": "values", "classes": [], "means": ["0"] * 3, "scales": [1.0] * 3},
                {"kind": "values", "classes": [], "means": [0.0], "scales": [1.0]},
                {"kind": "values", "classes": [], "means": [0.0] * 10**5, "scales": [1.0] * 10**5, "width": 10**5},
            )
        ),
    ],
    ids=lambda heads: str(heads)[:60],
)
@pytest.mark.parametrize("kind", ["ids", "words"])
def test_heads_that_make_no_sense_are_refused(kind: str, heads: Any) -> None:
    refused(kind, facts={**bundle(kind).facts, "heads": heads})


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *((kind, None) for kind in KINDS),
        *((kind, {"kind": "magic"}) for kind in KINDS),
        ("text", {"kind": "words"}),
        ("ids", {"kind": "text"}),
        ("series", {"kind": "ids"}),
        ("series", {"width": 10**12}),
        ("series", {"width": 3}),
        ("series", {"width": -1}),
        ("series", {"means": [0.0]}),
        ("series", {"means": [0.0, float("inf")]}),
        ("series", {"means": [0.0] * 10**6, "width": 10**6}),
        ("series", {"channels": ["only one"]}),
        ("ids", {"ids": [1]}),
        ("ids", {"ids": [9, 6, 5, 4, 3, 2, 1]}),
        ("ids", {"ids": [1, 2, 3, 4, 5, 6, 2**70]}),
        ("ids", {"ids": [1, 2, 3, 4, 5, 6, "seven"]}),
        ("ids", {"ids": list(range(10**6))}),
        ("words", {"channels": 3}),
    ],
    ids=lambda each: str(each)[:50],
)
def test_encoders_that_make_no_sense_are_refused(kind: str, changes: Any) -> None:
    encoder = None if changes is None else bundle(kind).facts["encoder"] | changes
    refused(kind, facts={**bundle(kind).facts, "encoder": encoder})


@pytest.mark.parametrize("indicators", [3, ["other"], [["label"]], None, [3]])
def test_tables_that_make_no_sense_are_refused(indicators: Any) -> None:
    refused("table", facts={**bundle("table").facts, "indicators": indicators})


def test_facts_that_are_missing_are_refused() -> None:
    for name in ("heads", "encoder"):
        refused("text", facts={n: fact for n, fact in bundle("text").facts.items() if n != name})
    refused("text", facts={})


def test_a_saved_bundle_with_a_size_that_no_memory_holds_is_refused(tmp_path: Path) -> None:
    """With checksums that are right: whoever tampers can make them."""
    config = bundle("text").config.override(hidden_size=10**9, num_layers=len(bundle("text").weights))
    replace(bundle("text"), config=config).save(tmp_path / "bundle")
    with pytest.raises(BundleError, match="tampered"):
        load(tmp_path / "bundle")


def test_tokenizers_of_another_size_are_refused() -> None:
    other = Classifier(**TOKENS).fit(["a longer text", "than that of before"], ["x", "y"]).predictor.bundle
    refused("text", tokenizers=other.tokenizers)
    refused("words", tokenizers={"input": bundle("words").tokenizers["input"]})
    refused("text", tokenizers={})


def test_a_bundle_of_pairs_is_refused() -> None:
    pairs = harken.Seq2Seq(hidden_size=4, epochs=1, accelerator="cpu").fit(TEXTS * 2, TEXTS * 2).predictor.bundle
    with pytest.raises(BundleError, match=r"the bundle is for the task 'seq2seq': harken\.load\(path\) opens it"):
        SequencePredictor.from_bundle(pairs)
