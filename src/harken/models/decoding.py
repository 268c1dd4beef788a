"""From a model to an answer: greedy, beam search, sampling.

Each decoder only finds tokens, one step for all rows at a time, and stops when every row has met its end marker. The
attention of an answer is then read off one teacher-forced pass over it: streaming = batch makes the two the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from harken.config import DecodingConfig
from harken.layers.masks import mask_from_lengths
from harken.models.seq2seq import Memory, Seq2SeqModel

if TYPE_CHECKING:
    from harken.data.features import Tokenizer

PAD = 0


class Decoded(NamedTuple):
    """Answers of a batch."""

    tokens: Tensor  # (B, L) ids without begin and end marker, 0 after a row's end
    lengths: Tensor  # (B,) tokens of each row
    log_probability: Tensor  # (B,) of the answer, its end marker included
    weights: Tensor | None  # (B, L, S) or (B, heads, L, S): where the model looked when it wrote each token

    def ids(self) -> list[list[int]]:
        """Each row's tokens without padding."""
        return [ids[:n] for ids, n in zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)]

    def texts(self, tokenizer: Tokenizer) -> list[str]:
        """Each row's answer as text."""
        return [tokenizer.decode(ids) for ids in self.ids()]


class Chance:
    """Numbers to draw with, a stream for each row: what a row draws does not depend on the batch that it is in.

    Args:
        seed: of all streams.
        rows: (B,) what tells the rows of a batch apart, such as their place in the data.
    """

    _AHEAD = 64  # numbers of a stream that are drawn at once

    def __init__(self, seed: int, rows: Tensor) -> None:
        self._streams = [np.random.default_rng([seed, row]) for row in rows.tolist()]
        self._numbers = np.empty((len(self._streams), 0))
        self._used = 0

    def next(self) -> Tensor:
        """(B,) float64 numbers in [0, 1)."""
        if self._used == self._numbers.shape[1]:
            fresh = [stream.random(self._AHEAD) for stream in self._streams]
            self._numbers, self._used = np.reshape(fresh, (-1, self._AHEAD)), 0
        self._used += 1
        return torch.from_numpy(self._numbers[:, self._used - 1].copy())


class _Found(NamedTuple):
    tokens: Tensor  # (B, L), the end marker and anything after it replaced by 0
    lengths: Tensor  # (B,)
    log_probability: Tensor  # (B,)


@torch.no_grad()
def decode(
    model: Seq2SeqModel,
    source: Tensor,
    source_lengths: Tensor,
    config: DecodingConfig,
    *,
    bos_id: int,
    eos_id: int,
    max_length: int,
    with_weights: bool = False,
    chance: Chance | None = None,
) -> Decoded:
    """Write an answer for every row of (B, S) source ids.

    Args:
        model: in eval mode, or dropout is drawn.
        max_length: no answer is longer, in tokens: one that is as long must end there; `config.max_length` wins
            where it is given.
        with_weights: read the attention too (None for models without).
        chance: what to draw with when sampling; default: seed 0 and each row's place in the batch.
    """
    memory = model.encode(source, source_lengths)
    limit = config.max_length or max_length
    if config.decoder == "beam":
        found = beam(model, memory, bos_id, eos_id, limit, config.beam_size, config.length_penalty)
    elif config.decoder == "sample":
        chance = chance or Chance(0, torch.arange(len(source)))
        found = stepwise(model, memory, bos_id, eos_id, limit, config.temperature, chance)
    else:
        found = stepwise(model, memory, bos_id, eos_id, limit)
    weights = None
    if with_weights and model.attention is not None:
        first = found.tokens.new_full((len(found.tokens), 1), bos_id)
        said = torch.cat([first, found.tokens], dim=1)[:, : found.tokens.shape[1]]  # (B, L), before each token
        weights = model(source, source_lengths, said, found.lengths).weights
    return Decoded(*found, weights)


def stepwise(
    model: Seq2SeqModel,
    memory: Memory,
    bos_id: int,
    eos_id: int,
    max_length: int,
    temperature: float | None = None,
    chance: Chance | None = None,
) -> _Found:
    """Take the most probable token at each step or, with a temperature, draw from softmax(logits / temperature)."""
    batch = memory.mask.shape[0]
    state = model.start(memory)
    last = memory.mask.new_full((batch,), bos_id, dtype=torch.int64)
    done = memory.mask.new_zeros(batch)
    lengths, total = torch.zeros_like(last), memory.keys.new_zeros(batch)
    written: list[Tensor] = []
    for t in range(max_length + 1):
        if bool(done.all()):
            break
        logits, state, _ = model.step(last, state, memory)
        log_probabilities = logits.log_softmax(dim=-1)  # (B, V)
        choices = _allowed(log_probabilities, bos_id, eos_id, end=t == max_length)
        if temperature is None or chance is None:
            last = choices.argmax(dim=-1)
        else:
            last = _draw((choices / temperature).softmax(dim=-1), chance.next())
        total = total + log_probabilities.gather(1, last.unsqueeze(1)).squeeze(1).masked_fill(done, 0.0)
        done = done | (last == eos_id)
        last = last.masked_fill(done, PAD)
        lengths = lengths + ~done
        written.append(last)
    return _found(written, lengths, total)


