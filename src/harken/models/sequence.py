"""Answers about sequences: a front end, recurrent layers, a pooling, heads; or heads at every step (tagging).

    inputs → front end → (convolution) → LSTM or GRU, stacked → pooling → (MLP) → heads
                                                             └──────── tags: no pooling ─┘

Shapes: B rows, T steps, F features of a step, H hidden, C classes; N pieces (sentences, distinct words) of L steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from harken.config import InputKind, SequenceModelConfig
from harken.data.batching import ModelInputs
from harken.data.labels import Head
from harken.errors import UsageError
from harken.layers.convolution import MaskedConv1d, MaskedConv2d
from harken.layers.local import LocalLinear
from harken.layers.masks import mask_from_lengths
from harken.layers.pooling import Pooling, build_pooling, final_vector, mean_steps
from harken.layers.recurrent import Recurrent
from harken.layers.regularization import dropout
from harken.layers.residual import ResidualNetwork
from harken.layers.spectrogram import LogMelSpectrogram
from harken.models.convolutional import PictureFrontend, SpectrogramFrontend
from harken.models.frontends import Frontend, SentenceFrontend, SeriesFrontend, TokenFrontend, WordFrontend
from harken.models.heads import Heads

Value = TypeVar("Value")


class SequenceOutput(NamedTuple):
    """What a model says of a batch, and where it looked."""

    logits: dict[str, Tensor]  # by head: (B, width), or of tags (B, T, C), exactly 0 on padding
    weights: Tensor | None  # (B, heads, T), of poolings that attend
    piece_weights: Tensor | None  # (N, heads, L), the same of each sentence
    lengths: Tensor  # (B,) int64, steps of each row behind the front end: cells of a picture, frames of a recording


class SequenceModel(nn.Module):
    """One model for every kind of input and answer.

    Args:
        config: the shape, settled for the kind of input.
        kind: what a row is.
        heads: what is answered, at least one; all tags, or none.
        vocabulary: number of token ids, for text, ids, words and sentences.
        width: channels, for series and vectors; frequencies, for spectrograms.
        spectrogram: makes frames of recordings, for audio.
        backbone: reads pictures instead of a `ResidualNetwork`, for image; see `PictureFrontend`.
        characters: number of character ids, for words that are spelled; 0: words alone.
        unknown_id: the token id of what training rows never held; None where nothing can be unknown.

    Raises:
        UsageError: an option that is not settled, or outside its range.
    """

    def __init__(
        self,
        config: SequenceModelConfig,
        kind: InputKind,
        heads: Sequence[Head],
        *,
        vocabulary: int = 0,
        width: int = 0,
        characters: int = 0,
        unknown_id: int | None = 1,
        spectrogram: LogMelSpectrogram | None = None,
        backbone: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.kind: InputKind = kind
        self.dropout = _settled(config.dropout, "dropout")
        channels, hidden = _settled(config.convolution, "convolution"), _settled(config.mlp_size, "mlp_size")

        self.frontend: Frontend
        if kind == "image":
            self.frontend = _pictures(config, backbone)
        elif kind in ("audio", "spectrogram"):
            self.frontend = _sound(config, width, spectrogram)
        else:
            self.frontend = _frontend(config, kind, vocabulary, width, characters, unknown_id or 0)
        size = self.frontend.output_size
        self.convolution = None
        if channels:
            self.convolution = MaskedConv1d(size, channels, _settled(config.kernel_size, "kernel_size"))
            size = channels
        self.recurrent = _recurrent(config, size) if _settled(config.num_layers, "num_layers") else None
        # The gradient of what only the pooling can tell apart reaches a picture's convolutions in fewer steps so.
        self.skip = config.skip and kind == "image" and self.recurrent is not None
        if self.recurrent is not None:
            size = self.recurrent.output_size + (size if self.skip else 0)
        self.pooling = None
        if all(head.kind != "tags" for head in heads):
            self.pooling = _pooling(config, size)
            size = self.pooling.output_size
        self.mlp = nn.Linear(size, hidden) if hidden else None
        self.heads = Heads(hidden or size, heads)

    def forward(self, inputs: ModelInputs) -> SequenceOutput:
        """Logits of every head."""
        return self.forward_embedded(self.embed(inputs), inputs)

    def embed(self, inputs: ModelInputs) -> Tensor:
        """What attributions are made to: vectors of tokens, standardised numbers; (B, T, ·), of sentences (N, L, ·)."""
        return self.frontend.embed(inputs)

    def forward_embedded(self, x: Tensor, inputs: ModelInputs) -> SequenceOutput:
        """`forward` from what `embed` gave, or something near it; of the inputs only lengths and index are read."""
        x, piece_weights, lengths = self.frontend.encode(x, inputs)  # (B, T, F)
        if self.convolution is not None:
            x = self.convolution(x, lengths)
        outputs, final = self._read(dropout(x, self.dropout, self.training), lengths)  # (B, T, H), (B, H)
        features, weights = outputs, None
        if self.pooling is not None:
            features, weights = self.pooling(outputs, lengths, final)
        features = dropout(features, self.dropout, self.training)
        if self.mlp is not None:
            features = dropout(torch.relu(self.mlp(features)), self.dropout, self.training)
        logits = self.heads(features)  # (B, C), or (B, T, C)
        if self.pooling is None:
            padding = ~mask_from_lengths(lengths.to(x.device), x.shape[1]).unsqueeze(-1)  # (B, T, 1)
            logits = {name: value.masked_fill(padding, 0.0) for name, value in logits.items()}
        return SequenceOutput(logits, weights, piece_weights, lengths)

    def _read(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Steps through the recurrent layers: what the pooling sees of each, and what stands for the row's end."""
        if self.recurrent is None:
            return x, x.new_zeros(x.shape[::2])  # no pooling that asks for an end is built then
        outputs, state = self.recurrent(x, lengths)  # (B, T, H)
        final = final_vector(state, self.recurrent.num_directions)  # (B, H)
        if self.skip:
            mean = mean_steps(x, mask_from_lengths(lengths.to(x.device), x.shape[1]))  # (B, F)
            return torch.cat([outputs, x], -1), torch.cat([final, mean], -1)
        return outputs, final


