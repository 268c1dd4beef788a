"""Models with random weights: what they answer is nonsense, where they look is not the less exact. And readings."""

import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from harken.bundle import Bundle
from harken.config import Seq2SeqRun, SequenceRun
from harken.data.answers import as_labels
from harken.data.encoding import Encoder, channel_statistics
from harken.data.features import Tokenizer
from harken.data.inputs import as_inputs
from harken.data.labels import fit_heads
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.estimators.seq2seq import Seq2Seq
from harken.explain.reading import Answer, Reading, Sentence
from harken.models.frontends import SeriesFrontend
from harken.models.seq2seq import Seq2SeqModel
from harken.models.sequence import SequenceModel
from harken.predictor.sequence import SequencePredictor, build_model

TEXTS = ["27 sept 1994", "tuesday, 3 may 2001", "été ␣ 中", "1/2/03", "x"]
ANSWERS = ["1994-09-27", "2001-05-03", "fête", "0", "x y z"]


@pytest.fixture
def build() -> Callable[..., Seq2Seq]:
    """A fitted estimator for any options."""

    def make(**options: object) -> Seq2Seq:
        config = Seq2SeqRun().override(**{"hidden_size": 8, "embedding_size": 6, "num_heads": 2, **options})
        tokenizers = {
            "source": Tokenizer.fit(TEXTS, config.features.source_tokens, 400, markers=False),
            "target": Tokenizer.fit(ANSWERS, config.features.target_tokens, 400, markers=True),
        }
        torch.manual_seed(0)
        sizes = tokenizers["source"].vocabulary_size, tokenizers["target"].vocabulary_size
        model = Seq2SeqModel(config.model, *sizes)
        with torch.no_grad():  # far from uniform, so that attention is, too
            for parameter in model.parameters():
                parameter.normal_(0, 0.8)
        return Seq2Seq.from_bundle(Bundle(config, tokenizers, model.state_dict(), {"longest_target": 5}))

    return make


@pytest.fixture
def predict() -> Callable[..., SequencePredictor]:
    """A predictor with random weights for any rows, answers and options."""

    def make(rows: object, answers: object, task: str = "classify", **options: object) -> SequencePredictor:
        sizes = {"hidden_size": 8, "embedding_size": 6, "validation": 0}
        run = SequenceRun.build({"task": task}).override(**sizes | options)
        inputs, labels = as_inputs(rows, run.data, task), as_labels(answers, task)
        run = run.settled(inputs.kind)
        encoder, heads = Encoder.fit(inputs, run.features), fit_heads(labels, task, run.model.binary)
        torch.manual_seed(0)
        model = build_model(run, encoder, heads)
        with torch.no_grad():  # far from uniform, so that attention is, too
            for parameter in model.parameters():
                parameter.normal_(0, 0.8)
        if isinstance(model.frontend, SeriesFrontend):
            rows_of = frames_of(model, inputs.rows) if inputs.kind == "audio" else inputs.rows
            model.frontend.standardize(*channel_statistics(rows_of, run.features.standardize))
        facts = {"encoder": encoder.facts(), "heads": [head.to_json() for head in heads], "indicators": []}
        return SequencePredictor.from_bundle(Bundle(run, dict(encoder.tokenizers), model.state_dict(), facts))

    return make


def frames_of(model: SequenceModel, rows: Ragged) -> Ragged:
    """What the model makes of recordings."""
    frames, lengths = model.frontend.spectrogram(*rows.pad())
    real = [row[:length] for row, length in zip(frames, lengths.tolist(), strict=True)]
    return Ragged(torch.cat(real), offsets_from_lengths(lengths))


# Readings of every kind, made by hand

MANY = (Answer("topics", ["plot", "cast"], [0.8, 0.7]), Answer("mood", "glad", 0.6))  # of a row: not one for each step
SAID = (Answer("label", "positive", 0.937),)
HOSTILE = "</style></p><script>alert(1)</script><img src=x onerror=alert(1)> \" ' &amp; \u202e \x1b[31m"


