"""Encoded rows become padded batches: what a batch of pairs, or of sequences, holds and how it is gathered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from harken.data.ordering import Grid, RowLoader
from harken.data.ragged import Ragged, offsets_from_lengths, pad_rows
from harken.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from harken.data.encoded import Encoded


class Batch(NamedTuple):
    """B pairs, right-padded with 0; the target fields are None where only predictions are wanted.

    The decoder reads ``target_in`` (bos + target) and is to write ``target_out`` (target + eos), step by step.
    """

    source: Tensor  # (B, S) int64
    source_lengths: Tensor  # (B,) int64
    target_in: Tensor | None  # (B, T) int64
    target_out: Tensor | None  # (B, T) int64
    target_lengths: Tensor | None  # (B,) int64, marker included
    rows: Tensor  # (B,) int64, which rows of the data these are

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch with every tensor on ``device``."""
        tensors = {name: field for name, field in self._asdict().items() if field is not None}
        return self._replace(**{name: field.to(device, non_blocking=non_blocking) for name, field in tensors.items()})


class Pieces(NamedTuple):
    """The lower of two levels: the batch's sentences, or the characters of its distinct words, each one row.

    Step t of row b is piece ``index[b, t]``. Padding points to 0: the rows' own lengths say what is padding.
    """

    ids: Tensor  # (N, L) int64, right-padded with 0
    lengths: Tensor  # (N,) int64
    index: Tensor  # type: ignore[assignment]  # (B, T) int64; a tuple's method of that name is not missed


class ModelInputs(NamedTuple):
    """B rows as a model reads them, right-padded with 0.

    kind              values                          pieces
    text, ids         (B, T) int64, ids               None
    series, vectors   (B, T, D) float32               None
    words             (B, T) int64, the words' ids    the characters of the batch's distinct words, or None
    sentences         (B, T) int64, the same as       the batch's sentences, as tokens' ids
                      ``pieces.index``
    image             (B, S, S, 3) uint8              None
    audio             (B, L) float32, samples         None
    spectrogram       (B, T, F) float32               None
    """

    values: Tensor
    lengths: Tensor  # (B,) int64, steps of the upper level
    pieces: Pieces | None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ModelInputs:
        """The inputs with every tensor on ``device``."""
        pieces = self.pieces and Pieces(*(field.to(device, non_blocking=non_blocking) for field in self.pieces))
        values, lengths = (field.to(device, non_blocking=non_blocking) for field in (self.values, self.lengths))
        return ModelInputs(values, lengths, pieces)


class SequenceBatch(NamedTuple):
    """B rows, and by head what is to be answered; no targets where only predictions are wanted.

    A target that is missing is -1 (classes; per-step labels, where padding is -1 too) or NaN (values).
    """

    inputs: ModelInputs
    targets: dict[
        str, Tensor
    ]  # binary, classes (B,) int64; multi-label (B, C), values (B, k) float32; tags (B, T) int64
    sample_weight: Tensor | None  # (B,) float32
    rows: Tensor  # (B,) int64, which rows of the data these are

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SequenceBatch:
        """The batch with every tensor on ``device``."""
        weight = self.sample_weight
        return SequenceBatch(
            self.inputs.to(device, non_blocking),
            {name: target.to(device, non_blocking=non_blocking) for name, target in self.targets.items()},
            None if weight is None else weight.to(device, non_blocking=non_blocking),
            self.rows.to(device, non_blocking=non_blocking),
        )


