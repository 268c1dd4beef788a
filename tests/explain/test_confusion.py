"""Counts and shares stand in their cells: truth down, answer across."""

from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from harken.errors import ShapeError
from harken.explain.confusion import confusion_figure, draw_confusion


def matrix_of(size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randint(0, 50, (size, size), generator=generator)


def test_cells() -> None:
    counts = torch.tensor([[8, 2, 0], [1000, 0, 1], [0, 0, 0]])
    axes = confusion_figure(counts, ["a", 2, "c"]).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "8\n80%", (1, 0): "2\n20%", (0, 1): "1,000\n>99%", (2, 1): "1\n<1%"}  # (answer, truth)
    assert axes.images[0].get_array()[1, 0] == pytest.approx(1000 / 1001)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "2", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("answer", "truth")
    assert axes.get_title(loc="left") == "1,011 rows, 0.8% right"
    tags = confusion_figure(counts, ["a", 2, "c"], counted="steps").axes[0]
    assert tags.get_title(loc="left") == "1,011 steps, 0.8% right"
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first class is above


@pytest.mark.parametrize(("size", "numbers"), [(1, True), (2, True), (20, True), (21, False), (150, False)])
def test_numbers_to_twenty_classes(tmp_path: Path, size: int, numbers: bool) -> None:
    counts = matrix_of(size) + 1
    axes = confusion_figure(counts, list(range(size))).axes[0]
    assert len(axes.texts) == (size * size if numbers else 0)
    assert 0 < len(axes.get_xticklabels()) <= 60
    draw_confusion(counts, list(range(size)), tmp_path / "confusion.png")
    height, width, _ = imread(tmp_path / "confusion.png").shape
    assert min(height, width) > 250
    assert max(height, width) < 3000


def test_names(tmp_path: Path) -> None:
    names = [
        "中文 \u202e",
        "$x$_{\n",
        "a very long name of a class, the first",
        "a very long name of a class, the second",
    ]
    axes = confusion_figure(matrix_of(4), names).axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(set(labels)) == 4
    assert all(len(label) <= 24 for label in labels)
    draw_confusion(matrix_of(4), names, tmp_path / "confusion.png")
    draw_confusion(torch.zeros(3, 3, dtype=torch.int64), "abc", tmp_path / "none.png")
    draw_confusion(torch.zeros(0, 0, dtype=torch.int64), [], tmp_path / "nothing.png")


@pytest.mark.parametrize("shape", [(3, 3), (2, 3), (4,)])
def test_a_matrix_that_does_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="matrix"):
        confusion_figure(torch.zeros(shape), ["a", "b"])
