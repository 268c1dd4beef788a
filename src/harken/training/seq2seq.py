"""Training a model that rewrites texts: texts in, best model and run folder out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from harken.bundle import Bundle
from harken.config import DecodingConfig, Seq2SeqRun
from harken.data.batching import Batch, PairLoader
from harken.data.features import Tokenizer
from harken.errors import DataError
from harken.models.seq2seq import Seq2SeqModel, token_loss
from harken.predictor.seq2seq import BATCH_SIZE, default_max_length
from harken.training.objective import Loss, Objective
from harken.training.run import Trained, epoch_steps, train
from harken.training.run_folder import check_folder
from harken.training.scoring import Scorer


class Texts(NamedTuple):
    """Inputs and answers, row by row."""

    sources: Sequence[str]
    targets: Sequence[str]


class Seq2SeqObjective(Objective):
    """Negative log-likelihood of the true next token; scores of a `Scorer`.

    Args:
        scorer: knows the answers of the validation rows.
        sources: the texts that the validation rows answer.
        smoothing: share of the target's probability spread over the vocabulary.
        shown: how many of the first validation rows are shown.
    """

    unit = "nats per token"
    shares: tuple[str, ...] = ("exact_match", "token_accuracy")
    headline: tuple[str, ...] = ("exact_match", "loss")

    def __init__(self, scorer: Scorer, sources: Sequence[str], smoothing: float, shown: int) -> None:
        self.scorer, self.sources, self.smoothing, self.shown = scorer, sources, smoothing, shown
        self._answers: dict[int, str] = {}  # row → answer, of the rows to show

    def loss(self, model: Seq2SeqModel, batch: Batch) -> Loss:
        """Over the batch's real target tokens, end markers too."""
        assert batch.target_in is not None
        assert batch.target_out is not None
        assert batch.target_lengths is not None
        logits = model(batch.source, batch.source_lengths, batch.target_in, batch.target_lengths).logits
        total = token_loss(logits, batch.target_out, batch.target_lengths, self.smoothing).sum()
        return Loss(total, batch.target_lengths.sum())

    def reset(self) -> None:
        """Begin a new score."""
        self.scorer.reset()
        self._answers.clear()

    def add(self, model: Seq2SeqModel, batch: Batch) -> None:
        """Score one batch; keep the answers of the first few rows to show them."""
        answers = self.scorer.add(model, batch)
        self._answers.update({row: text for row, text in answers.items() if row < self.shown})

    def result(self) -> dict[str, float]:
        """exact_match, token_accuracy and loss."""
        scores = self.scorer.result()
        return {"exact_match": scores.exact_match, "token_accuracy": scores.token_accuracy, "loss": scores.loss}

    def examples(self) -> list[str]:
        """The first few rows, right or wrong."""
        shown = sorted(self._answers.items())
        width = min(60, max((len(self.sources[row]) for row, _ in shown), default=0))
        lines = []
        for row, said in shown:
            right = said == self.scorer.targets[row]
            told = "" if right else f"   (should be {self.scorer.targets[row]})"
            lines.append(f"  {'✓' if right else '✗'} {self.sources[row]:<{width}} → {said}{told}")
        return lines


def train_seq2seq(
    config: Seq2SeqRun,
    training: Texts,
    validation: Texts,
    *,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show: Callable[[str], None] | None = None,
) -> Trained:
    """Train on texts and return the best epoch.

    Args:
        config: every option; its data section is written down, not read.
        training: rows to learn from; tokenizers are fitted on these alone.
        validation: rows that choose the best epoch.
        out: the run folder; None keeps everything in memory.
        resume: continue from ``out/resume.ckpt`` as if never interrupted.
        overwrite: replace the run in ``out``.
        show: takes each line of progress; None shows nothing.

    Raises:
        DataError: no rows on either side, or not those that a resumed run began with.
        UsageError, ConfigError: ``out`` must not be written to, or not with these options.
    """
    check_folder(out, config, resume=resume, overwrite=overwrite)
    for name, texts in (("training", training), ("validation", validation)):
        if not texts.sources:
            raise DataError(f"there are no {name} rows: give more rows, or another --validation")
    features, options = config.features, config.training
    source_tokenizer = Tokenizer.fit(training.sources, features.source_tokens, features.vocabulary_size, markers=False)
    target_tokenizer = Tokenizer.fit(training.targets, features.target_tokens, features.vocabulary_size, markers=True)
    tokenizers = {"source": source_tokenizer, "target": target_tokenizer}

    def loader(texts: Texts, batch_size: int, shuffle: bool, steps: int | None) -> PairLoader:
        return PairLoader(
            source_tokenizer.encode(texts.sources),
            target_tokenizer.encode(texts.targets),
            batch_size=batch_size,
            bos_id=target_tokenizer.bos_id,
            eos_id=target_tokenizer.eos_id,
            reverse_source=features.reverse_source,
            shuffle=shuffle,
            bucket=options.bucket,
            seed=options.seed,
            steps=steps,
            batch_steps=options.batch_steps,
        )

    batches = loader(training, options.batch_size, shuffle=True, steps=epoch_steps(options))
    longest = int(batches.targets.lengths.max()) if batches.targets is not None else 0

    def make_model() -> Seq2SeqModel:
        return Seq2SeqModel(config.model, source_tokenizer.vocabulary_size, target_tokenizer.vocabulary_size)

    def make_bundle(weights: dict[str, Tensor], facts: dict[str, Any]) -> Bundle:
        return Bundle(config, tokenizers, weights, {"longest_target": longest} | facts)

    scorer = Scorer(target_tokenizer, validation.targets, DecodingConfig(), max_length=default_max_length(longest))
    return train(
        config,
        make_model,
        Seq2SeqObjective(scorer, validation.sources, options.label_smoothing, options.show_examples),
        make_bundle,
        batches,
        loader(validation, BATCH_SIZE, shuffle=False, steps=None),
        fingerprint=fingerprint(training, validation),
        out=out,
        resume=resume,
        overwrite=overwrite,
        show=show,
    )


def fingerprint(*parts: Texts) -> str:
    """The same for the same texts in the same order, and for no others."""
    digest = hashlib.blake2b(digest_size=16)
    for texts in parts:
        for side in texts:
            for text in side:
                data = text.encode("utf-8", errors="surrogatepass")
                digest.update(len(data).to_bytes(8, "little") + data)
            digest.update(b"\xff" * 8)  # the end of a side; no text is that long
    return digest.hexdigest()
