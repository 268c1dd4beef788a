"""A whole training run that classifies, regresses or tags: rows and labels in, best model and run folder out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harken.bundle import Bundle
from harken.config import InputKind, SequenceRun
from harken.data.batching import SequenceLoader
from harken.data.encoded import Encoded
from harken.data.encoding import Encoder, channel_statistics
from harken.data.inputs import Inputs
from harken.data.labels import Head, Labels, encode, fit_heads
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.data.word_vectors import read_word_vectors, vector_size
from harken.errors import ConfigError, DataError
from harken.layers.masks import mask_from_lengths
from harken.models.convolutional import SpectrogramFrontend
from harken.models.frontends import Frontend, SentenceFrontend, SeriesFrontend, TokenFrontend, WordFrontend
from harken.models.sequence import SequenceModel
from harken.predictor.sequence import BATCH_SIZE, SequencePredictor, build_model
from harken.training.announcement import announced
from harken.training.labelled import SequenceObjective
from harken.training.rows import Labelled, in_few_words
from harken.training.run import Trained, epoch_steps, train
from harken.training.run_folder import check_folder, is_first_process
from harken.training.warm_start import open_start, options_of, take_over

_MEASURED = 2000  # recordings whose frames give mean and scale
_MARKERS = 2  # of a vocabulary: padding and unknown


def train_sequence(
    config: SequenceRun,
    training: Labelled,
    validation: Labelled | None,
    *,
    backbone: nn.Module | None = None,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show: Callable[[str], None] | None = None,
) -> Trained:
    """Train on rows and return the best epoch, or the last where nothing is held out to choose by.

    Args:
        config: every option; those that are None are settled by the kind of input. Its data section is written down,
            not read.
        training: rows to learn from; vocabulary, classes and channel statistics are found on these alone.
        validation: rows that choose the best epoch, or None.
        backbone: reads pictures instead of `ResidualNetwork`: a copy of it is trained.
        out, resume, overwrite, show: see `harken.training.run.train`.

    Raises:
        DataError: no rows, or rows and labels that do not fit.
        ConfigError: options that do not fit the rows, or the bundle to start from.
        UsageError: ``out`` must not be written to.
    """
    training.check("training", "give more rows, or a smaller --validation")
    if validation is not None:
        validation.check("validation", "give some, or --validation 0 to go without")
    start = None if config.training.init_from is None else open_start(config.training.init_from, training.inputs)
    config = _settled(config, start, training.inputs.kind)
    if training.inputs.rate is not None:
        config = config.override(sample_rate=training.inputs.rate)
    check_folder(out, config, resume=resume, overwrite=overwrite)
    options = config.training
    heads = fit_heads(training.labels, config.task, config.model.binary)
    encoder = _encoder(training.inputs, config) if start is None else start.encoder
    batches = _loader(config, encoder, heads, training, shuffle=True)
    if not batches.encoded.steps.any():
        raise DataError("every training row is empty: there is no step to learn from")
    if backbone is not None and training.inputs.kind != "image":
        raise ConfigError(f"a backbone reads pictures, and the rows are {training.inputs.kind}: leave it out")
    if validation is None and options.patience is not None:
        raise ConfigError(
            f"patience ({options.patience}) waits for a better epoch on validation rows, and there are none: hold some "
            "out with validation, or leave it out"
        )
    if show is not None and is_first_process():
        counted = {"rows": len(training.inputs), "validation_rows": 0 if validation is None else len(validation.inputs)}
        for line in announced(config, heads, batches.targets, **counted, steps=len(batches)):
            show(line)
    try:
        held_out = None if validation is None else _loader(config, encoder, heads, validation, shuffle=False)
    except DataError as error:
        raise DataError(f"validation rows: {error}") from None
    vectors = _word_vectors(config, encoder, show)
    facts: dict[str, Any] = {
        "heads": [head.to_json() for head in heads],
        "encoder": encoder.facts(),
        **({} if backbone is None else {"backbone": type(backbone).__name__}),
        "indicators": sorted(training.labels.classes),  # heads whose labels were columns of 0 and 1
    }

    def make_model() -> SequenceModel:
        model = build_model(config, encoder, heads, backbone)
        if start is not None:
            take_over(model, start)
        elif isinstance(model.frontend, SeriesFrontend) and config.features.standardize in ("channel", "all"):
            frames = _frames(model.frontend, training.inputs, batches.encoded)
            model.frontend.standardize(
                *channel_statistics(frames, config.features.standardize, training.inputs.channels)
            )
        if config.model.rare_word_dropout and encoder.vocabulary_size:
            _tokens(model.frontend).count(batches.encoded.counts(encoder.vocabulary_size))
        if vectors is not None:
            _tokens(model.frontend).load_vectors(vectors, freeze=config.features.freeze_vectors)
        return model

    return train(
        config,
        make_model,
        SequenceObjective(
            heads,
            class_weight=class_weights(heads, batches.targets) if options.class_weight == "balanced" else None,
            label_smoothing=options.label_smoothing,
            shown=[] if validation is None else in_few_words(validation.inputs, options.show_examples),
        ),
        lambda weights, found: Bundle(config, encoder.tokenizers, weights, facts | found),
        batches,
        held_out,
        fingerprint="-".join([*(rows.fingerprint() for rows in (training, validation) if rows), _fingerprint(encoder)]),
        out=out,
        resume=resume,
        overwrite=overwrite,
        show=show,
    )


def _settled(config: SequenceRun, start: SequencePredictor | None, kind: InputKind) -> SequenceRun:
    """The run with every option: from the run to start from, the file of word vectors, the recipe of the kind.

    Raises:
        ConfigError: options that do not go together, or one that somebody has set and that changes nothing.
        DataError: no size of word vectors can be read.
    """
    chosen = config.changed()
    if start is not None:
        config = options_of(start, config)
    config.settled(kind).check_used(chosen)
    if config.features.word_vectors is not None and config.model.embedding_size is None:
        config = config.override(embedding_size=vector_size(config.features.word_vectors))
    return config.settled(kind)


def _encoder(inputs: Inputs, config: SequenceRun) -> Encoder:
    """What training rows teach about how rows are to be read.

    Raises:
        ConfigError: everything they hold is too rare to be told apart.
        DataError: what `Encoder.fit` cannot use.
    """
    encoder, min_count = Encoder.fit(inputs, config.features), config.features.min_count
    if min_count > 1 and encoder.unknown_id is not None and encoder.vocabulary_size == _MARKERS:
        every = config.features.model_copy(update={"min_count": 1, "vocabulary_size": 2**31})
        found = Encoder.fit(inputs, every).vocabulary_size - _MARKERS
        by_tokens = "characters" if config.features.tokens == "character" else "words"
        what = {"ids": "numbers", "words": "words"}.get(inputs.kind, by_tokens)
        if found:
            raise ConfigError(
                f"min_count ({min_count}) leaves none of the {found:,} {what} that training rows hold: lower it"
            )
    return encoder


def class_weights(heads: Sequence[Head], targets: Mapping[str, Tensor | Ragged]) -> dict[str, Tensor]:
    """How much an error in each class counts, so that rare ones weigh as much as frequent ones.

    n / (C · n_c) for class c, as scikit-learn's "balanced"; of multi-label (n - n_c) / n_c for a label that is there,
    against 1 for one that is not, and 1 for a label that all rows have or none.

    Args:
        heads: what is answered; values have no classes.
        targets: of the training rows, as `harken.data.labels.encode` gives them.
    """
    found = {}
    for head in heads:
        target = targets[head.name]
        values = target.values if isinstance(target, Ragged) else target
        if head.kind == "multi-label":
            there = values.nansum(0)  # (C,)
            absent = (~values.isnan()).sum(0) - there
            found[head.name] = torch.where((there > 0) & (absent > 0), absent / there, 1.0).float()
        elif head.kind != "values":
            counts = torch.bincount(values[values >= 0], minlength=len(head.classes))
            found[head.name] = (counts.sum() / (len(head.classes) * counts.clamp(min=1))).float()
    return found


def labelled_batches(predictor: SequencePredictor, rows: Labelled) -> SequenceLoader:
    """Rows for a trained model, with what should be answered.

    Raises:
        DataError: a label that training did not have, or labels for other heads.
    """
    return _loader(predictor.config, predictor.encoder, predictor.heads, rows, shuffle=False)


def _loader(
    config: SequenceRun, encoder: Encoder, heads: Sequence[Head], rows: Labelled, *, shuffle: bool
) -> SequenceLoader:
    """Rows as batches: shuffled and of the option's size to learn from, in order of length to measure on."""
    options = config.training
    weights = None if rows.weights is None else torch.tensor(rows.weights, dtype=torch.float64)
    if weights is not None and shuffle:
        weights /= weights.mean()  # weights are shares: how large the steps are is the learning rate's
    encoded, targets = encoder.encode(rows.inputs), {}
    for head in heads:
        column = answers_of(head, rows.labels, len(heads))
        if head.kind == "tags":  # a row without tags has one that is missing at every step
            lengths = encoded.lengths.tolist()
            column = [[None] * n if tags is None else tags for n, tags in zip(lengths, column, strict=True)]
        targets[head.name] = encode(head, column)
    return SequenceLoader(
        encoded,
        targets,
        None if weights is None else weights.float(),
        batch_size=options.batch_size if shuffle else BATCH_SIZE,
        shuffle=shuffle,
        bucket=options.bucket or not shuffle,
        seed=options.seed,
        steps=epoch_steps(options) if shuffle else None,
        batch_steps=options.batch_steps,
        attention_heads=config.attention_heads,
    )