def beam(
    model: Seq2SeqModel,
    memory: Memory,
    bos_id: int,
    eos_id: int,
    max_length: int,
    width: int,
    length_penalty: float,
) -> _Found:
    """Keep the `width` best beginnings of every row and answer with the best finished one.

    Best is the highest log-probability / length ** length_penalty, the end marker counted (Wu et al. 2016,
    equation 14). Differs from the paper: their lp is ((5 + length) / 6) ** alpha, and there is no coverage term.

    A hypothesis ends when its end marker is among the row's best `width` candidates, and a row when `width` of its
    hypotheses have ended: with width 1 this is greedy decoding. What has not ended after `max_length` tokens
    ends there.
    """
    batch = memory.mask.shape[0]
    first_beam = torch.arange(batch, device=memory.mask.device).unsqueeze(1) * width  # (B, 1) where a row's beams start
    expanded = _repeat(memory, width)  # every tensor (B · width, …)
    state = model.start(expanded)
    last = memory.mask.new_full((batch * width,), bos_id, dtype=torch.int64)
    tokens = last.new_zeros(batch, width, 0)  # grows by a column a step: a limit is no length
    scores = memory.keys.new_full((batch, width), -torch.inf)  # log-probability of each living hypothesis
    scores[:, 0] = 0.0  # one beginning; the other beams fill up from its candidates
    ended = last.new_zeros(batch)
    best = memory.keys.new_full((batch,), -torch.inf)  # length-normalised score of the best finished answer
    best_tokens, best_lengths, best_total = tokens[:, 0].clone(), ended.clone(), best.clone()
    for t in range(max_length + 1):
        if bool((ended >= width).all()):
            break
        logits, state, _ = model.step(last, state, expanded)
        log_probabilities = logits.log_softmax(dim=-1)  # (B · width, V)
        log_probabilities = _allowed(log_probabilities, bos_id, eos_id, end=t == max_length)
        vocabulary = log_probabilities.shape[-1]
        candidates = (scores.view(-1, 1) + log_probabilities).view(batch, -1)  # (B, width · V)
        values, places = candidates.topk(min(2 * width, candidates.shape[1]), dim=1)
        parents, chosen = places // vocabulary, places % vocabulary  # (B, ≤ 2 · width)
        ends = chosen == eos_id

        ending = ends[:, :width] & values[:, :width].isfinite() & (ended < width).unsqueeze(1)
        normalised = (values[:, :width] / (t + 1) ** length_penalty).masked_fill(~ending, -torch.inf)
        value, which = normalised.max(dim=1)
        better = value > best
        parent = _pick(tokens, parents.gather(1, which.unsqueeze(1))).squeeze(1)  # (B, t)
        best_tokens = torch.where(better.unsqueeze(1), parent, best_tokens)
        best_lengths = torch.where(better, t, best_lengths)
        best_total = torch.where(better, values.gather(1, which.unsqueeze(1)).squeeze(1), best_total)
        best = torch.where(better, value, best)
        ended = ended + ending.sum(dim=1)

        scores, kept = values.masked_fill(ends, -torch.inf).topk(width, dim=1)  # the living go on
        parents, chosen = parents.gather(1, kept), chosen.gather(1, kept)
        tokens = torch.cat([_pick(tokens, parents), chosen.unsqueeze(-1)], dim=-1)  # (B, width, t + 1)
        best_tokens = F.pad(best_tokens, (0, 1))  # (B, t + 1)
        state = state.select((first_beam + parents).flatten())
        last = chosen.flatten()
    longest = int(best_lengths.max()) if batch else 0
    real = mask_from_lengths(best_lengths, longest)
    return _Found(best_tokens[:, :longest].masked_fill(~real, PAD), best_lengths, best_total)


def _pick(tokens: Tensor, beams: Tensor) -> Tensor:
    """Some beams (B, n) of tokens (B, width, t) → (B, n, t)."""
    return tokens.gather(1, beams.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def _repeat(memory: Memory, width: int) -> Memory:
    """Every row `width` times, next to itself."""
    state = type(memory.state)(*(s.repeat_interleave(width, dim=1) for s in memory.state))
    return Memory(memory.keys.repeat_interleave(width, dim=0), memory.mask.repeat_interleave(width, dim=0), state)


def _draw(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """The id of (B, V) probabilities in whose share of [0, 1) each of (B,) numbers falls."""
    shares = probabilities.double().cumsum(dim=-1)  # (B, V)
    numbers = numbers.to(shares.device) * shares[:, -1]  # the shares end at 1 but for rounding
    drawn = torch.searchsorted(shares, numbers.unsqueeze(1), right=True).squeeze(1)
    return drawn.clamp(max=shares.shape[-1] - 1)


def _allowed(log_probabilities: Tensor, bos_id: int, eos_id: int, end: bool) -> Tensor:
    """(B, V) with −inf for what may not come next: padding and the begin marker; at the ``end``, all but its marker."""
    if end:
        only = torch.full_like(log_probabilities, -torch.inf)
        only[:, eos_id] = log_probabilities[:, eos_id]
        return only
    return log_probabilities.index_fill(-1, torch.tensor([PAD, bos_id], device=log_probabilities.device), -torch.inf)


def _found(written: list[Tensor], lengths: Tensor, total: Tensor) -> _Found:
    longest = int(lengths.max()) if len(lengths) else 0
    tokens = torch.stack(written, dim=1)[:, :longest] if longest else lengths.new_zeros(len(lengths), 0)
    return _Found(tokens, lengths, total)
