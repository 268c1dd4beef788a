"""The front door of sequence-to-sequence models."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from harken.bundle import Bundle
from harken.config import DataConfig, DecodingConfig, Seq2SeqRun
from harken.data.features import Tokenizer
from harken.data.splits import split_by_hash
from harken.data.texts import check_pairs, check_texts
from harken.errors import DataError
from harken.estimators.base import Estimator
from harken.models.seq2seq import Seq2SeqModel
from harken.predictor.seq2seq import Predictor

if TYPE_CHECKING:
    from harken.data.sources import Pairs
    from harken.explain.alignment import Attention


class Predictions(NamedTuple):
    """Answers to texts, in the order of the texts."""

    texts: list[str]
    probabilities: list[float]  # of the whole answer, its end included


class Seq2Seq(Estimator[Predictor]):
    """Rewrites one text into another.

    >>> model = Seq2Seq(hidden_size=128, epochs=3).fit(sources, targets)
    >>> model.predict(["27 sept 1994"])

    Args:
        options: any option of `harken.Seq2SeqRun`, by its name.

    Raises:
        ConfigError: an unknown option (the nearest is named) or a value that it does not take.
    """

    task = "seq2seq"

    config: Seq2SeqRun

    @staticmethod
    def _bring_to_life(bundle: Bundle, **parts: Any) -> Predictor:
        return Predictor.from_bundle(bundle)

    def fit(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        validation: tuple[Sequence[str], Sequence[str]] | float | None = None,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        show: Callable[[str], None] | None = None,
    ) -> Self:
        """Learn to rewrite sources into targets.

        Args:
            sources, targets: texts, row by row.
            validation: (sources, targets) to choose the best epoch on, or the fraction of the rows to hold out,
                dealt by a hash of the source; default: the option `validation`.
            out: a run folder to write (bundle, metrics, history, curves, resume file); None writes nothing.
            resume: continue the run in `out` as if it had never been interrupted.
            overwrite: replace the run in `out`.
            show: takes a line of text per event (``print`` will do); None is silent.

        Ctrl-C ends training after the step that is running; `fit` then returns with the best model so far, and
        ``interrupted_`` is True.

        Raises:
            DataError: rows that cannot be trained on.
            UsageError: `out` holds a run and neither `resume` nor `overwrite` is given.
        """
        from harken.training.seq2seq import Texts, train_seq2seq

        training = Texts(*check_pairs(sources, targets, self.config.data))
        how = self.config.data.validation if validation is None else validation
        if isinstance(how, float):
            kept, held = split_by_hash(training.sources, how)
            held_out = Texts([training.sources[i] for i in held], [training.targets[i] for i in held])
            training = Texts([training.sources[i] for i in kept], [training.targets[i] for i in kept])
        elif isinstance(how, str):
            from harken.data.sources import read_pairs

            pairs = read_pairs(how, self.config.data)
            held_out = Texts(*check_pairs(pairs.sources, pairs.targets or [], self.config.data))
        else:
            held_out = Texts(*check_pairs(*how, self.config.data))
        folder = None if out is None else Path(out)
        trained = train_seq2seq(
            self.config, training, held_out, out=folder, resume=resume, overwrite=overwrite, show=show
        )
        return self._keep(trained)

    def fit_pairs(self, pairs: Pairs, *, validation: Pairs | None = None, **arguments: Any) -> Self:
        """`fit` on what `harken.data.sources.read_pairs` returns."""
        held_out = None if validation is None else (validation.sources, validation.targets or [])
        return self.fit(pairs.sources, pairs.targets or [], validation=held_out, **arguments)

    def predict(self, sources: Sequence[str]) -> list[str]:
        """The answer to every text."""
        return self.predict_with_probability(sources).texts

    def predict_with_probability(
        self, sources: Sequence[str], *, decoding: DecodingConfig | None = None, seed: int | None = None
    ) -> Predictions:
        """The answer to every text, and the probability that the model gives it.

        Args:
            sources: texts; an empty one is answered from the encoder's initial state, and characters that the
                vocabulary lacks are read as unknown.
            decoding: how to read answers off the model; default: as in `config.decoding`.
            seed: of sampling; default: the option `seed`.
        """
        predictor, decoding = self.predictor, decoding or self.config.decoding
        sources = check_texts("sources", sources, self._reading())
        texts, probabilities = [""] * len(sources), [0.0] * len(sources)
        for batch in predictor.batches(sources):
            decoded = predictor.decode(batch, decoding, self._seed(seed))
            answers = zip(decoded.texts(predictor.target_tokenizer), decoded.log_probability.tolist(), strict=True)
            for row, (text, log_probability) in zip(batch.rows.tolist(), answers, strict=True):
                texts[row], probabilities[row] = text, math.exp(log_probability)
        return Predictions(texts, probabilities)

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> float:
        """Share of the texts whose whole answer is right."""
        return float(self.evaluate(sources, targets)["exact_match"])

    def evaluate(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        decoding: DecodingConfig | None = None,
        seed: int | None = None,
    ) -> dict[str, float | int]:
        """exact_match, token_accuracy, loss (nats per token), perplexity and rows.

        Raises:
            DataError: no rows, or not as many targets as sources.
        """
        from harken.training.scoring import Scorer

        predictor = self.predictor
        sources, targets = check_pairs(sources, targets, self._reading())
        if not sources:
            raise DataError("there are no rows to evaluate")
        tokenizer, decoding = predictor.target_tokenizer, decoding or self.config.decoding
        scorer = Scorer(tokenizer, targets, decoding, predictor.max_length)
        for batch in predictor.batches(sources, targets):
            scorer.add(predictor.model, batch, self._seed(seed))
        return scorer.result()._asdict()

    def explain(self, sources: Sequence[str]) -> list[Attention]:
        """Where the model looked when it wrote each token of its answers.

        Raises:
            UsageError: the model has no attention (kind=plain or peeky).
        """
        from harken.explain.alignment import attention_of

        predictor, reading, decoding = self.predictor, self._reading(), self.config.decoding
        return attention_of(predictor, sources, reading=reading, decoding=decoding, seed=self._seed(None))

    @property
    def model(self) -> Seq2SeqModel:
        """The network, in eval mode."""
        return self.predictor.model

    @property
    def source_tokenizer(self) -> Tokenizer:
        """Text ↔ ids of the inputs."""
        return self.predictor.source_tokenizer

    @property
    def target_tokenizer(self) -> Tokenizer:
        """Text ↔ ids of the answers."""
        return self.predictor.target_tokenizer

    def _reading(self) -> DataConfig:
        """The limits of today on texts that are stripped as those in training were."""
        return self.config.data.model_copy(update={"strip": self.predictor.config.data.strip})

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        tags = InputTags(one_d_array=True, two_d_array=False, string=True)
        return Tags(estimator_type=None, target_tags=TargetTags(required=True), input_tags=tags)
