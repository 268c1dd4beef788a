"""What makes training harder so that a model generalises: dropout of values, channels, weights, words and bands.

All are off outside training. Their masks are drawn per batch, the one place where a row's mates may matter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.errors import ShapeError, UsageError

_LEVELS = 1 << 16  # a random 64-bit number is four draws of 16 bits: a probability is met within 1 / 2 ** 17


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Values of ``x``, of any shape, are 0 with probability ``p``, and the rest is divided by 1 - p.

    Srivastava et al. 2014. Differs from torch: on the CPU it takes a fifth of the time, where PyTorch's own takes a
    fifth of a small LSTM's training step.

    Raises:
        UsageError: p outside 0 ≤ p < 1.
    """
    if not _drops(p, training):
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p)
    dropped = min(round(p * _LEVELS), _LEVELS - 1)  # levels of which nothing is kept
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    draws = bits.view(torch.int16)[: x.numel()].view(x.shape)
    kept = draws >= dropped - _LEVELS // 2
    return x * kept.to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))


def locked_dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Whole channels of a row are 0, the same ones at all its steps: (B, T, D) → (B, T, D).

    Gal & Ghahramani 2016, section 4. On embeddings a row loses the same coordinates of every word.

    Raises:
        UsageError: p outside 0 ≤ p < 1.
    """
    if not _drops(p, training):
        return x
    return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), p)  # (B, 1, D)


class WeightDrop(nn.Module):
    """Dropout of a weight, as a parametrisation: what the module uses is a function of its parameter.

    DropConnect: Wan et al. 2013; on the recurrent matrices of an LSTM: Merity et al. 2018, section 2.

        parametrize.register_parametrization(lstm_cell, "weight_hh", WeightDrop(0.5))

    A new mask is drawn whenever the weight is read; `torch.nn.utils.parametrize.cached()` around the steps of a window
    holds one. `Recurrent` has it built in (`weight_dropout`).

    Args:
        p: probability of dropping a value, when training; the rest is divided by 1 - p.

    Raises:
        UsageError: p outside 0 ≤ p < 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        _drops(p, self.training)
        self.p = p

    def forward(self, weight: Tensor) -> Tensor:
        """The weight of any shape, with values dropped when training."""
        return dropout(weight, self.p, self.training)

    def extra_repr(self) -> str:
        """What `print` shows, as in torch."""
        return f"p={self.p}"


def embedding_dropout(x: Tensor, ids: Tensor, vocabulary: int, p: float, training: bool) -> Tensor:
    """Whole words become 0 at all their places in the batch, and the rest is divided by 1 - p: (..., D) → (..., D).

    Gal & Ghahramani 2016, section 4.2; Merity et al. 2018, section 4.3: dropout of the rows of an embedding matrix,
    here of the vectors looked up in it, so that it costs what the batch looks up and not the vocabulary.

    Args:
        x: (..., D), the vectors of `ids`.
        ids: (...) int64.
        vocabulary: V, the number of ids.
        p: see above.
        training: False: nothing is dropped.

    Raises:
        ShapeError: x has no vector for each id.
        UsageError: p outside 0 ≤ p < 1.
    """
    if x.shape[:-1] != ids.shape:
        raise ShapeError(f"x {tuple(x.shape)} must be (..., D), a vector for each of the ids {tuple(ids.shape)}")
    if not _drops(p, training):
        return x
    keep = dropout(x.new_ones(vocabulary), p, training)  # (V,)
    return x * keep[ids].unsqueeze(-1)


def drop_words(ids: Tensor, mask: Tensor, p: float | Tensor, training: bool, unknown: int = 1) -> Tensor:
    """Real ids become ``unknown`` with probability ``p``: (B, T) → (B, T), padding as it was.

    Bowman et al. 2016, section 3.1, there in a decoder: a model learns to do without a word, and to meet unknown ones.

    Args:
        ids: (B, T) int64.
        mask: (B, T) bool, True = real.
        p: see above; or a probability for each id, (V,), such as `rare_word_rates` gives.
        training: False: nothing is dropped.
        unknown: the id of everything never seen.

    Raises:
        UsageError: p outside 0 ≤ p < 1.
    """
    if isinstance(p, Tensor):
        return ids.masked_fill((torch.rand(ids.shape, device=ids.device) < p[ids]) & mask, unknown) if training else ids
    if not _drops(p, training):
        return ids
    return ids.masked_fill((torch.rand(ids.shape, device=ids.device) < p) & mask, unknown)


