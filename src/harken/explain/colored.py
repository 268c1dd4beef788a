"""A reading in the terminal: the text on white paper, the bluer the more was looked at, orange for what spoke against.

`colored` is for a terminal that shows colours; Rich turns them into the nearest that it has. `listed` is for all else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from harken.explain.labels import one_line, running, shortened, visible
from harken.explain.reading import Reading
from harken.explain.shades import (
    AGAINST,
    CHANNELS,
    FOR,
    Segment,
    bins,
    cut,
    extent,
    ink,
    largest_of,
    largest_words,
    segments,
    shade,
    strongest,
)

if TYPE_CHECKING:
    from rich.text import Text

MOST = 5  # steps that `listed` names
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 72  # columns of a series
_CELLS = 36  # cells of a picture, each two columns wide
_LONGEST = 40  # characters of a step that `listed` names


def colored(reading: Reading) -> Text:
    """The answer, and below it the row with its weights as colours, once for each head.

    A series is a line of blocks for each channel, as high as its values; a document's sentences stand one below the
    other after their weights, and their words are coloured by the weights inside the sentence: attention as shares of
    the sentence's largest, gradients of the document's largest. A picture is its grid of cells, and sound a line of
    blocks as high as the weights.
    """
    from rich.text import Text

    text = Text(f"{running(reading.title)}\n", style="bold")
    largest = largest_of(reading.weights)
    for head, weights in reading.heads:
        if head is not None:
            text.append(f"head {head}\n", style="not bold")
        if reading.kind == "image":
            _append_grid(text, reading, weights, largest)
        elif reading.kind in ("audio", "spectrogram"):
            _append_sound(text, reading, weights, largest)
        elif reading.kind in ("series", "vectors"):
            _append_series(text, reading, weights, largest)
        elif reading.kind == "sentences":
            _append_sentences(text, reading, head or 0, weights, largest)
        else:
            _append(text, segments(reading, weights), largest)
            text.append("\n")
    return text


def listed(reading: Reading, most: int = MOST) -> str:
    """The answer and the ``most`` steps that were looked at most, on one line for each head, without colour."""
    lines = [f"{one_line(reading.title)}"]
    for head, weights in reading.heads:
        order = weights.abs().argsort(descending=True, stable=True)[:most].tolist()
        sign = "+" if reading.by == "gradients" else ""
        form = ".2g" if sign and reading.kind == "image" else f"{sign}.2f"  # Grad-CAM has no unit, and no sign
        shown = "  ".join(f"{_name(reading, step)} {float(weights[step]):{form}}" for step in order)
        lines.append(f"  {'' if head is None else f'head {head}: '}{shown or 'nothing to look at'}")
        for step in order if reading.sentences else ():
            words, _, inner = reading.sentences[step]
            best = inner[head or 0].abs().argsort(descending=True, stable=True)[:most].tolist()
            inside = "  ".join(f"{_quoted(words[word])} {float(inner[head or 0][word]):{sign}.2f}" for word in best)
            lines.append(f"    in sentence {step}: {inside or 'no words'}")
    return "\n".join(lines)


def _name(reading: Reading, step: int) -> str:
    if reading.kind == "image":
        return f"cell {reading.steps[step]}" if len(reading.steps) > 1 else "the whole picture"
    if reading.kind == "audio":
        return _time(reading, step)
    if reading.kind == "spectrogram":
        return f"frame {step}"
    if reading.kind == "vectors":
        return f"chunk {step}"
    if reading.kind == "series":
        values = reading.values[step]
        return f"step {step} ({values[0]:.3g})" if len(values) == 1 else f"step {step}"
    return _quoted(reading.steps[step])


def _time(reading: Reading, step: int) -> str:
    """When a frame of a recording begins."""
    seconds = reading.seconds or 0.0
    return f"{step * seconds:.{2 if seconds >= 0.01 else 4}f} s"


def _quoted(text: str) -> str:
    return f"'{shortened(visible(text) if text.isspace() else one_line(text), _LONGEST)}'"


def _append(text: Text, parts: Iterable[Segment], largest: float) -> None:
    for part in parts:
        text.append(running(part.text), style=_style(part.weight, largest))


def _style(weight: float | None, largest: float) -> str:
    paper = shade(weight, largest)
    return f"not bold rgb({','.join(map(str, ink(paper)))}) on rgb({','.join(map(str, paper))})"


def _append_sentences(text: Text, reading: Reading, head: int, weights: Tensor, largest: float) -> None:
    assert isinstance(reading.source, list)
    darkest = largest_words(reading, head)
    for number, (sentence, weight) in enumerate(zip(reading.steps, weights.tolist(), strict=True)):
        sign = "+" if reading.by == "gradients" else ""
        text.append(f" {weight:{sign}.2f} ", style=_style(weight, largest))
        text.append(" ")
        parts = [Segment(sentence)]
        if reading.sentences:
            _, spans, inner = reading.sentences[number]
            parts = cut(sentence, spans, inner[head])
            _append(text, parts, darkest[number])
        else:
            _append(text, parts, largest)
        text.append("\n")


def _append_series(text: Text, reading: Reading, weights: Tensor, largest: float) -> None:
    if reading.kind == "vectors":  # a chunk's numbers say nothing to the eye
        _append(text, [Segment(f" {chunk} ", weight) for chunk, weight in enumerate(weights.tolist())], largest)
        text.append("\n")
        return
    values = reading.values  # (T, D)
    names = [f"{running(name)} " for name in reading.channel_names]
    margin = max(map(len, [*names[:CHANNELS], f"{reading.by} "]))
    runs = bins(len(weights), _WIDTH)
    peaks = [strongest(weights, run) for run in runs]
    for name, curve in zip(names[:CHANNELS], values.T, strict=False):  # (T,)
        low, high = extent(curve)
        text.append(name.rjust(margin), style="not bold")
        for run, peak in zip(runs, peaks, strict=True):
            value = float(curve[run].nanmean())  # missing altogether: no block
            height = (value - low) / (high - low) if high > low else 0.5
            block = " " if math.isnan(value) else _BLOCKS[round(height * 7)]
            text.append(block, style=_style(peak / 2, largest))  # half as dark: ink stays black
        text.append("\n")
    if len(names) > CHANNELS:
        text.append(f"{' ' * margin}… and {len(names) - CHANNELS} more channels\n", style="not bold")
    text.append(f"{reading.by} ".rjust(margin), style="not bold")
    _append_peaks(text, peaks, largest)


def _append_peaks(text: Text, peaks: Iterable[float], largest: float) -> None:
    """Weights as one line of blocks, as high as they are."""
    for peak in peaks:
        color = ",".join(map(str, FOR if peak >= 0 else AGAINST))
        block = _BLOCKS[round(abs(peak) / largest * 7)]
        text.append(block, style=f"not bold rgb({color}) on rgb(255,255,255)")
    text.append("\n")


def _append_grid(text: Text, reading: Reading, weights: Tensor, largest: float) -> None:
    """A picture's cells as they lie in it; of a finer grid the strongest of neighbours."""
    if reading.grid is None:
        text.append("no picture\n", style="not bold")
        return
    cells = weights.view(reading.grid)
    cells = F.adaptive_max_pool2d(cells[None], [min(size, _CELLS) for size in reading.grid])[0]
    for line in cells.tolist():
        _append(text, [Segment("  ", weight) for weight in line], largest)
        text.append("\n")


def _append_sound(text: Text, reading: Reading, weights: Tensor, largest: float) -> None:
    """The weights, and under the ends of their line where the first frame begins and the last one ends."""
    peaks = [strongest(weights, run) for run in bins(len(weights), _WIDTH)]
    _append_peaks(text, peaks, largest)
    first, last = "0 s" if reading.seconds else "frame 0", str(len(weights) - 1)
    if reading.seconds:
        last = _time(reading, len(weights))
    wide = max(len(peaks), len(first) + 1 + len(last))
    text.append(f"{first}{last.rjust(wide - len(first))}\n" if len(weights) else "no frames\n", style="not bold")
