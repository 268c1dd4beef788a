"""What an answer about a sequence looked at, as data: each step of the input, and its weight.

The model sees padded batches of ids; a `Reading` belongs to one row as the user gave it, and its steps are the pieces
of that row from left to right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor

from harken.errors import ShapeError

if TYPE_CHECKING:
    import pyarrow as pa

    from harken.config import InputKind

By = Literal["attention", "gradients"]
Span = tuple[int, int]


@dataclass(frozen=True)
class Answer:
    """What one head answers about one row.

    Attributes:
        head: its name.
        label: a class; several labels: a list; per-step labels: a list, one for each step; regression: a number, or a
            tuple of them.
        probability: of the label, or of each label; None for a number.
        per_step: ``label`` has one for each step, as a tagger gives; a list may as well be several labels of the row.
    """

    head: str
    label: Any
    probability: float | list[float] | None = None
    per_step: bool = False

    def __str__(self) -> str:
        if isinstance(self.probability, list):
            shown = [f"{label} ({p:.0%})" for label, p in zip(self.label, self.probability, strict=True)]
            return ", ".join(shown) or "no label"
        if self.probability is None:
            numbers = self.label if isinstance(self.label, tuple) else (self.label,)
            return ", ".join(f"{number:.4g}" for number in numbers)
        return f"{self.label} ({self.probability:.0%})"


class Sentence(NamedTuple):
    """The lower level of a document: one sentence, its words and their weights inside it."""

    words: list[str]
    spans: list[Span]  # characters of the sentence
    weights: Tensor  # (heads, L). Attention: each head's sum to 1. Gradients: they sum to the sentence's own weight


@dataclass(frozen=True, eq=False)
class Reading:
    """What one answer looked at.

    Attributes:
        kind: of the input.
        source: the row as it was given: a text, a list of sentences or words, (T,) ids, a series (T, D), the frames
            (T, F) of a spectrogram, or a picture (S, S, 3) uint8; of a recording its log-mel frames, as the model makes
            them.
        answers: one for each head.
        steps: T pieces of the row, in its order: tokens, words, sentences; steps of a series and frames of a
            spectrogram by their number, frames of a recording by when they begin (``0.120 s``), cells of a picture by
            row and column (``3,4``).
        weights: (heads, T). Attention: each head's sum to 1. Gradients: one head, of either sign; they add up to what
            the input changed in the model's logit; of a picture its Grad-CAM, see ``maps``.
        spans: of a text: the characters (start, end) that each step covers.
        channels: of a series: their names.
        sentences: of a document whose words were weighed too: one for each step.
        by: where the weights come from.
        about: by gradients: the head whose answer they explain.
        error: by gradients: how far they are from adding up, as a share of the sum of their sizes; None for a picture,
            whose Grad-CAM does not add up to anything.
        grid: of a picture: (h, w), how its steps lie in it, row after row.
        maps: of a picture: each head's name and its Grad-CAM (h, w), whatever ``by`` is: what attention is to be
            compared with; see `harken.explain.grad_cam.grad_cam`.
        seconds: of a recording: from one step to the next.

    Raises:
        ShapeError: parts of unequal length, or a grid of another number of cells than steps.
    """

    kind: InputKind
    source: str | list[str] | Tensor
    answers: tuple[Answer, ...]
    steps: list[str]
    weights: Tensor
    spans: list[Span] | None = None
    channels: tuple[str, ...] = ()
    sentences: list[Sentence] = field(default_factory=list)
    by: By = "attention"
    about: str | None = None
    error: float | None = None
    grid: tuple[int, int] | None = None
    maps: tuple[tuple[str, Tensor], ...] = ()
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.weights.dim() != 2 or self.weights.shape[1] != len(self.steps):
            raise ShapeError(f"weights {tuple(self.weights.shape)} must be (heads, T) with T = {len(self.steps)} steps")
        for name, parts in (("spans", self.spans), ("sentences", self.sentences)):
            if parts and len(parts) != len(self.steps):
                raise ShapeError(f"{name} ({len(parts)}) must be as many as steps ({len(self.steps)})")
        if self.grid is not None and self.grid[0] * self.grid[1] != len(self.steps):
            raise ShapeError(f"grid {self.grid} must have as many cells as there are steps ({len(self.steps)})")

    @property
    def heads(self) -> list[tuple[int | None, Tensor]]:
        """(number, weights (T,)) of each head; the number is None where there is but one."""
        return [(None, self.weights[0])] if len(self.weights) == 1 else list(enumerate(self.weights))

    @property
    def values(self) -> Tensor:
        """A series' steps (T, D), or frames (T, F), cut where the model stopped reading."""
        assert isinstance(self.source, Tensor)
        values = self.source[: len(self.steps)]
        return values if values.dim() == 2 else values[:, None]

    @property
    def channel_names(self) -> list[str]:
        """A name for each channel of a series; nothing where there is but one and it has none."""
        width = self.values.shape[1]
        return list(self.channels) or ([f"channel {number}" for number in range(width)] if width > 1 else [""] * width)

    @property
    def title(self) -> str:
        """The answers on one line: ``positive (93%)``, or ``colour: red (98%) · shape: square (71%)``."""
        if any(answer.per_step for answer in self.answers):
            return " · ".join(" ".join(map(str, answer.label)) for answer in self.answers)
        if len(self.answers) == 1:
            return str(self.answers[0])
        return " · ".join(f"{answer.head}: {answer}" for answer in self.answers)

    @property
    def tags(self) -> list[str] | None:
        """The label of each step, where the model answers every step; several heads joined by ``/``."""
        labels = [answer.label for answer in self.answers if answer.per_step]
        return ["/".join(map(str, step)) for step in zip(*labels, strict=True)] if labels else None

    def rows(self, row: int) -> list[dict[str, Any]]:
        """One dictionary for each weight, under the number ``row``: what JSON and Parquet files hold.

        A document's words follow their sentence; their spans count its characters. The numbers of pictures and of
        frames are left out: there are too many.
        """
        return [line for number, weights in self.heads for line in self._lines(row, number, weights.tolist())]

    def _lines(self, row: int, head: int | None, weights: list[float]) -> list[dict[str, Any]]:
        lines = []
        common = {"row": row, "answer": self.title, "by": self.by, "head": head}
        series, numbered = self.kind in ("series", "vectors"), self.kind in ("series", "vectors", "spectrogram")
        for index, (step, weight) in enumerate(zip(self.steps, weights, strict=True)):
            span = list(self.spans[index]) if self.spans else None
            values = [_or_none(value) for value in self.values[index].tolist()] if series else None
            text = None if numbered else step
            own = {"index": index, "word": None, "text": text, "span": span, "values": values, "weight": weight}
            lines.append(common | own)
            if self.sentences:
                words, spans, inner = self.sentences[index]
                looked = inner[head or 0].tolist()
                for place, (word, (start, end), share) in enumerate(zip(words, spans, looked, strict=True)):
                    below = {"word": place, "text": word, "span": [start, end], "values": None, "weight": share}
                    lines.append(common | {"index": index} | below)
        return lines


def _or_none(value: float) -> float | None:
    """A value that was missing is null in files: JSON knows no NaN."""
    return None if math.isnan(value) else value


def table(readings: Sequence[Reading], rows: Sequence[int] | None = None) -> pa.Table:
    """All weights of several readings in the columns that `Reading.rows` names.

    Args:
        rows: the number of each reading; default 0, 1, …
    """
    import pyarrow as pa

    schema = pa.schema(
        {
            "row": pa.int64(),
            "answer": pa.string(),
            "by": pa.string(),
            "head": pa.int32(),
            "index": pa.int32(),
            "word": pa.int32(),
            "text": pa.string(),
            "span": pa.list_(pa.int32(), 2),
            "values": pa.list_(pa.float32()),
            "weight": pa.float32(),
        }
    )
    numbers = range(len(readings)) if rows is None else rows
    pieces = [pa.Table.from_pylist(reading.rows(row), schema) for row, reading in zip(numbers, readings, strict=True)]
    return pa.concat_tables(pieces) if pieces else schema.empty_table()
