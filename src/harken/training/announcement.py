"""What is about to be trained, in a few lines: rows, classes, recipe. They are shown before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harken.config import SequenceRun
from harken.data.labels import Head
from harken.data.ragged import Ragged

MOST_NAMED = 6  # classes that are named one by one


def announced(
    config: SequenceRun,
    heads: Sequence[Head],
    targets: Mapping[str, Tensor | Ragged],
    *,
    rows: int,
    validation_rows: int,
    steps: int,
) -> Iterator[str]:
    """A line on each head, one on the rows, one on the recipe.

    Args:
        config: settled.
        heads: what is answered.
        targets: of the training rows, as `harken.data.labels.encode` gives them.
        rows: to learn from.
        validation_rows: to validate on.
        steps: of an epoch.
    """
    for head in heads:
        yield _of_head(head, targets[head.name])
    if validation_rows:
        yield f"rows: {rows:,} to learn from, {validation_rows:,} to validate on"
    else:
        yield f"rows: {rows:,} to learn from, none to validate on, so the last epoch is kept"
    yield f"recipe: {_layers(config)}; {_course(config, steps)}"


def _of_head(head: Head, target: Tensor | Ragged) -> str:
    """How many classes there are and how often each occurs, or the range of values."""
    known = target.values if isinstance(target, Ragged) else target
    if head.kind == "values":
        scales = torch.tensor(head.scales)
        known = known.double() * scales + torch.tensor(head.means)  # (n, k), in the user's units
        known[known.abs() < 1e-6 * scales] = 0  # what float32 left of a zero
        return f"values of {head.name!r}: " + "; ".join(_of_values(column) for column in known.unbind(1))
    if head.kind == "multi-label":
        counts = known.nan_to_num().sum(0).long()  # (C,)
        each = float(counts.sum()) / max(1, int((~known.isnan()).any(1).sum()))
        return f"{_count(head, 'label', 'labels')}: {_how_often(head, counts)}; {each:.2g} on a row"
    counts = torch.bincount(known[known >= 0], minlength=len(head.classes))  # (C,)
    nouns = ("tag", "tags") if head.kind == "tags" else ("class", "classes")
    return f"{_count(head, *nouns)}: {_how_often(head, counts)}"


def _of_values(values: Tensor) -> str:
    known = values[~values.isnan()]
    return f"from {float(known.min()):.4g} to {float(known.max()):.4g}, mean {float(known.mean()):.4g}"


def _count(head: Head, one: str, many: str) -> str:
    size = len(head.classes)
    return f"{size:,} {one if size == 1 else many} of {head.name!r}"


def _how_often(head: Head, counts: Tensor) -> str:
    """``neg (468), pos (532)``; of many only the rarest and the most frequent, and how many there is but one of."""
    if len(head.classes) <= MOST_NAMED:
        named = zip(head.classes, counts.tolist(), strict=True)
        return ", ".join(f"{_short(name)} ({count:,})" for name, count in named)
    least, most = int(counts.min()), int(counts.max())
    if least == most:
        return f"{least:,} each"
    ends = (
        f"{_short(head.classes[int(place)])} ({int(counts[place]):,})" for place in (counts.argmin(), counts.argmax())
    )
    once = int((counts == 1).sum())
    return f"from {' to '.join(ends)}" + (f"; {once:,} of them only once" if once else "")


def _short(name: Any) -> str:
    text = " ".join(str(name).split())
    return text if len(text) <= 20 else f"{text[:19]}…"


def _layers(config: SequenceRun) -> str:
    """From input to answer: what stands on what."""
    model, kind = config.model, config.data.input
    parts = []
    if kind == "image":
        cells = "each cell a step" if model.cells else "one step"
        parts.append(f"residual convolutions of {model.cnn} channels in {model.cnn_layers} levels, {cells}")
    elif kind in ("audio", "spectrogram"):
        frames = f"log-mel frames of {config.features.mels} bands → " if kind == "audio" else ""
        parts.append(f"{frames}{model.cnn_layers} convolutions of {model.cnn} channels over time and frequency")
    elif kind not in ("series", "vectors"):
        beside = " and its characters" if kind == "words" and config.features.characters else ""
        parts.append(f"a vector of {model.embedding_size} for each token{beside}")
    if model.local:
        parts.append(f"{model.local} local outputs for every {model.local_size} values")
    if model.convolution:
        parts.append(f"{model.convolution} convolution channels")
    level = []
    stack = f"{model.num_layers} × " if model.num_layers > 1 else ""
    if model.num_layers:
        level.append(f"{stack}{'bi' if model.bidirectional else ''}{model.cell.upper()} of {model.hidden_size}")
    if config.task != "tag":
        level.append(model.pooling)
    if kind == "sentences":
        parts += [f"in each sentence {level[0]}", *level[1:], f"over the sentences {level[0]}", *level[1:]]
    else:
        parts += level
    if model.mlp_size:
        parts.append(f"{model.mlp_size} hidden units")
    return " → ".join(parts) + f", dropout {model.dropout:g}"


def _course(config: SequenceRun, steps: int) -> str:
    """How long, in how large steps."""
    options = config.training
    epochs = f"{options.epochs} epoch{'' if options.epochs == 1 else 's'}"
    return (
        f"{epochs} of {steps:,} step{'' if steps == 1 else 's'}, {options.batch_size} rows each, "
        f"learning rate {options.learning_rate:g}"
    )
