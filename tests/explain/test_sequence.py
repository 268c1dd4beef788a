"""Every weight stands at its own step of the row as it was given, whatever batch, padding and order were inside."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch

from harken.config import SequenceModelConfig
from harken.data.inputs import Inputs, as_inputs
from harken.data.ragged import Ragged
from harken.errors import UsageError
from harken.explain.colored import colored
from harken.explain.grad_cam import grad_cam
from harken.explain.reading_page import reading_page
from harken.explain.sequence import read_of
from harken.predictor.sequence import SequencePredictor

TEXTS = ["A good film , really .", "bad", "", "So so: it's OK\n\nfor a while", "é 中文 ÉTÉ", "good " * 30]
LABELS = ["p", "n", "p", "n", "p", "p"]
Predict = Callable[..., SequencePredictor]


def inputs_of(predictor: SequencePredictor, rows: object, **options: object) -> Inputs:
    return as_inputs(rows, predictor.config.data.model_copy(update=options), predictor.config.task)


def series(channels: int = 3, count: int = 12) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(row % 5, channels, generator=generator) for row in range(count)]


@pytest.mark.parametrize("tokens", ["character", "word", "wordpunct", "byte", "bpe"])
@pytest.mark.parametrize("heads", [1, 2])
def test_texts(predict: Predict, tokens: str, heads: int) -> None:
    """The oracle: one text at a time, no padding."""
    predictor = predict(TEXTS, LABELS, tokens=tokens, num_heads=heads, vocabulary_size=400, lowercase=True)
    readings = read_of(predictor, inputs_of(predictor, TEXTS))
    for reading, text in zip(readings, map(str.strip, TEXTS), strict=True):
        assert reading.source == text
        (batch,) = predictor.batches(inputs_of(predictor, [text]))
        alone = predictor.answer(batch)
        torch.testing.assert_close(reading.weights, alone.weights[0])
        assert reading.weights.shape == (heads, len(reading.steps))
        if reading.steps:
            torch.testing.assert_close(reading.weights.sum(1), torch.ones(heads))
        assert reading.answers[0].label == ("p" if float(alone.logits["label"]) > 0 else "n")
        assert reading.answers[0].probability == pytest.approx(float(alone.logits["label"].abs().sigmoid()))
        covered = [text[start:end] for start, end in reading.spans]
        if tokens not in ("byte", "bpe"):
            assert covered == reading.steps
        inside = {place for start, end in reading.spans for place in range(start, end)}
        assert inside >= {place for place, letter in enumerate(text) if not letter.isspace()}


@pytest.mark.parametrize("tokens", ["word", "byte"])
def test_spans_count_what_was_stripped(predict: Predict, tokens: str) -> None:
    originals = [f" \t\u2028{text}\n " for text in TEXTS]
    predictor = predict(TEXTS, LABELS, tokens=tokens)
    inputs = inputs_of(predictor, originals)
    readings = read_of(predictor, inputs, originals=originals)
    for reading, original, plain in zip(readings, originals, read_of(predictor, inputs), strict=True):
        assert reading.source == original
        assert reading.steps == plain.steps
        covered = [original[start:end] for start, end in reading.spans]
        assert covered == [plain.source[start:end] for start, end in plain.spans]
        assert torch.equal(reading.weights, plain.weights)


def test_rows_that_were_cut(predict: Predict) -> None:
    predictor = predict(TEXTS, LABELS, truncate=3)
    readings = read_of(predictor, inputs_of(predictor, TEXTS))
    assert [len(reading.steps) for reading in readings] == [3, 1, 0, 3, 3, 3]
    assert readings[0].source == TEXTS[0]
    assert readings[0].steps == ["A", "good", "film"]


@pytest.mark.parametrize("kind", ["series", "vectors"])
def test_numbers(predict: Predict, kind: str) -> None:
    rows = series()
    predictor = predict(rows, [float(len(row)) for row in rows], "regress", input=kind)
    for reading, row in zip(read_of(predictor, inputs_of(predictor, rows)), rows, strict=True):
        assert reading.kind == kind
        assert torch.equal(reading.source, row)
        (batch,) = predictor.batches(inputs_of(predictor, [row]))
        alone = predictor.answer(batch)
        torch.testing.assert_close(reading.weights, alone.weights[0])
        (head,) = predictor.heads
        value = float(alone.logits["label"]) * head.scales[0] + head.means[0]
        assert reading.answers[0].label == pytest.approx(value, rel=1e-5)
        assert reading.answers[0].probability is None


def test_ids(predict: Predict) -> None:
    rows = [[7, 70, 700], [], [7, 9]]
    predictor = predict(rows, ["a", "b", "a"], input="ids")
    readings = read_of(predictor, inputs_of(predictor, rows))
    assert [reading.steps for reading in readings] == [["7", "70", "700"], [], ["7", "9"]]


def test_documents_at_both_levels(predict: Predict) -> None:
    documents = [["I hated it.", "", "But see it!"], [], ["See it!", "See it!"], ["One."]]
    predictor = predict(documents, ["n", "p", "p", "n"], input="sentences", num_heads=2)
    for by in ("attention", "gradients"):
        readings = read_of(predictor, inputs_of(predictor, documents), by=by)
        for reading, document in zip(readings, documents, strict=True):
            assert reading.source == reading.steps == document
            assert len(reading.sentences) == len(document)
            (alone,) = read_of(predictor, inputs_of(predictor, [document]), by=by)
            torch.testing.assert_close(reading.weights, alone.weights)
            for number, sentence in enumerate(reading.sentences):
                assert [document[number][start:end] for start, end in sentence.spans] == sentence.words
                torch.testing.assert_close(sentence.weights, alone.sentences[number].weights)
                if by == "gradients":
                    torch.testing.assert_close(sentence.weights.sum(), reading.weights[0, number])
                elif sentence.words:
                    torch.testing.assert_close(sentence.weights.sum(1), torch.ones(2))


def test_a_tagger_by_gradients(predict: Predict) -> None:
    rows = [["The", "dog", "barks"], [], ["Go"]]
    predictor = predict(rows, [["D", "N", "V"], [], ["V"]], "tag")
    with pytest.raises(UsageError, match=r"tagger .* gradients"):
        read_of(predictor, inputs_of(predictor, rows))
    for reading, words in zip(read_of(predictor, inputs_of(predictor, rows), by="gradients"), rows, strict=True):
        assert reading.source == reading.steps == words
        assert len(reading.tags) == len(words)
        assert reading.title == " ".join(reading.tags)
        assert reading.weights.shape == (1, len(words))
        assert reading.error < 0.01


@pytest.mark.parametrize("by", ["attention", "gradients"])
def test_several_labels_of_words(predict: Predict, by: str) -> None:
    """A list of labels beside one label, neither of them one for each step."""
    rows = [["a", "good", "film"], ["bad"], []]
    answers = {"topics": [["x"], ["x", "y"], []], "mood": ["p", "n", "p"]}
    predictor = predict(rows, answers, input="words")
    readings = read_of(predictor, inputs_of(predictor, rows), by=by)
    assert reading_page(readings)
    for reading in readings:
        topics, mood = reading.answers
        assert isinstance(topics.label, list)
        assert reading.title == f"topics: {topics} · mood: {mood}"
        assert reading.tags is None
        assert colored(reading).plain == f"{reading.title}\n{''.join(f'{word} ' for word in reading.steps)}\n"


def test_gradients_of_each_head(predict: Predict) -> None:
    answers = {"colour": list("rgbrgb"), "many": [["x"], ["x", "y"], [], ["z"], ["y"], ["x"]]}
    predictor = predict(TEXTS, answers, binary="two-logits")
    inputs = inputs_of(predictor, TEXTS)
    first, named = read_of(predictor, inputs, by="gradients"), read_of(predictor, inputs, by="gradients", head="many")
    assert {reading.about for reading in first} == {"colour"}
    assert {reading.about for reading in named} == {"many"}
    assert not torch.allclose(first[0].weights, named[0].weights)
    (batch,) = predictor.batches(inputs_of(predictor, TEXTS[:1]))
    logits = predictor.answer(batch).logits["many"][0]
    many = named[0].answers[1]
    assert many.label == [name for name, logit in zip("xyz", logits, strict=True) if logit > 0]
    assert many.probability == pytest.approx(logits[logits > 0].sigmoid().tolist())
    with pytest.raises(UsageError, match="colour, many"):
        read_of(predictor, inputs, by="gradients", head="size")


@pytest.mark.parametrize("pooling", ["last", "sum", "mean", "max"])
def test_a_pooling_without_weights(predict: Predict, pooling: str) -> None:
    # On a path through 30 steps of random weights it takes luck to add up: these are drawn for small letters.
    predictor = predict(TEXTS, LABELS, pooling=pooling, lowercase=True)
    inputs = inputs_of(predictor, TEXTS)
    with pytest.raises(UsageError, match=rf"pooling={pooling} has no weights") as refused:
        read_of(predictor, inputs)
    (choices,) = filter(None, map(get_args, get_args(SequenceModelConfig.model_fields["pooling"].annotation)))
    offered = str(refused.value).split("pooling=")[-1].replace(" or ", ", ").split(", ")
    assert sorted([*offered, "last", "sum", "mean", "max"]) == sorted(choices)
    readings = read_of(predictor, inputs, by="gradients")
    assert [len(reading.steps) for reading in readings] == [reading.weights.shape[1] for reading in readings]
    assert max(reading.error for reading in readings) < 0.02


@pytest.mark.parametrize(
    "pooling",
    ["attention", "attention-linear", "query", "self-attention", "self-attention-query", "gated", "gated-query"],
)
def test_every_pooling_with_weights(predict: Predict, pooling: str) -> None:
    predictor = predict(TEXTS, LABELS, pooling=pooling)
    for reading in read_of(predictor, inputs_of(predictor, TEXTS)):
        if reading.steps:
            assert float(reading.weights.sum()) == pytest.approx(1, rel=1e-5)


def test_more_rows_than_a_batch_keep_their_order(predict: Predict) -> None:
    predictor = predict(TEXTS, LABELS)
    texts = [f"{TEXTS[row % 6]} {'x ' * (row % 7)}".strip() for row in range(70)]
    readings = read_of(predictor, inputs_of(predictor, texts))
    assert [reading.source for reading in readings] == texts
    assert readings[0].weights.untyped_storage().nbytes() == 4 * readings[0].weights.numel()  # not a whole batch's
    assert read_of(predictor, inputs_of(predictor, [])) == []


def test_nothing_is_kept(predict: Predict) -> None:
    predictor = predict(TEXTS, LABELS)
    before = {name: value.clone() for name, value in predictor.model.state_dict().items()}
    read_of(predictor, inputs_of(predictor, TEXTS), by="gradients")
    assert all(torch.equal(value, before[name]) for name, value in predictor.model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in predictor.model.parameters())
    assert not predictor.model.training


# Pictures and sound

SMALL = {"cnn": 4, "cnn_layers": 2}


def pictures(count: int = 5, size: int = 14) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(256, size=(count, size, size, 3), dtype=np.uint8))


def recordings(lengths: tuple[int, ...] = (400, 0, 30, 1000, 555)) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(size=length).astype(np.float32) for length in lengths]


def predict_pictures(predict: Predict, answers: object = None, **options: object) -> SequencePredictor:
    answers = {"colour": list("rgbrg"), "many": [["x"], ["x", "y"], [], ["y"], ["x"]]} if answers is None else answers
    return predict(pictures(), answers, input="image", image_size=14, **SMALL, **options)


@pytest.mark.parametrize("heads", [1, 2])
def test_pictures(predict: Predict, heads: int) -> None:
    predictor = predict_pictures(predict, num_heads=heads)
    given = pictures()
    readings = read_of(predictor, inputs_of(predictor, given))
    for reading, pixels in zip(readings, given, strict=True):
        assert reading.grid == (4, 4)
        assert reading.steps[:5] == ["0,0", "0,1", "0,2", "0,3", "1,0"]
        assert np.array_equal(reading.source, pixels)
        (batch,) = predictor.batches(inputs_of(predictor, [pixels]))
        alone = predictor.answer(batch)
        torch.testing.assert_close(reading.weights, alone.weights[0])
        torch.testing.assert_close(reading.weights.sum(1), torch.ones(heads))
        maps = grad_cam(predictor.model, batch.inputs, predictor.heads)
        assert [name for name, _ in reading.maps] == ["colour", "many"]
        for name, cells in reading.maps:
            torch.testing.assert_close(cells, maps[name][0], rtol=1e-4, atol=1e-6)
        assert reading.rows(0)[5]["text"] == "1,1"


def test_pictures_by_gradients_are_grad_cam(predict: Predict) -> None:
    predictor = predict_pictures(predict, pooling="mean")
    readings = read_of(predictor, inputs_of(predictor, pictures()), by="gradients", head="many")
    assert {(reading.by, reading.about, reading.error) for reading in readings} == {("gradients", "many", None)}
    for reading in readings:
        assert torch.equal(reading.weights.view(4, 4), dict(reading.maps)["many"])
    assert any(reading.weights.any() for reading in readings)


def test_pictures_as_one_step(predict: Predict) -> None:
    predictor = predict_pictures(predict, cells=False)
    inputs = inputs_of(predictor, pictures())
    for reading in read_of(predictor, inputs):
        assert (reading.grid, reading.steps, reading.weights.tolist()) == ((1, 1), ["0,0"], [[1.0]])
        assert reading.maps[0][1].shape == (4, 4)
    for reading in read_of(predictor, inputs, by="gradients"):
        assert reading.grid == (4, 4)
        assert torch.equal(reading.weights[0], reading.maps[0][1].flatten())


@pytest.mark.parametrize("by", ["attention", "gradients"])
def test_a_row_without_a_picture(predict: Predict, by: str) -> None:
    predictor = predict_pictures(predict)
    whole = inputs_of(predictor, pictures(3)).rows
    values, offsets = whole.values, torch.tensor([0, 14, 14, 42])
    inputs = Inputs("image", Ragged(values, offsets[[0, 1, 2]]))  # a picture, and nothing
    for rows in (inputs, inputs.take([1])):
        reading = read_of(predictor, rows, by=by)[-1]
        assert (reading.steps, reading.grid, reading.maps) == ([], None, ())
        assert reading.weights.shape == (1, 0)
        assert reading_page([reading])
        assert "no picture" in colored(reading).plain


@pytest.mark.parametrize("by", ["attention", "gradients"])
def test_recordings(predict: Predict, by: str) -> None:
    given = recordings()
    options = {"input": "audio", "sample_rate": 2000, "mels": 8, "num_heads": 2, **SMALL}
    predictor = predict(given, ["a", "b", "a", "b", "a"], **options)
    readings = read_of(predictor, inputs_of(predictor, given), by=by, points=8)
    for reading, samples in zip(readings, given, strict=True):
        frames = 1 + max(0, len(samples) - 50) // 20 if len(samples) else 0  # windows of 25 ms, 10 ms apart
        assert reading.seconds == 0.01
        assert reading.steps == [f"{0.01 * frame:.3f} s" for frame in range(frames)]
        spectrogram = predictor.model.frontend.spectrogram
        expected = spectrogram(torch.tensor(samples)[None], torch.tensor([len(samples)])).frames[0]
        torch.testing.assert_close(reading.source, expected)
        (alone,) = read_of(predictor, inputs_of(predictor, [samples]), by=by, points=8)
        torch.testing.assert_close(reading.weights, alone.weights, rtol=1e-3, atol=1e-4)
        assert reading.weights.shape == (2 if by == "attention" else 1, frames)
        if by == "attention" and frames:
            torch.testing.assert_close(reading.weights.sum(1), torch.ones(2))
        assert all(row["values"] is None for row in reading.rows(0))


@pytest.mark.parametrize("by", ["attention", "gradients"])
def test_spectrograms(predict: Predict, by: str) -> None:
    given = series(channels=8)
    predictor = predict(given, ["a", "b"] * 6, input="spectrogram", **SMALL)
    for reading, frames in zip(read_of(predictor, inputs_of(predictor, given), by=by), given, strict=True):
        assert torch.equal(reading.source, frames)
        assert reading.steps == [str(frame) for frame in range(len(frames))]
        assert reading.weights.shape == (1, len(frames))
        assert reading.seconds is None
        assert [(row["index"], row["text"], row["values"]) for row in reading.rows(0)] == [
            (frame, None, None) for frame in range(len(frames))
        ]
