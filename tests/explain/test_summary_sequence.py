"""The summary of a classifier, regressor or tagger: every layer, its shapes at a sample input, its parameters."""

import json
from pathlib import Path

import pytest
from matplotlib.image import imread

from harken.config import AutoencoderRun, SequenceRun
from harken.data.labels import Head
from harken.explain.diagram import diagram
from harken.explain.summary import Summary, summarise
from harken.layers.spectrogram import LogMelSpectrogram
from harken.models.autoencoder import Autoencoder
from harken.models.sequence import SequenceModel

STARS = Head("stars", "classes", 5, (1, 2, 3, 4, 5))
TAGS = Head("pos", "tags", 7, tuple("ABCDEFG"))
SIZES = {
    "series": {"width": 3},
    "vectors": {"width": 3},
    "words": {"vocabulary": 30, "characters": 9},
    "image": {},
    "audio": {"spectrogram": LogMelSpectrogram(2000, 8)},
    "spectrogram": {"width": 8},
}


def build(kind: str, *heads: Head, **options: object) -> tuple[SequenceModel, Summary]:
    run = SequenceRun().override(**{"hidden_size": 8, "embedding_size": 6, **options}).settled(kind)
    model = SequenceModel(run.model, kind, heads, **SIZES.get(kind, {"vocabulary": 30}))
    return model, summarise(model, run)


def test_by_hand() -> None:
    _, summary = build("text", STARS, mlp_size=4)
    lstm = 2 * (4 * 8 * (6 + 8) + 2 * 4 * 8)
    state = {"h": [2, 2, 8], "c": [2, 2, 8]}
    expected = [
        ("frontend", "TokenFrontend", {"x": [2, 12, 6]}, 30 * 6),
        ("recurrent", "Recurrent", {"outputs": [2, 12, 16], **state}, lstm),
        ("pooling", "AttentionPooling", {"vector": [2, 16], "weights": [2, 1, 12]}, 16 * 16 + 16 + 16),
        ("mlp", "Linear", {"output": [2, 4]}, 17 * 4),
        ("heads", "Heads", {"stars": [2, 5]}, 5 * 5),
    ]
    keys = ("layer", "kind", "shapes", "parameters")
    assert [tuple(row[key] for key in keys) for row in summary.rows] == expected
    assert summary.total == sum(row[-1] for row in expected)
    assert summary.sees == ["what the MLP makes (4) of the pooled vector (16)"]
    assert (summary.kind, summary.width, summary.logits) == ("text", 4, [2, 5])
    assert summary.given == {"ids": [2, 12]}
    json.dumps(summary.rows)


@pytest.mark.parametrize(
    ("kind", "heads", "options"),
    [
        ("text", [STARS], {"pooling": "self-attention", "num_heads": 2}),
        ("ids", [STARS], {"pooling": "last", "cell": "gru"}),
        ("series", [STARS, Head("a label column with quite a long name", "values", 2)], {"mlp_size": 5}),
        ("vectors", [Head(f"h{i}", "binary", 1, (0, 1)) for i in range(7)], {}),
        ("sentences", [STARS], {"num_layers": 2}),
        ("words", [TAGS], {}),
        ("image", [STARS], {"cnn": 4}),
        ("audio", [STARS], {"cnn": 4}),
        ("spectrogram", [STARS], {"cnn": 4}),
    ],
    ids=["text", "ids", "series", "vectors", "sentences", "words", "image", "audio", "spectrogram"],
)
def test_every_kind(tmp_path: Path, kind: str, heads: list[Head], options: dict) -> None:
    model, summary = build(kind, *heads, **options)
    assert summary.total == sum(parameter.numel() for parameter in model.parameters())
    assert sum(layer.parameters for layer in summary.layers) == summary.total
    assert [layer.layer for layer in summary.layers] == [name for name, _ in model.named_children()]
    assert summary.layer("heads").shapes.keys() == {head.name for head in heads}
    assert f"({summary.width})" in summary.table().splitlines()[-1]
    assert "L=6" in summary.table() or kind not in ("sentences", "words")
    boxes = [patch for patch in diagram(summary).axes[0].patches if hasattr(patch, "get_boxstyle")]
    places = [tuple(box.get_bbox().bounds[:2]) for box in boxes]
    assert len(set(places)) == len(places) > len(summary.layers)  # no box upon another
    summary.draw(tmp_path / "model.png")
    assert min(imread(tmp_path / "model.png").shape[:2]) > 500


def test_pictures_and_sound() -> None:
    """What goes in, and the steps that the front end makes of it."""
    for kind, given, steps in (
        ("image", {"pixels": [2, 32, 32, 3]}, [2, 16, 16]),
        ("audio", {"samples": [2, 50 + 11 * 20]}, [2, 12, 4]),
        ("spectrogram", {"frames": [2, 12, 8]}, [2, 12, 4]),
    ):
        _, summary = build(kind, STARS, cnn=4, image_size=32)
        assert summary.given == given
        assert summary.layer("frontend").shapes == {"x": steps}
    assert "S=32" in build("image", STARS, cnn=4, image_size=32)[1].table()


def test_what_a_tagger_sees() -> None:
    assert build("words", TAGS)[1].sees == ["each step's vector (16)"]


def test_the_model_is_left_as_it_was() -> None:
    model, _ = build("sentences", STARS)
    for training in (True, False):
        model.train(training)
        summarise(model, SequenceRun())
        assert all(module.training == training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_an_autoencoder() -> None:
    run = AutoencoderRun().override(hidden_size=5, latent_size=3, num_layers=2, bidirectional=False)
    summary = summarise(Autoencoder(run.model, 4), run)
    assert [(layer.layer, layer.shapes.get("output")) for layer in summary.layers] == [
        ("encoder", None), ("latent", [2, 3]), ("bridge", [2, 20]), ("decoder", None), ("output", [2, 12, 4])
    ]  # fmt: skip
    assert (summary.logits, summary.given, summary.joined) == ([2, 12, 4], {"values": [2, 12, 4]}, ["decoder h (5)"])
    written = {text.get_text() for axes in diagram(summary).axes for text in axes.texts}
    assert "rebuilt" in written
    assert not any("logits" in text for text in written)
    encoder = 4 * 5 * (4 + 5) + 2 * 4 * 5 + 4 * 5 * (5 + 5) + 2 * 4 * 5
    decoder = 4 * 5 * (3 + 5) + 2 * 4 * 5 + 4 * 5 * (5 + 5) + 2 * 4 * 5
    assert summary.total == encoder + 3 * 6 + 20 * 4 + decoder + 4 * 6