class PairLoader(RowLoader[Batch]):
    """Batches of pairs; the sources' lengths decide the order (see `RowLoader`).

    Args:
        sources: the inputs' ids.
        targets: the answers' ids without markers, or None.
        batch_size: rows per batch; the last one cut may have fewer.
        bos_id, eos_id: the target's markers; needed with targets.
        reverse_source: turn every source row around within its own length.
        shuffle, bucket, seed, steps, batch_steps: as in `RowLoader`; a pair has as many steps as its longer side.

    Raises:
        ShapeError: sources and targets of unequal number.
        UsageError: a batch size below 1, or targets without markers.
    """

    def __init__(
        self,
        sources: Ragged,
        targets: Ragged | None,
        *,
        batch_size: int,
        bos_id: int | None,
        eos_id: int | None,
        reverse_source: bool,
        shuffle: bool,
        bucket: bool,
        seed: int,
        steps: int | None = None,
        batch_steps: int | None = None,
    ) -> None:
        if targets is not None and len(targets) != len(sources):
            raise ShapeError(
                f"there are {len(targets)} targets for {len(sources)} sources, and there must be one for each"
            )
        self.sources, self.targets = sources, targets
        self._marked = None if targets is None else _marked(targets, bos_id, eos_id)
        self._reverse_source = reverse_source
        longest = sources.lengths if targets is None else sources.lengths.maximum(targets.lengths + 1)
        super().__init__(
            sources.lengths,
            Grid(torch.ones_like(longest), longest),
            batch_size=batch_size,
            shuffle=shuffle,
            bucket=bucket,
            seed=seed,
            steps=steps,
            batch_steps=batch_steps,
        )

    def _batch(self, rows: Tensor) -> Batch:
        source, source_lengths = self.sources.pad(rows, reverse=self._reverse_source)  # (B, S), (B,)
        if self._marked is None:
            return Batch(source, source_lengths, None, None, None, rows)
        starts = self._marked.offsets[rows]
        lengths = self._marked.offsets[rows + 1] - starts - 1  # bos + target, or target + eos: one of the two markers
        target_in = pad_rows(self._marked.values, starts, lengths)  # (B, T)
        target_out = pad_rows(self._marked.values, starts + 1, lengths)  # (B, T)
        return Batch(source, source_lengths, target_in, target_out, lengths, rows)


class SequenceLoader(RowLoader[SequenceBatch]):
    """Batches of encoded rows with what is to be answered; the rows' steps decide the order (see `RowLoader`).

    Args:
        encoded: the rows.
        targets: head name → a target per row, (n,) or (n, k), or a `Ragged` of one per step; none for prediction.
        sample_weight: (n,), or None.
        batch_size: most rows per batch.
        shuffle, bucket, seed, steps, batch_steps, attention_heads: as in `RowLoader`.

    Raises:
        ShapeError: another number of targets or weights than of rows, or of per-step targets than of a row's steps.
        DataError: a row too long for self-attention.
        UsageError: a batch size, steps or batch_steps below 1.
    """

    def __init__(
        self,
        encoded: Encoded,
        targets: Mapping[str, Tensor | Ragged],
        sample_weight: Tensor | None,
        *,
        batch_size: int,
        shuffle: bool,
        bucket: bool,
        seed: int,
        steps: int | None = None,
        batch_steps: int | None = None,
        attention_heads: int = 0,
    ) -> None:
        given = {f"targets of {name!r}": target for name, target in targets.items()}
        given |= {} if sample_weight is None else {"sample weights": sample_weight}
        for name, values in given.items():
            if len(values) != len(encoded):
                raise ShapeError(
                    f"there are {len(values)} {name} for {len(encoded)} rows, and there must be one for each"
                )
            if isinstance(values, Ragged) and (other := values.lengths != encoded.lengths).any():
                row = int(other.nonzero()[0])
                raise ShapeError(
                    f"row {row} has {int(values.lengths[row])} {name} for {int(encoded.lengths[row])} steps, "
                    "and there must be one for each"
                )
        self.encoded, self.targets, self.sample_weight = encoded, dict(targets), sample_weight
        super().__init__(
            encoded.steps,
            encoded.grid,
            batch_size=batch_size,
            shuffle=shuffle,
            bucket=bucket,
            seed=seed,
            steps=steps,
            batch_steps=batch_steps,
            attention_heads=attention_heads,
        )

    def _batch(self, rows: Tensor) -> SequenceBatch:
        targets = {
            name: target.pad(rows, fill=-1)[0] if isinstance(target, Ragged) else target[rows]
            for name, target in self.targets.items()
        }
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return SequenceBatch(self.encoded.batch(rows), targets, weight, rows)


def _marked(targets: Ragged, bos_id: int | None, eos_id: int | None) -> Ragged:
    """Every row as bos, row, eos."""
    if bos_id is None or eos_id is None:
        raise UsageError("targets need a tokenizer with markers: fit it with markers=True")
    offsets = offsets_from_lengths(targets.lengths + 2)
    first, last = offsets[:-1], offsets[1:] - 1
    values = torch.zeros(int(offsets[-1]), dtype=torch.int64)
    values[first], values[last] = bos_id, eos_id
    inside = torch.ones(len(values), dtype=torch.bool)
    inside[first] = inside[last] = False
    values[inside] = targets.values[int(targets.offsets[0]) : int(targets.offsets[-1])]
    return Ragged(values, offsets)
