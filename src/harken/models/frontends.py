"""From a batch to the steps that recurrent layers read: tokens, numbers, words with characters, sentences.

Each front end has two halves. `embed` turns ids into vectors, or standardises numbers: smooth in its result, which is
where attributions start. `encode` makes steps of it: of sentences, which have a level of their own, and of numbers with
a local layer; what the others give are steps already. Legend: B rows, T steps, F features of a step; N pieces
(sentences, or distinct words), L steps of a piece.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from harken.data.batching import ModelInputs, Pieces
from harken.errors import ShapeError, UsageError
from harken.layers.local import LocalLinear
from harken.layers.masks import mask_from_lengths
from harken.layers.pooling import Pooling, final_vector
from harken.layers.recurrent import Recurrent
from harken.layers.regularization import drop_words, dropout, locked_dropout, rare_word_rates


class FrontendOutput(NamedTuple):
    """Steps, exactly 0 on padding, where the lower of two levels looked, and how many steps there are."""

    x: Tensor  # (B, T, F)
    weights: Tensor | None  # (N, heads, L)
    lengths: Tensor  # (B,) int64


class Frontend(nn.Module):
    """What all front ends share.

    Attributes:
        output_size: F.
    """

    def __init__(self, output_size: int) -> None:
        super().__init__()
        self.output_size = output_size

    def embed(self, inputs: ModelInputs) -> Tensor:
        """Inputs as vectors: (B, T, F), or of sentences (N, L, E)."""
        raise NotImplementedError

    def encode(self, x: Tensor, inputs: ModelInputs) -> FrontendOutput:
        """What `embed` gave, or something near it, as steps; of the inputs only lengths and index are read."""
        return FrontendOutput(x, None, inputs.lengths)

    def forward(self, inputs: ModelInputs) -> FrontendOutput:
        """`embed`, then `encode`."""
        return self.encode(self.embed(inputs), inputs)


class TokenFrontend(Frontend):
    """A vector for each id.

    Its gradient is dense, (V, E), unless training asks for a sparse one (`harken.training.optimizer`).

    Args:
        vocabulary: V, number of ids.
        size: E.
        embedding_dropout: probability of dropping a channel, see `locked_dropout`.
        word_dropout: probability of reading an id as unknown, see `drop_words`.
        rare_word_dropout: the alpha of `rare_word_rates`; acts once `count` was told how frequent every id is.
        std: standard deviation that the vectors are drawn with. A word seen once or twice keeps what it was drawn as;
            with torch's 1.0 that is louder than what is learned (SST-2: 5 points less).
        unknown: the id of what was never seen; where nothing can be unknown, 0 will do, which no real step has.

    Raises:
        UsageError: an empty vocabulary, or vectors without values.
    """

    rates: Tensor | None

    def __init__(
        self,
        vocabulary: int,
        size: int,
        *,
        embedding_dropout: float = 0.0,
        word_dropout: float = 0.0,
        rare_word_dropout: float = 0.0,
        std: float = 0.1,
        unknown: int = 1,
    ) -> None:
        super().__init__(size)
        for name, value in (("vocabulary", vocabulary), ("embedding size", size)):
            if value < 1:
                raise UsageError(f"{name} ({value}) must be at least 1")
        self.embedding = nn.Embedding(vocabulary, size)
        nn.init.normal_(self.embedding.weight, std=std)
        self.embedding_dropout = embedding_dropout
        self.word_dropout = word_dropout
        self.rare_word_dropout = rare_word_dropout
        self.register_buffer("rates", None, persistent=False)  # (V,), for training alone
        self.unknown = unknown

    def embed(self, inputs: ModelInputs) -> Tensor:
        """(B, T) ids → (B, T, E)."""
        mask = mask_of(inputs)
        ids = drop_words(inputs.values, mask, self.word_dropout, self.training, self.unknown)
        if self.rates is not None:
            ids = drop_words(ids, mask, self.rates, self.training, self.unknown)
        x = self.embedding(ids) * mask.unsqueeze(-1)  # (B, T, E); a product, as masked_fill takes three times as long
        return locked_dropout(x, self.embedding_dropout, self.training)

    def count(self, counts: Tensor) -> None:
        """How often training rows hold each id, (V,): what `rare_word_dropout` goes by.

        Raises:
            ShapeError: counts of another number.
        """
        if counts.shape != self.embedding.weight.shape[:1]:
            raise ShapeError(f"counts {tuple(counts.shape)} must be one for each of {len(self.embedding.weight)} ids")
        if self.rare_word_dropout:
            self.rates = rare_word_rates(counts.to(self.embedding.weight), self.rare_word_dropout)

    @torch.no_grad()
    def load_vectors(self, vectors: Tensor, *, freeze: bool = False) -> None:
        """Start from pretrained vectors (V, E), and with ``freeze`` leave them as they are.

        Raises:
            ShapeError: vectors of another shape.
        """
        weight = self.embedding.weight
        if vectors.shape != weight.shape:
            raise ShapeError(
                f"vectors {tuple(vectors.shape)} must be {tuple(weight.shape)}, one of embedding_size values for each "
                "id of the vocabulary"
            )
        weight.copy_(vectors)
        weight.requires_grad_(not freeze)


class SeriesFrontend(Frontend):
    """Numbers as they are, or standardised: (x - mean) / scale, channel by channel.

    Mean and scale are buffers: they are part of the saved model, and whoever runs it gives raw numbers.

    Args:
        width: D, channels.
        local: what every step's channels pass first, with a ReLU behind it; None: nothing.

    Raises:
        UsageError: no channel, or a layer for another number of them.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int, local: LocalLinear | None = None) -> None:
        super().__init__(width if local is None else local.output_size)
        if width < 1:
            raise UsageError(f"width ({width}) must be at least 1: a series needs a channel")
        if local is not None and local.in_features != width:
            raise UsageError(f"in_features ({local.in_features}) of the local layer must be {width}, the channels")
        self.width = width
        self.local = local
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    @torch.no_grad()
    def standardize(self, mean: Tensor, scale: Tensor) -> None:
        """Take over the mean and scale (D,) of the training rows.

        Raises:
            ShapeError: another number of channels.
            UsageError: a scale that is not above 0, such as the standard deviation of a constant: give 1 for it.
        """
        if mean.shape != self.mean.shape or scale.shape != self.scale.shape:
            raise ShapeError(
                f"mean {tuple(mean.shape)} and scale {tuple(scale.shape)} must be ({self.width},), one for each channel"
            )
        if not bool((scale > 0).all()):
            channel = int((~(scale > 0)).nonzero()[0])
            raise UsageError(
                f"scale ({float(scale[channel])}) of channel {channel} must be above 0: give 1 for a constant channel"
            )
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def embed(self, inputs: ModelInputs) -> Tensor:
        """(B, T, D) → (B, T, D)."""
        if inputs.values.dim() != 3 or inputs.values.shape[-1] != self.width:
            raise ShapeError(
                f"values {tuple(inputs.values.shape)} must be (B, T, {self.width}): "
                f"the model was built for {self.width} channels"
            )
        x = (inputs.values.to(self.mean.dtype) - self.mean) / self.scale
        return x.masked_fill(~mask_of(inputs).unsqueeze(-1), 0.0)

    def encode(self, x: Tensor, inputs: ModelInputs) -> FrontendOutput:
        """(B, T, D) → (B, T, F); of the inputs only lengths are read."""
        if self.local is None:
            return FrontendOutput(x, None, inputs.lengths)
        mask = mask_from_lengths(inputs.lengths.to(x.device), x.shape[1]).unsqueeze(-1)  # (B, T, 1)
        return FrontendOutput(
            torch.relu(self.local(x)).flatten(-2) * mask, None, inputs.lengths
        )  # a bias would not be 0 on padding


