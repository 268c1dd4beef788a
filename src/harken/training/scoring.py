"""How good a sequence-to-sequence model is on rows whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from harken.layers.masks import mask_from_lengths
from harken.models.decoding import decode
from harken.models.seq2seq import Seq2SeqModel, token_loss

if TYPE_CHECKING:
    from harken.config import DecodingConfig
    from harken.data.batching import Batch
    from harken.data.features import Tokenizer


class Scores(NamedTuple):
    """Means over a set of rows."""

    exact_match: float  # share of rows whose whole answer is right
    token_accuracy: float  # share of target tokens (end markers too) that are right, given the true ones before
    loss: float  # negative log-likelihood per target token, in nats
    perplexity: float  # exp(loss)
    rows: int


class Answers(NamedTuple):
    """Decoded texts of one batch, in the batch's order."""

    rows: list[int]  # where each row stands in the data
    texts: list[str]
    log_probability: Tensor  # (B,)


class Scorer(nn.Module):
    """Adds up scores batch by batch.

    Args:
        tokenizer: of the targets.
        targets: the true answers, as text: an answer counts when its text is equal, so a token that the vocabulary
            does not know is never counted as right.
    """

    def __init__(self, tokenizer: Tokenizer, targets: Sequence[str], decoding: DecodingConfig, max_length: int) -> None:
        super().__init__()
        self.tokenizer, self.targets = tokenizer, targets
        self.decoding, self.max_length = decoding, max_length
        # Every process scores all rows, so there is nothing to add up between them.
        self.exact_match, self.token_accuracy, self.loss = (MeanMetric(sync_on_compute=False) for _ in range(3))
        self.rows = 0

    @torch.no_grad()
    def add(self, model: Seq2SeqModel, batch: Batch, generator: torch.Generator | None = None) -> Answers:
        """Score a batch and return what the model answered."""
        assert batch.target_in is not None
        assert batch.target_out is not None
        assert batch.target_lengths is not None
        logits = model(batch.source, batch.source_lengths, batch.target_in, batch.target_lengths).logits
        real = mask_from_lengths(batch.target_lengths, batch.target_out.shape[1])  # (B, T)
        tokens = int(batch.target_lengths.sum())
        self.loss.update(token_loss(logits, batch.target_out, batch.target_lengths).sum() / tokens, weight=tokens)
        hits = (logits.argmax(dim=-1) == batch.target_out) & real
        self.token_accuracy.update(hits.sum() / tokens, weight=tokens)
        answers = answer(model, batch, self.tokenizer, self.decoding, self.max_length, generator)
        right = [text == self.targets[row] for row, text in zip(answers.rows, answers.texts, strict=True)]
        self.exact_match.update(sum(right) / len(right), weight=len(right))
        self.rows += len(right)
        return answers

    def result(self) -> Scores:
        """Scores of everything added so far."""
        loss = float(self.loss.compute())
        perplexity = math.exp(loss) if loss < 700 else math.inf
        exact_match, token_accuracy = float(self.exact_match.compute()), float(self.token_accuracy.compute())
        return Scores(exact_match, token_accuracy, loss, perplexity, self.rows)

    def reset(self) -> None:
        """Forget everything added so far."""
        for metric in (self.exact_match, self.token_accuracy, self.loss):
            metric.reset()
        self.rows = 0


def answer(
    model: Seq2SeqModel,
    batch: Batch,
    tokenizer: Tokenizer,
    decoding: DecodingConfig,
    max_length: int,
    generator: torch.Generator | None = None,
) -> Answers:
    """Decode one batch to text."""
    assert tokenizer.bos_id is not None
    assert tokenizer.eos_id is not None
    decoded = decode(
        model,
        batch.source,
        batch.source_lengths,
        decoding,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        max_length=max_length,
        generator=generator,
    )
    lengths = decoded.lengths.tolist()
    texts = [tokenizer.decode(ids[:n]) for ids, n in zip(decoded.tokens.tolist(), lengths, strict=True)]
    return Answers(batch.rows.tolist(), texts, decoded.log_probability)


def default_max_length(longest_target: int) -> int:
    """No answer is longer than this unless `max_length` says so."""
    return 2 * longest_target + 1
