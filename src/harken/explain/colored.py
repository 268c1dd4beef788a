"""A reading in the terminal: the text on white paper, the bluer the more was looked at, orange for what spoke against.

`colored` is for a terminal that shows colours; Rich turns them into the nearest that it has. `listed` is for all else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from harken.explain.labels import running, shortened, visible
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
_LONGEST = 40  # characters of a step that `listed` names


def colored(reading: Reading) -> Text:
    """The answer, and below it the row with its weights as colours, once for each head.

    A series is a line of blocks for each channel, as high as its values; a document's sentences stand one below the
    other after their weights, and their words are coloured by the weights inside the sentence: attention as shares of
    the sentence's largest, gradients of the document's largest.
    """
    from rich.text import Text

    text = Text(f"{running(reading.title)}\n", style="bold")
    largest = largest_of(reading.weights)
    for head, weights in reading.heads:
        if head is not None:
            text.append(f"head {head}\n", style="not bold")
        if reading.kind in ("series", "vectors"):
            _append_series(text, reading, weights, largest)
        elif reading.kind == "sentences":
            _append_sentences(text, reading, head or 0, weights, largest)
        else:
            _append(text, segments(reading, weights), largest)
            text.append("\n")
    return text


def listed(reading: Reading, most: int = MOST) -> str:
    """The answer and the ``most`` steps that were looked at most, on one line for each head, without colour."""
    lines = [f"{_one_line(reading.title)}"]
    for head, weights in reading.heads:
        order = weights.abs().argsort(descending=True, stable=True)[:most].tolist()
        sign = "+" if reading.by == "gradients" else ""
        shown = "  ".join(f"{_name(reading, step)} {float(weights[step]):{sign}.2f}" for step in order)
        lines.append(f"  {'' if head is None else f'head {head}: '}{shown or 'nothing to look at'}")
        for step in order if reading.sentences else ():
            words, _, inner = reading.sentences[step]
            best = inner[head or 0].abs().argsort(descending=True, stable=True)[:most].tolist()
            inside = "  ".join(f"{_quoted(words[word])} {float(inner[head or 0][word]):{sign}.2f}" for word in best)
            lines.append(f"    in sentence {step}: {inside or 'no words'}")
    return "\n".join(lines)


def _name(reading: Reading, step: int) -> str:
    if reading.kind == "vectors":
        return f"chunk {step}"
    if reading.kind == "series":
        values = reading.values[step]
        return f"step {step} ({values[0]:.3g})" if len(values) == 1 else f"step {step}"
    return _quoted(reading.steps[step])


def _quoted(text: str) -> str:
    return f"'{shortened(visible(text) if text.isspace() else _one_line(text), _LONGEST)}'"


def _one_line(text: str) -> str:
    return " ".join(running(text).split())


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
    for peak in peaks:
        color = ",".join(map(str, FOR if peak >= 0 else AGAINST))
        block = _BLOCKS[round(abs(peak) / largest * 7)]
        text.append(block, style=f"not bold rgb({color}) on rgb(255,255,255)")
    text.append("\n")
