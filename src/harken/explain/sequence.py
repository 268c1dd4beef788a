"""Bundle + rows → readings: what each answer of a classifier, regressor or tagger looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from harken.data.batching import SequenceBatch
from harken.data.features import Tokenizer
from harken.data.inputs import Inputs
from harken.data.labels import Head, decode
from harken.data.ragged import Ragged
from harken.errors import UsageError
from harken.explain.alignment import token_texts
from harken.explain.attribution import POINTS, attribute, share_of_error
from harken.explain.reading import Answer, By, Reading, Sentence, Span
from harken.models.heads import predictions, probabilities
from harken.predictor.sequence import SequencePredictor

BATCH_SIZE = 32  # small: attributions keep what a backward pass needs


def read_of(
    predictor: SequencePredictor,
    inputs: Inputs,
    *,
    by: By = "attention",
    head: str | None = None,
    originals: Sequence[str] | None = None,
    points: int = POINTS,
) -> list[Reading]:
    """Answer every row and keep what the answer looked at.

    Args:
        predictor: a trained model.
        inputs: the rows, as the model reads them.
        by: "attention", the pooling's own weights; or "gradients", integrated gradients, which every model has.
        head: by gradients, whose answer they explain; default: the first.
        originals: of texts that were stripped, what they were before: spans count their characters.
        points: of integrated gradients.

    Raises:
        UsageError: attention of a model without, or no such head.
    """
    explained = predictor.heads[0] if head is None else predictor.head(head)
    if by == "attention":
        check_attends(predictor)
    found: dict[int, Reading] = {}
    for batch in predictor.batches(inputs, batch_size=BATCH_SIZE):
        batch = batch.to(device_of(predictor))
        looked = _attended(predictor, batch) if by == "attention" else _attributed(predictor, batch, explained, points)
        found |= _readings(predictor, inputs, batch, looked, originals)
    return [found[row] for row in range(len(inputs))]


def check_attends(predictor: SequencePredictor) -> None:
    """Refuse a model that has no weights to show.

    Raises:
        UsageError: a tagger, or a pooling without weights.
    """
    if any(head.kind == "tags" for head in predictor.heads):
        raise UsageError("a tagger answers from every step itself, so it has no attention to show: ask for gradients")
    pooling = predictor.config.model.pooling
    if pooling in ("last", "sum", "mean", "max"):
        raise UsageError(
            f"pooling={pooling} has no weights to show: ask for gradients, or train with pooling=attention, "
            "attention-linear, query or self-attention"
        )


def device_of(predictor: SequencePredictor) -> torch.device:
    """Where the model is, and so where batches have to go."""
    return next(predictor.model.parameters()).device


class _Looked(NamedTuple):
    """What a batch looked at, on the CPU."""

    logits: dict[str, Tensor]
    steps: Tensor  # (B, heads, T)
    words: Tensor | None  # of sentences: (N, heads, L)
    places: Tensor | None  # (B, T): which of them is which step
    by: By
    about: str | None = None
    error: list[float] | None = None  # (B,)


def _attended(predictor: SequencePredictor, batch: SequenceBatch) -> _Looked:
    output = predictor.answer(batch)
    assert output.weights is not None  # this model attends
    words, places = None, None
    if output.piece_weights is not None and batch.inputs.pieces is not None:
        words, places = output.piece_weights.cpu(), batch.inputs.pieces.index.cpu()
    return _Looked(_on_cpu(output.logits), output.weights.cpu(), words, places, "attention")


def _attributed(predictor: SequencePredictor, batch: SequenceBatch, head: Head, points: int) -> _Looked:
    logits = _on_cpu(predictor.answer(batch).logits)
    steps, words, places, _, error = attribute(predictor.model, batch.inputs, head, points=points)
    return _Looked(
        logits,
        steps.unsqueeze(1).cpu(),
        None if words is None else words.unsqueeze(1).cpu(),
        None if places is None else places.cpu(),
        "gradients",
        head.name,
        share_of_error(steps, error).tolist(),
    )


def _on_cpu(logits: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in logits.items()}


def _readings(
    predictor: SequencePredictor,
    inputs: Inputs,
    batch: SequenceBatch,
    looked: _Looked,
    originals: Sequence[str] | None,
) -> dict[int, Reading]:
    """A reading for each row of the batch, by the row's number."""
    found = {}
    for place, (row, length) in enumerate(zip(batch.rows.tolist(), batch.inputs.lengths.tolist(), strict=True)):
        source, steps, spans = _steps(predictor, inputs, row, originals)
        sentences = []
        if looked.words is not None and looked.places is not None:
            tokenizer = predictor.encoder.tokenizers["input"]
            numbers = looked.places[place, :length].tolist()
            sentences = [_sentence(tokenizer, text, looked.words[n]) for text, n in zip(steps, numbers, strict=False)]
        found[row] = Reading(
            inputs.kind,
            source,
            tuple(_answer(head, looked.logits[head.name][place : place + 1], length) for head in predictor.heads),
            steps[:length],
            looked.steps[place, :, :length].clone(),  # a copy, for a view would keep the whole batch
            None if spans is None else spans[:length],
            inputs.channels,
            sentences,
            looked.by,
            looked.about,
            None if looked.error is None else looked.error[place],
        )
    return found


def _steps(
    predictor: SequencePredictor, inputs: Inputs, row: int, originals: Sequence[str] | None
) -> tuple[str | list[str] | Tensor, list[str], list[Span] | None]:
    """A row as it was given, its steps as texts, and where they lie in it."""
    given = inputs.rows[row]
    if isinstance(given, Tensor):
        numbers = given.tolist() if inputs.kind == "ids" else range(len(given))
        return given, [str(number) for number in numbers], None
    if isinstance(given, list):
        return given, given, None
    tokenizer = predictor.encoder.tokenizers["input"]
    spans = tokenizer.spans(given)
    original = given if originals is None else originals[row]
    before = len(original) - len(original.lstrip()) if original != given else 0  # characters that were stripped
    return original, token_texts(tokenizer, given, spans), [(start + before, end + before) for start, end in spans]


def _sentence(tokenizer: Tokenizer, text: str, weights: Tensor) -> Sentence:
    spans = tokenizer.spans(text)
    words = token_texts(tokenizer, text, spans)
    return Sentence(words, spans, weights[:, : len(words)].clone())


def _answer(head: Head, logits: Tensor, length: int) -> Answer:
    """What one head says: logits (1, width), or of tags (1, T, C)."""
    if head.kind == "values":
        return Answer(head.name, decode(head, predictions(head, logits))[0])
    chances = probabilities(head, logits)[0]  # (C,), or (T, C)
    if head.kind == "tags":
        best = chances[:length].argmax(-1)
        tags = decode(head, Ragged(best, torch.tensor([0, length])))[0]
        return Answer(head.name, tags, chances[:length].amax(-1).tolist(), per_step=True)
    answered = predictions(head, logits)
    label = decode(head, answered)[0]
    if head.kind == "multi-label":
        return Answer(head.name, label, chances[answered[0]].tolist())
    return Answer(head.name, label, float(chances[answered[0]]))
