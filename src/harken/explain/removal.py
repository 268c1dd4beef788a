"""Rows with some of their steps taken out: what is left of the answer says how much those mattered."""

from __future__ import annotations

import torch
from torch import Tensor

from harken.data.batching import ModelInputs
from harken.layers.masks import mask_from_lengths
from harken.models.frontends import SeriesFrontend, mask_of
from harken.models.sequence import SequenceModel


def without(model: SequenceModel, inputs: ModelInputs, keep: Tensor) -> ModelInputs:
    """The rows with only the steps that are kept.

    Tokens, words, sentences and vectors of a document are deleted and the rest moves together, as if they had never
    been there. A series goes by the clock, so its steps stay in their places and take the channels' mean over the
    training rows (0 where the model does not standardise).

    Args:
        model: whose kind of input and mean it is.
        inputs: B rows.
        keep: (B, T) bool; what it says about padding does not matter.
    """
    if model.kind in ("series", "spectrogram"):
        assert isinstance(model.frontend, SeriesFrontend)
        mean = model.frontend.mean.to(inputs.values)
        return inputs._replace(values=inputs.values.where(keep.unsqueeze(-1), mean))
    keep = keep & mask_of(inputs)
    lengths = keep.sum(1)  # (B,)
    longest = int(lengths.max()) if len(lengths) else 0
    order = (~keep).to(torch.int8).argsort(dim=1, stable=True)[:, :longest]  # (B, T'): kept steps first, in order
    padding = ~mask_from_lengths(lengths, longest)  # (B, T')
    values, pieces = _moved(inputs.values, order, padding), inputs.pieces
    if pieces is not None:
        pieces = pieces._replace(index=_moved(pieces.index, order, padding))
    return ModelInputs(values, lengths.to(inputs.lengths.device), pieces)


def top(scores: Tensor, lengths: Tensor, percent: int) -> Tensor:
    """(B, T) bool: the steps of a row with the highest scores, so many percent of them, rounded up; ties by place."""
    lengths = lengths.to(scores.device)
    mask = mask_from_lengths(lengths, scores.shape[1])  # (B, T)
    ranked = scores.masked_fill(~mask, -torch.inf)
    ranks = ranked.argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # (B, T)
    return mask & (ranks < -(-lengths * percent // 100).unsqueeze(1))


def _moved(values: Tensor, order: Tensor, padding: Tensor) -> Tensor:
    """(B, T, …) → (B, T', …): each row in its order, 0 on padding."""
    further = [1] * (values.dim() - 2)
    index = order.view(*order.shape, *further).expand(*order.shape, *values.shape[2:])
    return values.gather(1, index).masked_fill(padding.view(*padding.shape, *further), 0)
