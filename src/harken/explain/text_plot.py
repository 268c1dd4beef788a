"""A text as a picture: its words on paper as dark as their weights, in lines of equal letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle

from harken.explain.labels import boxed, fonts_for, one_line, running, shortened
from harken.explain.reading import Reading
from harken.explain.shades import RGB, WHITE, Segment, cut, ink, largest_of, largest_words, segments, shade

_COLUMNS = 88  # letters in a line
_INDENT = 8  # columns of a sentence's weight
_MOST = 60  # lines of one head: more make no picture to look at
_LETTER, _LINE = 0.0935, 0.24  # inches: a letter of DejaVu Sans Mono at 11 points, and from line to line
_SIZE = 11
_LONGEST_TITLE = 80


class _Run(NamedTuple):
    """Letters of one colour on one line."""

    line: int
    column: int
    width: int  # in columns: letters of Chinese, Japanese and Korean take two
    text: str
    paper: RGB


def text_figure(reading: Reading) -> Figure:
    """The row in lines of 88 letters, once for each head; a document's sentences after their weights.

    The darkest of a document's words is, by attention, the largest of each sentence, by gradients, of them all.
    Of a long text the first 60 lines are drawn, and a line says so.
    """
    largest = largest_of(reading.weights)
    title = shortened(one_line(reading.title), _LONGEST_TITLE)
    runs, line = [], 0
    for head, weights in reading.heads:
        if head is not None:
            runs.append(_Run(line, 0, 0, f"head {head}", WHITE))
            line += 1
        if reading.kind == "sentences":
            parts = _document(reading, head or 0, largest)
        else:
            parts = [(part.text, shade(part.weight, largest)) for part in segments(reading, weights)]
        found = _laid(parts, indent=_INDENT if reading.kind == "sentences" else 0)
        last = min(found[-1].line, _MOST - 1) if found else 0
        runs += [run._replace(line=run.line + line) for run in found if run.line < _MOST]
        line += last + 1
        if found and found[-1].line >= _MOST:
            runs.append(_Run(line, 0, 0, f"… and {found[-1].line + 1 - _MOST:,} more lines", WHITE))
            line += 1
    families, missing = fonts_for([title, *(run.text for run in runs)])
    figure = Figure(figsize=(_COLUMNS * _LETTER, (line + 2) * _LINE))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, _COLUMNS), ylim=(line, -2))  # one unit is one letter, one line
    axes.set_axis_off()
    heading = FontProperties(family=families, size=_SIZE, weight="bold")
    axes.text(0, -1.5, boxed(title, missing), fontproperties=heading, va="center", parse_math=False)
    font = FontProperties(family=families, size=_SIZE)
    for run in runs:
        _draw(axes, run._replace(text=boxed(run.text, missing)), font)
    return figure


def _document(reading: Reading, head: int, largest: float) -> list[tuple[str, RGB]]:
    parts: list[tuple[str, RGB]] = []
    darkest = largest_words(reading, head)
    for number, (sentence, weight) in enumerate(zip(reading.steps, reading.weights[head].tolist(), strict=True)):
        paper = shade(weight, largest)
        parts += [(f"{weight:6.3f} ", paper), (" ", WHITE)]
        words = [Segment(sentence)]
        if reading.sentences:
            _, spans, inner = reading.sentences[number]
            words = cut(sentence, spans, inner[head])
            parts += [(part.text, shade(part.weight, darkest[number])) for part in words]
        else:
            parts.append((sentence, WHITE))
        parts.append(("\n", WHITE))
    return parts[:-1]


def _laid(parts: Iterable[tuple[str, RGB]], indent: int) -> list[_Run]:
    """Break lines before the part that does not fit any more, or inside one that is longer than a line.

    Args:
        indent: columns that a line which goes on leaves free.
    """
    runs: list[_Run] = []
    line = column = 0
    for text, paper in parts:
        shown = running(text)
        wide = sum(map(_width, shown.split("\n")[0]))
        if column > indent and column + wide > _COLUMNS and wide <= _COLUMNS - indent:
            line, column = line + 1, indent
        start, letters = column, ""
        for letter in shown:
            if letter == "\n" or column + _width(letter) > _COLUMNS:
                runs.append(_Run(line, start, column - start, letters, paper))
                line, start, letters = line + 1, 0 if letter == "\n" else indent, ""
                column = start
                if letter in " \n":  # a space would only begin the next line
                    continue
            letters, column = letters + letter, column + _width(letter)
        runs.append(_Run(line, start, column - start, letters, paper))
    return runs


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _draw(axes: Axes, run: _Run, font: FontProperties) -> None:
    if run.paper != WHITE:
        paper = tuple(part / 255 for part in run.paper)
        axes.add_patch(Rectangle((run.column, run.line + 0.06), run.width, 0.88, facecolor=paper, linewidth=0))
    color = tuple(part / 255 for part in ink(run.paper))
    axes.text(
        run.column, run.line + 0.54, run.text, fontproperties=font, color=color, va="center_baseline", parse_math=False
    )
