"""The mathematics of attention, without parameters: scores, their masked softmax, the weighted sum.

A mask is bool, True = real: (B, S) over the keys, as `harken.layers.masks.mask_from_lengths` makes it, or (B, T, S)
when every query has keys of its own. What stands in the padding of keys and values may be anything finite.
All T queries are scored in one batched product: no loop over time, in training as at a single step.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from harken.errors import ShapeError

Activation = Literal["tanh", "none"]

HELD = 1 << 24
"""Most values of additive attention's (B, T, S, H) that are held at once: 64 MiB in float32, where a batch of pages
would take gigabytes."""


class Attended(NamedTuple):
    """What attention returns: context (B, T, V), weights (B, T, S) or, from several heads, (B, heads, T, S)."""

    context: Tensor
    weights: Tensor


def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax over the last axis, among real positions only.

    Args:
        scores: (B, ..., S), of any rank from 2.
        mask: bool, True = real, on any device; (B, S), or (B, T, S) for scores (B, T, S) and (B, heads, T, S). Axes
            that it lacks are inserted after B.

    Returns:
        Weights like `scores`: ≥ 0, exactly 0 where the mask is False, summing to 1 over the rest. Where
        nothing is real all are 0, and the gradient is 0, never NaN.

    Raises:
        ShapeError: a mask that is not bool, or that does not fit the scores.
    """
    if mask is None:
        return F.softmax(scores, dim=-1)
    padding = ~_fit(mask, scores)
    # The lowest finite number, not -inf: a row of -inf is NaN. The second fill makes zeros exact.
    weights = F.softmax(scores.masked_fill(padding, torch.finfo(scores.dtype).min), dim=-1)
    return weights.masked_fill(padding, 0.0)


def attend(scores: Tensor, values: Tensor, mask: Tensor | None = None) -> Attended:
    """Weigh values by the masked softmax of scores.

    Args:
        scores: (B, S), (B, T, S) or (B, heads, T, S).
        values: (B, S, V), or (B, heads, S, V) with heads.
        mask: as in `masked_softmax`.

    Returns:
        Context (B, V), (B, T, V) or (B, heads, T, V), and weights in the shape of the scores.
    """
    weights = masked_softmax(scores, mask)
    if scores.dim() == 2:
        return Attended((weights.unsqueeze(1) @ values).squeeze(1), weights)  # (B, V)
    return Attended(weights @ values, weights)  # (B, T, V)


def dot_attend(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, *, scaled: bool = False
) -> Attended:
    """`attend` by `dot_scores`, quicker: (B, T, K), (B, S, K), (B, S, V) → context (B, T, V), weights (B, T, S)."""
    device = query.device.type
    mixed = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if mixed or torch.compiler.is_compiling():
        return attend(dot_scores(query, keys, scaled=scaled), values, mask)
    if scaled:
        query = query / math.sqrt(keys.shape[-1])
    return Attended(*_DotAttend.apply(query, keys, None if values is keys else values, mask))  # type: ignore[no-untyped-call]


