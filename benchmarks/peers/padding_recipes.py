"""The classic recipes, as tutorials and answers have them, and the two that are right: modules of (x, lengths).

Each has one fault; the rest of it is done right, so that the fault is what is found. Where the LSTM is called without
packing (a dense call), that is the fault: it has read the padding in whatever is taken from it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from benchmarks.peers.padding_cases import SIZE, UNITS, Checked, report_all, zero_where_empty
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Recipe(nn.Module):
    """A bidirectional LSTM and what the recipes share."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(SIZE, UNITS, batch_first=True, bidirectional=True)
        self.score = nn.Linear(2 * UNITS, 1)
        self.attention = nn.MultiheadAttention(2 * UNITS, 2, batch_first=True)

    def packed(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, T, 2H), 0 on padding, and h_n (2, B, H), both right; an empty row is read as one step, 0."""
        x = x * (lengths > 0).reshape(-1, 1, 1)
        packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        outputs, (h, _) = self.lstm(packed)
        padded = pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])[0]
        return padded * real(x, lengths).unsqueeze(2), h * (lengths > 0).unsqueeze(1)


def real(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, T), True = real."""
    return torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)


class LastColumn(Recipe):
    """The last column of a padded batch."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        return self.lstm(x)[0][:, -1]


class StateAfterPads(Recipe):
    """The final state of a padded batch."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        return torch.cat(self.lstm(x)[1][0].unbind(0), 1)


class ReshapedState(Recipe):
    """(2, B, H) reshaped to (B, 2H): the halves of different rows, side by side."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        return self.packed(x, lengths)[1].reshape(len(x), -1)


class SumOfDense(Recipe):
    """Sum over all columns of a padded batch."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        return self.lstm(x)[0].sum(1)


class MeanOverPads(Recipe):
    """Mean over all columns, of outputs that are right and 0 on padding."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        return self.packed(x, lengths)[0].mean(1)


class MaxOverPads(Recipe):
    """Maximum over all columns: the zeros of padding win over what is negative."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        return self.packed(x, lengths)[0].amax(1)


class AttentionPool(Recipe):
    """Attention pooling with a softmax of some kind."""

    def weigh(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Scores and mask (B, T) → weights (B, T)."""
        raise NotImplementedError

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) → (B, 2H), weights (B, T)."""
        outputs = self.packed(x, lengths)[0]
        weights = self.weigh(self.score(outputs).squeeze(2), real(x, lengths))
        return (weights.unsqueeze(1) @ outputs).squeeze(1), weights


class UnmaskedSoftmax(AttentionPool):
    """The softmax over all columns."""

    def weigh(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Scores and mask (B, T) → weights (B, T)."""
        return scores.softmax(1)


class SoftmaxOverTheBatch(AttentionPool):
    """The softmax over the rows; masked."""

    def weigh(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Scores and mask (B, T) → weights (B, T)."""
        return scores.masked_fill(~mask, -1e30).softmax(0) * mask


class MinusInfinity(AttentionPool):
    """Masked with −∞: an empty row is 0 / 0."""

    def weigh(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Scores and mask (B, T) → weights (B, T)."""
        return scores.masked_fill(~mask, -torch.inf).softmax(1)


class SelfAttention(Recipe):
    """Multi-head self-attention, then the mean over real steps; `key_padding_mask` is given, and that is all."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        outputs, mask = self.packed(x, lengths)[0], real(x, lengths)
        seen = self.attention(outputs, outputs, outputs, key_padding_mask=~mask)[0]
        return (seen * mask.unsqueeze(2)).sum(1) / lengths.clamp(min=1).unsqueeze(1)


class BatchSecond(Recipe):
    """nn.MultiheadAttention without `batch_first`, fed (B, T, D): every row looks at the other rows, padding masked."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(2 * UNITS, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        outputs, mask = self.packed(x, lengths)[0], real(x, lengths)
        padding = ~mask.T & mask.any(0).unsqueeze(1)  # (T, B); a column that is padding in all rows would be 0 / 0
        seen = self.attention(outputs, outputs, outputs, key_padding_mask=padding)[0]
        return (seen * mask.unsqueeze(2)).sum(1) / lengths.clamp(min=1).unsqueeze(1)


class Squeezed(Recipe):
    """One logit for each row, and a `squeeze()` that does not name its axis."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B,), or () for a batch of one."""
        return self.score(torch.cat(self.packed(x, lengths)[1].unbind(0), 1)).squeeze()


class Packed(Recipe):
    """As PyTorch's documentation has it, and the state put together by direction."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return torch.cat(self.lstm(packed)[1][0].unbind(0), 1)


class PackedAndEmpty(Recipe):
    """The same, and empty rows are taken care of by hand."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        return torch.cat(self.packed(x, lengths)[1].unbind(0), 1)


class Normed(Recipe):
    """BatchNorm over the channels of all columns, before a packed LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(SIZE)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 2H)."""
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return zero_where_empty(torch.cat(self.packed(x, lengths)[1].unbind(0), 1), lengths)


RECIPES: dict[str, type[Recipe]] = {
    "output[:, -1]": LastColumn,
    "h_n without packing": StateAfterPads,
    "h_n.reshape(B, -1), packed": ReshapedState,
    "sum over a dense call's columns": SumOfDense,
    "mean over all columns, packed": MeanOverPads,
    "maximum over all columns, packed": MaxOverPads,
    "attention pooling, softmax unmasked": UnmaskedSoftmax,
    "attention pooling, softmax over the batch": SoftmaxOverTheBatch,
    "attention pooling, masked with -inf": MinusInfinity,
    "nn.MultiheadAttention, batch-second": BatchSecond,
    "nn.MultiheadAttention, key_padding_mask": SelfAttention,
    "one logit, squeeze()": Squeezed,
    "nn.LSTM packed": Packed,
    "nn.LSTM packed, empty rows by hand": PackedAndEmpty,
    "BatchNorm in front, eval mode": Normed,
}


def models() -> Iterator[Checked]:
    """All recipes, and BatchNorm once more as it is while it learns."""
    for name, recipe in RECIPES.items():
        yield Checked(name, recipe())
    learning = Normed().double().train()
    parameters = dict(learning.named_parameters())
    yield Checked("BatchNorm in front, training mode", lambda x, lengths: learning(x, lengths), parameters=parameters)


if __name__ == "__main__":
    report_all(torch.__version__, models)
