"""Encoded pairs become padded batches, rows of similar length together.

Not a torch DataLoader: the data is in memory and a padded batch is one gather, so workers would only cost; and this
loader knows its place inside an epoch, which a mid-epoch resume needs and a DataLoader loses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from harken.data.ragged import Ragged, offsets_from_lengths, pad_rows
from harken.errors import DataError, ShapeError, UsageError

_POOL = 64  # batches whose rows are sorted by length together: few enough for random batches, enough for tight ones


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


class PairLoader:
    """Batches of an epoch, in an order that follows from (seed, epoch) alone.

    With ``shuffle``: all rows are shuffled and cut into batches; with ``bucket`` too, each pool of 64 batches is
    sorted by source length before it is cut, and the batches are shuffled. With ``bucket`` alone all rows are sorted
    by source length (prediction; ``Batch.rows`` tells which is which). Otherwise rows come in their own order.

    Args:
        sources: the inputs' ids.
        targets: the answers' ids without markers, or None.
        batch_size: rows per batch; the last one cut may have fewer.
        bos_id, eos_id: the target's markers; needed with targets.
        reverse_source: turn every source row around within its own length.
        shuffle, bucket: see above.
        seed: of the order.

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
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size ({batch_size}) must be at least 1")
        if targets is not None and len(targets) != len(sources):
            raise ShapeError(
                f"there are {len(targets)} targets for {len(sources)} sources, and there must be one for each"
            )
        self.sources, self.targets = sources, targets
        self._marked = None if targets is None else _marked(targets, bos_id, eos_id)
        self._batch_size = batch_size
        self._reverse_source = reverse_source
        self._shuffle = shuffle
        self._bucket = bucket
        self._seed = seed
        self._epoch = 0
        self._done = 0  # batches of this epoch that were handed out
        self._resume_at = 0  # batches that the next pass leaves out
        self._rank, self._world = 0, 1

    def __len__(self) -> int:
        return -(-len(self.sources) // self._batch_size) // self._world

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing is read before the first next(), as Lightning calls iter() before set_epoch().
        first, self._resume_at = self._resume_at, 0
        for number, rows in enumerate(self._order()[first:], start=first):
            self._done = number + 1
            yield self._batch(rows)

    batch_sampler = None  # Lightning asks every loader that has a sampler for this too

    @property
    def sampler(self) -> Self:
        """Itself: Lightning calls ``loader.sampler.set_epoch(epoch)`` before every epoch."""
        return self

    def shard(self, rank: int, world: int) -> Self:
        """Deal each pass's batches to ``world`` processes and keep this one's; 0 ≤ rank < world.

        Every process gets equally many: up to world - 1 batches of an epoch, other ones each time, are left out.

        Raises:
            DataError: fewer batches than processes.
        """
        self._rank, self._world = rank, world
        if len(self.sources) and len(self) == 0:
            raise DataError(
                f"{len(self.sources)} rows in batches of {self._batch_size} are too few for {world} devices: "
                "lower batch_size or devices"
            )
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next pass takes; another epoch than now starts at its first batch."""
        if epoch != self._epoch:
            self._epoch, self._done, self._resume_at = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """The place inside the epoch; all else follows from the constructor's arguments."""
        return {"epoch": self._epoch, "batches": self._done, "rows": len(self.sources), "batch_size": self._batch_size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next pass give exactly the batches that were left, or a whole epoch if none were.

        Raises:
            DataError: a state from other data or another batch size.
        """
        here = (len(self.sources), self._batch_size)
        if (state["rows"], state["batch_size"]) != here:
            raise DataError(
                f"the interrupted run had {state['rows']} rows in batches of {state['batch_size']}, and this one has "
                f"{here[0]} in batches of {here[1]}: resume with the same data and options"
            )
        self._epoch, self._done = state["epoch"], state["batches"]
        self._resume_at = self._done if self._done < len(self) else 0

    def _order(self) -> list[Tensor]:
        """The rows of each batch of this epoch."""
        size, lengths = self._batch_size, self.sources.lengths.numpy()
        generator = np.random.default_rng([self._seed, self._epoch])
        if not self._shuffle:
            order = np.argsort(lengths, kind="stable") if self._bucket else np.arange(len(lengths))
        else:
            order = generator.permutation(len(lengths))
            for start in range(0, len(order) if self._bucket else 0, _POOL * size):
                pool = order[start : start + _POOL * size]  # a view
                pool[:] = pool[np.argsort(lengths[pool], kind="stable")]
        batches = [torch.from_numpy(order[start : start + size]) for start in range(0, len(order), size)]
        if self._shuffle and self._bucket:
            batches = [batches[i] for i in generator.permutation(len(batches))]
        return batches[self._rank :: self._world][: len(self)]

    def _batch(self, rows: Tensor) -> Batch:
        source, source_lengths = self.sources.pad(rows, reverse=self._reverse_source)  # (B, S), (B,)
        if self._marked is None:
            return Batch(source, source_lengths, None, None, None, rows)
        starts = self._marked.offsets[rows]
        lengths = self._marked.offsets[rows + 1] - starts - 1  # bos + target, or target + eos: one of the two markers
        target_in = pad_rows(self._marked.values, starts, lengths)  # (B, T)
        target_out = pad_rows(self._marked.values, starts + 1, lengths)  # (B, T)
        return Batch(source, source_lengths, target_in, target_out, lengths, rows)


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
