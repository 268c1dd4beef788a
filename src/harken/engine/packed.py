"""The engine through ``PackedSequence``: the way on CUDA, and the portable backend's cross-check on a CPU.

cuDNN reads packed rows natively. It refuses empty rows, so they are dropped before and scattered back after.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from harken.engine.rows import reverse_rows


def lstm(
    x: Tensor, lengths: Tensor, weights: Sequence[Tensor], h0: Tensor, c0: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`harken.engine.op.ragged_lstm`; ``lengths`` on the CPU and not all 0, ``weights`` in its order."""
    live, packed = _pack(x, lengths, reverse)
    order = _order(live, packed)
    state = [s.index_select(0, order).unsqueeze(0) for s in (h0, c0)]  # (1, B', H) each, longest row first
    data, h, c = torch.lstm(
        packed.data, packed.batch_sizes, state, _flat(weights), True, 1, 0.0, torch.is_grad_enabled(), False
    )
    outputs = _unpack(packed, data, live, lengths, x.size(1), reverse)
    return outputs, h0.index_copy(0, order, h.squeeze(0)), c0.index_copy(0, order, c.squeeze(0))


def gru(x: Tensor, lengths: Tensor, weights: Sequence[Tensor], h0: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """As :func:`harken.engine.op.ragged_gru`."""
    live, packed = _pack(x, lengths, reverse)
    order = _order(live, packed)
    state = h0.index_select(0, order).unsqueeze(0)  # (1, B', H)
    data, h = torch.gru(
        packed.data, packed.batch_sizes, state, _flat(weights), True, 1, 0.0, torch.is_grad_enabled(), False
    )
    outputs = _unpack(packed, data, live, lengths, x.size(1), reverse)
    return outputs, h0.index_copy(0, order, h.squeeze(0))


def _pack(x: Tensor, lengths: Tensor, reverse: bool) -> tuple[Tensor, PackedSequence]:
    """The indices of the rows that hold anything, on x's device (B',), and those rows, packed."""
    live = lengths.nonzero().squeeze(-1)  # (B',)
    if reverse:
        x = reverse_rows(x, lengths)  # (B, T, D)
    kept = x.index_select(0, live.to(x.device))  # (B', T, D)
    packed = pack_padded_sequence(kept, lengths[live], batch_first=True, enforce_sorted=False)
    return live.to(x.device), packed


def _order(live: Tensor, packed: PackedSequence) -> Tensor:
    """For each row of the packed batch, its place in the whole one (B',)."""
    by_length = packed.sorted_indices
    return live if by_length is None else live[by_length]


def _unpack(packed: PackedSequence, data: Tensor, live: Tensor, lengths: Tensor, size: int, reverse: bool) -> Tensor:
    """The kernel's rows, back in their places: (B, T, H), exactly 0 on padding."""
    kept, _ = pad_packed_sequence(packed._replace(data=data), batch_first=True, total_length=size)  # (B', T, H)
    outputs = kept.new_zeros(lengths.size(0), size, kept.size(-1)).index_copy(0, live, kept)  # (B, T, H)
    return reverse_rows(outputs, lengths) if reverse else outputs


def _flat(weights: Sequence[Tensor]) -> list[Tensor]:
    """The weights as cuDNN wants them, back to back in one buffer; elsewhere as they are.

    cuDNN would copy scattered weights into such a buffer itself, at each call and with a warning.
    """
    if not weights[0].is_cuda:
        return list(weights)
    buffer = torch.cat([weight.flatten() for weight in weights])
    pieces = torch.split_with_sizes(buffer, [weight.numel() for weight in weights])
    return [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]
