"""Heat lies over the cells that have the weight, begins at 0, and leaves the picture to be seen."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from harken.explain.picture_plot import heat_over, picture_figure
from harken.explain.reading import Answer, Reading


def titles(reading: Reading) -> list[str]:
    """The two lines over each panel."""
    return [
        " ".join(text.get_text() for text in axes.texts[::-1] if text.get_position()[1] > 1) for axes in panels(reading)
    ]


def panels(reading: Reading) -> list:
    return picture_figure(reading).axes


def test_panels_of_attention_and_answers(make: SimpleNamespace) -> None:
    assert titles(make.picture(heads=2, answers=2)) == [
        "the picture",
        "attention head 0",
        "attention head 1",
        "Grad-CAM of attribute 0: label 0 (50%)",
        "Grad-CAM of attribute 1: label 1 (50%)",
    ]
    assert titles(make.picture())[:2] == ["the picture", "attention"]
    assert len(titles(make.picture(by="gradients", answers=2))) == 3, "the weights are one of the maps"
    assert len(titles(make.picture(1, 1))) == 2, "there is nothing to choose from"
    assert titles(make.MEDIA["no picture"]) == ["the picture"]


def test_what_is_left_out_is_said(make: SimpleNamespace) -> None:
    drawn = panels(make.picture(heads=7, answers=14))
    assert len(drawn) == 1 + 4 + 12
    below = [axes.texts[-1].get_text() for axes in drawn]
    assert below[4].endswith("; 3 more are not drawn")
    assert below[-1].endswith("; 2 more are not drawn")
    assert sum("more" in text for text in below) == 2


@pytest.mark.parametrize("size", [24, 600])
def test_heat_lies_over_its_cell(make: SimpleNamespace, size: int) -> None:
    reading = make.picture(3, 5, size=size)
    weights = torch.zeros(1, 15)
    weights[0, 1 * 5 + 3] = 1  # row 1 of 3, column 3 of 5
    reading = Reading("image", reading.source, reading.answers, reading.steps, weights, grid=(3, 5))
    axes = panels(reading)[1]
    picture, heat = axes.images
    assert heat.get_extent() == picture.get_extent()
    assert picture.get_extent() == [-0.5, size - 0.5, size - 0.5, -0.5]
    opacity = heat.get_array()[..., 3]
    row, column = np.unravel_index(opacity.argmax(), opacity.shape)
    assert int(row / len(opacity) * 3) == 1
    assert int(column / len(opacity) * 5) == 3
    assert opacity.max() == pytest.approx(0.75, abs=0.02)
    assert opacity[0, 0] == 0
    assert opacity.sum() == pytest.approx(0.75 * opacity.size / 15, rel=0.1), "bilinear: a cell's worth in all"


def test_even_attention_is_one_even_colour(make: SimpleNamespace) -> None:
    reading = make.picture()
    even = torch.full((1, 16), 1 / 16)
    reading = Reading("image", reading.source, reading.answers, reading.steps, even, grid=(4, 4))
    axes = panels(reading)[1]
    colours = axes.images[1].get_array().reshape(-1, 4)
    assert np.ptp(colours, axis=0).max() < 1e-6
    assert colours[0, 3] > 0.7
    assert axes.texts[-1].get_text() == "at most 0.062, evenly 0.062"
    nearly = even + torch.linspace(-0.001, 0.001, 16)
    colours = panels(Reading("image", reading.source, reading.answers, reading.steps, nearly, grid=(4, 4)))[1]
    assert np.ptp(colours.images[1].get_array()[..., 3]) < 0.05, "the scale begins at 0, not at the least"


def test_heads_share_a_scale_and_maps_do_not(make: SimpleNamespace) -> None:
    reading = make.picture(heads=2, answers=2)
    weights = torch.tensor([[0.5, *[0.5 / 15] * 15], [1 / 16] * 16])
    maps = (("a", torch.eye(4)), ("b", 100 * torch.eye(4)))
    said = (Answer("a", "x", 0.5), Answer("b", "y", 0.5))
    drawn = panels(Reading("image", reading.source, said, reading.steps, weights, grid=(4, 4), maps=maps))
    opaque = [axes.images[1].get_array()[..., 3].max() for axes in drawn[1:]]
    assert opaque[1] == pytest.approx(opaque[0] / 8, rel=0.01)
    assert opaque[2] == opaque[3]
    assert [axes.texts[-1].get_text() for axes in drawn[3:]] == ["at most 1", "at most 1e+02"]


def test_the_picture_stays_to_be_seen(make: SimpleNamespace) -> None:
    reading = make.picture()
    drawn = panels(reading)
    assert np.array_equal(drawn[0].images[0].get_array(), reading.source.numpy())
    grey = drawn[1].images[0].get_array()
    assert grey.shape == (24, 24)
    assert grey[3, 5] == pytest.approx(reading.source[3, 5].numpy() @ [0.299, 0.587, 0.114])
    assert drawn[1].images[1].get_array()[..., 3].max() < 0.8
    nothing = panels(make.MEDIA["picture, one step of many cells"])[1]
    assert not nothing.images[1].get_array()[..., 3].any()
    assert nothing.texts[-1].get_text() == "no cell speaks for it"


def test_heat_between_the_middles_of_cells() -> None:
    heat = heat_over(torch.tensor([[0.0, 1.0]]), 8)
    assert heat.shape == (8, 8, 4)
    expected = 0.75 * np.array([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
    assert np.allclose(heat[..., 3], np.tile(expected, (8, 1)))