def answers_of(head: Head, labels: Labels, heads: int = 1) -> list[Any]:
    """The column of a head: by its name, or, where there is one head and one column, whatever it is called.

    Raises:
        DataError: no such column, or answers of another form than those in training.
    """
    columns = labels.columns
    column = next(iter(columns.values())) if heads == len(columns) == 1 else columns.get(head.name)
    if column is None:
        raise DataError(
            f"the labels are of {', '.join(columns)}, and the model answers {head.name!r} too: give a column for it"
        )
    several = head.kind in ("multi-label", "tags")
    for row, answer in enumerate(column):
        if answer is not None and isinstance(answer, list) != several:
            form = "a list of labels" if several else "one label"
            raise DataError(f"row {row} has the label {answer!r} ({head.name}): training rows had {form} each")
    return column


def _word_vectors(config: SequenceRun, encoder: Encoder, show: Callable[[str], None] | None) -> Tensor | None:
    """The pretrained vectors of the vocabulary (V, E), where there is a file of them."""
    path, size = config.features.word_vectors, config.model.embedding_size
    if path is None:
        return None
    vectors, found = read_word_vectors(path, encoder.tokenizers["input"])
    if vectors.shape[1] != size:
        raise ConfigError(
            f"embedding_size ({size}) must be {vectors.shape[1]}, the length of the vectors in {path}: leave it out"
        )
    if show is not None and is_first_process():
        total = len(vectors) - 2  # padding and unknown are no words
        show(f"word vectors: {path} has {found:,} of the {total:,} words of the vocabulary ({found / total:.1%})")
    return vectors


