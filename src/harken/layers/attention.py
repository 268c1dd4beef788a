"""Attention modules: (query, keys) → (context, weights), by five scores.

Query (B, T, Q), or (B, Q) for a single step, whose T axis is then absent from the result too; keys (B, S, K);
values (B, S, V), by default the keys. Weights are exactly 0 where the mask is False, and a query
without a single real key gets weights 0 and context 0. The mathematics is in `harken.layers.scores`.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.errors import ShapeError, UsageError
from harken.layers.scores import (
    Activation,
    Attended,
    additive_scores,
    attend,
    dot_attend,
    dot_scores,
    masked_softmax,
)

__all__ = [
    "AdditiveAttention",
    "Attended",
    "AttentionLayer",
    "DotAttention",
    "GeneralAttention",
    "MultiHeadAttention",
    "attend",
    "build_attention",
    "masked_softmax",
]


class AttentionLayer(nn.Module):
    """What all attention modules share: sizes, checks, and (B, Q) as one step of (B, T, Q).

    A subclass gives `look`.

    Attributes:
        query_size: Q.
        key_size: K.
        output_size: length of a context vector when the values are the keys.
    """

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__()
        for name, size in (("query_size", query_size), ("key_size", key_size)):
            if size < 1:
                raise UsageError(f"{name} ({size}) must be at least 1")
        self.query_size = query_size
        self.key_size = key_size
        self.output_size = key_size

    def look(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Attended:
        """`forward` for queries (B, T, Q), with shapes checked, values given and the mask on their device."""
        raise NotImplementedError

    def forward(
        self, query: Tensor, keys: Tensor, values: Tensor | None = None, mask: Tensor | None = None
    ) -> Attended:
        """Look at the keys, take from the values.

        Args:
            query: (B, T, Q) or (B, Q).
            keys: (B, S, K).
            values: (B, S, V); default: the keys.
            mask: (B, S) or, for a query (B, T, Q), (B, T, S); bool, True = real, on any device; default: all
                keys are real.

        Returns:
            Context (B, T, V) and weights (B, T, S) — (B, heads, T, S) from `MultiHeadAttention` —
            without the T axis when the query has none.

        Raises:
            ShapeError: a tensor whose rank or size does not fit.
        """
        values = keys if values is None else values
        if query.dim() not in (2, 3) or query.shape[-1] != self.query_size:
            raise ShapeError(
                f"query {tuple(query.shape)} must be (B, T, Q) or (B, Q) with Q = query_size ({self.query_size})"
            )
        if keys.dim() != 3 or keys.shape[-1] != self.key_size or keys.shape[0] != query.shape[0]:
            raise ShapeError(
                f"keys {tuple(keys.shape)} must be (B, S, K) with the query's B ({query.shape[0]}) "
                f"and K = key_size ({self.key_size})"
            )
        if values.dim() != 3 or values.shape[:2] != keys.shape[:2]:
            raise ShapeError(
                f"values {tuple(values.shape)} must be (B, S, V) with the keys' (B, S) {tuple(keys.shape[:2])}"
            )
        if mask is not None:
            mask = mask.to(query.device)
        if query.dim() == 3:
            return self.look(query, keys, values, mask)
        context, weights = self.look(query.unsqueeze(1), keys, values, mask)  # (B, 1, V), (B, 1, S)
        return Attended(context.squeeze(1), weights.squeeze(-2))  # (B, V), (B, S)


class DotAttention(AttentionLayer):
    """Score = ⟨query, key⟩, divided by √size when scaled; no parameters. See `dot_scores`."""

    def __init__(self, size: int, *, scaled: bool = False) -> None:
        super().__init__(size, size)
        self.scaled = scaled

    def look(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Attended:
        """`forward` for queries (B, T, Q), with shapes checked, values given and the mask on their device."""
        return dot_attend(query, keys, values, mask, scaled=self.scaled)


class GeneralAttention(AttentionLayer):
    """Score = ⟨W query, key⟩: query and key may differ in size.

    Luong et al. 2015, section 3.1, "general".
    """

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.query = nn.Linear(query_size, key_size, bias=False)
        nn.init.xavier_uniform_(self.query.weight)

    def look(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Attended:
        """`forward` for queries (B, T, Q), with shapes checked, values given and the mask on their device."""
        return dot_attend(self.query(query), keys, values, mask)


class AdditiveAttention(AttentionLayer):
    """Score = ⟨v, tanh(W_q query + W_k key + b)⟩. See `additive_scores`.

    The tanh of every pair is held at once, (B, T, S, H): the price of the only score here that is no product.
    """

    def __init__(self, query_size: int, key_size: int, hidden_size: int, activation: Activation = "tanh") -> None:
        super().__init__(query_size, key_size)
        if activation not in ("tanh", "none"):
            raise UsageError(f"activation ({activation!r}) must be 'tanh' or 'none'")
        self.activation: Activation = activation
        self.query = nn.Linear(query_size, hidden_size, bias=False)
        self.key = nn.Linear(key_size, hidden_size)
        self.energy = nn.Linear(hidden_size, 1, bias=False)
        for linear in (self.query, self.key, self.energy):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.key.bias)

    def look(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Attended:
        """`forward` for queries (B, T, Q), with shapes checked, values given and the mask on their device."""
        q, k, v = self.query.weight, self.key.weight, self.energy.weight[0]
        return attend(additive_scores(query, keys, q, k, self.key.bias, v, self.activation), values, mask)


class MultiHeadAttention(AttentionLayer):
    """`num_heads` scaled dot attentions side by side, each in its own projection of query, keys and values.

    Vaswani et al. 2017, section 3.2.2. The context has the query's size, Q; weights are (B, heads, T, S), never
    averaged. Differs from torch: batch-first always; mask True = real; a query without a real key gives 0, not
    NaN; dropout acts on the weights that make the context, and those returned are from before it: they sum to 1.

    Raises:
        UsageError: num_heads does not divide query_size.
    """

    def __init__(
        self,
        query_size: int,
        key_size: int,
        num_heads: int,
        *,
        value_size: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__(query_size, key_size)
        if num_heads < 1 or query_size % num_heads:
            raise UsageError(f"num_heads ({num_heads}) must divide query_size ({query_size})")
        self.value_size = key_size if value_size is None else value_size
        self.output_size = query_size
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(query_size, query_size, bias=bias)
        self.key = nn.Linear(key_size, query_size, bias=bias)
        self.value = nn.Linear(self.value_size, query_size, bias=bias)
        self.output = nn.Linear(query_size, query_size, bias=bias)
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
            if bias:
                nn.init.zeros_(linear.bias)

    def _heads(self, x: Tensor) -> Tensor:
        size = self.output_size // self.num_heads
        return x.reshape(*x.shape[:2], self.num_heads, size).transpose(1, 2)  # (B, T, Q) -> (B, heads, T, size)

    def look(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Attended:
        """`forward` for queries (B, T, Q), with shapes checked, values given and the mask on their device."""
        if values.shape[-1] != self.value_size:
            raise ShapeError(f"values {tuple(values.shape)} must be (B, S, V) with V = value_size ({self.value_size})")
        if mask is None:
            mask = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device)  # (B, S)
        scores = dot_scores(self._heads(self.query(query)), self._heads(self.key(keys)), scaled=True)
        weights = masked_softmax(scores, mask)  # (B, heads, T, S)
        heads = F.dropout(weights, self.dropout, self.training) @ self._heads(self.value(values))
        context = self.output(heads.transpose(1, 2).flatten(-2))  # (B, heads, T, size) -> (B, T, Q)
        sees = mask.any(-1, keepdim=True)  # (B, 1), or (B, T, 1) with a mask for every query
        sees = sees if mask.dim() == 3 else sees.unsqueeze(-1)  # (B, T, 1)
        return Attended(context.masked_fill(~sees, 0.0), weights)  # else output.bias would answer for nothing

    @classmethod
    def from_torch(cls, source: nn.MultiheadAttention) -> Self:
        """A copy of torch's module, weights included; `batch_first` is dropped, ours always is.

        Raises:
            UsageError: the module has bias_k, bias_v or add_zero_attn: keys that nobody put in.
        """
        if source.bias_k is not None or source.bias_v is not None or source.add_zero_attn:
            raise UsageError(
                "nn.MultiheadAttention with add_bias_kv or add_zero_attn attends to keys that nobody put in: "
                "build it without"
            )
        biases = source.in_proj_bias
        module = cls(
            source.embed_dim,
            source.kdim or source.embed_dim,
            source.num_heads,
            value_size=source.vdim or source.embed_dim,
            dropout=source.dropout,
            bias=biases is not None,
        ).to(source.out_proj.weight)
        if source.in_proj_weight is not None:
            weights = source.in_proj_weight.chunk(3)
        else:  # torch keeps three matrices when the sizes of query, key and value differ
            weights = (source.q_proj_weight, source.k_proj_weight, source.v_proj_weight)
        projections = (module.query, module.key, module.value)
        with torch.no_grad():
            for linear, weight in zip(projections, weights, strict=True):
                linear.weight.copy_(weight)
            module.output.weight.copy_(source.out_proj.weight)
            if biases is not None:
                for linear, bias in zip(projections, biases.chunk(3), strict=True):
                    linear.bias.copy_(bias)
                module.output.bias.copy_(source.out_proj.bias)
        return module.train(source.training)


def build_attention(score: str, query_size: int, key_size: int, num_heads: int = 1) -> AttentionLayer:
    """The attention module of a config's name; `num_heads` counts for multi-head only.

    The additive score's hidden size is `query_size`.

    Raises:
        UsageError: an unknown name, or sizes that the score cannot compare.
    """
    match score:
        case "dot" | "scaled-dot":
            if query_size != key_size:
                raise UsageError(
                    f"score={score} needs query_size ({query_size}) equal to key_size ({key_size}): "
                    "take general or additive"
                )
            return DotAttention(key_size, scaled=score == "scaled-dot")
        case "general":
            return GeneralAttention(query_size, key_size)
        case "additive":
            return AdditiveAttention(query_size, key_size, query_size)
        case "multi-head":
            return MultiHeadAttention(query_size, key_size, num_heads)
    raise UsageError(f"score ({score!r}) must be dot, scaled-dot, general, additive or multi-head")
