"""Which rows make a batch, and in which order the batches come: decided by lengths, seed and epoch alone.

Not a torch DataLoader: the data is in memory and a padded batch is one gather, so workers would only cost; and this
loader knows its place inside an epoch, which a mid-epoch resume needs and a DataLoader loses.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Any, Generic, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harken.errors import DataError, UsageError

_WEIGHTS = 1024  # of self-attention in a batch, for each of its `batch_steps`
_MOST_WEIGHTS = 1 << 28  # of self-attention in a row: a gigabyte, and the gradients ask for several

_POOL = 64  # batches whose rows are sorted by length together: few enough for random batches, enough for tight ones

BatchType = TypeVar("BatchType")
Integers = npt.NDArray[np.int64]


class Grid(NamedTuple):
    """What a row asks of a batch's memory: ``pieces`` sequences, the longest of ``longest`` steps.

    Most rows are one sequence; a document of sentences is many. A batch of some rows holds the sum of their pieces, all
    padded to the longest.
    """

    pieces: Tensor  # (n,) int64
    longest: Tensor  # (n,) int64


class Loader(ABC, Generic[BatchType]):
    """Batches of an epoch, in an order that follows from (seed, epoch) alone, and the place among them.

    A subclass says of what, how many batches there are in a pass over all of it, and which.

    Args:
        rows: how much there is, to know the same data again.
        batch_size: how much of it a batch has at most.
        seed: of the order.
        steps: fewest batches of an epoch: there are as many passes as it takes, each in a new order; None: one pass.

    Raises:
        UsageError: a batch size or steps below 1.
    """

    def __init__(self, rows: int, *, batch_size: int, seed: int, steps: int | None) -> None:
        check_least(batch_size=batch_size, steps=steps)
        self._rows = rows
        self._batch_size = batch_size
        self._seed = seed
        self._steps = steps or 0
        self._epoch = 0
        self._done = 0  # batches of this epoch that were handed out
        self._resume_at = 0  # batches that the next pass leaves out
        self._rank, self._world = 0, 1

    @abstractmethod
    def _batches_per_pass(self) -> int:
        """Of this process, the ``_rank``-th of ``_world``."""

    @abstractmethod
    def _pass(self, epoch: int, turn: int, start: int) -> Iterator[BatchType]:
        """This process's batches of one pass, the ``turn``-th of its epoch from 0, from the ``start``-th on."""

    @abstractmethod
    def _said(self, rows: int, batch_size: int) -> str:
        """How messages put it: so many rows in such batches."""

    def __len__(self) -> int:
        each = self._batches_per_pass()
        return max(each, self._steps) if each else 0

    def __iter__(self) -> Iterator[BatchType]:
        # A generator: nothing is read before the first next(), as Lightning calls iter() before set_epoch().
        number, self._resume_at = self._resume_at, 0
        epoch, each, last = self._epoch, self._batches_per_pass(), len(self)
        while number < last:
            turn, start = divmod(number, each)
            for batch in islice(self._pass(epoch, turn, start), last - number):
                number += 1
                self._done = number
                yield batch

    batch_sampler = None  # Lightning asks every loader that has a sampler for this too

    @property
    def sampler(self) -> Self:
        """Itself: Lightning calls ``loader.sampler.set_epoch(epoch)`` before every epoch."""
        return self

    def shard(self, rank: int, world: int) -> Self:
        """Deal each pass to ``world`` processes and keep this one's share, as many batches for each; 0 ≤ rank < world.

        Raises:
            DataError: too little for so many processes.
        """
        self._rank, self._world = rank, world
        if self._rows and len(self) == 0:
            raise DataError(
                f"{self._said(self._rows, self._batch_size)} are too few for {world} devices: "
                "lower batch_size or devices"
            )
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next pass takes; another epoch than now starts at its first batch."""
        if epoch != self._epoch:
            self._epoch, self._done, self._resume_at = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """The place inside the epoch; all else follows from the constructor's arguments."""
        return {"epoch": self._epoch, "batches": self._done, "rows": self._rows, "batch_size": self._batch_size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next pass give exactly the batches that were left, or a whole epoch if none were.

        Raises:
            DataError: a state from other data or another batch size.
        """
        there, here = (state["rows"], state["batch_size"]), (self._rows, self._batch_size)
        if there != here:
            raise DataError(
                f"the interrupted run had {self._said(*there)}, and this one has {self._said(*here)}: "
                "resume with the same data and options"
            )
        self._epoch, self._done = state["epoch"], state["batches"]
        self._resume_at = self._done if self._done < len(self) else 0


class RowLoader(Loader[BatchType]):
    """Batches of rows.

    With ``shuffle``: all rows are shuffled and cut into batches; with ``bucket`` too, each pool of 64 batches is
    sorted by length before it is cut, and the batches are shuffled. With ``bucket`` alone all rows are sorted by
    length (prediction; the batch's ``rows`` tell which is which). Otherwise rows come in their own order.

    With ``batch_steps``, rows so long that ``batch_size`` of them would hold more padded steps than that are batched
    apart, in smaller batches (see `rows_per_batch`), so how many batches there are depends on no order. With
    self-attention the same holds for its weights: 1024 for each of the ``batch_steps``.

    Of several processes every one gets equally many batches: up to one less of a pass than there are processes, other
    ones each time, are left out.

    A subclass makes a batch of the rows that it is told.

    Args:
        lengths: (n,) int64, steps of every row: what is sorted by.
        grid: what every row asks of a batch; None: one sequence of its length.
        batch_size: most rows per batch.
        shuffle, bucket: see above.
        seed, steps: as in `Loader`.
        batch_steps: most padded steps of a batch; None: any number.
        attention_heads: of the self-attention that reads the batches: each has a weight for every two steps of a piece,
            and for every two pieces; 0: there is none.

    Raises:
        DataError: a row so long that its self-attention would not fit.
        UsageError: a batch size, steps or batch_steps below 1.
    """

    def __init__(
        self,
        lengths: Tensor,
        grid: Grid | None = None,
        *,
        batch_size: int,
        shuffle: bool,
        bucket: bool,
        seed: int,
        steps: int | None = None,
        batch_steps: int | None = None,
        attention_heads: int = 0,
    ) -> None:
        super().__init__(len(lengths), batch_size=batch_size, seed=seed, steps=steps)
        check_least(batch_steps=batch_steps)
        self._lengths: Integers = lengths.numpy()
        grid = grid or Grid(torch.ones_like(lengths), lengths)
        _check_weights(grid, attention_heads)
        room = rows_per_batch(grid, batch_size, batch_steps, attention_heads)
        self._apart = [(int(size), np.flatnonzero(room == size)) for size in np.unique(room)[::-1]]
        self._shuffle = shuffle
        self._bucket = bucket

    @abstractmethod
    def _batch(self, rows: Tensor) -> BatchType:
        """The batch of ``rows`` (B,) int64."""

    def _batches_per_pass(self) -> int:
        return sum(-(-len(rows) // size) for size, rows in self._apart) // self._world

    def _pass(self, epoch: int, turn: int, start: int) -> Iterator[BatchType]:
        yield from map(self._batch, self._order(epoch, turn)[start:])

    def _said(self, rows: int, batch_size: int) -> str:
        return f"{rows} rows in batches of {batch_size}"

    def _order(self, epoch: int, turn: int) -> list[Tensor]:
        """The rows of each batch."""
        generator = chance(self._seed, epoch, turn)
        batches: list[Tensor] = []
        for size, rows in self._apart:
            order = torch.from_numpy(self._arranged(rows, size, generator))
            batches += torch.split(order, size)
        if self._shuffle and (self._bucket or len(self._apart) > 1):
            batches = [batches[i] for i in generator.permutation(len(batches))]
        return batches[self._rank :: self._world][: self._batches_per_pass()]

    def _arranged(self, rows: Integers, size: int, generator: np.random.Generator) -> Integers:
        """``rows`` in the order in which they are cut into batches of ``size``."""
        if not self._shuffle:
            return rows[np.argsort(self._lengths[rows], kind="stable")] if self._bucket else rows
        order = rows[generator.permutation(len(rows))]
        for start in range(0, len(order) if self._bucket else 0, _POOL * size):
            pool = order[start : start + _POOL * size]  # a view
            pool[:] = pool[np.argsort(self._lengths[pool], kind="stable")]
        return order


def check_least(**numbers: int | None) -> None:
    """Refuse numbers below 1; None is none."""
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} ({value}) must be at least 1")


def chance(seed: int, epoch: int, turn: int) -> np.random.Generator:
    """What the order of a pass is drawn from, the ``turn``-th of its epoch from 0."""
    return np.random.default_rng([seed, epoch, turn] if turn else [seed, epoch])


def rows_per_batch(grid: Grid, batch_size: int, batch_steps: int | None, attention_heads: int = 0) -> Integers:
    """How many rows the batch of each row may have, (n,), so that no batch holds more than ``batch_steps`` steps.

    Rows of one number are batched among themselves. That number is ``batch_size`` for rows that are short enough, else
    a power of two below it. Each number has its own limits, p pieces and l steps with number · p · l ≤ ``batch_steps``;
    of all such pairs, the one that holds most rows. A row too long for any is alone, and may be longer than
    ``batch_steps``. With self-attention p and l are such that number · heads · p · l², and number · heads · p², are no
    more than 1024 · ``batch_steps`` either.
    """
    room = np.ones(len(grid.longest), dtype=np.int64)
    left = np.arange(len(room))
    sizes = [batch_size, *(1 << power for power in reversed(range((batch_size - 1).bit_length())))]
    pieces, longest = grid.pieces.numpy(), grid.longest.numpy()
    for size in sizes[:-1]:
        fits = np.ones(len(left), dtype=bool)
        if batch_steps is not None:
            most = batch_steps // size  # pieces × steps, for each row
            weights = _WEIGHTS * batch_steps // (size * attention_heads) if attention_heads else None
            limits = [1 << power for power in range(max(1, most).bit_length())]  # of pieces
            fits = max(
                ((pieces[left] <= limit) & (longest[left] <= _longest(limit, most, weights)) for limit in limits),
                key=lambda inside: int(inside.sum()),
            )
        room[left[fits]] = size
        left = left[~fits]
    return room


def _longest(pieces: int, steps: int, weights: int | None) -> int:
    """How long so many pieces may be that they have no more steps, and of self-attention no more weights; -1: no."""
    if weights is None:
        return steps // pieces
    return min(steps // pieces, math.isqrt(weights // pieces)) if pieces**2 <= weights else -1


def _check_weights(grid: Grid, heads: int) -> None:
    """Refuse a row whose self-attention does not fit, even alone in its batch."""
    if not heads or not len(grid.longest):
        return
    weights = heads * grid.pieces * grid.longest.square().maximum(grid.pieces)  # (n,)
    row = int(weights.argmax())
    if weights[row] > _MOST_WEIGHTS:
        what = f"{int(grid.longest[row]):,} steps"
        if grid.pieces[row] > 1:
            what = f"{int(grid.pieces[row]):,} pieces, the longest of {what}"
        raise DataError(
            f"row {row} ({what}) would have {int(weights[row]):,} weights of self-attention, one for every two steps "
            f"in each head, and {_MOST_WEIGHTS:,} is the most: take pooling=attention, or only its start by --truncate"
        )
