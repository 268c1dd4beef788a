"""harken.models.sampling."""

from __future__ import annotations

import numpy as np
import pytest

from harken.models.sampling import draw

LOGITS = np.log(np.array([0.5, 0.0, 0.3, 0.2]) + 1e-300)


def drawn(temperature: float, top_p: float, count: int = 4000) -> np.ndarray:
    numbers = (np.arange(count) + 0.5) / count
    tokens = [draw(LOGITS.copy(), temperature, top_p, number) for number in numbers]
    return np.bincount(tokens, minlength=4) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_the_softmax_says(temperature: float) -> None:
    chances = np.array([0.5, 0, 0.3, 0.2]) ** (1 / temperature)
    np.testing.assert_allclose(drawn(temperature, 1.0), chances / chances.sum(), atol=1e-3)


def test_temperature_zero_takes_the_likeliest_whatever_the_chance() -> None:
    assert drawn(0, 1.0).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [(0.4, [1, 0, 0, 0]), (0.5, [1, 0, 0, 0]), (0.6, [5 / 8, 0, 3 / 8, 0]), (0.9, [0.5, 0, 0.3, 0.2])],
)
def test_the_nucleus_is_the_smallest_set_that_has_the_probability(top_p: float, expected: list[float]) -> None:
    np.testing.assert_allclose(drawn(1.0, top_p), expected, atol=1e-3)


@pytest.mark.parametrize("number", [0.0, np.nextafter(1.0, 0.0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_cannot_be_is_never_drawn_not_even_at_the_edges(number: float, dtype: type) -> None:
    logits = np.array([-np.inf, 1.0, 2.0, -np.inf], dtype)
    assert draw(logits.copy(), 1.0, 1.0, number) in (1, 2)
    assert draw(logits.copy(), 1.0, 0.9, number) in (1, 2)
