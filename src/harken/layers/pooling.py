"""From a row's steps to one vector: its final state, a sum, mean or maximum, or attention, which gives weights back.

Legend: outputs (B, T, size) of a recurrent layer, mask (B, T) True = real, final (B, size) the state at each row's own
end. What stands in the padding of outputs may be anything finite. An empty row gives vector 0 and weights 0.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from harken.errors import ShapeError, UsageError
from harken.layers.attention import MultiHeadAttention
from harken.layers.gating import GatedAttention
from harken.layers.masks import mask_from_lengths
from harken.layers.scores import Activation, Attended, attend, dot_attend
from harken.layers.state import State


class Pooled(NamedTuple):
    """One vector a row, and where it was taken from, if that is a question of more or less."""

    vector: Tensor  # (B, P)
    weights: Tensor | None  # (B, heads, T): ≥ 0, exactly 0 on padding, summing to 1 (empty row: 0)


def final_vector(state: State, num_directions: int) -> Tensor:
    """The last layer's final hidden states, (layers · directions, B, H) → (B, directions · H).

    Side by side: the forward direction's after a row's own last step, then the backward one's after its first. (A
    reshape of torch's (2, B, H) would put the halves of different rows together.)
    """
    return torch.cat(state.h[-num_directions:].unbind(0), dim=-1)


def sum_steps(outputs: Tensor, mask: Tensor) -> Tensor:
    """Σ over real steps: (B, T, size) → (B, size)."""
    return (mask.to(outputs.dtype).unsqueeze(1) @ outputs).squeeze(1)  # (B, 1, T) @ (B, T, size): one pass


def mean_steps(outputs: Tensor, mask: Tensor) -> Tensor:
    """Mean over real steps: (B, T, size) → (B, size), 0 for an empty row."""
    return sum_steps(outputs, mask) / mask.sum(1, keepdim=True).clamp(min=1)


def max_steps(outputs: Tensor, mask: Tensor) -> Tensor:
    """Maximum over real steps, channel by channel: (B, T, size) → (B, size), 0 for an empty row.

    Steps that share the maximum share its gradient.
    """
    if outputs.shape[1] == 0:
        return outputs.new_zeros(outputs.shape[0], outputs.shape[2])
    highest = outputs.masked_fill(~mask.unsqueeze(-1), torch.finfo(outputs.dtype).min).amax(1)  # (B, size)
    return highest.masked_fill(~mask.any(1, keepdim=True), 0.0)


class Pooling(nn.Module):
    """What all poolings share: sizes and checks. A subclass gives `pool`.

    Attributes:
        size: of an output step, and of the final state.
        output_size: P, of the vector.
    """

    def __init__(self, size: int, output_size: int | None = None) -> None:
        super().__init__()
        if size < 1:
            raise UsageError(f"size ({size}) must be at least 1")
        self.size = size
        self.output_size = size if output_size is None else output_size

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        """`forward` with shapes checked and the mask on the outputs' device."""
        raise NotImplementedError

    def forward(self, outputs: Tensor, lengths: Tensor, final: Tensor) -> Pooled:
        """One vector for each row.

        Args:
            outputs: (B, T, size), right-padded.
            lengths: (B,) int64, 0 ≤ length ≤ T.
            final: (B, size), from `final_vector`.

        Raises:
            ShapeError: a tensor that does not fit.
        """
        batch, size = outputs.shape[0], self.size
        if outputs.dim() != 3 or outputs.shape[-1] != size:
            raise ShapeError(f"outputs {tuple(outputs.shape)} must be (B, T, {size}) for size ({size})")
        if lengths.shape != (batch,) or final.shape != (batch, size):
            raise ShapeError(
                f"lengths {tuple(lengths.shape)} and final {tuple(final.shape)} must be ({batch},) and "
                f"({batch}, {size}) for outputs {tuple(outputs.shape)}"
            )
        return self.pool(outputs, mask_from_lengths(lengths.to(outputs.device), outputs.shape[1]), final)


class LastPooling(Pooling):
    """The final state, as it is: a summary that the recurrent layer itself has to keep."""

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        """`forward` with shapes checked and the mask on the outputs' device."""
        return Pooled(final, None)


