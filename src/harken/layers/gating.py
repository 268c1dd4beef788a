"""A gate over the features of each step, which some write-ups call self-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harken.errors import ShapeError, UsageError
from harken.layers.masks import mask_from_lengths


class GatedAttention(nn.Module):
    """s_t = [h_t ; g_t], g_t = softmax(W₂ tanh(W₁ h_t + b₁) + b₂), the softmax over the features of the step.

    It is no attention over time: each step is looked at alone, and there are no weights over steps. Attention over the
    gated steps is what the poolings `gated` and `gated-query` add.

    From write-ups of a CNN and an LSTM that label pictures. Differs from the attention whose form it has (Lin et al.
    2017, equation 6): the softmax is over features in the place of steps, there are biases, and what it gives is put
    beside the state, not multiplied with it.

    Args:
        size: of a step.
        hidden_size: rows of W₁; default: size.

    Attributes:
        output_size: 2 · size.

    Raises:
        UsageError: an option outside its range.
    """

    def __init__(self, size: int, hidden_size: int | None = None) -> None:
        super().__init__()
        hidden_size = size if hidden_size is None else hidden_size
        for name, value in (("size", size), ("hidden_size", hidden_size)):
            if value < 1:
                raise UsageError(f"{name} ({value}) must be at least 1")
        self.size = size
        self.output_size = 2 * size
        self.hidden = nn.Linear(size, hidden_size)
        self.gate = nn.Linear(hidden_size, size)
        for linear in (self.hidden, self.gate):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def join(self, outputs: Tensor, mask: Tensor) -> Tensor:
        """`forward` with shapes checked and the mask (B, T) on the outputs' device."""
        gates = torch.softmax(self.gate(torch.tanh(self.hidden(outputs))), dim=-1)  # (B, T, size)
        steps = torch.cat([outputs, gates], dim=-1)  # (B, T, 2 * size)
        return steps.masked_fill(~mask.unsqueeze(-1), 0.0)  # a gate of padding is not 0 by itself

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """The steps with their gates beside them.

        Args:
            outputs: (B, T, size), right-padded.
            lengths: (B,) int64, 0 ≤ length ≤ T.

        Returns:
            (B, T, 2 · size), exactly 0 on padding.

        Raises:
            ShapeError: outputs or lengths that do not fit.
        """
        if outputs.dim() != 3 or outputs.shape[-1] != self.size or lengths.shape != outputs.shape[:1]:
            raise ShapeError(
                f"outputs {tuple(outputs.shape)} and lengths {tuple(lengths.shape)} must be (B, T, {self.size}) and "
                f"(B,) for size ({self.size})"
            )
        return self.join(outputs, mask_from_lengths(lengths.to(outputs.device), outputs.shape[1]))
