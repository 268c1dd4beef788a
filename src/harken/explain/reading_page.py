"""Readings as one HTML page that needs nothing else: texts coloured by weight, series as curves over their weights.

Pictures and sound are the figures that a PNG would hold, inside the page.

As in `harken.explain.page`, every text is escaped and the page's own policy forbids everything but its style.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from torch import Tensor

from harken.explain.colored import listed
from harken.explain.export import png_of
from harken.explain.labels import running
from harken.explain.page import framed
from harken.explain.reading import Reading
from harken.explain.shades import (
    AGAINST,
    CHANNELS,
    FOR,
    RGB,
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

_STYLE = """p, td { white-space: pre-wrap; overflow-wrap: anywhere }
p { margin: .2em 0 1em; line-height: 2 }
p.tagged { line-height: 2.6 }
p.note { color: #666; margin: 0; line-height: 1.5 }
span { border-radius: .2em; padding: .1em 0 }
ruby { margin: 0 .15em }
ruby span { padding: 0 }
rt { font-size: .7em; margin-bottom: .15em }
table { border-collapse: collapse; margin: 0 0 1em }
td { padding: .25em .5em; vertical-align: top }
td.share { font: 13px ui-monospace, monospace; text-align: right; min-width: 4em }
svg, img { max-width: 100%; height: auto; display: block; margin: 0 0 1em; font: 12px system-ui, sans-serif }
"""

_WIDTH, _MARGIN, _CURVE, _BARS = 900, 90, 64, 70  # of a picture, in units of its view box
_FIGURES = ("image", "audio", "spectrogram")  # kinds that stand in the page as a picture of pixels
_DPI = 100  # of these
_MOST = 900  # columns of a picture: a longer series has several steps in one


def reading_page(readings: Sequence[Reading], rows: Sequence[int] | None = None) -> str:
    """A page with a coloured row for each reading and head; a step under the mouse says its weight.

    Args:
        rows: the number of each reading; default 0, 1, …
    """
    numbers = range(len(readings)) if rows is None else rows
    sections = (_section(number, reading) for number, reading in zip(numbers, readings, strict=True))
    pictures = any(reading.kind in _FIGURES for reading in readings)
    return framed("what the answers looked at", _STYLE, sections, pictures=pictures)


def _section(row: int, reading: Reading) -> str:
    if reading.kind in _FIGURES:
        return _framed(reading, _figure(row, reading))
    largest = largest_of(reading.weights)
    note = f"row {row}, {reading.by}{f' of {reading.about}' if reading.about else ''}, darkest = {largest:.3f}"
    if reading.sentences:
        shared = f"{largest_words(reading, 0)[0]:.3f}" if reading.by == "gradients" else "their sentence's largest"
        note += f", of words {shared}"
    if reading.by == "gradients":
        note += ": blue speaks for the answer, orange against it"
    if reading.kind in ("series", "vectors"):
        parts = [f'<p class="note">{_text(note)}</p>\n{_picture(reading, largest)}']
    else:
        parts = [_painted(reading, note, head, weights, largest) for head, weights in reading.heads]
    return _framed(reading, "".join(parts))


def _framed(reading: Reading, content: str) -> str:
    return f"<section>\n<h2><bdi>{_text(reading.title)}</bdi></h2>\n{content}</section>\n"


def _figure(row: int, reading: Reading) -> str:
    """The figure itself; who cannot see it is told the steps that were looked at most."""
    from harken.explain.reading_files import figure_of

    note = f"row {row}, {reading.by}{f' of {reading.about}' if reading.about else ''}"
    if reading.by == "gradients" and reading.kind != "image":
        note += ": blue speaks for the answer, orange against it"
    content = base64.b64encode(png_of(figure_of(reading), _DPI)).decode()
    alt = "; ".join(line.strip() for line in listed(reading).splitlines())
    return f'<p class="note">{_text(note)}</p>\n<img src="data:image/png;base64,{content}" alt="{escape(alt)}">\n'


def _painted(reading: Reading, note: str, head: int | None, weights: Tensor, largest: float) -> str:
    note = f'<p class="note">{_text(note)}{"" if head is None else f", head {head}"}</p>\n'
    if reading.kind == "sentences":
        return note + _document(reading, head or 0, weights, largest)
    tagged = reading.tags is not None
    words = _tagged(reading, weights, largest) if tagged else _colored(segments(reading, weights), largest)
    return f"{note}<p class={'tagged' if tagged else 'text'}>{words}</p>\n"


def _text(text: str) -> str:
    return escape(running(text))


def _paint(weight: float, largest: float) -> str:
    paper = shade(weight, largest)
    return f"background:{_rgb(paper)};color:{_rgb(ink(paper))}"


def _span(part: Segment, largest: float) -> str:
    if part.weight is None:
        return _text(part.text)
    return f'<span style="{_paint(part.weight, largest)}" title="{part.weight:.4f}">{_text(part.text)}</span>'


def _colored(parts: Iterable[Segment], largest: float) -> str:
    return f"<bdi>{''.join(_span(part, largest) for part in parts)}</bdi>"


def _tagged(reading: Reading, weights: Tensor, largest: float) -> str:
    """Each step with its label above it."""
    steps = zip(reading.steps, weights.tolist(), reading.tags or [], strict=True)
    return " ".join(
        f"<ruby>{_span(Segment(step, weight), largest)}<rt>{_text(tag)}</rt></ruby>" for step, weight, tag in steps
    )


def _document(reading: Reading, head: int, weights: Tensor, largest: float) -> str:
    """A sentence a line, after its weight; its words by their weights inside the sentence."""
    lines, darkest = [], largest_words(reading, head)
    for number, (sentence, weight) in enumerate(zip(reading.steps, weights.tolist(), strict=True)):
        words = _text(sentence)
        if reading.sentences:
            _, spans, inner = reading.sentences[number]
            words = _colored(cut(sentence, spans, inner[head]), darkest[number])
        share = f'<td class="share" style="{_paint(weight, largest)}">{weight:.3f}</td>'
        lines.append(f"<tr>{share}<td>{words}</td></tr>\n")
    return f"<table>\n<tbody>\n{''.join(lines)}</tbody>\n</table>\n"


def _picture(reading: Reading, largest: float) -> str:
    """Curves one below the other, their ground as dark as the weights; below, a row of bars for each head's weights."""
    curves = [] if reading.kind == "vectors" else list(reading.values.T)
    shown = curves[:CHANNELS]
    steps = len(reading.steps)
    runs = bins(steps, _MOST)
    wide = (_WIDTH - _MARGIN) / max(len(runs), 1)
    top = _CURVE * len(shown)
    height = top + _BARS * len(reading.weights) + 24
    ground = []
    for place, run in enumerate(runs):
        peaks = [strongest(weights, run) for _, weights in reading.heads]
        x, darkest = _MARGIN + place * wide, max(peaks, key=abs)
        name = f"step {run.start}" if run.stop - run.start == 1 else f"steps {run.start} to {run.stop - 1}, at most"
        said = ", ".join(f"{peak:.4f}" for peak in peaks)
        bars = "".join(_bar(x, top + _BARS * (n + 1), wide, peak, largest) for n, peak in enumerate(peaks))
        ground.append(
            f'<g><title>{name}: {said}</title><rect x="{x:.2f}" y="0" width="{wide + 0.05:.2f}" height="{top}" '
            f'fill="{_rgb(shade(darkest, largest))}" fill-opacity=".45"></rect>{bars}</g>\n'
        )
    named = zip(shown, reading.channel_names[: len(shown)], strict=True)
    lines = [_curve(curve, name, number, runs, wide) for number, (curve, name) in enumerate(named)]
    axes = [
        f'<line x1="{_MARGIN}" y1="{(y := top + _BARS * (n + 1))}" x2="{_WIDTH}" y2="{y}" stroke="#888"></line>'
        f'<text x="{_MARGIN - 6}" y="{y - _BARS / 2 + 4}" text-anchor="end">'
        f"{reading.by if head is None else f'head {head}'}</text>"
        for n, (head, _) in enumerate(reading.heads)
    ]
    unit = "chunk" if reading.kind == "vectors" else "step"
    ends = (
        f'<text x="{_MARGIN}" y="{height - 6}">{f"{unit} 0" if steps else f"no {unit}s"}</text>'
        f'<text x="{_WIDTH}" y="{height - 6}" text-anchor="end">{steps - 1 if steps > 1 else ""}</text>'
    )
    left_out = f'<p class="note">{len(curves) - len(shown)} more channels are not shown</p>\n'
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img">\n'
        f"{''.join(ground)}{''.join(lines)}{''.join(axes)}{ends}</svg>\n{left_out if len(curves) > len(shown) else ''}"
    )


