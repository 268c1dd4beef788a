"""The summary says what the model is: shapes that come out, parameters that are there, what is joined."""

import json
import re
from itertools import product
from pathlib import Path

import pytest
from matplotlib.image import imread

from harken.config import Seq2SeqRun
from harken.errors import DataError
from harken.explain.summary import SAMPLE, Summary, summarise
from harken.models.seq2seq import Seq2SeqModel

ROWS, SOURCE, TARGET = (SAMPLE[axis] for axis in "BST")


def build(**options: object) -> tuple[Seq2SeqModel, Summary]:
    config = Seq2SeqRun().override(**{"hidden_size": 8, "embedding_size": 6, "num_heads": 2, **options})
    model = Seq2SeqModel(config.model, source_vocabulary=30, target_vocabulary=15)
    return model, summarise(model, config)


def test_by_hand() -> None:
    _, summary = build()
    lstm = 4 * 8 * (6 + 8) + 2 * 4 * 8
    state = {"h": [1, ROWS, 8], "c": [1, ROWS, 8]}
    expected = [
        ("source_embedding", "Embedding", {"output": [ROWS, SOURCE, 6]}, 30 * 6),
        ("encoder", "Recurrent", {"outputs": [ROWS, SOURCE, 8], **state}, lstm),
        ("target_embedding", "Embedding", {"output": [ROWS, TARGET, 6]}, 15 * 6),
        ("decoder", "Recurrent", {"outputs": [ROWS, TARGET, 8], **state}, lstm),
        ("attention", "DotAttention", {"context": [ROWS, TARGET, 8], "weights": [ROWS, TARGET, SOURCE]}, 0),
        ("output", "Linear", {"output": [ROWS, TARGET, 15]}, 16 * 15 + 15),
    ]
    keys = ("layer", "kind", "shapes", "parameters")
    assert [tuple(row[key] for key in keys) for row in summary.rows] == expected
    assert summary.total == sum(row[-1] for row in expected)
    assert summary.sees == ["context (8)", "decoder h (8)"]
    assert summary.logits == [ROWS, TARGET, 15]
    json.dumps(summary.rows)


CHOICES = [
    {"kind": kind, "bidirectional": both, "num_layers": layers, "combine": combine, "cell": cell}
    for kind, both, (layers, combine), cell in product(
        ["plain", "peeky", "attention"], [False, True], [(1, "last"), (2, "sum"), (2, "concat")], ["lstm", "gru"]
    )
] + [
    {"score": score, "input_feeding": feeding, "bidirectional": score != "dot"}
    for score, feeding in product(["dot", "general", "additive", "multi-head"], [False, True])
]


def fits(options: dict) -> bool:
    """Dot products need queries as long as keys."""
    return not (options.get("kind") == "attention" and options["bidirectional"])


@pytest.mark.parametrize(
    "options", list(filter(fits, CHOICES)), ids=lambda options: "-".join(map(str, options.values()))
)
def test_what_the_output_layer_sees_adds_up(options: dict) -> None:
    model, summary = build(**options)
    last = model.attentional or model.output  # with input feeding, the joined vectors go through one layer more
    assert sum(int(re.search(r"\((\d+)\)", part)[1]) for part in summary.joined) == last.in_features
    assert summary.width == model.output.in_features
    assert summary.total == sum(parameter.numel() for parameter in model.parameters())
    assert sum(layer.parameters for layer in summary.layers) == summary.total
    assert {layer.layer for layer in summary.layers} == {name for name, _ in model.named_children()}
    if options.get("input_feeding"):
        assert summary.layer("decoder").calls == TARGET
        assert summary.sees[0].startswith("attentional vector (8)")


def test_the_model_is_left_as_it_was() -> None:
    model, _ = build()
    for training in (True, False):
        model.train(training)
        summarise(model, Seq2SeqRun())
        assert all(module.training == training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_table_reads_well() -> None:
    _, summary = build(kind="peeky", bidirectional=True)
    lines = summary.table().splitlines()
    assert lines[-1] == "the output layer sees final encoder h (8) ⊕ decoder h (8) → 16"
    assert [line.split()[0] for line in lines[2:-4]] == [layer.layer for layer in summary.layers]
    assert lines[-3].split() == ["total", f"{summary.total:,}"]
    assert len({len(line) for line in lines[:-2]}) == 1  # columns stand under each other
    assert str(summary) == summary.table()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kind": "plain"},
        {"kind": "peeky", "bidirectional": True},
        {"kind": "peeky", "cell": "gru"},
        {"input_feeding": True, "bidirectional": True, "score": "multi-head"},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "default",
)
def test_draws_every_kind(tmp_path: Path, options: dict) -> None:
    from harken.explain.diagram import diagram

    _, summary = build(**options)
    figure = diagram(summary)
    texts = [text.get_text() for text in figure.axes[0].texts]
    for layer in summary.layers:
        assert layer.layer.replace("_", " ") in texts
    assert " ⊕ ".join(summary.joined) in texts
    assert f"({ROWS}, {TARGET}, 15)" in texts
    places = [tuple(box.get_bbox().bounds[:2]) for box in figure.axes[0].patches if hasattr(box, "get_boxstyle")]
    assert len(set(places)) == len(places)  # no box upon another
    summary.draw(tmp_path / "model.png")
    assert min(imread(tmp_path / "model.png").shape[:2]) > 800


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"):
        build()[1].draw(tmp_path / "file" / "model.png")
