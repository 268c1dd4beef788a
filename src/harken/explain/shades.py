"""Weights as colours on white paper, and a text cut where its colour changes: what terminal, page and picture share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from harken.explain.reading import Reading, Span

FOR, AGAINST = (8, 81, 156), (179, 68, 0)  # blue and orange: apart for nearly every eye
CHANNELS = 12  # of a series: more than these make no picture to look at
WHITE, BLACK = (255, 255, 255), (0, 0, 0)

RGB = tuple[int, int, int]


class Segment(NamedTuple):
    """A run of characters of one colour; the weight is None between the steps."""

    text: str
    weight: float | None = None


def shade(weight: float | None, largest: float) -> RGB:
    """White for 0, blue for ``largest``, orange for ``-largest``, in between by the weight's share."""
    share = min(abs(weight) / largest, 1.0) if weight and largest else 0.0
    red, green, blue = FOR if (weight or 0) >= 0 else AGAINST
    return round(255 + share * (red - 255)), round(255 + share * (green - 255)), round(255 + share * (blue - 255))


def ink(paper: RGB) -> RGB:
    """Black or white, whichever stands out more from ``paper``: a contrast of 4.5 or better (WCAG 2.2, 1.4.3)."""
    red, green, blue = (part / 3294.6 if part <= 10 else ((part + 14.025) / 269.025) ** 2.4 for part in paper)
    return BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else WHITE


def largest_of(weights: Tensor) -> float:
    """What the darkest colour stands for; 1 where there is nothing but 0."""
    return float(weights.abs().max()) or 1.0 if weights.numel() else 1.0


def largest_words(reading: Reading, head: int) -> list[float]:
    """What the darkest colour of its words stands for, for each sentence of a document.

    Gradients of all words add up to one number, so all sentences have one scale, the document's largest word. Attention
    is a share of its own sentence, and small in a long one: each sentence has a scale of its own.
    """
    weights = [sentence.weights[head] for sentence in reading.sentences]
    if reading.by == "gradients" and weights:
        return [largest_of(torch.cat(weights))] * len(weights)
    return list(map(largest_of, weights))


def segments(reading: Reading, weights: Tensor) -> list[Segment]:
    """The steps of ``reading`` as one running text; ``weights`` (T,) is one of its heads.

    Steps that are not pieces of one text have a space between them, and ``/`` with their label where they have one.
    """
    if isinstance(reading.source, str) and reading.spans is not None:
        return cut(reading.source, reading.spans, weights)
    tags = reading.tags
    found = []
    for number, (step, weight) in enumerate(zip(reading.steps, weights.tolist(), strict=True)):
        found += [Segment(step, weight), Segment(f"/{tags[number]} " if tags else " ")]
    return found


def cut(text: str, spans: Sequence[Span], weights: Tensor) -> list[Segment]:
    """All of ``text``, cut at the spans; steps that share a character (its bytes) are one, with their weights' sum."""
    merged: list[tuple[int, int, float]] = []
    for (start, end), weight in zip(spans, weights.tolist(), strict=True):
        if merged and start < merged[-1][1]:
            first, last, sum_ = merged.pop()
            start, end, weight = first, max(last, end), sum_ + weight
        merged.append((start, end, weight))
    found, place = [], 0
    for start, end, weight in merged:
        if start > place:
            found.append(Segment(text[place:start]))
        found.append(Segment(text[start:end], weight))
        place = end
    return [*found, Segment(text[place:])] if place < len(text) else found


def bins(steps: int, most: int) -> list[slice]:
    """All steps of a long series in at most ``most`` runs of nearly equal length: one for each column that there is."""
    columns = min(steps, most)
    edges = [column * steps // columns for column in range(columns + 1)] if columns else []
    return [slice(start, end) for start, end in pairwise(edges)]


def strongest(weights: Tensor, run: slice) -> float:
    """The weight of a run that is farthest from 0: a peak does not get lost among its neighbours."""
    found = weights[run]
    return float(found[found.abs().argmax()])


def extent(curve: Tensor) -> tuple[float, float]:
    """The least and the largest value of a channel, of those that are not missing."""
    there = curve[curve.isfinite()]
    return (float(there.min()), float(there.max())) if len(there) else (0.0, 0.0)
