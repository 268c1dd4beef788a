"""Files made for time series: .ts, as the UCR and UEA archives have them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harken.config import ExamplesConfig
from harken.data.columns import Kept, Table, as_written
from harken.data.opening import read_lines
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.errors import DataError

_PAIRS = re.compile(r"\(([^()]*)\)")  # of time stamp and value
_BETWEEN = re.compile(r"(?<=\))\s*:")  # channels; a time stamp may hold a colon


@dataclass(frozen=True)
class _Header:
    """What a .ts file says about its rows; None where it says nothing."""

    missing: bool | None = None
    univariate: bool | None = None
    timestamps: bool = False
    channels: int | None = None
    equal: bool | None = None
    steps: int | None = None
    labelled: bool = False
    valued: bool = False
    classes: dict[str, Any] | None = None  # as written → label


def read_ts(path: Path, config: ExamplesConfig, require_labels: bool = True) -> Table:
    """A .ts file of sktime and aeon: a header, then a series a line, channels between ``:``, the label last.

    Its columns are ``series`` and, unless the header says that there are none, the label. Whatever a row and the
    header contradict each other in makes a bad row. Time stamps are left out: the steps stay in their order. Without
    ``require_labels`` any label will do, and none is read.

    Raises:
        DataError: a header that cannot be read, or a bad row; says which line.
    """
    import pyarrow as pa

    name = str(path)
    lines = ((number, line.strip()) for number, line in enumerate(read_lines(path, config.encoding)[0], start=1))
    lines = ((number, line) for number, line in lines if line and not line.startswith("#"))
    header = _header(name, lines)
    task = "regress" if header.valued else None
    if not require_labels:
        header = replace(header, valued=False, classes=None)
    kept = Kept(name, config)
    rows: list[np.ndarray] = []
    labels: list[Any] = []
    for number, line in lines:
        label, series, problem = _series(line, header)
        problem = problem or _contradiction(series, header, rows[0] if rows else None)
        if problem:
            kept.refuse(number, problem)
            continue
        kept.keep(number)
        rows.append(np.array(series, dtype=np.float32).T)  # (T, D)
        labels.append(label)
    kept.check()
    lengths = torch.tensor([len(row) for row in rows])
    ragged = Ragged(torch.from_numpy(np.concatenate(rows)), offsets_from_lengths(lengths))
    columns = {"series": ragged.to_arrow()}
    name_of_labels = config.label[:1] or ("label",)
    labelled = header.labelled and require_labels
    if labelled:
        columns |= {name_of_labels[0]: pa.array(labels)}
    table = kept.table(pa.table(columns), columns)
    return replace(
        table,
        fixed="series",
        labels=name_of_labels if labelled else (),
        task=task,
        described=("time stamps: left out",) if header.timestamps else (),
    )


def _header(name: str, lines: Iterator[tuple[int, str]]) -> _Header:
    """Everything down to @data; tags that do not matter are left alone."""
    found: dict[str, Any] = {}
    for number, line in lines:
        tag, _, rest = line.partition(" ")
        tag, words = tag.lower(), rest.split()
        if tag == "@data":
            break
        try:
            if not tag.startswith("@"):
                raise ValueError("every line before @data must begin with @ or #")
            if tag in _FLAGS:
                found[_FLAGS[tag]] = _flag(words)
            elif tag in _NUMBERS:
                found[_NUMBERS[tag]] = int(words[0])
            elif tag in ("@classlabel", "@targetlabel"):
                found["labelled"] = _flag(words)
                found["valued"] = tag == "@targetlabel" and found["labelled"]
                found["classes"] = dict(zip(words[1:], as_written(words[1:]), strict=True)) if words[1:] else None
        except (ValueError, IndexError) as error:
            raise DataError(f"{name}, line {number}: {line[:60]!r} cannot be read: {error}") from None
    else:
        raise DataError(f"{name} has no line @data, after which the series begin: it is no .ts file")
    if "labelled" not in found:
        raise DataError(f"{name} says neither @classLabel nor @targetLabel, true or false, before @data: add one")
    return _Header(**found)


_FLAGS = {"@missing": "missing", "@univariate": "univariate", "@timestamps": "timestamps", "@equallength": "equal"}
_NUMBERS = {"@dimensions": "channels", "@dimension": "channels", "@serieslength": "steps"}


def _flag(words: list[str]) -> bool:
    if not words or words[0].lower() not in ("true", "false"):
        raise ValueError("true or false must follow")
    return words[0].lower() == "true"


def _series(line: str, header: _Header) -> tuple[Any, list[list[float]], str | None]:
    """A row's label, its channels, and what is wrong with them."""
    label: Any = None
    if header.labelled:
        line, colon, label = line.rpartition(":")
        label = label.strip()
        if not colon:
            return None, [], "the row has no label: it stands behind the last ':'"
        if label in ("?", ""):
            label = None
        elif header.valued:
            try:
                label = float(label)
            except ValueError:
                return None, [], f"the value {label!r} is not a number"
        elif header.classes is not None:
            if label not in header.classes:
                known = " ".join(list(header.classes)[:20])
                return None, [], f"the label {label!r} is not among those of the header (@classLabel true {known})"
            label = header.classes[label]
    if header.timestamps:
        dimensions = _BETWEEN.split(line)
        parts = [",".join(pair.rpartition(",")[2] for pair in _PAIRS.findall(part)) for part in dimensions]
    else:
        parts = line.split(":")
    series = []
    for channel, part in enumerate(parts):
        cells = part.split(",") if part.strip() else []
        try:
            series.append([math.nan if cell.strip() == "?" else float(cell) for cell in cells])
        except ValueError as error:
            return None, [], f"channel {channel} (counted from 0): {error}"
    return label, series, None


def _contradiction(series: list[list[float]], header: _Header, first: np.ndarray | None) -> str | None:
    """What a row has and the header, or the first row (T, D), has not."""
    channels, steps = len(series), len(series[0])
    uneven = next((channel for channel, values in enumerate(series) if len(values) != steps), None)
    if uneven is not None:
        return f"channel {uneven} (counted from 0) has {len(series[uneven])} steps, and channel 0 has {steps}"
    if header.univariate and channels > 1:
        return f"the row has {channels} channels, and the header says @univariate true"
    if header.channels is not None and channels != header.channels:
        return f"the row has {channels} channels, and the header says @dimensions {header.channels}"
    if first is not None and channels != first.shape[1]:
        return f"the row has {channels} channels, and the first row has {first.shape[1]}"
    if header.equal and first is not None and steps != len(first):
        return f"the row has {steps} steps, the first row {len(first)}, and the header says @equalLength true"
    if header.equal is not False and header.steps is not None and steps != header.steps:
        return f"the row has {steps} steps, and the header says @seriesLength {header.steps}"
    if header.missing is False and any(math.isnan(value) for values in series for value in values):
        return "a value is missing, and the header says @missing false"
    return None