def _bar(x: float, bottom: float, wide: float, weight: float, largest: float) -> str:
    high = abs(weight) / largest * (_BARS - 4)
    return (
        f'<rect x="{x:.2f}" y="{bottom - high:.2f}" width="{max(wide - 0.3, wide * 0.8):.2f}" height="{high:.2f}" '
        f'fill="{_rgb(FOR if weight >= 0 else AGAINST)}"></rect>'
    )


def _rgb(color: RGB) -> str:
    return "rgb({},{},{})".format(*color)


def _curve(curve: Tensor, name: str, number: int, runs: list[slice], wide: float) -> str:
    """One channel between its own least and largest value; both ends of every run of steps, so that peaks stay."""
    low, high = extent(curve)
    top, scale = number * _CURVE + 4, (_CURVE - 8) / (high - low) if high > low else 0.0
    lines: list[list[str]] = [[]]  # missing values part one from the next
    for place, run in enumerate(runs):
        x, (least, most) = _MARGIN + (place + 0.5) * wide, extent(curve[run])
        if not curve[run].isfinite().any():
            lines.append([])
            continue
        for value in [least] if run.stop - run.start == 1 else [least, most]:
            y = top + (high - value) * scale if scale else top + (_CURVE - 8) / 2
            lines[-1].append(f"{x:.2f},{y:.2f}")
    y = number * _CURVE + _CURVE / 2 + 4
    label = f'<text x="{_MARGIN - 6}" y="{y}" text-anchor="end">{_text(name)}</text>' if name else ""
    style = 'fill="none" stroke="#222" stroke-width="1.2"'
    drawn = (f'<polyline points="{" ".join(points)}" {style}></polyline>' for points in lines if points)
    return f"{''.join(drawn)}{label}\n"