def weights_of(count: int, heads: int, by: str) -> torch.Tensor:
    torch.manual_seed(count)
    drawn = torch.randn(heads, count) * 1.5
    return drawn.softmax(-1) if by == "attention" else drawn


def text(content: str, heads: int = 1, by: str = "attention", pattern: str = r"\w+|[^\w\s]+") -> Reading:
    spans = [match.span() for match in re.finditer(pattern, content)]
    steps = [content[start:end] for start, end in spans]
    return Reading("text", content, SAID, steps, weights_of(len(steps), heads, by), spans, by=by)


def document(sentences: list[str], heads: int = 1, inner: bool = True, by: str = "attention") -> Reading:
    lower = []
    for sentence in sentences:
        spans = [match.span() for match in re.finditer(r"\w+|[^\w\s]+", sentence)]
        words = [sentence[start:end] for start, end in spans]
        lower.append(Sentence(words, spans, weights_of(len(words), heads, by)))
    weights = weights_of(len(sentences), heads, by)
    return Reading("sentences", sentences, SAID, sentences, weights, sentences=lower if inner else [], by=by)


def series(steps: int, channels: int, heads: int = 1, by: str = "attention", kind: str = "series") -> Reading:
    torch.manual_seed(steps + channels)
    values = torch.randn(steps, channels).cumsum(0) * 10 ** (torch.arange(channels) % 3)
    names = tuple(f"sensor {channel}" for channel in range(channels)) if kind == "series" else ()
    numbers = [str(step) for step in range(steps)]
    return Reading(kind, values, SAID, numbers, weights_of(steps, heads, by), channels=names, by=by)


def tagged(words: str, tags: str) -> Reading:
    steps = words.split()
    answer = Answer("pos", tags.split(), [0.9] * len(steps), per_step=True)
    return Reading(
        "words", steps, (answer,), steps, weights_of(len(steps), 1, "gradients"), by="gradients", about="pos"
    )


def picture(
    high: int = 4, wide: int = 4, heads: int = 1, by: str = "attention", size: int = 24, answers: int = 1
) -> Reading:
    torch.manual_seed(high + wide)
    said = tuple(Answer(f"attribute {number}", f"label {number}", 0.5) for number in range(answers))
    maps = tuple((answer.head, torch.rand(high, wide)) for answer in said)
    weights = maps[0][1].flatten()[None] if by == "gradients" else weights_of(high * wide, heads, by)
    steps = [f"{row},{column}" for row in range(high) for column in range(wide)]
    pixels = torch.randint(256, (size, size, 3), dtype=torch.uint8)
    about = said[0].head if by == "gradients" else None
    return Reading("image", pixels, said, steps, weights, by=by, about=about, grid=(high, wide), maps=maps)


def sound(frames: int, bands: int = 8, heads: int = 1, by: str = "attention", seconds: float | None = 0.01) -> Reading:
    torch.manual_seed(frames)
    values = torch.randn(frames, bands).cumsum(0)
    kind, steps = "spectrogram", [str(frame) for frame in range(frames)]
    if seconds is not None:
        kind, steps = "audio", [f"{frame * seconds:.3f} s" for frame in range(frames)]
    return Reading(kind, values, SAID, steps, weights_of(frames, heads, by), by=by, seconds=seconds)


def with_gaps() -> Reading:
    """A series with values that were missing, and one that never changes."""
    reading = series(12, 3)
    reading.source[3:5, 0] = torch.nan
    reading.source[:, 1] = torch.nan
    reading.source[:, 2] = 7.0
    return reading