class StepPooling(Pooling):
    """The sum, mean or maximum over a row's real steps."""

    def __init__(self, how: Literal["sum", "mean", "max"], size: int) -> None:
        super().__init__(size)
        if how not in ("sum", "mean", "max"):
            raise UsageError(f"how ({how!r}) must be 'sum', 'mean' or 'max'")
        self.how = how

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        """`forward` with shapes checked and the mask on the outputs' device."""
        reduce = {"sum": sum_steps, "mean": mean_steps, "max": max_steps}[self.how]
        return Pooled(reduce(outputs, mask), None)

    def extra_repr(self) -> str:
        """What `print` shows, as in torch."""
        return f"{self.how}, {self.size}"


class AttentionPooling(Pooling):
    """Each head asks one learnt question of every step: score_t = ⟨u, tanh(W h_t + b)⟩, vector = Σ_t softmax_t h_t.

    Yang et al. 2016, equations 5–7; Zhou et al. 2016, equations 9–11, have no W. Several heads, each with its own u,
    give their vectors side by side (Lin et al. 2017, section 2.1). Differs from them: no penalty for heads that look
    alike. With activation "none" W and b are left out: without the tanh, W and u are one map, and b is cancelled by
    the softmax.

    Args:
        size: of a step.
        num_heads: questions asked.
        hidden_size: rows of W; default: size.
        activation: "tanh" or "none".

    Raises:
        UsageError: an option outside its range.
    """

    def __init__(
        self, size: int, num_heads: int = 1, hidden_size: int | None = None, activation: Activation = "tanh"
    ) -> None:
        super().__init__(size, num_heads * size)
        hidden_size = size if hidden_size is None else hidden_size
        for name, value in (("num_heads", num_heads), ("hidden_size", hidden_size)):
            if value < 1:
                raise UsageError(f"{name} ({value}) must be at least 1")
        if activation not in ("tanh", "none"):
            raise UsageError(f"activation ({activation!r}) must be 'tanh' or 'none'")
        self.key = nn.Linear(size, hidden_size) if activation == "tanh" else None
        self.query = nn.Linear(size if self.key is None else hidden_size, num_heads, bias=False)
        nn.init.xavier_uniform_(self.query.weight)
        if self.key is not None:
            nn.init.xavier_uniform_(self.key.weight)
            nn.init.zeros_(self.key.bias)

    def look(self, outputs: Tensor, mask: Tensor) -> Attended:
        """Context (B, heads, size), a vector for each question, and weights (B, heads, T)."""
        keys = outputs if self.key is None else torch.tanh(self.key(outputs))  # (B, T, H)
        return attend(self.query(keys).transpose(1, 2), outputs, mask)

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        """`forward` with shapes checked and the mask on the outputs' device."""
        context, weights = self.look(outputs, mask)
        return Pooled(context.flatten(1), weights)  # (B, heads * size)


class QueryPooling(Pooling):
    """Dot attention with the final state as the query: which steps are like the summary? No parameters."""

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        """`forward` with shapes checked and the mask on the outputs' device."""
        context, weights = dot_attend(final.unsqueeze(1), outputs, outputs, mask)  # (B, 1, size), (B, 1, T)
        return Pooled(context.squeeze(1), weights)


class SelfAttentionPooling(Pooling):
    """Every step looks at every step by multi-head attention, then additive attention pools what they saw.

    Vaswani et al. 2017, section 3.2.2, then `AttentionPooling`. Differs from the paper: no residual connection and no
    norm, so a vector is made of steps in exact shares: the weights returned are those of the pooling times those of
    each self-attention head.

    Raises:
        UsageError: num_heads does not divide size.
    """

    def __init__(self, size: int, num_heads: int = 1, hidden_size: int | None = None) -> None:
        super().__init__(size)
        self.attention = MultiHeadAttention(size, size, num_heads)
        self.pooling = AttentionPooling(size, 1, hidden_size)

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        """`forward` with shapes checked and the mask on the outputs' device."""
        seen, looks = self.attention(outputs, outputs, mask=mask)  # (B, T, size), (B, heads, T, T)
        context, weights = self.pooling.look(seen, mask)  # (B, 1, size), (B, 1, T)
        return Pooled(context.squeeze(1), _through(looks, weights))


