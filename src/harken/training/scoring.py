"""How good a sequence-to-sequence model is on rows whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from harken.layers.masks import mask_from_lengths
from harken.models.seq2seq import Seq2SeqModel, token_loss
from harken.predictor.seq2seq import decode_batch

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


class Scorer:
    """Adds up scores batch by batch.

    Args:
        tokenizer: of the targets.
        targets: the true answers, as text: an answer counts when its text is equal, so a token that the vocabulary
            does not know is never counted as right.
    """

    def __init__(self, tokenizer: Tokenizer, targets: Sequence[str], decoding: DecodingConfig, max_length: int) -> None:
        self.tokenizer, self.targets = tokenizer, targets
        self.decoding, self.max_length = decoding, max_length
        self.reset()

    def reset(self) -> None:
        """Forget everything added so far."""
        self._rows = self._right = self._tokens = self._right_tokens = 0
        self._loss = 0.0

    @torch.no_grad()
    def add(self, model: Seq2SeqModel, batch: Batch, seed: int = 0) -> dict[int, str]:
        """Score a batch and return what the model answered: row of the data → text."""
        assert batch.target_in is not None
        assert batch.target_out is not None
        assert batch.target_lengths is not None
        logits = model(batch.source, batch.source_lengths, batch.target_in, batch.target_lengths).logits
        real = mask_from_lengths(batch.target_lengths, batch.target_out.shape[1])  # (B, T)
        self._loss += float(token_loss(logits, batch.target_out, batch.target_lengths).double().sum())
        self._tokens += int(batch.target_lengths.sum())
        self._right_tokens += int(((logits.argmax(dim=-1) == batch.target_out) & real).sum())

        decoded = decode_batch(model, batch, self.tokenizer, self.decoding, self.max_length, seed)
        answers = dict(zip(batch.rows.tolist(), decoded.texts(self.tokenizer), strict=True))
        self._right += sum(text == self.targets[row] for row, text in answers.items())
        self._rows += len(answers)
        return answers

    def result(self) -> Scores:
        """Scores of everything added so far: at least one row."""
        loss = self._loss / self._tokens
        perplexity = math.exp(loss) if loss < 700 else math.inf
        return Scores(self._right / self._rows, self._right_tokens / self._tokens, loss, perplexity, self._rows)
