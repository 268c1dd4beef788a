"""Pictures of any reading: whole, legible in size, and every weight where its step is."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from harken.errors import UsageError
from harken.explain import picture_plot, series_plot, text_plot
from harken.explain.reading import Answer, Reading
from harken.explain.reading_files import figure_of, write
from harken.explain.series_plot import series_figure
from harken.explain.shades import largest_of, shade
from harken.explain.text_plot import text_figure


def test_draws_anything_without_a_warning(tmp_path: Path, reading: Reading) -> None:
    write([reading], tmp_path / "seen.png")
    height, width, _ = imread(tmp_path / "seen.png").shape
    assert min(height, width) > 70
    assert max(height, width) < 4000


@pytest.mark.parametrize("steps", [12, 5000])
def test_weights_stand_under_their_steps(make: SimpleNamespace, steps: int) -> None:
    reading = make.series(steps, 2)
    figure = series_figure(reading)
    *curves, bars = figure.axes
    assert len(curves) == 2
    for channel, axes in enumerate(curves):
        assert np.array_equal(axes.lines[0].get_xdata(), np.arange(steps))
        assert np.array_equal(axes.lines[0].get_ydata(), reading.source[:, channel].numpy())
        assert axes.get_xlim() == bars.get_xlim() == (-0.5, steps - 0.5)
        box, below = axes.get_position(), bars.get_position()
        assert (box.x0, box.x1) == (below.x0, below.x1)
        low, high = axes.get_ylim()
        assert low < reading.source[:, channel].min() < reading.source[:, channel].max() < high
    heights, edges, _ = bars.patches[0].get_data()
    peak = int(reading.weights[0].argmax())
    column = int(np.argmax(heights))
    assert edges[column] < peak < edges[column + 1]
    assert heights[column] == pytest.approx(float(reading.weights.max()))
    ground = curves[0].collections[0].get_array().ravel()
    assert np.allclose(ground, heights)


def test_what_a_series_says(make: SimpleNamespace) -> None:
    figure = series_figure(make.series(60, 3, heads=2))
    names = [axes.get_ylabel() for axes in figure.axes]
    assert names == ["sensor 0", "sensor 1", "sensor 2", "head 0", "head 1"]
    assert figure.texts[0].get_text() == "positive (94%)"
    limits = {axes.get_ylim() for axes in figure.axes[-2:]}
    assert len(limits) == 1  # heads share the scale
    assert figure.axes[-1].get_xlabel() == "step"
    assert series_figure(make.series(14, 50, kind="vectors")).axes[-1].get_xlabel() == "chunk"
    assert len(series_figure(make.series(14, 50, kind="vectors")).axes) == 1


def test_gradients_of_either_sign(make: SimpleNamespace) -> None:
    reading = make.series(20, 1, by="gradients")
    bars = series_figure(reading).axes[-1]
    heights = bars.patches[0].get_data()[0] + bars.patches[1].get_data()[0]
    assert np.allclose(heights, reading.weights[0])
    low, high = bars.get_ylim()
    assert low == -high


def test_a_series_that_was_cut(make: SimpleNamespace) -> None:
    whole = make.series(20, 1)
    reading = Reading("series", whole.source, whole.answers, whole.steps[:5], whole.weights[:, :5])
    assert len(series_figure(reading).axes[0].lines[0].get_xdata()) == 5


def test_words_stand_on_their_colour(make: SimpleNamespace) -> None:
    reading = make.text("a good, good film\nto see")
    axes = text_figure(reading).axes[0]
    places = {(round(box.get_x()), round(box.get_y() - 0.06)): box for box in axes.patches}
    largest = largest_of(reading.weights)
    for (start, end), weight in zip(reading.spans, reading.weights[0].tolist(), strict=True):
        line = reading.source[:start].count("\n")
        column = start - (reading.source.rfind("\n", 0, start) + 1)
        box = places.get((column, line))
        color = shade(weight, largest)
        if box is None:
            assert color == (255, 255, 255)
            continue
        assert box.get_width() == end - start
        assert [round(part * 255) for part in box.get_facecolor()[:3]] == list(color)


@pytest.mark.parametrize("by", ["attention", "gradients"])
def test_words_of_a_document_have_a_scale(make: SimpleNamespace, by: str) -> None:
    reading = make.document(["I hated them", "", "see it"], by=by)
    axes = text_figure(reading).axes[0]
    places = {(round(box.get_x()), round(box.get_y() - 0.06)): box.get_facecolor() for box in axes.patches}
    of_all = max(largest_of(sentence.weights) for sentence in reading.sentences if sentence.words)
    for line, (_, spans, weights) in enumerate(reading.sentences):
        darkest = of_all if by == "gradients" else largest_of(weights)
        for (start, _), weight in zip(spans, weights[0].tolist(), strict=True):
            paper = places.get(
                (8 + start, line), (1.0, 1.0, 1.0)
            )  # behind the sentence's weight, 7 letters and a space
            assert tuple(round(part * 255) for part in paper[:3]) == shade(weight, darkest)


def test_lines_break_between_words(make: SimpleNamespace) -> None:
    axes = text_figure(make.text("lorem ipsum dolor " * 40)).axes[0]
    lines: dict[float, list[tuple[float, str]]] = {}
    for drawn in axes.texts[1:]:
        lines.setdefault(drawn.get_position()[1], []).append((drawn.get_position()[0], drawn.get_text()))
    shown = ["".join(word for _, word in sorted(line)).strip() for _, line in sorted(lines.items())]
    assert len(shown) > 5
    assert all(
        line.split()[0] in ("lorem", "ipsum", "dolor") and line.split()[-1] in ("lorem", "ipsum", "dolor")
        for line in shown
    )
    assert all(column >= 0 and column + len(word) <= 88 for line in lines.values() for column, word in line)
    assert " ".join(shown) == ("lorem ipsum dolor " * 40).strip()


def test_of_a_long_text_the_beginning(make: SimpleNamespace) -> None:
    last = text_figure(make.text("lorem ipsum dolor " * 4000)).axes[0].texts[-1].get_text()
    assert last.startswith("… and ")
    assert last.endswith(" more lines")


def test_a_long_title_is_shortened(tmp_path: Path) -> None:
    answers = tuple(Answer(f"attribute {i}", "a long label of it", 0.5) for i in range(20))
    reading = Reading("ids", torch.arange(3), answers, ["0", "1", "2"], torch.ones(1, 3))
    assert text_figure(reading).axes[0].texts[0].get_text().endswith("…")
    wide = Reading("series", torch.randn(3, 1), answers, ["0", "1", "2"], torch.ones(1, 3))
    assert series_figure(wide).texts[0].get_text().endswith("…")
    write([reading, wide], tmp_path / "seen.png")
    for number in range(2):
        assert imread(tmp_path / f"seen-{number}.png").shape[1] < 1600


@pytest.mark.parametrize("module", [picture_plot, series_plot, text_plot])
def test_leaves_pyplot_alone(make: SimpleNamespace, module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
    importlib.reload(module)
    for reading in (make.series(3, 1), make.text("a b"), make.picture(), make.sound(3)):
        figure_of(reading)


def test_files(make: SimpleNamespace, tmp_path: Path) -> None:
    readings = [make.text("a b"), make.series(3, 1)]
    assert write(readings, tmp_path / "seen.png", [4, 7]) == [tmp_path / "seen-4.png", tmp_path / "seen-7.png"]
    for suffix in (".html", ".json", ".parquet"):
        (file,) = write(readings, tmp_path / f"seen{suffix}", [4, 7])
        assert file.stat().st_size > 100
    with pytest.raises(UsageError, match=r"\.png, \.json, \.parquet, \.html"):
        write(readings, tmp_path / "seen.pdf")
    with pytest.raises(UsageError, match="no answer to draw"):
        write([], tmp_path / "seen.png")


@pytest.mark.parametrize("seconds", [0.01, 0.0125, None])
def test_weights_stand_under_their_frames(make: SimpleNamespace, seconds: float | None) -> None:
    reading = make.sound(43, 20, heads=2, seconds=seconds)
    figure = series_figure(reading)
    shown, *strips = figure.axes
    assert len(strips) == 2
    assert shown.get_xlim() == strips[0].get_xlim() == (-0.5, 42.5)
    assert (shown.get_position().x0, shown.get_position().x1) == (
        strips[0].get_position().x0,
        strips[0].get_position().x1,
    )
    (image,) = shown.images
    assert np.array_equal(image.get_array(), reading.source.numpy().T)
    assert image.get_extent() == [-0.5, 42.5, -0.5, 19.5]
    low, high = shown.get_ylim()
    assert low < high, "low frequencies below"
    assert shown.get_ylabel() == ("mel band" if seconds else "frequency")
    for strip, weights in zip(strips, reading.weights, strict=True):
        heights, edges, _ = strip.patches[0].get_data()
        assert np.allclose(heights, weights)
        assert np.array_equal(edges, np.arange(44) - 0.5)
    axis = strips[-1]
    assert axis.get_xlabel() == ("seconds" if seconds else "frame")
    ticks, names = axis.get_xticks(), [float(name.get_text().replace("−", "-")) for name in axis.get_xticklabels()]
    if seconds is None:
        assert [name for name in names if 0 <= name < 43] == [tick for tick in ticks if 0 <= tick < 43]
    else:
        assert names[0] == 0
        assert len(names) > 3
        assert np.allclose((np.array(ticks) + 0.5) * seconds, names)  # a frame begins at its left edge


def test_sound_with_gaps(make: SimpleNamespace, tmp_path: Path) -> None:
    reading = make.sound(40, seconds=None)
    reading.source[3:5] = torch.nan
    write([reading], tmp_path / "gaps.png")
    reading.source[:] = torch.nan
    write([reading], tmp_path / "nothing.png")
