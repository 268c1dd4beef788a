"""Running text as windows of streams, for truncated backpropagation through time with a state that is carried on.

The text is cut into B streams, and stream b is row b of every batch, which holds the next window of each:

    streams (B = 3)            a b c d e f g | h i j k l m n | o p q r s t u
    windows (T = 3), targets   a b c   d e f   g
                               h i j   k l m   n
                               o p q   r s t   u
    and their inputs           . a b   c d e   f                . is what a text begins after
                               g h i   j k l   m
                               n o p   q r s   t

Every token is predicted once in a pass. A model keeps the state of each row from batch to batch, until ``first``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from harken.data.ordering import Integers, Loader, chance, check_least
from harken.errors import DataError

_SHORTENED = 0.05  # share of windows that are drawn half as long: 1 - p
_SPREAD = 5.0  # standard deviation of a drawn length: s


class WindowBatch(NamedTuple):
    """A window of each of B streams, right-padded with 0; a stream that is through has length 0."""

    ids: Tensor  # (B, T) int64
    targets: Tensor  # (B, T) int64, the next tokens
    lengths: Tensor  # (B,) int64
    first: bool  # the streams begin here, and so does a model's state

    def to(self, device: torch.device | str, non_blocking: bool = False) -> WindowBatch:
        """The batch with every tensor on ``device``."""
        ids, targets, lengths = (field.to(device, non_blocking=non_blocking) for field in self[:3])
        return WindowBatch(ids, targets, lengths, self.first)


class WindowLoader(Loader[WindowBatch]):
    """Batches of windows, in the order of the text; see above.

    Stream b of B predicts the tokens from b · N // B up to (b + 1) · N // B, so that the longest is at most one token
    longer than the shortest. There are as many streams as tokens at most.

    With ``vary`` the windows' lengths are drawn anew in every pass as Merity et al. 2018, section 4.1 has it:
    around ``window``, one in twenty around half of it. Differs from the paper: there are always ⌈longest stream /
    window⌉ windows, because schedules count steps: the lengths drawn are scaled to fill the stream.

    Of several processes every one reads its own streams, as many windows as the others.

    Args:
        ids: (N,) of any integer type, the text; may lie in a file.
        start_id: what the text begins after.
        streams: B, the batch size.
        window: T, tokens of a window.
        vary: see above; else every window has as many tokens, but for the last.
        seed: of the windows' lengths.
        steps: fewest batches of an epoch: the text is passed over until there are as many; None: one pass.

    Raises:
        UsageError: streams, window or steps below 1.
    """

    def __init__(
        self,
        ids: Tensor,
        start_id: int,
        *,
        streams: int,
        window: int,
        vary: bool,
        seed: int,
        steps: int | None = None,
    ) -> None:
        check_least(streams=streams, window=window)
        super().__init__(len(ids), batch_size=streams, seed=seed, steps=steps)
        self._ids = ids
        self._start_id = start_id
        self._window = window
        self._vary = vary
        count = min(streams, len(ids))
        bounds = [stream * len(ids) // max(1, count) for stream in range(count + 1)]
        self._starts = torch.tensor(bounds[:-1], dtype=torch.int64)  # (B,)
        self._sizes = torch.tensor(bounds, dtype=torch.int64).diff()  # (B,)
        self._longest = -(-len(ids) // max(1, count))

    def shard(self, rank: int, world: int) -> Self:
        """Keep every ``world``-th stream from the ``rank``-th on; 0 ≤ rank < world.

        Raises:
            DataError: fewer streams than processes.
        """
        if len(self._starts) < world:
            raise DataError(
                f"{self._said(self._rows, len(self._starts))} are too few for {world} devices: lower devices, raise "
                "batch_size or give more text"
            )
        return super().shard(rank, world)

    def _batches_per_pass(self) -> int:
        return -(-self._longest // self._window)

    def _pass(self, epoch: int, turn: int, start: int) -> Iterator[WindowBatch]:
        edges = self._edges(epoch, turn)
        for number in range(start, len(edges) - 1):
            yield self._batch(int(edges[number]), int(edges[number + 1]))

    def _said(self, rows: int, batch_size: int) -> str:
        return f"{rows:,} tokens in {batch_size} streams"

    def _batch(self, begin: int, end: int) -> WindowBatch:
        """The window of all streams from their ``begin``-th token to before their ``end``-th."""
        share = slice(self._rank, None, self._world)
        lengths = (self._sizes[share] - begin).clamp(0, end - begin)  # (B,)
        steps = torch.arange(end - begin)  # (T,)
        padding = steps >= lengths[:, None]  # (B, T)
        places = (self._starts[share, None] + begin + steps).masked_fill_(padding, 0)  # (B, T)
        targets = self._ids[places].long().masked_fill_(padding, 0)
        inputs = self._ids[(places - 1).clamp_(min=0)].long()
        inputs[places == 0] = self._start_id
        return WindowBatch(inputs.masked_fill_(padding, 0), targets, lengths, begin == 0)

    def _edges(self, epoch: int, turn: int) -> Integers:
        """Where the windows of the longest stream begin, and the last one ends: (windows + 1,)."""
        windows = self._batches_per_pass()
        if not self._vary:
            return np.minimum(np.arange(windows + 1) * self._window, self._longest)
        generator = chance(self._seed, epoch, turn)
        around = np.where(generator.random(windows) < _SHORTENED, self._window / 2, self._window)  # (windows,)
        drawn = np.cumsum(np.maximum(generator.normal(around, _SPREAD), 1))
        filled = np.floor(drawn / drawn[-1:] * (self._longest - windows)).astype(np.int64)  # each has one token more
        return np.concatenate([[0], filled + np.arange(1, windows + 1)])
