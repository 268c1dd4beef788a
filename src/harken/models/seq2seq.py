"""Sequence to sequence: an encoder reads the source, a decoder writes the target.

    source ids ─ embedding ─ encoder ──┬── final state (bridge) ──┐
                                       │                          ▼
                                       │     target ids ─ embedding ─ decoder ──┬── h ──┐
                                       │                                        ▼       ▼
                                       └── keys = values ────────────────── attention ─ output layer ─ logits

`plain` has no attention (Sutskever et al. 2014), `peeky` shows the encoder's final h to the decoder and to the
output layer at every step (the context c of Cho et al. 2014, section 2.2), `attention` looks back from every
decoder output (Luong et al. 2015, section 3.1). Shapes: B batch, S source time,
T target time, H hidden, V target vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.config import Seq2SeqConfig
from harken.layers.attention import build_attention
from harken.layers.masks import mask_from_lengths
from harken.layers.recurrent import Recurrent
from harken.layers.state import GRUState, LSTMState


class Memory(NamedTuple):
    """What the decoder may know of a source."""

    keys: Tensor  # (B, S, K) encoder outputs, also the values of attention
    mask: Tensor  # (B, S) True = real
    state: LSTMState | GRUState  # the decoder's initial state, each (layers, B, H)


class DecoderState(NamedTuple):
    """Everything that one decoding step hands to the next."""

    recurrent: LSTMState | GRUState
    feed: Tensor | None  # (B, H) the last attentional vector, with input feeding

    def select(self, rows: Tensor) -> DecoderState:
        """The state of some batch rows, in a new order: beam search calls this."""
        recurrent = type(self.recurrent)(*(s.index_select(1, rows) for s in self.recurrent))
        return DecoderState(recurrent, None if self.feed is None else self.feed.index_select(0, rows))


class Seq2SeqOutput(NamedTuple):
    """Teacher-forced answer of the whole model."""

    logits: Tensor  # (B, T, V), 0 on padding
    weights: Tensor | None  # (B, T, S) or (B, heads, T, S), 0 on padding of either axis


class StepOutput(NamedTuple):
    """One decoding step."""

    logits: Tensor  # (B, V)
    state: DecoderState
    weights: Tensor | None  # (B, S) or (B, heads, S)


class Bridge(nn.Module):
    """Final states of a bidirectional encoder → initial state of the decoder.

    Forward and backward state of a layer are concatenated and mapped linearly, h and c each by its own map
    (Bahdanau et al. 2015, appendix A.2.2). Differs from the paper: both directions, where it takes the backward one,
    and no tanh, since a cell state is not bounded by 1.
    """

    def __init__(self, hidden_size: int, states: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(2 * hidden_size, hidden_size) for _ in range(states))

    def forward(self, state: LSTMState | GRUState) -> LSTMState | GRUState:
        """(layers · 2, B, H) → (layers, B, H)."""
        joined = []
        for part, linear in zip(state, self.maps, strict=True):
            directions = part.view(len(part) // 2, 2, *part.shape[1:])  # (layers, 2, B, H)
            joined.append(linear(torch.cat(directions.unbind(1), dim=-1)))  # (layers, B, H)
        return type(state)(*joined)


class Seq2SeqModel(nn.Module):
    """Encoder, decoder and what joins them.

    Args:
        config: kind, sizes and attention.
        source_vocabulary, target_vocabulary: number of ids on either side.
    """

    def __init__(self, config: Seq2SeqConfig, source_vocabulary: int, target_vocabulary: int) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_size
        attends, peeks, feeds = config.kind == "attention", config.kind == "peeky", config.input_feeding

        def recurrent(input_size: int, bidirectional: bool) -> Recurrent:
            return Recurrent(
                input_size,
                hidden,
                cell=config.cell,
                num_layers=config.num_layers,
                bidirectional=bidirectional,
                dropout=config.dropout,
                combine=config.combine,
            )

        self.source_embedding = nn.Embedding(source_vocabulary, config.embedding_size)
        self.encoder = recurrent(config.embedding_size, config.bidirectional)
        self.bridge = Bridge(hidden, 2 if config.cell == "lstm" else 1) if config.bidirectional else None
        self.target_embedding = nn.Embedding(target_vocabulary, config.embedding_size)
        self.decoder = recurrent(config.embedding_size + hidden * (peeks + feeds), bidirectional=False)

        seen = self.decoder.output_size
        self.attention = None
        if attends:
            self.attention = build_attention(config.score, seen, self.encoder.output_size, config.num_heads)
            seen += self.attention.output_size
        elif peeks:
            seen += hidden
        self.attentional = nn.Linear(seen, hidden) if feeds else None
        self.output = nn.Linear(hidden if feeds else seen, target_vocabulary)

    def forward(
        self, source: Tensor, source_lengths: Tensor, target_in: Tensor, target_lengths: Tensor
    ) -> Seq2SeqOutput:
        """Teacher forcing: the logits of every next token, given the true ones before it.

        Args:
            source: (B, S) ids.
            source_lengths: (B,) int64.
            target_in: (B, T) ids, the begin marker first.
            target_lengths: (B,) int64, of target_in.
        """
        memory = self.encode(source, source_lengths)
        if self.config.input_feeding:
            features, weights = self._fed(target_in, memory)
        else:
            inputs = self._decoder_inputs(self.target_embedding(target_in), memory)  # (B, T, E …)
            outputs = self.decoder(inputs, target_lengths, memory.state).outputs  # (B, T, H)
            features, weights = self._features(outputs, memory)
        real = mask_from_lengths(target_lengths.to(target_in.device), target_in.shape[1])  # (B, T)
        logits = self._logits(features).masked_fill(~real.unsqueeze(-1), 0.0)  # (B, T, V)
        if weights is not None:
            rows = real.unsqueeze(1) if weights.dim() == 4 else real
            weights = weights.masked_fill(~rows.unsqueeze(-1), 0.0)
        return Seq2SeqOutput(logits, weights)

    def encode(self, source: Tensor, source_lengths: Tensor) -> Memory:
        """Read (B, S) ids once."""
        keys, state = self.encoder(self.source_embedding(source), source_lengths)
        if self.bridge is not None:
            state = self.bridge(state)
        return Memory(keys, mask_from_lengths(source_lengths.to(source.device), source.shape[1]), state)

    def start(self, memory: Memory) -> DecoderState:
        """The state before the first step."""
        feed = (
            memory.state.h[-1].new_zeros(memory.mask.shape[0], self.config.hidden_size)
            if self.config.input_feeding
            else None
        )
        return DecoderState(memory.state, feed)

    def step(self, tokens: Tensor, state: DecoderState, memory: Memory) -> StepOutput:
        """One token for every row: (B,) ids → (B, V) logits of the next one."""
        features, weights, state = self._step(self.target_embedding(tokens), state, memory)
        return StepOutput(self._logits(features), state, weights)

    def _step(
        self, embedded: Tensor, state: DecoderState, memory: Memory
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        inputs = embedded if state.feed is None else torch.cat([embedded, state.feed], dim=-1)
        inputs = self._decoder_inputs(inputs.unsqueeze(1), memory)  # (B, 1, E …)
        outputs, recurrent = self.decoder(inputs, None, state.recurrent)
        features, weights = self._features(outputs, memory)
        features = features.squeeze(1)  # (B, F)
        feed = features if self.attentional is not None else None
        return features, None if weights is None else weights.squeeze(-2), DecoderState(recurrent, feed)

    def _fed(self, target_in: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """Input feeding makes each step wait for the one before: the only loop over target steps here."""
        if target_in.shape[1] == 0:
            return self._features(memory.keys.new_zeros(len(target_in), 0, self.decoder.output_size), memory)
        state, features, weights = self.start(memory), list[Tensor](), list[Tensor]()
        for embedded in self.target_embedding(target_in).unbind(1):
            vector, looked, state = self._step(embedded, state, memory)
            assert looked is not None
            features.append(vector)
            weights.append(looked)
        return torch.stack(features, dim=1), torch.stack(weights, dim=-2)  # (B, T, H), (B, …, T, S)

    def _decoder_inputs(self, inputs: Tensor, memory: Memory) -> Tensor:
        """Join what every step is shown to (B, T, ·)."""
        if self.config.kind != "peeky":
            return inputs
        return torch.cat([inputs, self._peek(inputs.shape[1], memory)], dim=-1)

    def _peek(self, steps: int, memory: Memory) -> Tensor:
        return memory.state.h[-1].unsqueeze(1).expand(-1, steps, -1)  # (B, T, H)

    def _features(self, outputs: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """Decoder outputs (B, T, H) → what the output layer sees, and where it came from."""
        weights = None
        if self.attention is not None:
            context, weights = self.attention(outputs, memory.keys, mask=memory.mask)
            outputs = torch.cat([context, outputs], dim=-1)
        elif self.config.kind == "peeky":
            outputs = torch.cat([self._peek(outputs.shape[1], memory), outputs], dim=-1)
        if self.attentional is not None:
            outputs = torch.tanh(self.attentional(outputs))  # Luong et al. 2015, equation 5
        return outputs, weights

    def _logits(self, features: Tensor) -> Tensor:
        dropped = F.dropout(features, self.config.dropout, self.training) if self.config.dropout else features
        logits: Tensor = self.output(dropped)
        return logits


def token_loss(logits: Tensor, targets: Tensor, lengths: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Negative log-likelihood of every row's real targets: (B,), summed over the row's own steps.

    Args:
        logits: (B, T, V).
        targets: (B, T) ids.
        lengths: (B,) real steps of each row.
        label_smoothing: share of the target's probability that is spread over all V ids
            (Szegedy et al. 2016, section 7).
    """
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none", label_smoothing=label_smoothing)
    real = mask_from_lengths(lengths.to(targets.device), targets.shape[1])
    return losses.view_as(targets).masked_fill(~real, 0.0).sum(dim=1)
