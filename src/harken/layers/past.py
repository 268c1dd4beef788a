"""Attention of every step over the steps before it, with a memory that is carried from window to window.

A text is read in windows. A step looks back at the last `memory_length` steps, wherever a window begins: those before
the window stand in the memory. All steps of a window attend in one masked product: no loop over time.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from harken.errors import ShapeError, UsageError
from harken.layers.attention import build_attention

PastScore = Literal["dot", "scaled-dot", "general", "additive"]


class Memory(NamedTuple):
    """The last steps of each row: of its M slots the last `lengths[b]` are real, the newest last, and the rest is 0.

    States (B, M, H) and lengths (B,) int64, 0 ≤ length ≤ M.
    """

    states: Tensor
    lengths: Tensor


class PastOutput(NamedTuple):
    """Context (B, T, H), weights (B, T, M + T) over [memory; window], and the memory for the next window."""

    context: Tensor
    weights: Tensor
    memory: Memory


def past_mask(
    lengths: Tensor | None, memory_lengths: Tensor, steps: int, memory_length: int, *, include_current: bool = False
) -> Tensor:
    """Which of [memory; window] each step of a window may look at: (B, T, M + T) bool.

    Step t stands at place M + t. It may look at the M places before it, and at itself with `include_current`, as far as
    they are real; a step of padding looks at nothing.

    Args:
        lengths: (B,) int64, of the window's rows; None: `steps` each.
        memory_lengths: (B,) int64.
        steps: T.
        memory_length: M.
        include_current: whether a step sees itself.
    """
    places = torch.arange(memory_length + steps, device=memory_lengths.device)  # (M + T,)
    step = torch.arange(steps, device=memory_lengths.device).unsqueeze(-1)  # (T, 1)
    near = (places >= step) & (places < step + memory_length + include_current)  # (T, M + T): a band
    written = places >= memory_length - memory_lengths.unsqueeze(-1)  # (B, M + T): a new memory has empty slots
    mask = near & written.unsqueeze(1)  # (B, T, M + T)
    return mask if lengths is None else mask & (step < lengths.view(-1, 1, 1))


class PastAttention(nn.Module):
    """Every step attends to the `memory_length` steps before it: its context is a mixture of them.

    Daniluk et al. 2017, section 2.1, where an LSTM's outputs are keys and values; scores as `build_attention` has them.
    A text in one pass equals the same text in any windows, each with the memory of the one before.
    Differs from the paper: the memory reaches over the window's edge, and the context is left to the caller to join.

    A window takes (B, T, M + T) scores, of which M per step count: read long texts in windows of about M steps.

    Args:
        size: H, of the states: query, keys and values are the same.
        score: "dot", "scaled-dot", "general" or "additive" (Luong et al. 2015, equation 8).
        memory_length: M, how many steps a step looks back.
        include_current: whether a step sees itself too. The future it never sees.

    Raises:
        UsageError: an option outside its range.
    """

    def __init__(
        self, size: int, *, score: PastScore = "dot", memory_length: int = 100, include_current: bool = False
    ) -> None:
        super().__init__()
        if memory_length < 1:
            raise UsageError(f"memory_length ({memory_length}) must be at least 1")
        if score not in get_args(PastScore):
            raise UsageError(f"score ({score!r}) must be dot, scaled-dot, general or additive")
        self.size = size
        self.memory_length = memory_length
        self.include_current = include_current
        self.attention = build_attention(score, size, size)

    def empty_memory(self, batch: int, like: Tensor) -> Memory:
        """The memory of `batch` rows that have read nothing, with the dtype and device of `like`."""
        states = like.new_zeros(batch, self.memory_length, self.size)
        return Memory(states, torch.zeros(batch, dtype=torch.int64, device=like.device))

    def forward(self, states: Tensor, lengths: Tensor | None = None, memory: Memory | None = None) -> PastOutput:
        """Look back from every step.

        Args:
            states: (B, T, H), right-padded, as a recurrent layer returns them.
            lengths: (B,) int64, 0 ≤ length ≤ T; default: T each.
            memory: what the window before returned; default: empty. A zero-length row keeps its memory.

        Returns:
            Context and weights, both 0 where there is nothing to look at: at a text's first step (but with
            `include_current`) and on padding. Weights are exactly 0 where a step may not look. The memory comes with
            its graph: training detaches it between windows, as it does the recurrent state.

        Raises:
            ShapeError: a tensor whose rank or size does not fit.
        """
        if states.dim() != 3 or states.shape[-1] != self.size:
            raise ShapeError(f"states {tuple(states.shape)} must be (B, T, {self.size}) for size ({self.size})")
        batch, steps = states.shape[:2]
        if memory is None:
            memory = self.empty_memory(batch, states)
        self._check(batch, lengths, memory)

        lengths = None if lengths is None else lengths.to(states.device)
        written = memory.lengths.to(states.device)
        seen = torch.cat([memory.states, states], 1)  # (B, M + T, H)
        mask = past_mask(lengths, written, steps, self.memory_length, include_current=self.include_current)
        context, weights = self.attention(states, seen, mask=mask)  # (B, T, H), (B, T, M + T)
        return PastOutput(context, weights, self._remember(seen, lengths, written))

    def _remember(self, seen: Tensor, lengths: Tensor | None, written: Tensor) -> Memory:
        """The last M real steps of each row of [memory; window]."""
        steps = seen.shape[1] - self.memory_length
        if lengths is None:
            return Memory(seen[:, steps:], (written + steps).clamp(max=self.memory_length))
        places = lengths.unsqueeze(-1) + torch.arange(self.memory_length, device=seen.device)  # (B, M)
        last = seen.gather(1, places.unsqueeze(-1).expand(-1, -1, self.size))  # (B, M, H)
        return Memory(last, (written + lengths).clamp(max=self.memory_length))

    def _check(self, batch: int, lengths: Tensor | None, memory: Memory) -> None:
        if lengths is not None and lengths.shape != (batch,):
            raise ShapeError(f"lengths {tuple(lengths.shape)} must be (B,) with the states' B ({batch})")
        wanted = (batch, self.memory_length, self.size)
        if memory.states.shape != wanted or memory.lengths.shape != (batch,):
            raise ShapeError(
                f"memory {tuple(memory.states.shape)}, {tuple(memory.lengths.shape)} must be (B, M, H), (B,) = "
                f"{wanted}, ({batch},): give the one that the window before returned"
            )

    def extra_repr(self) -> str:
        """What `print` shows, as in torch."""
        return f"{self.size}, memory_length={self.memory_length}, include_current={self.include_current}"
