"""What an autoencoder made of a row, as data: each step of the input, the same rebuilt, and how far apart they are."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from harken.data.samples import Samples
from harken.errors import ShapeError
from harken.explain.export import export
from harken.explain.labels import running
from harken.predictor.autoencoder import AutoencoderPredictor

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """One row and what was rebuilt.

    Attributes:
        values: the row (T, D) as the model read it; a step of another shape than (D,) is flattened.
        rebuilt: the same from the latent vector, (T, D), in the units of the row.
        errors: of each step (T,), the mean squared error of its values in standardised units.
        score: minus the mean of the errors; 0 of a row without steps.
        threshold: a row that scores less is an outlier.
        channels: names of the D values of a step, where they are known.

    Raises:
        ShapeError: parts of unequal length.
    """

    values: Tensor
    rebuilt: Tensor
    errors: Tensor
    score: float
    threshold: float
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.shape != self.rebuilt.shape or self.errors.shape != self.values.shape[:1]:
            shapes = f"{tuple(self.values.shape)}, {tuple(self.rebuilt.shape)} and {tuple(self.errors.shape)}"
            raise ShapeError(f"values, rebuilt and errors are {shapes}, and must be (T, D), (T, D) and (T,)")

    @property
    def prediction(self) -> str:
        """``normal`` or ``outlier``."""
        return "outlier" if self.score < self.threshold else "normal"

    @property
    def title(self) -> str:
        """``outlier: error 1.43, threshold 0.31``."""
        return f"{self.prediction}: error {-self.score:.4g}, threshold {-self.threshold:.4g}"

    @property
    def channel_names(self) -> list[str]:
        """A name for each of the D values of a step; nothing where there is but one and it has none."""
        width = self.values.shape[1]
        known = list(map(running, self.channels))
        return known or ([f"channel {number}" for number in range(width)] if width > 1 else [""] * width)

    def rows(self, row: int) -> list[dict[str, Any]]:
        """One dictionary for each step, under the number ``row``: what JSON and Parquet files hold."""
        common = {"row": row, "prediction": self.prediction, "score": self.score, "threshold": self.threshold}
        steps = zip(self.errors.tolist(), self.values.tolist(), self.rebuilt.tolist(), strict=True)
        return [
            common
            | {"index": index, "error": _or_none(error)}
            | {"values": [*map(_or_none, values)], "rebuilt": [*map(_or_none, rebuilt)]}
            for index, (error, values, rebuilt) in enumerate(steps)
        ]


def reconstructions(predictor: AutoencoderPredictor, samples: Samples, threshold: float) -> list[Reconstruction]:
    """A `Reconstruction` for every row; what was missing stands there as it was filled."""
    inputs = samples.inputs
    answers = predictor.answers(inputs)
    given = predictor.encoder.encode(inputs).values
    assert given is not None
    channels = inputs.channels or predictor.encoder.channels
    return [
        Reconstruction(given[row], answers.reconstruction[row], answers.errors[row], score, threshold, channels)
        for row, score in enumerate(answers.scores.tolist())
    ]


def write(
    found: Sequence[Reconstruction], path: str | os.PathLike[str], rows: Sequence[int] | None = None
) -> list[Path]:
    """Write what was rebuilt: the suffix of ``path`` says how.

    ``.png``: a picture; of several rows one file for each, ``seen-0.png``, ``seen-1.png``, … ·
    ``.html``: all pictures in one page that needs nothing else ·
    ``.json``, ``.parquet``: one row for each step, as `Reconstruction.rows` makes them.

    Args:
        rows: the number of each row; default 0, 1, …

    Returns:
        The files that were written.

    Raises:
        UsageError: another suffix, or nothing to draw.
        DataError: the file cannot be written.
    """
    from harken.explain.reconstruction_plot import reconstruction_figure, reconstruction_page

    numbers = list(range(len(found)) if rows is None else rows)
    return export(
        Path(path),
        numbers,
        figure=lambda place: reconstruction_figure(found[place]),
        lines=lambda: (line for n, one in zip(numbers, found, strict=True) for line in one.rows(n)),
        table=lambda: table(found, numbers),
        page=lambda: reconstruction_page(found, numbers),
    )


def table(found: Sequence[Reconstruction], rows: Sequence[int]) -> pa.Table:
    """All steps of several rows in the columns that `Reconstruction.rows` names."""
    import pyarrow as pa

    numbers = pa.list_(pa.float32())
    schema = pa.schema(
        {
            "row": pa.int64(),
            "prediction": pa.string(),
            "score": pa.float32(),
            "threshold": pa.float32(),
            "index": pa.int32(),
            "error": pa.float32(),
            "values": numbers,
            "rebuilt": numbers,
        }
    )
    pieces = [pa.Table.from_pylist(one.rows(row), schema) for row, one in zip(rows, found, strict=True)]
    return pa.concat_tables(pieces) if pieces else schema.empty_table()


def _or_none(value: float) -> float | None:
    """JSON knows no NaN, which a model that has diverged gives."""
    return value if math.isfinite(value) else None