def rare_word_rates(counts: Tensor, alpha: float) -> Tensor:
    """alpha / (alpha + n) for an id that training rows hold n times: (V,) → (V,).

    Kiperwasser & Goldberg 2016, section 3: rare words are dropped, frequent ones hardly ever, so the unknown id is
    learnt from words like those that will be unknown.
    """
    return alpha / (alpha + counts.clamp(min=1))


def spec_augment(
    x: Tensor,
    lengths: Tensor,
    training: bool,
    *,
    time_masks: int = 2,
    time_share: float = 0.2,
    frequency_masks: int = 2,
    frequency_share: float = 0.25,
) -> Tensor:
    """Stretches of time and bands of frequency become 0, in each row its own: (B, T, F) → (B, T, F).

    SpecAugment: Park et al. 2019, section 2; a mask's width is drawn evenly from 0 up to its most, then its place among
    those where it fits. After standardisation 0 is a feature's mean.

    Differs from the paper: no time warping, which cost it most and gained it least; a time mask is at most a share of
    the row's own length (the paper's bound p), and not also at most a number of steps.

    Args:
        x: (B, T, F).
        lengths: (B,) int64; no time mask reaches into the padding.
        training: False: nothing is masked.
        time_masks: stretches for each row; they may overlap.
        time_share: of the row's own length, the most that one stretch covers.
        frequency_masks: bands for each row, at all its steps; they may overlap.
        frequency_share: of F, the most that one band covers.

    Raises:
        ShapeError: x or lengths do not fit.
        UsageError: a share outside 0 ≤ share ≤ 1, or fewer masks than none.
    """
    if x.dim() != 3 or lengths.shape != x.shape[:1]:
        raise ShapeError(f"x {tuple(x.shape)} and lengths {tuple(lengths.shape)} must be (B, T, F) and (B,)")
    for name, count in (("time_masks", time_masks), ("frequency_masks", frequency_masks)):
        if count < 0:
            raise UsageError(f"{name} ({count}) must be at least 0")
    for name, share in (("time_share", time_share), ("frequency_share", frequency_share)):
        if not 0 <= share <= 1:
            raise UsageError(f"{name} ({share}) must be a share from 0 to 1")
    if not training:
        return x
    lengths = lengths.to(x.device)
    steps = _stretches(lengths, x.shape[1], time_masks, time_share)  # (B, T)
    bands = _stretches(torch.full_like(lengths, x.shape[2]), x.shape[2], frequency_masks, frequency_share)  # (B, F)
    return x.masked_fill(steps.unsqueeze(-1) | bands.unsqueeze(1), 0.0)


def _stretches(lengths: Tensor, size: int, count: int, share: float) -> Tensor:
    """(B, size) bool, True in ``count`` random stretches of the first ``lengths`` (B,) places of each row."""
    within = lengths.unsqueeze(-1)  # (B, 1)
    longest = (within * share).floor()
    width, start = torch.rand(2, len(lengths), count, device=lengths.device)  # (B, count) each
    width = (width * (longest + 1)).floor()
    start = (start * (within - width + 1)).floor()
    places = torch.arange(size, device=lengths.device)
    first, end = start.unsqueeze(-1), (start + width).unsqueeze(-1)  # (B, count, 1)
    inside: Tensor = (places >= first) & (places < end)  # (B, count, T)
    return inside.any(1)


def _drops(p: float, training: bool) -> bool:
    if not 0 <= p < 1:
        raise UsageError(f"p ({p}) must be a probability from 0 up to, not including, 1")
    return training and p > 0
