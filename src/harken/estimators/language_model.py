"""The front door of language models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from harken.bundle import Bundle
from harken.config import LanguageModelRun
from harken.data.corpus import encode
from harken.data.running_text import RunningText
from harken.data.texts import list_texts
from harken.errors import UsageError
from harken.estimators.base import Estimator
from harken.predictor.language_model import LanguagePredictor, written

if TYPE_CHECKING:
    from harken.explain.alignment import Attention

Text: TypeAlias = str | Path | Sequence[str] | Sequence[Path]


class LanguageModel(Estimator[LanguagePredictor]):
    """Says which token comes next in running text, and writes text.

    >>> model = LanguageModel(tokens="character", epochs=5).fit(Path("book.txt"))
    >>> print(model.generate("Once upon", temperature=0.8))

    Text is given as it is (a str, or a list of them, one after the other) or as files: `pathlib.Path`, or a list of
    them, plain or .gz; a folder stands for the .txt and .txt.gz files in it.

    Args:
        options: any option of `harken.LanguageModelRun`, by its name.

    Raises:
        ConfigError: an unknown option (the nearest is named) or a value that it does not take.
    """

    task = "language-model"

    config: LanguageModelRun

    @staticmethod
    def _bring_to_life(bundle: Bundle, **parts: Any) -> LanguagePredictor:
        return LanguagePredictor.from_bundle(bundle)

    def fit(
        self,
        text: Text,
        *,
        validation: Text | float | None = None,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        show: Callable[[str], None] | None = None,
    ) -> Self:
        """Learn running text.

        Args:
            text: see the class.
            validation: text to choose the best epoch on, or the fraction of the text to hold out, its end; default: the
                option `validation`.
            out: a run folder to write (bundle, metrics, history, curves, resume file); None writes nothing.
            resume: continue the run in `out` as if it had never been interrupted.
            overwrite: replace the run in `out`.
            show: takes a line of text per event (``print`` will do); None is silent.

        Ctrl-C ends training after the step that is running; `fit` then returns with the best model so far, and
        ``interrupted_`` is True.

        Raises:
            DataError: text that cannot be read or learned from.
            UsageError: `out` holds a run and neither `resume` nor `overwrite` is given.
        """
        from harken.training.language_model import train_language_model

        encoding = self.config.data.encoding
        how = self.config.data.validation if validation is None else validation
        if isinstance(how, float):
            training, held_out = _running(text, encoding).split(how)
        else:
            named = Path(how) if validation is None else how  # type: ignore[arg-type]  # an option is a path
            training, held_out = _running(text, encoding), _running(named, encoding)
        trained = train_language_model(
            self.config,
            training,
            held_out,
            out=None if out is None else Path(out),
            resume=resume,
            overwrite=overwrite,
            show=show,
        )
        return self._keep(trained)

    def evaluate(self, text: Text) -> dict[str, float | int]:
        """loss (nats per token), perplexity, bits_per_character, tokens, characters and unknown tokens of a text.

        It is read from its beginning in one pass, every token counted.

        Raises:
            DataError: text that cannot be read, or none.
        """
        from harken.training.language_model import scores

        predictor = self.predictor
        corpus = encode(_running(text, self.config.data.encoding), predictor.tokenizer)
        tokens = len(corpus.ids)
        found: dict[str, float | int] = {**scores(predictor.nats(corpus), tokens, corpus.characters)}
        return found | {"tokens": tokens, "characters": corpus.characters, "unknown": corpus.unknown}

    def perplexity(self, text: Text) -> float:
        """exp(negative log-likelihood per token) of a text."""
        return float(self.evaluate(text)["perplexity"])

    def score(self, text: Text) -> float:
        """Log-likelihood per token of a text, in nats: higher is better."""
        return -float(self.evaluate(text)["loss"])

    def log_prob(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """The log-probability of each text, in nats: the sum over its tokens, each given those before it; (n,).

        A text begins as a line does. With words, a line that ends has an end marker, which counts: the last line of a
        text ends only if the text ends with a line break. An empty text has 0.
        """
        rows = self.predictor.log_probabilities(list_texts("texts", texts))
        return np.array([float(row.sum()) for row in rows], dtype=np.float64)

    def generate(self, prompt: str = "", *, seed: int | None = None, **options: Any) -> str:
        """What goes on after a prompt; nothing: a text from its beginning.

        Args:
            prompt: text; what the vocabulary lacks is read as unknown.
            seed: of what is drawn; default: the option `seed`.
            options: temperature, top_p and max_tokens, instead of the estimator's own.

        Raises:
            ConfigError: another option, or a value that it does not take.
        """
        return "".join(self.stream(prompt, seed=seed, **options))

    def stream(self, prompt: str = "", *, seed: int | None = None, **options: Any) -> Iterator[str]:
        """`generate`, piece by piece as the text comes."""
        generation = self.config.override(**options).generation
        [prompt] = list_texts("prompt", [prompt])
        predictor = self.predictor
        return written(predictor.model, predictor.tokenizer, prompt, generation, self._seed(seed))

    def explain(self, texts: Sequence[str]) -> list[Attention]:
        """Which past tokens each next token of a text was predicted from.

        Raises:
            UsageError: the model has no attention (attention=none).
        """
        from harken.explain.past import looked_back

        return looked_back(self.predictor, list_texts("texts", texts))


def _running(text: Text, encoding: str) -> RunningText:
    """Text from files or from memory.

    Raises:
        DataError: files that are not there, or no text.
        UsageError: neither a text nor a path, or the name of a file where a text is meant.
    """
    several: list[Any] = [text] if isinstance(text, str | Path) else list(text)
    if several and all(isinstance(one, Path) for one in several):
        return RunningText.from_files(several, encoding)
    for one in several:
        if isinstance(one, str) and one and "\n" not in one and len(one) < 256 and Path(one).exists():
            raise UsageError(f"{one!r} is the name of a file: give pathlib.Path({one!r}) to read it")
    return RunningText.from_texts(several)
