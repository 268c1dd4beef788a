"""Rows as numbers, and how batches are gathered from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harken.config import InputKind
from harken.data.batching import ModelInputs, Pieces
from harken.data.ordering import Grid
from harken.data.ragged import Ragged, offsets_from_lengths, pad_rows


@dataclass(frozen=True, eq=False)
class Encoded:
    """Rows as numbers.

        kind              values                       index                            pieces
        text, ids         ids at every step            None                             None
        series, vectors   (N, D) float32               None                             None
        words             the words' ids               each word's piece, or None       their characters
        sentences         None                         each sentence's piece            tokens of all sentences
        image             (N, S, 3) uint8, rows of     None                             None
                          pixels
        audio             (N,) float32, samples        None                             None
        spectrogram       (N, F) float32, frames       None                             None

    Integers are as narrow as they can be; a batch has int64, of pictures uint8.

    Attributes:
        kind: see above.
        values: at every step, see above.
        index: at every step the number of its piece.
        pieces: the lower level.
        stride: values that make one step of the model, of recordings their samples from frame to frame.
    """

    kind: InputKind
    values: Ragged | None
    index: Ragged | None = None
    pieces: Ragged | None = None
    stride: int = 1

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def _steps(self) -> Ragged:
        steps = self.index if self.values is None else self.values
        assert steps is not None
        return steps

    @property
    def lengths(self) -> Tensor:
        """Steps of every row, (n,) int64; a document's are its sentences."""
        return self._steps.lengths

    @property
    def steps(self) -> Tensor:
        """How much there is to read in every row, (n,) int64: its steps, or the tokens of all its sentences."""
        if self.kind != "sentences":
            return -(-self.lengths // self.stride)
        tokens = offsets_from_lengths(self._of_sentences())
        return tokens[self._steps.offsets[1:]] - tokens[self._steps.offsets[:-1]]

    def counts(self, size: int) -> Tensor:
        """How often each of ``size`` ids of tokens or words occurs, (size,) int64: of sentences, in the lower level."""
        ids = self.pieces if self.kind == "sentences" else self.values
        assert ids is not None
        found = torch.zeros(size, dtype=torch.int64)
        for part in torch.split(ids.values, 1 << 22):  # narrow integers become wide ones: not all at once
            found += torch.bincount(part, minlength=size)
        return found

    @property
    def grid(self) -> Grid:
        """What every row asks of a batch: one sequence of its length, or as many as it has sentences."""
        if self.kind != "sentences":
            return Grid(torch.ones_like(self.lengths), self.steps)
        rows = torch.repeat_interleave(self.lengths)  # of every sentence
        longest = torch.zeros_like(self.lengths).scatter_reduce_(0, rows, self._of_sentences(), "amax")
        return Grid(self.lengths, longest)

    def _of_sentences(self) -> Tensor:
        """Tokens of every sentence of every row."""
        assert self.pieces is not None
        return self.pieces.lengths[self._steps.values.long()]

    def batch(self, rows: Tensor) -> ModelInputs:
        """The rows (B,) int64, right-padded."""
        pieces = None
        if self.index is not None and self.pieces is not None:
            numbers = self.index.take(rows)
            distinct, local = torch.unique(numbers.values, return_inverse=True)  # (N,), number within the batch
            ids, lengths = self.pieces.pad(distinct.long())  # (N, L), (N,)
            pieces = Pieces(ids.long(), lengths, pad_rows(local, numbers.offsets[:-1], numbers.lengths))
        if self.values is None:
            assert pieces is not None
            return ModelInputs(pieces.index, self.lengths[rows], pieces)
        values, lengths = self.values.pad(rows)  # (B, T, …), (B,)
        if not values.is_floating_point() and values.dtype != torch.uint8:
            values = values.long()
        return ModelInputs(values, lengths, pieces)
