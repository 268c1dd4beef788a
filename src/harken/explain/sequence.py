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
from harken.explain.attribution import attribute, share_of_error
from harken.explain.grad_cam import grad_cam
from harken.explain.reading import Answer, By, Reading, Sentence, Span
from harken.models.convolutional import SpectrogramFrontend
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
    points: int | None = None,
) -> list[Reading]:
    """Answer every row and keep what the answer looked at.

    Args:
        predictor: a trained model.
        inputs: the rows, as the model reads them.
        by: "attention", the pooling's own weights; or "gradients", which every model has: integrated gradients, or of
            a picture Grad-CAM, which stands beside its attention too.
        head: by gradients, whose answer they explain; default: the first.
        originals: of texts that were stripped, what they were before: spans count their characters.
        points: of integrated gradients; default: see `harken.explain.attribution.attribute`.

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
            "attention-linear, query, self-attention, self-attention-query, gated or gated-query"
        )


def device_of(predictor: SequencePredictor) -> torch.device:
    """Where the model is, and so where batches have to go."""
    return next(predictor.model.parameters()).device


class _Looked(NamedTuple):
    """What a batch looked at, on the CPU."""

    logits: dict[str, Tensor]
    lengths: list[int]  # (B,) of the steps
    steps: Tensor  # (B, heads, T)
    by: By
    about: str | None = None
    error: list[float] | None = None  # (B,)
    words: Tensor | None = None  # of sentences: (N, heads, L)
    places: Tensor | None = None  # (B, T): which of them is which step
    maps: dict[str, Tensor] | None = None  # of pictures: (B, h, w) of each head
    frames: Tensor | None = None  # of recordings: (B, T, F)


def _attended(predictor: SequencePredictor, batch: SequenceBatch) -> _Looked:
    output = predictor.answer(batch)
    assert output.weights is not None  # this model attends
    looked = _Looked(_on_cpu(output.logits), output.lengths.tolist(), output.weights.cpu(), "attention")
    if output.piece_weights is not None and batch.inputs.pieces is not None:
        looked = looked._replace(words=output.piece_weights.cpu(), places=batch.inputs.pieces.index.cpu())
    return looked._replace(maps=_maps(predictor, batch), frames=_frames(predictor, batch))


def _attributed(predictor: SequencePredictor, batch: SequenceBatch, head: Head, points: int | None) -> _Looked:
    output, maps = predictor.answer(batch), _maps(predictor, batch)
    logits, lengths = _on_cpu(output.logits), output.lengths.tolist()
    if maps is not None:
        cells = maps[head.name].flatten(1).unsqueeze(1)  # (B, 1, h · w), whatever the model makes of the cells
        lengths = [cells.shape[2] if length else 0 for length in lengths]
        return _Looked(logits, lengths, cells, "gradients", head.name, maps=maps)
    steps, words, places, _, error = attribute(predictor.model, batch.inputs, head, points=points)
    return _Looked(
        logits,
        lengths,
        steps.unsqueeze(1).cpu(),
        "gradients",
        head.name,
        share_of_error(steps, error).tolist(),
        words=None if words is None else words.unsqueeze(1).cpu(),
        places=None if places is None else places.cpu(),
        frames=_frames(predictor, batch),
    )


def _maps(predictor: SequencePredictor, batch: SequenceBatch) -> dict[str, Tensor] | None:
    """Of pictures each head's Grad-CAM, (B, h, w)."""
    if predictor.model.kind != "image":
        return None
    return _on_cpu(grad_cam(predictor.model, batch.inputs, predictor.heads))


def _frames(predictor: SequencePredictor, batch: SequenceBatch) -> Tensor | None:
    """Of recordings the frames (B, T, F) that the model reads, before they are standardised."""
    frontend = predictor.model.frontend
    if not isinstance(frontend, SpectrogramFrontend) or frontend.spectrogram is None:
        return None
    samples, lengths, _ = batch.inputs
    with torch.no_grad():
        frames: Tensor = frontend.spectrogram(samples.to(frontend.mean.dtype), lengths.to(samples.device)).frames
    return frames.cpu()


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in tensors.items()}


def _readings(
    predictor: SequencePredictor,
    inputs: Inputs,
    batch: SequenceBatch,
    looked: _Looked,
    originals: Sequence[str] | None,
) -> dict[int, Reading]:
    """A reading for each row of the batch, by the row's number."""
    found = {}
    for place, (row, length) in enumerate(zip(batch.rows.tolist(), looked.lengths, strict=True)):
        given = _given(predictor, inputs, looked, place, row, originals)
        steps, spans, sentences = given.steps, given.spans, []
        if looked.words is not None and looked.places is not None:
            tokenizer = predictor.encoder.tokenizers["input"]
            numbers = looked.places[place, :length].tolist()
            sentences = [_sentence(tokenizer, text, looked.words[n]) for text, n in zip(steps, numbers, strict=False)]
        found[row] = Reading(
            inputs.kind,
            given.source,
            tuple(_answer(head, looked.logits[head.name][place : place + 1], length) for head in predictor.heads),
            steps[:length],
            looked.steps[place, :, :length].clone(),  # a copy, for a view would keep the whole batch
            None if spans is None else spans[:length],
            inputs.channels,
            sentences,
            looked.by,
            looked.about,
            None if looked.error is None else looked.error[place],
            given.grid,
            given.maps,
            given.seconds,
        )
    return found


class _Given(NamedTuple):
    """A row as it was given, its steps as texts, and where they lie in it; see `Reading`."""

    source: str | list[str] | Tensor
    steps: list[str]
    spans: list[Span] | None = None
    grid: tuple[int, int] | None = None
    maps: tuple[tuple[str, Tensor], ...] = ()
    seconds: float | None = None


def _given(
    predictor: SequencePredictor,
    inputs: Inputs,
    looked: _Looked,
    place: int,
    row: int,
    originals: Sequence[str] | None,
) -> _Given:
    given, length = inputs.rows[row], looked.lengths[place]
    if looked.maps is not None and isinstance(given, Tensor):
        if not length:
            return _Given(given, [])
        maps = tuple((name, cells[place].clone()) for name, cells in looked.maps.items())
        high, wide = maps[0][1].shape
        grid = (high, wide) if high * wide == length else (1, length)  # cells=False makes one step of them
        return _Given(given, [f"{step // grid[1]},{step % grid[1]}" for step in range(length)], None, grid, maps)
    if looked.frames is not None:
        seconds = predictor.encoder.hop / predictor.encoder.rate
        steps = [f"{step * seconds:.3f} s" for step in range(length)]
        return _Given(looked.frames[place, :length].clone(), steps, seconds=seconds)
    if isinstance(given, Tensor):
        numbers = given.tolist() if inputs.kind == "ids" else range(len(given))
        return _Given(given, [str(number) for number in numbers])
    if isinstance(given, list):
        return _Given(given, given)
    tokenizer = predictor.encoder.tokenizers["input"]
    spans = tokenizer.spans(given)
    original = given if originals is None else originals[row]
    before = len(original) - len(original.lstrip()) if original != given else 0  # characters that were stripped
    moved = [(start + before, end + before) for start, end in spans]
    return _Given(original, token_texts(tokenizer, given, spans), moved)


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
