"""A language model's bundle brought to life: ready to score texts and to write them."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from harken.bundle import Bundle
from harken.config import GenerationConfig, LanguageModelConfig, LanguageModelRun
from harken.data.corpus import Corpus, encode_prompt, start_id
from harken.data.features import Tokenizer
from harken.data.ragged import Ragged
from harken.data.windows import WindowLoader
from harken.errors import BundleError
from harken.models.language_model import LanguageModel
from harken.models.sampling import draw
from harken.models.writer import Writer

WINDOW = 256  # tokens that are read at once where nothing is learned: the answer is the same with any number
BATCH_SIZE = 64  # texts that are read side by side


class LanguagePredictor(NamedTuple):
    """What `fit` and `load` bring; it keeps nothing about what it is asked."""

    bundle: Bundle
    model: LanguageModel  # in eval mode, on the CPU
    tokenizer: Tokenizer
    config: LanguageModelRun  # as it was when the model was trained

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """Build the model that a bundle describes.

        Raises:
            BundleError: it is of another task, or the weights do not belong to its configuration.
        """
        config = bundle.config
        if not isinstance(config, LanguageModelRun):
            raise BundleError(f"the bundle is for the task {config.task!r}, not language-model")
        tokenizer = bundle.tokenizers["text"]
        if not _belong(bundle, config.model, tokenizer):
            raise BundleError("the bundle's weights do not belong to its configuration: it was tampered with")
        with torch.random.fork_rng(devices=[]):  # drawing weights to overwrite them is not the user's chance
            model = LanguageModel(config.model, tokenizer.vocabulary_size)
        try:
            model.load_state_dict(dict(bundle.weights))
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise BundleError(f"the bundle's weights do not fit its configuration: {reason}") from None
        return cls(bundle, model.eval(), tokenizer, config)

    def nats(self, corpus: Corpus) -> float:
        """Negative log-likelihood of a whole text, from its beginning, every token of it counted."""
        batches = WindowLoader(corpus.ids, corpus.start_id, streams=1, window=WINDOW, vary=False, seed=0)
        total, state = 0.0, None
        with torch.no_grad():
            for batch in batches:
                output = self.model(batch.ids, batch.lengths, state)
                state = output.state
                total -= float(self.model.log_probabilities(output.features, batch.targets, batch.lengths).sum())
        return total

    def log_probabilities(self, texts: Sequence[str]) -> list[Tensor]:
        """Of each token of each text, (T,) float64 in nats, given those before it; a text's end is not among them."""
        rows = Ragged.from_lists([encode_prompt(text, self.tokenizer).tolist() for text in texts], torch.int64)
        order = rows.lengths.argsort(descending=True, stable=True)
        found: dict[int, Tensor] = {}
        for some in torch.split(order, BATCH_SIZE):
            for row, each in zip(some.tolist(), self._read(rows, some), strict=True):
                found[row] = each
        return [found[row] for row in range(len(texts))]

    def weights(self, ids: Sequence[int]) -> Tensor:
        """Where each token of a text was predicted from: (layers, T, T), over what was read for each of T tokens.

        What is read is the text one place later: a mark of the beginning, then all tokens but the last.
        """
        read = torch.tensor([[start_id(self.tokenizer), *ids[:-1]]])  # (1, T)
        length, memory = read.shape[1], self.config.model.memory_length
        found = torch.zeros(len(self.model.attentions), length, length)
        state = None
        with torch.no_grad():
            for start in range(0, length, WINDOW):
                output = self.model(read[:, start : start + WINDOW], None, state)
                state = output.state
                for layer, weights in enumerate(output.weights):
                    steps = weights.shape[1]
                    before = min(start, memory)  # of the memory's slots, those that are real
                    looked = weights[0, :, memory - before :]  # (T, before + T)
                    found[layer, start : start + steps, start - before : start + steps] = looked
        return found

    def _read(self, rows: Ragged, some: Tensor) -> list[Tensor]:
        """Log-probabilities of the tokens of some rows, read side by side."""
        targets, lengths = rows.pad(some)  # (B, T), (B,)
        first = torch.full((len(some), 1), start_id(self.tokenizer))
        ids = torch.cat([first, targets], dim=1)[:, : targets.shape[1]]
        pieces, state = [], None
        with torch.no_grad():
            for start in range(0, targets.shape[1], WINDOW):
                inside = (lengths - start).clamp(0, WINDOW)
                window = slice(start, start + WINDOW)
                output = self.model(ids[:, window], inside, state)
                state = output.state
                pieces.append(self.model.log_probabilities(output.features, targets[:, window], inside).double())
        joined = torch.cat(pieces, dim=1) if pieces else torch.zeros(len(some), 0, dtype=torch.float64)
        return [row[:length] for row, length in zip(joined, lengths.tolist(), strict=True)]


def tokens_written(
    model: LanguageModel, tokenizer: Tokenizer, prompt: Sequence[int], generation: GenerationConfig, seed: int
) -> Iterator[int]:
    """Tokens that go on after a prompt, one by one, `max_tokens` of them.

    Markers that stand for no text are never drawn. What is drawn follows from the seed alone.

    Args:
        prompt: ids; none: a text from its beginning.
    """
    writer, chance = Writer(model), np.random.default_rng(seed)
    nothing = [id for id in (tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id) if id is not None]
    *before, token = [start_id(tokenizer), *prompt]
    for id in before:
        writer.features(id)
    for _ in range(generation.max_tokens):
        logits = writer(token)
        logits[nothing] = -np.inf
        token = draw(logits, generation.temperature, generation.top_p, chance.random())
        yield token


def pieces_of_text(tokenizer: Tokenizer, ids: Iterator[int], *, joined: bool) -> Iterator[str]:
    """The text of tokens as they come: the pieces joined are the whole.

    Args:
        joined: whether a word stands before the first one, so that a space must come between.
    """
    if tokenizer.kind in ("byte", "bpe"):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for id in ids:
            if piece := decoder.decode(tokenizer.token_bytes(id)):
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest
        return
    for id in ids:
        if id == tokenizer.eos_id:
            yield "\n"
            joined = False
        else:
            yield f" {tokenizer.token(id)}" if joined else tokenizer.token(id)
            joined = tokenizer.kind != "character"


def written(
    model: LanguageModel, tokenizer: Tokenizer, prompt: str, generation: GenerationConfig, seed: int
) -> Iterator[str]:
    """What goes on after a prompt, piece by piece."""
    ids = tokens_written(model, tokenizer, encode_prompt(prompt, tokenizer).tolist(), generation, seed)
    after_word = tokenizer.kind in ("word", "wordpunct") and prompt != "" and not prompt[-1].isspace()
    return pieces_of_text(tokenizer, ids, joined=after_word)


def _belong(bundle: Bundle, config: LanguageModelConfig, tokenizer: Tokenizer) -> bool:
    """Do the weights have the sizes of the configuration? Asked first: a made-up size could exhaust the memory."""
    try:
        sizes = bundle.weights["embedding.weight"].shape, bundle.weights["recurrent.weight_hh_l0"].shape
    except KeyError:
        return False
    expected = tokenizer.vocabulary_size, config.embedding_size
    return sizes[0] == expected and sizes[1][-1] == config.hidden_size and config.num_layers <= len(bundle.weights)
