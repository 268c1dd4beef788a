"""A language model that looks back: which token comes next, from a recurrent state and from past ones.

    ids ─ embedding ─ recurrent layers ──┬───────── states ──────────┐
                                         ▼                           ▼
              memory of past states ─ attention ─── contexts ─── join ─ output layer ─ logits

The states of Merity, Keskar & Socher 2018 (weight drop, locked and embedding dropout, tied weights), and attention of
every step over those before it (Daniluk et al. 2017, section 2.1; the step itself is left out unless asked for).
Shapes: B streams of text, T steps of a window, M steps of memory, E embedding, H hidden, V vocabulary, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.config import LanguageModelConfig
from harken.layers.cross_entropy import linear_cross_entropy, token_log_probabilities
from harken.layers.masks import mask_from_lengths
from harken.layers.past import Memory, PastAttention
from harken.layers.recurrent import Recurrent
from harken.layers.regularization import embedding_dropout, locked_dropout
from harken.layers.state import GRUState, LSTMState


class TextState(NamedTuple):
    """Everything that one window hands to the next: nothing else of the text before it counts."""

    recurrent: LSTMState | GRUState  # each (layers, B, H)
    memories: tuple[Memory, ...]  # of every layer that is attended to

    def map(self, change: Callable[[Tensor], Tensor]) -> TextState:
        """The same with something done to every tensor of numbers; their lengths stay."""
        recurrent = type(self.recurrent)(*map(change, self.recurrent))
        return TextState(recurrent, tuple(Memory(change(m.states), m.lengths) for m in self.memories))

    def detach(self) -> TextState:
        """Without gradients: they reach back to the window's start, and what is known of the text further."""
        return self.map(Tensor.detach)


class LanguageModelOutput(NamedTuple):
    """What a window gives."""

    features: Tensor  # (B, T, E) what the output layer reads, 0 on padding
    state: TextState
    weights: tuple[Tensor, ...]  # of every layer that is attended to: (B, T, M + T), over memory and window


class LanguageModel(nn.Module):
    """Embedding, recurrent layers, attention over the past, output layer.

    Args:
        config: sizes, attention, regularisers.
        vocabulary: V, number of ids.
    """

    def __init__(self, config: LanguageModelConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        size, hidden = config.embedding_size, config.hidden_size
        every = config.attend_layers == "all"
        self.embedding = nn.Embedding(vocabulary, size)
        self.recurrent = Recurrent(
            size,
            hidden,
            cell=config.cell,
            num_layers=config.num_layers,
            combine="concat" if every else "last",
            dropout=config.dropout,
            locked_dropout=True,
            weight_dropout=config.weight_dropout,
        )
        attended = 0 if config.attention == "none" else config.num_layers if every else 1
        self.attentions = nn.ModuleList(
            PastAttention(
                hidden,
                score=config.attention,  # type: ignore[arg-type]  # none of them is "none"
                memory_length=config.memory_length,
                include_current=config.include_current,
            )
            for _ in range(attended)
        )
        joined = self.recurrent.output_size + hidden * attended
        # Without attention, and where the sizes are one, a state is what the output layer reads.
        self.join = nn.Linear(joined, size) if attended or joined != size else None
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.output = None if config.tied else nn.Parameter(torch.empty(vocabulary, size))
        for table in (self.embedding.weight, self.output):
            if table is not None:  # logits begin of one size, whatever E; for E = 400 about what the paper draws
                nn.init.normal_(table, std=size**-0.5)

    @property
    def attention_layers(self) -> list[PastAttention]:
        """Those that attend, from the bottom; of attend_layers=last one at most."""
        return [layer for layer in self.attentions if isinstance(layer, PastAttention)]

    @property
    def input_scale(self) -> float:
        """√E, which vectors are multiplied by where they are read (Vaswani et al. 2017, section 3.4).

        As the output layer wants them small, and recurrent layers of unit size: without it an epoch of the Penn
        Treebank ends at a perplexity of 260 instead of 187.
        """
        return math.sqrt(self.config.embedding_size)

    @property
    def output_weight(self) -> Tensor:
        """(V, E); tied, the embeddings themselves."""
        return self.embedding.weight if self.output is None else self.output

    def initial_state(self, batch: int) -> TextState:
        """Before any text: zeros, and nothing to remember."""
        recurrent, like = self.recurrent, self.bias
        zeros = like.new_zeros(recurrent.num_layers, batch, recurrent.hidden_size)
        state = LSTMState(zeros, zeros) if recurrent.cell == "lstm" else GRUState(zeros)
        return TextState(state, tuple(attention.empty_memory(batch, like) for attention in self.attention_layers))

    def forward(
        self, ids: Tensor, lengths: Tensor | None = None, state: TextState | None = None
    ) -> LanguageModelOutput:
        """Read a window of every stream.

        Args:
            ids: (B, T) int64, right-padded.
            lengths: (B,) int64; default: T each.
            state: where each stream was; default: at its beginning.

        A text read in windows, each with the state of the one before, equals one pass over it.
        """
        batch, steps = ids.shape
        if lengths is None:
            lengths = torch.full((batch,), steps, dtype=torch.int64, device=ids.device)
        if state is None:
            state = self.initial_state(batch)
        config, training = self.config, self.training
        x = self.embedding(ids) * self.input_scale  # (B, T, E)
        x = embedding_dropout(x, ids, len(self.bias), config.embedding_dropout, training)
        x = locked_dropout(x, config.input_dropout, training)
        outputs, recurrent = self.recurrent(x, lengths, state.recurrent)  # (B, T, H), or (B, T, layers · H)

        parts, memories, weights = [outputs], [], []
        attended = self._attended(outputs)
        for attention, memory, states in zip(self.attention_layers, state.memories, attended, strict=True):
            past = attention(states, lengths, memory)
            parts.append(past.context)
            memories.append(past.memory)
            weights.append(past.weights)
        features = self._joined(torch.cat(parts, dim=-1))  # (B, T, E)
        features = locked_dropout(features, config.dropout, training)
        features = features * mask_from_lengths(lengths, steps).unsqueeze(-1)
        return LanguageModelOutput(features, TextState(recurrent, tuple(memories)), tuple(weights))

    def logits(self, features: Tensor) -> Tensor:
        """(..., E) → (..., V)."""
        return F.linear(features, self.output_weight, self.bias)

    def loss(self, features: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
        """Sum of the negative log-likelihoods of the real targets (B, T), in nats, without holding their logits."""
        if bool((lengths == targets.shape[1]).all()):  # as in nearly every window: nothing to pick out
            features, targets = features.flatten(0, 1), targets.flatten()
        else:
            real = mask_from_lengths(lengths, targets.shape[1])
            features, targets = features[real], targets[real]
        return linear_cross_entropy(features, self.output_weight, self.bias, targets)

    def log_probabilities(self, features: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
        """Of each target (B, T), in nats; 0 on padding. No gradient."""
        real = mask_from_lengths(lengths, targets.shape[1])
        found = token_log_probabilities(features[real], self.output_weight, self.bias, targets[real])
        return torch.zeros(targets.shape, dtype=found.dtype, device=found.device).masked_scatter_(real, found)

    def _attended(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """The states of every layer that is attended to, (B, T, H) each."""
        return torch.split(outputs, self.config.hidden_size, dim=-1) if self.attentions else ()

    def _joined(self, joined: Tensor) -> Tensor:
        if self.join is None:
            return joined
        features: Tensor = self.join(joined)
        return torch.tanh(features) if self.config.join == "mlp" else features