def _settled(value: Value | None, name: str) -> Value:
    """An option that a recipe has filled in."""
    if value is None:
        raise UsageError(f"{name} (None) must have a value before a model is built: take run.settled(kind).model")
    return value


def _recurrent(config: SequenceModelConfig, size: int) -> Recurrent:
    return Recurrent(
        size,
        _settled(config.hidden_size, "hidden_size"),
        cell=config.cell,
        num_layers=_settled(config.num_layers, "num_layers"),
        bidirectional=_settled(config.bidirectional, "bidirectional"),
        dropout=_settled(config.dropout, "dropout"),
    )


def _pooling(config: SequenceModelConfig, size: int) -> Pooling:
    return build_pooling(_settled(config.pooling, "pooling"), size, config.num_heads)


def _local(config: SequenceModelConfig, width: int) -> LocalLinear:
    if width % config.local_size:
        fits = [size for size in range(2, width + 1) if width % size == 0] or [1]
        *most, last = sorted(sorted(fits, key=lambda size: abs(size - config.local_size))[:6])  # the nearest
        sizes = f"{', '.join(map(str, most))} or {last}" if most else str(last)
        raise UsageError(
            f"local_size ({config.local_size}) must divide {width}, the values of a step, of which the last would not "
            f"be seen: take {sizes}"
        )
    return LocalLinear(width, config.local, config.local_size)


def _pictures(config: SequenceModelConfig, backbone: nn.Module | None) -> Frontend:
    """Cells of a picture's feature map."""
    network = ResidualNetwork(config.cnn, stages=config.cnn_layers) if backbone is None else backbone
    return PictureFrontend(network, cells=config.cells, flip=config.flip, shift=config.shift, jitter=config.jitter)


def _sound(config: SequenceModelConfig, width: int, spectrogram: LogMelSpectrogram | None) -> Frontend:
    """Frames of a spectrogram, or of recordings."""
    width = width if spectrogram is None else spectrogram.output_size
    if width >> config.cnn_layers < 1:
        raise UsageError(
            f"cnn_layers ({config.cnn_layers}) halve the {width} frequencies so often that none is left: "
            f"take at most {max(width.bit_length() - 1, 0)}"
        )
    sizes = [1] + [config.cnn] * config.cnn_layers
    convolutions = [MaskedConv2d(before, after) for before, after in pairwise(sizes)]
    return SpectrogramFrontend(width, convolutions, spectrogram, augment=config.spec_augment)


def _frontend(
    config: SequenceModelConfig, kind: InputKind, vocabulary: int, width: int, characters: int, unknown: int
) -> Frontend:
    """The front end of a kind of input; sentences are read by layers of the same shape as the document."""
    if kind in ("series", "vectors"):
        return SeriesFrontend(width, _local(config, width) if config.local else None)
    channels = _settled(config.embedding_dropout, "embedding_dropout")
    tokens = TokenFrontend(
        vocabulary,
        _settled(config.embedding_size, "embedding_size"),
        embedding_dropout=0.0 if kind == "words" else channels,
        word_dropout=_settled(config.word_dropout, "word_dropout"),
        rare_word_dropout=_settled(config.rare_word_dropout, "rare_word_dropout"),
        unknown=unknown,
    )
    match kind:
        case "words":
            if not characters:
                return WordFrontend(tokens, embedding_dropout=channels)
            spelling = Recurrent(config.character_size, config.character_hidden, cell=config.cell, bidirectional=True)
            return WordFrontend(
                tokens, TokenFrontend(characters, config.character_size), spelling, embedding_dropout=channels
            )
        case "sentences":
            reader = _recurrent(config, tokens.output_size)
            pooling = _pooling(config, reader.output_size)
            return SentenceFrontend(tokens, reader, pooling, dropout=_settled(config.dropout, "dropout"))
        case _:
            return tokens
