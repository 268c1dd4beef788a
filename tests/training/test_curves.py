"""history.csv as a picture: whatever an objective reports, and however short the run."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from matplotlib.figure import Figure

from harken.training.callbacks import Epoch
from harken.training.curves import draw_curves


def drawn(epochs: list[Epoch], shares: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Any:
    figures: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    file = io.BytesIO()
    draw_curves(epochs, "nats per answer", shares, file)
    assert file.getvalue().startswith(b"\x89PNG")
    return figures[0].axes


def epochs(*scores: dict[str, float]) -> list[Epoch]:
    return [Epoch(n, 2.0 / n, valid, 0.1, 2.0, 1.0) for n, valid in enumerate(scores, start=1)]


def test_loss_on_the_left_shares_on_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    valid = {"loss": 1.0, "score": -7.0, "accuracy": 0.5, "macro_f1": 0.25}
    left, right = drawn(epochs(valid, valid, valid), ("accuracy", "macro_f1"), monkeypatch)
    assert left.get_ylabel() == "loss (nats per answer)"
    assert [line.get_label() for line in left.lines] == ["training", "validation"]
    assert [line.get_label() for line in right.lines] == ["accuracy", "macro f1"]
    assert list(right.lines[1].get_ydata()) == [0.25] * 3
    assert list(left.lines[0].get_xdata()) == [1, 2, 3]


@pytest.mark.parametrize("scores", [{}, {"loss": 1.0, "rmse": 2.0}, {"loss": 0.0}, {"loss": math.nan}])
def test_one_epoch_without_shares_is_one_panel(scores: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    (left,) = drawn(epochs(scores), ("accuracy",), monkeypatch)
    assert len(left.lines) == (2 if scores else 1)