class WordFrontend(Frontend):
    """A vector for each word and, beside it, what a recurrent layer makes of its characters.

    Final states of both directions over a word's characters are joined to its vector (Lample et al. 2016, section
    4.1), so that a word never seen still says something. Characters are read once for each distinct word of the batch.

    Args:
        words: the words' vectors; its channels are not dropped, the joined ones are.
        characters: the characters' vectors, or None for words alone.
        recurrent: reads the characters; with them.
        embedding_dropout: probability of dropping a channel of the joined vectors.

    Raises:
        UsageError: one of characters and recurrent without the other.
    """

    def __init__(
        self,
        words: TokenFrontend,
        characters: TokenFrontend | None = None,
        recurrent: Recurrent | None = None,
        *,
        embedding_dropout: float = 0.0,
    ) -> None:
        if (characters is None) != (recurrent is None):
            raise UsageError("characters and recurrent must be given together, or neither")
        spelled = 0 if recurrent is None else recurrent.hidden_size * recurrent.num_directions
        super().__init__(words.output_size + spelled)
        self.words = words
        self.characters = characters
        self.recurrent = recurrent
        self.embedding_dropout = embedding_dropout

    def embed(self, inputs: ModelInputs) -> Tensor:
        """(B, T) ids of words, (N, L) ids of their characters → (B, T, F)."""
        x = self.words.embed(inputs)  # (B, T, E)
        if self.characters is not None and self.recurrent is not None:
            pieces = _pieces(inputs, "the characters of words")
            state = self.recurrent(self.characters.embed(_as_inputs(pieces)), pieces.lengths).state
            spelling = final_vector(state, self.recurrent.num_directions)  # (N, 2H)
            x = torch.cat([x, _gathered(spelling, pieces, inputs)], dim=-1)  # (B, T, E + 2H)
        return locked_dropout(x, self.embedding_dropout, self.training)