class SelfAttentionQueryPooling(Pooling):
    """Every step looks at every step by multi-head attention, then the final state asks what they saw.

    `SelfAttentionPooling` with `QueryPooling` in the place of additive attention, and its weights.

    Raises:
        UsageError: num_heads does not divide size.
    """

    def __init__(self, size: int, num_heads: int = 1) -> None:
        super().__init__(size)
        self.attention = MultiHeadAttention(size, size, num_heads)

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        """`forward` with shapes checked and the mask on the outputs' device."""
        seen, looks = self.attention(outputs, outputs, mask=mask)  # (B, T, size), (B, heads, T, T)
        context, weights = dot_attend(final.unsqueeze(1), seen, seen, mask)  # (B, 1, size), (B, 1, T)
        return Pooled(context.squeeze(1), _through(looks, weights))


def _through(looks: Tensor, weights: Tensor) -> Tensor:
    """Weights over what the steps saw, as shares of the steps: (B, heads, T, T), (B, 1, T) → (B, heads, T)."""
    return (weights.unsqueeze(1) @ looks).squeeze(2)  # (B, 1, 1, T) @ (B, heads, T, T)


class GatedPooling(Pooling):
    """Each step with its gate beside it, pooled by additive attention: `GatedAttention`, then `AttentionPooling`."""

    def __init__(self, size: int, hidden_size: int | None = None) -> None:
        super().__init__(size, 2 * size)
        self.gated = GatedAttention(size, hidden_size)
        self.pooling = AttentionPooling(2 * size, 1, size if hidden_size is None else hidden_size)

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        """`forward` with shapes checked and the mask on the outputs' device."""
        return self.pooling.pool(self.gated.join(outputs, mask), mask, final)


class GatedQueryPooling(Pooling):
    """The final state asks the steps, and is answered by the steps with their gates: keys h_t, values [h_t ; g_t].

    `GatedAttention`, then the dot attention of `QueryPooling`, in which write-ups of such models call the final state
    the target and the steps the source.
    """

    def __init__(self, size: int, hidden_size: int | None = None) -> None:
        super().__init__(size, 2 * size)
        self.gated = GatedAttention(size, hidden_size)

    def pool(self, outputs: Tensor, mask: Tensor, final: Tensor) -> Pooled:
        """`forward` with shapes checked and the mask on the outputs' device."""
        steps = self.gated.join(outputs, mask)  # (B, T, 2 * size)
        context, weights = dot_attend(final.unsqueeze(1), outputs, steps, mask)  # (B, 1, 2 * size), (B, 1, T)
        return Pooled(context.squeeze(1), weights)


def build_pooling(kind: str, size: int, num_heads: int = 1, hidden_size: int | None = None) -> Pooling:
    """The pooling of a config's name.

    Args:
        kind: last, sum, mean, max, attention, attention-linear (no tanh), query, self-attention, self-attention-query,
            gated or gated-query.
        size: of a step.
        num_heads: of attention, attention-linear, self-attention and self-attention-query; the others have none.
        hidden_size: of every tanh in attention, self-attention, gated and gated-query; default: size.

    Raises:
        UsageError: an unknown name, or an option outside its range.
    """
    match kind:
        case "last":
            return LastPooling(size)
        case "sum" | "mean" | "max":
            return StepPooling(kind, size)
        case "attention":
            return AttentionPooling(size, num_heads, hidden_size)
        case "attention-linear":
            return AttentionPooling(size, num_heads, activation="none")
        case "query":
            return QueryPooling(size)
        case "self-attention":
            return SelfAttentionPooling(size, num_heads, hidden_size)
        case "self-attention-query":
            return SelfAttentionQueryPooling(size, num_heads)
        case "gated":
            return GatedPooling(size, hidden_size)
        case "gated-query":
            return GatedQueryPooling(size, hidden_size)
    raise UsageError(
        f"pooling ({kind!r}) must be last, sum, mean, max, attention, attention-linear, query, self-attention, "
        "self-attention-query, gated or gated-query"
    )
