"""The summary of a language model: every parameter once, and what the output layer sees."""

import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from harken.config import LanguageModelRun
from harken.explain.diagram import diagram
from harken.explain.summary import Summary, summarise
from harken.models.language_model import LanguageModel

CHOICES = [
    {},
    {"tied": False},
    {"cell": "gru", "attention": "additive", "join": "mlp", "embedding_size": 6},
    {"attend_layers": "all", "num_layers": 3, "attention": "general"},
    {"attention": "none"},
    {"attention": "none", "embedding_size": 6, "join": "mlp", "tied": False},
]


def build(**options: object) -> tuple[LanguageModel, Summary]:
    config = LanguageModelRun().override(**{"hidden_size": 8, "embedding_size": 8, "memory_length": 5, **options})
    model = LanguageModel(config.model, vocabulary=30)
    return model, summarise(model, config)


def test_by_hand() -> None:
    _, summary = build()
    lstm = 2 * (4 * 8 * (8 + 8) + 2 * 4 * 8)
    expected = [
        ("embedding", "Embedding", {"output": [2, 12, 8]}, 30 * 8),
        ("recurrent", "Recurrent", {"outputs": [2, 12, 8], "h": [2, 2, 8], "c": [2, 2, 8]}, lstm),
        ("attention", "PastAttention", {"context": [2, 12, 8], "weights": [2, 12, 17], "states": [2, 5, 8]}, 0),
        ("join", "Linear", {"output": [2, 12, 8]}, 16 * 8 + 8),
        ("output", "Linear, tied", {"output": [2, 12, 30]}, 30),
    ]
    keys = ("layer", "kind", "shapes", "parameters")
    assert [tuple(row[key] for key in keys) for row in summary.rows] == expected
    assert summary.sees == ["a linear map (8) of last h (8) ⊕ context (8)"]
    assert summary.logits == [2, 12, 30]
    assert "output at B=2, T=12, M=5" in summary.table()


@pytest.mark.parametrize("options", CHOICES, ids=lambda options: "-".join(map(str, options.values())) or "default")
def test_everything_is_counted_and_drawn_once(options: dict, tmp_path: Path) -> None:
    model, summary = build(**options)
    assert summary.total == sum(parameter.numel() for parameter in model.parameters())
    assert summary.total == sum(layer.parameters for layer in summary.layers)
    sizes = sum(int(re.search(r"\((\d+)\)", part)[1]) for part in summary.joined)
    assert sizes == (model.join.in_features if model.join else summary.width)
    assert summary.width == model.output_weight.shape[1]
    assert summary.sees[0].startswith("tanh of a linear map (6)") == (options.get("join") == "mlp")

    axes = diagram(summary).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert sum(text.endswith("over 5 past steps") for text in texts) == len(model.attention_layers)
    assert ("output, tied to the embedding" in texts) == model.config.tied
    boxes = [box.get_bbox() for box in axes.patches if hasattr(box, "get_boxstyle")]
    assert len({box.bounds[:2] for box in boxes}) == len(boxes)  # no box upon another
    summary.draw(tmp_path / "model.png")
    assert min(imread(tmp_path / "model.png").shape[:2]) > 500


def test_titles_are_no_wider_than_their_boxes() -> None:
    figure = diagram(build(**CHOICES[2])[1])
    figure.canvas.draw()
    axes = figure.axes[0]
    boxes = [box for box in axes.patches if hasattr(box, "get_boxstyle")]
    wide = boxes[0].get_window_extent().width
    for text in axes.texts:
        if text.get_fontweight() == "bold":
            assert text.get_window_extent().width < wide, text.get_text()