class SentenceFrontend(Frontend):
    """A vector for each sentence: its tokens are read by a recurrent layer and pooled (Yang et al. 2016, section 2.2).

    All sentences of a batch are read at once, as rows of their own, then put in their places.

    Args:
        tokens: the tokens' vectors.
        recurrent: reads the tokens.
        pooling: makes one vector of a sentence.
        dropout: probability of dropping a value of the tokens' vectors.
    """

    def __init__(self, tokens: TokenFrontend, recurrent: Recurrent, pooling: Pooling, *, dropout: float = 0.0) -> None:
        super().__init__(pooling.output_size)
        self.tokens = tokens
        self.recurrent = recurrent
        self.pooling = pooling
        self.dropout = dropout

    def embed(self, inputs: ModelInputs) -> Tensor:
        """(N, L) ids → (N, L, E)."""
        return self.tokens.embed(_as_inputs(_pieces(inputs, "sentences")))

    def encode(self, x: Tensor, inputs: ModelInputs) -> FrontendOutput:
        """(N, L, E) → (B, T, F)."""
        pieces = _pieces(inputs, "sentences")
        outputs, state = self.recurrent(dropout(x, self.dropout, self.training), pieces.lengths)  # (N, L, H)
        final = final_vector(state, self.recurrent.num_directions)
        vectors, weights = self.pooling(outputs, pieces.lengths, final)  # (N, F)
        return FrontendOutput(_gathered(vectors, pieces, inputs), weights, inputs.lengths)


def mask_of(inputs: ModelInputs) -> Tensor:
    """Which steps of a batch are real: (B, T) bool, where the values are."""
    return mask_from_lengths(inputs.lengths.to(inputs.values.device), inputs.values.shape[1])


def _pieces(inputs: ModelInputs, what: str) -> Pieces:
    if inputs.pieces is None:
        raise ShapeError(f"inputs.pieces (None) must hold {what}: the model was built to read them")
    return inputs.pieces


def _as_inputs(pieces: Pieces) -> ModelInputs:
    return ModelInputs(pieces.ids, pieces.lengths, None)


def _gathered(vectors: Tensor, pieces: Pieces, inputs: ModelInputs) -> Tensor:
    """Each piece's vector, (N, F), at the steps that it stands for: (B, T, F), 0 on padding."""
    index = pieces.index
    if vectors.shape[0] == 0:  # padding points to piece 0 even where there is none
        return vectors.new_zeros(*index.shape, vectors.shape[1])
    steps = vectors.index_select(0, index.flatten()).view(*index.shape, vectors.shape[1])  # (B, T, F)
    return steps * mask_of(inputs).unsqueeze(-1)
