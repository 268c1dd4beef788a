"""Colours grow with the weight, and a cut text is still the whole text."""

import pytest
import torch

from harken.explain.reading import Answer, Reading, Sentence
from harken.explain.shades import (
    AGAINST,
    FOR,
    WHITE,
    Segment,
    bins,
    cut,
    ink,
    largest_of,
    largest_words,
    segments,
    shade,
    strongest,
)


def test_shades() -> None:
    assert shade(0.0, 1.0) == shade(None, 1.0) == shade(0.0, 0.0) == WHITE
    assert shade(0.4, 0.4) == shade(9.0, 0.4) == FOR
    assert shade(-0.4, 0.4) == AGAINST
    blues = [shade(weight / 10, 1.0) for weight in range(11)]
    assert blues == sorted(blues, reverse=True)
    assert len(set(blues)) == 11


@pytest.mark.parametrize("weight", [-1.0, -0.5, 0.0, 0.3, 0.5, 0.7, 1.0])
def test_ink_can_be_read(weight: float) -> None:
    """The contrast of WCAG 2: at least 4.5."""

    def luminance(color: tuple[int, int, int]) -> float:
        parts = [part / 255 for part in color]
        parts = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    paper = shade(weight, 1.0)
    lighter, darker = sorted([luminance(paper), luminance(ink(paper))], reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) > 4.5


def test_cut() -> None:
    parts = cut("  a bc ", [(2, 3), (4, 6)], torch.tensor([0.25, 0.75]))
    assert parts == [Segment("  "), Segment("a", 0.25), Segment(" "), Segment("bc", 0.75), Segment(" ")]
    assert cut("", [], torch.zeros(0)) == []
    assert cut(" ", [], torch.zeros(0)) == [Segment(" ")]


def test_bytes_of_one_character_are_one_segment() -> None:
    """``é`` is two bytes; a merged token may even begin with the second one of a character."""
    parts = cut("éa中b", [(0, 1), (0, 1), (1, 2), (2, 3), (2, 4)], torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]))
    assert parts == [Segment("é", 3.0), Segment("a", 4.0), Segment("中b", 24.0)]


def test_steps_that_are_no_pieces_of_a_text() -> None:
    weights = torch.tensor([[0.5, 0.25]])
    answer = Answer("pos", ["D", "N"], [1.0, 1.0], per_step=True)
    tagged = Reading("words", ["a", "b"], (answer,), ["a", "b"], weights)
    assert "".join(part.text for part in segments(tagged, weights[0])) == "a/D b/N "
    assert [part.weight for part in segments(tagged, weights[0])] == [0.5, None, 0.25, None]


@pytest.mark.parametrize(("steps", "most"), [(0, 5), (1, 5), (5, 5), (12, 5), (1000, 7)])
def test_bins_hold_every_step_once(steps: int, most: int) -> None:
    runs = bins(steps, most)
    assert [step for run in runs for step in range(steps)[run]] == list(range(steps))
    assert len(runs) == min(steps, most)
    assert max((run.stop - run.start for run in runs), default=0) <= -(-steps // most)


def test_peaks() -> None:
    assert strongest(torch.tensor([0.0, -3.0, 2.0]), slice(0, 3)) == -3.0
    assert largest_of(torch.tensor([[0.5, -2.0]])) == 2.0
    assert largest_of(torch.zeros(1, 0)) == largest_of(torch.zeros(1, 3)) == 1.0


@pytest.mark.parametrize(
    ("by", "scales"), [("attention", [[0.25, 1.0, 0.125], [0.5, 1.0, 0.0625]]), ("gradients", [[0.25] * 3, [0.5] * 3])]
)
def test_the_scale_of_words(by: str, scales: list[list[float]]) -> None:
    """Of gradients one for the document, empty sentences or not; of attention one for each sentence; of each head."""
    weights = [torch.tensor([[0.1, -0.25], [0.5, 0.0]]), torch.zeros(2, 0), torch.tensor([[0.125], [-0.0625]])]
    words = [["a", "b"], [], ["c"]]
    inner = [Sentence(w, [(2 * i, 2 * i + 1) for i in range(len(w))], x) for w, x in zip(words, weights, strict=True)]
    steps, answers = ["a b", "", "c"], (Answer("label", "p", 0.9),)
    reading = Reading("sentences", steps, answers, steps, torch.rand(2, 3), sentences=inner, by=by)
    assert [largest_words(reading, head) for head in (0, 1)] == scales
    empty = Reading("sentences", [], answers, [], torch.zeros(1, 0), by=by)
    assert largest_words(empty, 0) == []