class _DotAttend(torch.autograd.Function):
    """Dot attention with its gradient written out (docs/equations.md).

    Autograd makes the largest tensor here, the gradient of the keys, twice, once of them transposed, adds the two, and
    passes over the mask again: a third of attention's time in training.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(query: Tensor, keys: Tensor, values: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        weights = masked_softmax(query @ keys.transpose(1, 2), mask)  # (B, T, S)
        return weights @ (keys if values is None else values), weights

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        query, keys, values, _ = inputs
        ctx.save_for_backward(query, keys, values, output[1])

    @staticmethod
    def backward(ctx: Any, d_context: Tensor, d_weights: Tensor) -> tuple[Tensor | None, ...]:
        query, keys, values, weights = ctx.saved_tensors
        with torch.autocast(query.device.type, enabled=False):  # as the forward pass was, see dot_attend
            d_weights = d_weights + d_context @ (keys if values is None else values).transpose(1, 2)  # (B, T, S)
            d_scores = weights * (d_weights - (weights * d_weights).sum(-1, keepdim=True))
            d_values = weights.transpose(1, 2) @ d_context  # (B, S, V)
            if values is None:  # they are the keys
                return d_scores @ keys, d_values.baddbmm_(d_scores.transpose(1, 2), query), None, None
            return d_scores @ keys, d_scores.transpose(1, 2) @ query, d_values, None


def dot_scores(query: Tensor, keys: Tensor, *, scaled: bool = False) -> Tensor:
    """⟨query, key⟩, divided by √K when scaled: (B, T, K), (B, S, K) → (B, T, S).

    Luong et al. 2015, section 3.1, "dot"; Vaswani et al. 2017, equation 1, when scaled.
    """
    if scaled:
        query = query / math.sqrt(keys.shape[-1])
    return query @ keys.transpose(-2, -1)  # (B, T, S)


def additive_scores(
    query: Tensor,
    keys: Tensor,
    query_weight: Tensor,
    key_weight: Tensor,
    bias: Tensor,
    score_weight: Tensor,
    activation: Activation = "tanh",
) -> Tensor:
    """⟨v, tanh(W_q query + W_k key + b)⟩: (B, T, Q), (B, S, K) → (B, T, S).

    W_q (H, Q), W_k (H, K), b (H), v (H). Bahdanau et al. 2015, appendix A.1.2, equation for a(s, h).
    Differs from the paper: there is a bias, and the tanh can be left out; what remains is linear, so
    the softmax cancels the query's share and every query looks at the same keys.
    """
    q, k = F.linear(query, query_weight), F.linear(keys, key_weight, bias)  # (B, T, H), (B, S, H)
    if activation == "none":  # v distributes over the sum: no (B, T, S, H) tensor
        return (q @ score_weight).unsqueeze(-1) + (k @ score_weight).unsqueeze(-2)  # (B, T, S)
    fits = max(1, HELD // max(1, q.numel()))  # keys whose tanh is held at once
    if k.shape[-2] <= fits or torch.compiler.is_compiling():
        return _tanh_scores(q, k, score_weight)
    # Long texts: piece by piece over the keys, the tanh computed again where its gradient is wanted.
    sizes = [min(fits, k.shape[-2] - start) for start in range(0, k.shape[-2], fits)]
    pieces = [
        checkpoint(_tanh_scores, q, piece, score_weight, use_reentrant=False, preserve_rng_state=False)
        for piece in torch.split_with_sizes(k, sizes, dim=-2)
    ]
    return torch.cat(pieces, dim=-1)  # (B, T, S)


def _tanh_scores(q: Tensor, k: Tensor, score_weight: Tensor) -> Tensor:
    """(B, T, H), (B, S, H) → (B, T, S), by way of (B, T, S, H)."""
    return torch.tanh(q.unsqueeze(-2) + k.unsqueeze(-3)) @ score_weight


def _fit(mask: Tensor, scores: Tensor) -> Tensor:
    """The mask with the scores' rank: (B, S) → (B, 1, S) or (B, 1, 1, S); (B, T, S) → (B, 1, T, S)."""
    if mask.dtype != torch.bool:
        raise ShapeError(f"mask has dtype {mask.dtype} but must be bool, True = real: compare it, as in mask != 0")
    if (
        not 2 <= mask.dim() <= scores.dim()
        or mask.shape[0] != scores.shape[0]
        or mask.shape[-1] != scores.shape[-1]
        or (mask.dim() > 2 and mask.shape[-2] not in (1, scores.shape[-2]))
    ):
        raise ShapeError(
            f"mask {tuple(mask.shape)} does not fit scores {tuple(scores.shape)}: "
            "give (B, S), or (B, T, S) for several queries"
        )
    while mask.dim() < scores.dim():
        mask = mask.unsqueeze(1)
    return mask.to(scores.device)