TEXT_READINGS = {
    "review": text("  A gorgeous, witty film -- it's   long.\n\nStill: see it!  "),
    "heads": text("one two three", heads=2),
    "gradients": text("for and against", by="gradients"),
    "characters": text("été ␣ 中", pattern="."),
    "odd": text("中文 ع\té\u0301\u200b😀\U000e0fff$x^2$_\\alpha{ [bold]x[/bold]\r\n\u2028end"),
    "hostile": text(HOSTILE),
    "long": text("lorem ipsum dolor " * 400),
    "long word": text("x" * 300 + " y"),
    "empty": text(""),
    "spaces": text("  \n "),
    "document": document(["I hated it.", "But then, the end of it was one of the best. " * 4, "", "Go!"], heads=2),
    "gradients of a document": document(["I hated it.", "", "But see it!"], by="gradients"),
    "upper level": document(["One here.", "Two there."], inner=False, by="gradients"),
    "hostile document": document([HOSTILE, HOSTILE]),
    "no sentences": document([]),
    "tags": tagged("The dog barks .", "DET NOUN VERB PUNCT"),
    "several labels": Reading("words", ["a", "b", "c"], MANY, ["a", "b", "c"], weights_of(3, 1, "attention")),
    "ids": Reading("ids", torch.arange(3), SAID, ["0", "1", "2"], weights_of(3, 1, "attention")),
}
SERIES_READINGS = {
    "one channel": series(40, 1),
    "heads": series(100, 6, heads=2),
    "gradients": series(60, 3, by="gradients"),
    "many channels": series(50, 40),
    "long": series(5000, 2),
    "chunks": series(14, 50, kind="vectors"),
    "one step": series(1, 2),
    "no steps": series(0, 2),
    "gaps": with_gaps(),
}
MEDIA_READINGS = {
    "picture": picture(),
    "picture, heads": picture(heads=7, answers=3),
    "picture, gradients": picture(by="gradients", answers=2),
    "picture, many answers": picture(answers=14),
    "picture, one cell": picture(1, 1),
    "picture, one step of many cells": Reading(
        "image",
        torch.zeros(24, 24, 3, dtype=torch.uint8),
        SAID,
        ["0,0"],
        torch.ones(1, 1),
        grid=(1, 1),
        maps=(("label", torch.zeros(3, 3)),),
    ),
    "picture, larger than it is drawn": picture(60, 50, size=600),
    "no picture": Reading("image", torch.zeros(0, 24, 3, dtype=torch.uint8), SAID, [], torch.zeros(1, 0)),
    "picture, hostile": Reading(
        "image",
        torch.zeros(24, 24, 3, dtype=torch.uint8),
        (Answer(HOSTILE, f"{HOSTILE} 中$x^2$", 0.5),),
        ["0,0"],
        torch.ones(1, 1),
        grid=(1, 1),
        maps=((HOSTILE, torch.ones(2, 2)),),
    ),
    "recording": sound(40),
    "recording, heads": sound(40, 20, heads=2),
    "recording, gradients": sound(40, by="gradients"),
    "recording, long": sound(5000, 20),
    "recording, one frame": sound(1),
    "no recording": sound(0),
    "spectrogram": sound(40, 20, seconds=None),
    "spectrogram, one frequency": sound(40, 1, seconds=None),
}

EVERYTHING = (
    {f"text, {n}": r for n, r in TEXT_READINGS.items()}
    | {f"series, {n}": r for n, r in SERIES_READINGS.items()}
    | MEDIA_READINGS
)


@pytest.fixture(params=EVERYTHING.values(), ids=EVERYTHING.keys())
def reading(request: pytest.FixtureRequest) -> Reading:
    """Each of them."""
    return request.param


@pytest.fixture
def make() -> SimpleNamespace:
    """What makes them: ``make.text("a b")``."""
    return SimpleNamespace(
        text=text,
        document=document,
        series=series,
        tagged=tagged,
        picture=picture,
        sound=sound,
        TEXTS=TEXT_READINGS,
        MEDIA=MEDIA_READINGS,
        HOSTILE=HOSTILE,
    )
