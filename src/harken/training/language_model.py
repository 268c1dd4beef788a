"""Training a language model: running text in, best model and run folder out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from harken.bundle import Bundle
from harken.config import GenerationConfig, LanguageModelRun
from harken.data.corpus import Corpus, encode, fit_tokenizer
from harken.data.features import Tokenizer
from harken.data.running_text import RunningText
from harken.data.windows import WindowBatch, WindowLoader
from harken.layers.past import Memory
from harken.layers.state import GRUState, LSTMState
from harken.models.language_model import LanguageModel, TextState
from harken.predictor.language_model import WINDOW, written
from harken.training.objective import Loss, Objective
from harken.training.run import Trained, epoch_steps, train
from harken.training.run_folder import check_folder, is_first_process

_SHOWN_TOKENS = 30


class LanguageModelObjective(Objective):
    """Negative log-likelihood of the next token; the state of the text is carried from window to window.

    Args:
        tokenizer: of the text.
        characters: of the validation text; 0: there is none.
        shown: how many texts are drawn after each epoch.
    """

    unit = "nats per token"
    noun = "tokens"
    shares: tuple[str, ...] = ()
    headline: tuple[str, ...] = ("perplexity", "bits_per_character")

    def __init__(self, tokenizer: Tokenizer, characters: int, shown: int) -> None:
        self.tokenizer, self.characters, self.shown = tokenizer, characters, shown
        self._training: TextState | None = None
        self.reset()

    def loss(self, model: LanguageModel, batch: WindowBatch) -> Loss:
        """Over the window's tokens; gradients reach back to its start, the state further."""
        state = (
            None
            if batch.first or self._training is None
            else self._training.map(lambda part: part.to(batch.ids.device))
        )
        output = model(batch.ids, batch.lengths, state)
        self._training = output.state.detach()
        return Loss(model.loss(output.features, batch.targets, batch.lengths), batch.lengths.sum())

    def reset(self) -> None:
        """Begin a new score."""
        self._validation: TextState | None = None
        self._nats, self._tokens = 0.0, 0
        self._texts: list[str] = []

    def add(self, model: LanguageModel, batch: WindowBatch) -> None:
        """Score one window; before the first, draw the texts to show."""
        if batch.first and self.shown:
            drawing = GenerationConfig(temperature=0.8, max_tokens=_SHOWN_TOKENS)
            seeds = range(self.shown)
            self._texts = ["".join(written(model, self.tokenizer, "", drawing, seed)) for seed in seeds]
        with torch.autocast(batch.ids.device.type, enabled=False):  # a score is what `evaluate` will say
            output = model(batch.ids, batch.lengths, self._validation)
            found = model.log_probabilities(output.features, batch.targets, batch.lengths)
        self._validation = output.state
        self._nats -= float(found.double().sum())
        self._tokens += int(batch.lengths.sum())

    def result(self) -> dict[str, float]:
        """loss, perplexity and bits_per_character."""
        return scores(self._nats, self._tokens, self.characters)

    def examples(self) -> list[str]:
        """Texts as the model would write them now."""
        return [f"  “{' '.join(text.split())} …”" for text in self._texts]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed epoch goes on from."""
        state = self._training
        if state is None:
            return {}
        return {"recurrent": list(state.recurrent), "memories": [list(memory) for memory in state.memories]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        if state:
            recurrent = (
                LSTMState(*state["recurrent"]) if len(state["recurrent"]) == 2 else GRUState(*state["recurrent"])
            )
            self._training = TextState(recurrent, tuple(Memory(*memory) for memory in state["memories"]))


def train_language_model(
    config: LanguageModelRun,
    training: RunningText,
    validation: RunningText,
    *,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show: Callable[[str], None] | None = None,
) -> Trained:
    """Train on running text and return the best epoch.

    Args:
        config: every option; its data section is written down, not read.
        training: text to learn from; the tokenizer is fitted on this alone.
        validation: text that chooses the best epoch, read in one pass as any other that is evaluated.
        out, resume, overwrite, show: see `harken.training.run.train`.

    Raises:
        DataError: text that cannot be read or learned from, or not what a resumed run began with.
        UsageError, ConfigError: ``out`` must not be written to, or not with these options.
    """
    check_folder(out, config, resume=resume, overwrite=overwrite)
    features, options = config.features, config.training
    tokenizer = fit_tokenizer(
        training,
        features.tokens,
        features.vocabulary_size,
        lowercase=features.lowercase,
        min_count=features.min_count,
    )
    text, held_out = encode(training, tokenizer), encode(validation, tokenizer)
    batches = WindowLoader(
        text.ids,
        text.start_id,
        streams=options.batch_size,
        window=options.bptt,
        vary=options.vary_bptt,
        seed=options.seed,
        steps=epoch_steps(options),
    )
    validation_batches = WindowLoader(
        held_out.ids, held_out.start_id, streams=1, window=WINDOW, vary=False, seed=options.seed
    )
    if show is not None and is_first_process():
        for line in _announced(config, tokenizer, text, held_out, len(batches)):
            show(line)
    return train(
        config,
        lambda: LanguageModel(config.model, tokenizer.vocabulary_size),
        LanguageModelObjective(tokenizer, held_out.characters, options.show_examples),
        lambda weights, facts: Bundle(config, {"text": tokenizer}, weights, facts),
        batches,
        validation_batches,
        fingerprint="-".join(corpus.fingerprint() for corpus in (text, held_out)),
        out=out,
        resume=resume,
        overwrite=overwrite,
        show=show,
    )


def scores(nats: float, tokens: int, characters: int) -> dict[str, float]:
    """loss, perplexity and bits_per_character of a text whose tokens have so many nats together."""
    loss = nats / tokens
    return {
        "loss": loss,
        "perplexity": math.exp(loss) if loss < 700 else math.inf,
        "bits_per_character": nats / math.log(2) / characters,
    }


def _announced(
    config: LanguageModelRun, tokenizer: Tokenizer, text: Corpus, held_out: Corpus, steps: int
) -> Iterator[str]:
    """The text, its vocabulary, the recipe: a line each."""
    noun = {"character": "characters", "byte": "bytes", "bpe": "pieces"}.get(config.features.tokens, "words")
    unknown = held_out.unknown / len(held_out.ids)
    yield (
        f"text: {len(text.ids):,} tokens to learn from, {len(held_out.ids):,} to validate on, of which "
        f"{unknown:.2%} are unknown"
    )
    yield f"vocabulary: {tokenizer.vocabulary_size:,} {noun}, markers included"
    model, options = config.model, config.training
    attends = (
        "" if model.attention == "none" else f" → {model.attention} attention over {model.memory_length} past steps"
    )
    yield (
        f"recipe: a vector of {model.embedding_size} for each token → {model.num_layers} × {model.cell.upper()} of "
        f"{model.hidden_size}{attends}, dropout {model.dropout:g}; {options.epochs} epochs of {steps:,} steps, "
        f"{options.batch_size} places of the text each, learning rate {options.learning_rate:g}"
    )
