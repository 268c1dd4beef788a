"""The engine in plain PyTorch: a few dense calls per direction, exact at ragged ends.

``nn.LSTM`` on a ``PackedSequence`` of unequal lengths trains 2-24 times slower on a CPU than the same layer
on a dense rectangle, which reaches oneDNN's fused kernel. So dense rectangles are what we run, the few that
:mod:`~harken.engine.plan` cuts the batch into, and this is what makes them exact:

* before: one gather turns rows around (when ``reverse``), puts time first, as the kernel wants it, and
  reads a row of zeros for every padding position, so that nothing in the padding is ever seen;
* during: a dense LSTM returns c at the end of the rectangle, not at the row's own. One extra input feature
  is 1 on padding and drives the input gate to exactly 0 and the forget gate to exactly 1: c stands still
  from the row's end on, so that the last c *is* c at the row's end, gradient included;
* after: one gather turns rows back, reads zeros into the padding, and each row's last h into h_n.

Equations: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000 (gates i, f, g, o);
Cho et al. 2014 for the GRU in cuDNN's variant (gates r, z, n; the reset gate acts after the product).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harken.engine.plan import INFERENCE_BYTES, KEPT_BYTES, Plan, Span, cut, plan

# Added to a gate before its sigmoid: exactly 0 or 1 in float32 and float64, and no sum W·h + b of a network
# that still learns comes near it.
SATURATED = 1e4


def lstm(
    x: Tensor, lengths: Tensor, weights: Sequence[Tensor], h0: Tensor, c0: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`harken.engine.op.ragged_lstm`; ``lengths`` on the CPU and not all 0, ``weights`` in its order."""
    size, ends = x.size(1), lengths.numpy()
    fused_inference = x.dtype == torch.float32 and not torch.is_grad_enabled()
    spans = cut(ends, h0.size(-1), INFERENCE_BYTES if fused_inference else KEPT_BYTES)
    if ends.min() == size:
        pieces, h, c = _lstm_spans(_time_first(x, reverse), spans, weights, h0, c0)
        return _batch_first(pieces, reverse), h, c

    layout = plan(ends, spans, size, reverse, x.device)
    table = _gather_inputs(x, layout.read)  # (N, D)
    if layout.padding is not None:
        table = torch.cat([table, layout.padding.to(x.dtype).unsqueeze(-1)], dim=-1)  # (N, D + 1)
        w_ih, *others = weights
        freeze = w_ih.new_zeros(4, h0.size(-1))  # (4, H)
        freeze[0], freeze[1] = -SATURATED, SATURATED  # gates i, f
        weights = [torch.cat([w_ih, freeze.view(-1, 1)], dim=-1), *others]  # (4H, D + 1)
    h, c = (s if layout.order is None else s.index_select(0, layout.order) for s in (h0, c0))
    pieces, _, c = _lstm_spans(table, spans, weights, h, c)
    c_n = c if layout.place is None else c.index_select(0, layout.place)
    return *_gather_outputs(pieces, h0, layout, size), c_n


def gru(x: Tensor, lengths: Tensor, weights: Sequence[Tensor], h0: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """As :func:`harken.engine.op.ragged_gru`; without a cell, each row's last h is all there is to find."""
    size, ends = x.size(1), lengths.numpy()
    spans = cut(ends, h0.size(-1), KEPT_BYTES)
    if ends.min() == size:
        pieces, h = _gru_spans(_time_first(x, reverse), spans, weights, h0)
        return _batch_first(pieces, reverse), h

    layout = plan(ends, spans, size, reverse, x.device)
    table = _gather_inputs(x, layout.read)  # (N, D)
    h = h0 if layout.order is None else h0.index_select(0, layout.order)
    pieces, _ = _gru_spans(table, spans, weights, h)
    return _gather_outputs(pieces, h0, layout, size)


def _lstm_spans(
    table: Tensor, spans: list[Span], weights: Sequence[Tensor], h: Tensor, c: Tensor
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The fused kernel, span after span: outputs (t, w, H) of each, the last one's h (w, H), every row's c (B, H)."""
    pieces: list[Tensor] = []
    finished: list[Tensor] = []
    for piece, (_, _, width) in zip(_split(table, spans), spans, strict=True):
        finished.append(c[width:])  # rows that ended before this span
        state = [h[:width].unsqueeze(0), c[:width].unsqueeze(0)]  # (1, w, H) each
        # train=True whenever a gradient may be asked for: "eval mode" must still give one.
        outputs, h, c = torch.lstm(piece, state, list(weights), True, 1, 0.0, torch.is_grad_enabled(), False, False)
        h, c = h.squeeze(0), c.squeeze(0)  # (w, H)
        pieces.append(outputs)
    return pieces, h, c if len(spans) == 1 else torch.cat([c, *reversed(finished)])


def _gru_spans(table: Tensor, spans: list[Span], weights: Sequence[Tensor], h: Tensor) -> tuple[list[Tensor], Tensor]:
    """As :func:`_lstm_spans`, for a GRU: outputs (t, w, H) of each, the last one's h (w, H)."""
    pieces: list[Tensor] = []
    for piece, (_, _, width) in zip(_split(table, spans), spans, strict=True):
        outputs, h = torch.gru(
            piece, h[:width].unsqueeze(0), list(weights), True, 1, 0.0, torch.is_grad_enabled(), False, False
        )
        h = h.squeeze(0)  # (w, H)
        pieces.append(outputs)
    return pieces, h


def _split(table: Tensor, spans: list[Span]) -> list[Tensor]:
    """The table of steps (N, D), or the whole batch time first (T, B, D), as one rectangle (t, w, D) per span."""
    if len(spans) == 1:
        return [table.reshape(-1, spans[0].width, table.size(-1))]
    table = table.reshape(-1, table.size(-1))  # (N, D)
    sizes = [(stop - start) * width for start, stop, width in spans]
    pieces = torch.split_with_sizes(table, sizes)
    return [piece.view(-1, span.width, table.size(-1)) for piece, span in zip(pieces, spans, strict=True)]


def _time_first(x: Tensor, reverse: bool) -> Tensor:
    x = x.transpose(0, 1)  # (T, B, D)
    return x.flip(0) if reverse else x


def _batch_first(pieces: list[Tensor], reverse: bool) -> Tensor:
    outputs = pieces[0] if len(pieces) == 1 else torch.cat(pieces)  # (T, B, H)
    return (outputs.flip(0) if reverse else outputs).transpose(0, 1)  # (B, T, H)


def _gather_inputs(x: Tensor, read: Tensor) -> Tensor:
    """``x`` (B, T, D) → the table of steps (N, D), with zeros for padding."""
    features = x.size(-1)
    table = torch.cat([x.reshape(-1, features), x.new_zeros(1, features)])  # (B * T + 1, D)
    return table.index_select(0, read)


def _gather_outputs(pieces: list[Tensor], h0: Tensor, layout: Plan, size: int) -> tuple[Tensor, Tensor]:
    """What the kernel wrote, (t, w, H) per span → outputs (B, T, H), exactly 0 on padding, and h_n (B, H)."""
    batch, hidden = h0.shape
    table = torch.cat([*(piece.flatten(0, 1) for piece in pieces), h0, h0.new_zeros(1, hidden)])  # (N + B + 1, H)
    found = table.index_select(0, layout.write)  # (B * T + B, H)
    # h_n is a copy: a state that is carried on must not keep all outputs alive, nor change with them.
    return found[:-batch].view(batch, size, hidden), found[-batch:].clone()
