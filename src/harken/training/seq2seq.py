"""A whole training run: texts in, best model and run folder out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harken.bundle import FOLDER, Bundle
from harken.config import DecodingConfig, RunConfig
from harken.data.batching import PairLoader
from harken.data.features import Tokenizer
from harken.errors import DataError
from harken.models.seq2seq import Seq2SeqModel
from harken.predictor import BATCH_SIZE, default_max_length
from harken.training.callbacks import Epoch, History, copy_weights
from harken.training.loop import Texts, fingerprint, is_first_process, quiet, run_loop
from harken.training.module import Seq2SeqModule
from harken.training.run_folder import HISTORY, begin_run, check_folder, write_report
from harken.training.scoring import Scorer


class Trained(NamedTuple):
    """What a run found."""

    bundle: Bundle  # of the best epoch
    epochs: list[Epoch]
    best: Epoch | None  # None when the run was interrupted before its first validation
    interrupted: bool


def train_seq2seq(
    config: RunConfig,
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
    if out is not None and is_first_process():
        check_folder(out, config, resume=resume, overwrite=overwrite)
    for name, texts in (("training", training), ("validation", validation)):
        if not texts.sources:
            raise DataError(f"there are no {name} rows: give more rows, or another --validation")
    began = time.perf_counter()
    features, seed = config.features, config.training.seed
    source_tokenizer = Tokenizer.fit(training.sources, features.source_tokens, features.vocabulary_size, markers=False)
    target_tokenizer = Tokenizer.fit(training.targets, features.target_tokens, features.vocabulary_size, markers=True)
    tokenizers = {"source": source_tokenizer, "target": target_tokenizer}

    def loader(texts: Texts, batch_size: int, shuffle: bool) -> PairLoader:
        return PairLoader(
            source_tokenizer.encode(texts.sources),
            target_tokenizer.encode(texts.targets),
            batch_size=batch_size,
            bos_id=target_tokenizer.bos_id,
            eos_id=target_tokenizer.eos_id,
            reverse_source=features.reverse_source,
            shuffle=shuffle,
            bucket=config.training.bucket,
            seed=seed,
        )

    batches = loader(training, config.training.batch_size, shuffle=True)
    longest = int(batches.targets.lengths.max()) if batches.targets is not None else 0
    facts: dict[str, Any] = {"longest_target": longest, "training_rows": len(training.sources)}
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Seq2SeqModel(config.model, source_tokenizer.vocabulary_size, target_tokenizer.vocabulary_size)
        scorer = Scorer(target_tokenizer, validation.targets, DecodingConfig(), max_length=default_max_length(longest))
        held_out = loader(validation, BATCH_SIZE, shuffle=False)
        module = Seq2SeqModule(model, config, scorer, batches, held_out, data=fingerprint(training, validation))
        best: dict[str, torch.Tensor] = {}

        def bundle(weights: dict[str, torch.Tensor], epoch: Epoch | None) -> Bundle:
            found = (
                {}
                if epoch is None
                else {"epoch": epoch.epoch, "validation": _validation(epoch, len(validation.sources))}
            )
            return Bundle(config, tokenizers, weights, facts | found)

        def keep(module: Seq2SeqModule, epoch: Epoch) -> None:
            best.clear()
            best.update(copy_weights(module.model))
            if out is not None and module.trainer.is_global_zero:
                bundle(best, epoch).save(out / FOLDER)

        history = History(
            config.training.monitor, keep, None if out is None else out / HISTORY, config.training.patience
        )
        interrupted = run_loop(
            module,
            history,
            validation,
            show if is_first_process() else None,
            out=out,
            resume=resume,
            begin=lambda: None if out is None else begin_run(out, config, resume=resume),
        )

    if not best and history.best is not None and out is not None:  # resumed, and the best epoch lay before
        found = Bundle.load(out / FOLDER)
    else:
        found = bundle(best or copy_weights(model), history.best)
        if out is not None and not best and is_first_process():
            found.save(out / FOLDER)  # interrupted before the first validation: what there is
    if out is not None and is_first_process():
        parameters = sum(p.numel() for p in model.parameters())
        write_report(out, history.epochs, found, parameters, interrupted, time.perf_counter() - began)
    return Trained(found, history.epochs, history.best, interrupted)


def _validation(epoch: Epoch, rows: int) -> dict[str, float | int]:
    return {
        "exact_match": epoch.exact_match,
        "token_accuracy": epoch.token_accuracy,
        "loss": epoch.valid_loss,
        "rows": rows,
    }