def _tokens(frontend: Frontend) -> TokenFrontend:
    """The layer that holds a vector for each word, of a front end that reads words."""
    match frontend:
        case SentenceFrontend():
            return frontend.tokens
        case WordFrontend():
            return frontend.words
        case _:
            assert isinstance(frontend, TokenFrontend)
            return frontend


def _frames(frontend: SeriesFrontend, inputs: Inputs, encoded: Encoded) -> Ragged:
    """The steps (N, D) that a series' mean and scale are of; of recordings, frames of some, evenly over them all."""
    assert isinstance(inputs.rows, Ragged)
    if not isinstance(frontend, SpectrogramFrontend) or frontend.spectrogram is None:
        return inputs.rows  # not the encoded ones: where a value is missing, those have the mean
    chosen = torch.linspace(0, len(encoded) - 1, min(len(encoded), _MEASURED)).long()
    parts, lengths = [torch.zeros(0, frontend.width)], [torch.zeros(0, dtype=torch.int64)]
    for rows in torch.split(chosen, BATCH_SIZE // 4):
        samples = encoded.batch(rows)
        with torch.no_grad():
            frames, counts = frontend.spectrogram(samples.values, samples.lengths)
        parts.append(frames[mask_from_lengths(counts, frames.shape[1])])
        lengths.append(counts)
    return Ragged(torch.cat(parts), offsets_from_lengths(torch.cat(lengths)))


def _fingerprint(encoder: Encoder) -> str:
    """The same for the same vocabulary, and for no other; weights learned under one mean nothing under another."""
    digest = hashlib.blake2b(json.dumps(encoder.facts()).encode(), digest_size=16)
    for name, tokenizer in sorted(encoder.tokenizers.items()):
        digest.update(name.encode() + tokenizer.to_json())
    return digest.hexdigest()
