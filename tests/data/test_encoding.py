import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harken.config import ExamplesConfig, ReadingConfig, SequenceRun
from harken.data import encoded, encoding, ragged
from harken.data.encoding import LONGEST_WORD, UNKNOWN, Encoder, channel_statistics
from harken.data.inputs import Inputs, as_inputs
from harken.data.ragged import Ragged, pad_rows
from harken.errors import ConfigError, DataError

NAN = math.nan
TEXTS = ["a rose is a Rose", "", "is it?"]
words = st.lists(st.sampled_from(["a", "Rose", "rose", "naïve", "New York", "", "\u2028", "😀"]), max_size=5)


def features(kind: str, **options) -> ReadingConfig:
    return SequenceRun().settled(kind).override(**options).features


def rows(X, kind: str | None = None, **options) -> Inputs:
    return as_inputs(X, ExamplesConfig(input=kind, **options), "classify")


def fit(inputs: Inputs, **options) -> Encoder:
    return Encoder.fit(inputs, features(inputs.kind, **options))


def lists(rows: Ragged) -> list:
    return [row.tolist() for row in rows]


# Fitting and encoding, kind by kind


def test_texts():
    encoder = fit(rows(TEXTS), lowercase=True)
    tokenizer = encoder.tokenizers["input"]
    assert (tokenizer.kind, tokenizer.lowercase) == ("wordpunct", True)
    made = encoder.encode(rows(TEXTS))
    assert [tokenizer.decode(row) for row in made.values] == ["a rose is a rose", "", "is it ?"]
    assert made.lengths.tolist() == made.steps.tolist() == [5, 0, 3]
    assert (encoder.vocabulary_size, encoder.unknown_id, encoder.width) == (tokenizer.vocabulary_size, 1, 0)
    assert encoder.encode(rows(["a tulip"])).values[0].tolist()[1] == encoder.unknown_id


@pytest.mark.parametrize("tokens", ["character", "word", "wordpunct", "byte", "bpe"])
def test_options_of_texts(tokens):
    encoder = fit(rows(TEXTS), tokens=tokens, lowercase=False, vocabulary_size=300)
    assert (encoder.tokenizers["input"].kind, encoder.tokenizers["input"].lowercase) == (tokens, False)
    assert encoder.unknown_id == (None if tokens in ("byte", "bpe") else 1)
    rare = fit(rows(TEXTS), min_count=3, tokens="wordpunct")
    assert rare.vocabulary_size == 2  # "a", "is" and "rose" occur twice


def test_texts_are_cut_where_they_were_told_to_be():
    encoder = fit(rows(TEXTS))
    assert encoder.encode(rows(TEXTS, truncate=2)).lengths.tolist() == [2, 0, 2]
    assert encoder.encode(rows(TEXTS, truncate=4, max_steps=4)).lengths.tolist() == [4, 0, 3]
    with pytest.raises(DataError, match=r"row 0 has 5 steps, more than max_steps \(4\)"):
        encoder.encode(rows(TEXTS, max_steps=4))


def test_blocks_do_not_show(monkeypatch):
    texts = [TEXTS[i % 3] for i in range(20)]
    encoder = fit(rows(texts))
    whole = encoder.encode(rows(texts, truncate=3)).values
    monkeypatch.setattr(encoding, "_BLOCK", 7)
    assert lists(encoder.encode(rows(texts, truncate=3)).values) == lists(whole)


@pytest.mark.parametrize(("size", "dtype"), [(2, torch.int16), (40_000, torch.int32)])
def test_ids_are_narrow_until_they_are_in_a_batch(size, dtype):
    encoder = fit(rows([" ".join(f"w{i}" for i in range(size))], max_characters=10**6), vocabulary_size=100_000)
    made = encoder.encode(rows([f"w{size - 1} w0 unknown"]))
    assert made.values.values.dtype == dtype
    batch = made.batch(torch.tensor([0]))
    assert batch.values.dtype == torch.int64
    assert len(set(batch.values[0].tolist())) == 3
    assert int(batch.values.max()) < encoder.vocabulary_size


def test_ids():
    training = rows([[7, -3, 7], [], [10**12, 7]])
    encoder = fit(training)
    assert encoder.ids == (-3, 7, 10**12)
    assert (encoder.vocabulary_size, encoder.unknown_id) == (5, UNKNOWN)
    assert lists(encoder.encode(training).values) == [[3, 2, 3], [], [4, 3]]
    assert lists(encoder.encode(rows([[8, 7, 10**12 + 1, -4]])).values) == [[1, 3, 1, 1]]
    assert fit(training, min_count=2).ids == (7,)
    assert fit(training, vocabulary_size=4).ids == (-3, 7)  # the most frequent, then the smallest
    assert lists(fit(training, min_count=9).encode(training).values) == [[1, 1, 1], [], [1, 1]]
    with pytest.raises(ConfigError, match=r"vocabulary_size \(2\) must be more than 2"):
        fit(training, vocabulary_size=2)


@given(st.lists(st.lists(st.integers(-5, 5), max_size=4), max_size=5))
def test_every_number_of_training_rows_has_an_id(numbers):
    encoder = fit(rows(numbers, "ids"))
    known = [UNKNOWN - 1, UNKNOWN, *encoder.ids]
    assert [[known[id] for id in row] for row in lists(encoder.encode(rows(numbers, "ids")).values)] == numbers


@pytest.mark.parametrize("kind", ["series", "vectors"])
def test_series(kind):
    training = rows([[[1.0, 10.0], [3.0, NAN]], [], [[NAN, 30.0]]], kind, missing="mean")
    encoder = fit(training)
    assert (encoder.width, encoder.means, encoder.vocabulary_size, encoder.unknown_id) == (2, (2.0, 20.0), 0, None)
    assert lists(encoder.encode(training).values) == [[[1, 10], [3, 20]], [], [[2, 30]]]
    other = "vectors" if kind == "series" else "series"
    assert lists(encoder.encode(rows([[[5.0, NAN]]], other, missing="carry")).values) == [[[5, 20]]]
    assert training.rows.values.isnan().sum() == 2  # what was given stays as it was
    whole = rows([[[1.0, 2.0]]], kind)
    assert encoder.encode(whole).values is whole.rows


def test_empty_series_have_any_number_of_channels():
    encoder = fit(rows([[[1.0, 2.0]]]))
    batch = encoder.encode(rows([[], []], "series")).batch(torch.tensor([1, 0]))
    assert batch.values.shape == (2, 0, 2)
    assert encoder.encode(rows([], "series")).batch(torch.tensor([], dtype=torch.int64)).values.shape == (0, 0, 2)


def test_sentences():
    documents = [["A rose.", "", "Is it?"], [], ["is"]]
    encoder = fit(rows(documents))
    made = encoder.encode(rows(documents))
    assert [encoder.tokenizers["input"].decode(row) for row in made.pieces] == ["A rose .", "", "Is it ?", "is"]
    assert lists(made.index) == [[0, 1, 2], [], [3]]
    assert made.lengths.tolist() == [3, 0, 1]
    assert made.steps.tolist() == [6, 0, 1]
    assert [axis.tolist() for axis in made.grid] == [[3, 0, 1], [3, 0, 1]]


@given(st.lists(words, max_size=5))
def test_a_word_is_one_step_whatever_it_holds(given_rows):
    inputs = Inputs("words", given_rows)
    encoder = fit(inputs, lowercase=False)
    made = encoder.encode(inputs)
    assert made.lengths.tolist() == list(map(len, given_rows))
    tokenizer, spelling = encoder.tokenizers["input"], encoder.tokenizers["characters"]
    for row, ids, pieces in zip(given_rows, made.values, made.index, strict=True):
        assert [tokenizer.token(id) for id in ids.tolist()] == [
            {"": "␣", "New York": "New␣York", "\u2028": "␣"}.get(word, word) for word in row
        ]
        assert [spelling.decode(made.pieces[piece]) for piece in pieces.tolist()] == row


def test_words():
    training = rows([["The", "cat"], ["the", "hat"]], "words")
    encoder = fit(training)
    made = encoder.encode(rows([["the", "CAT", "bat"], []], "words"))
    assert encoder.tokenizers["input"].decode(made.values[0]) == "the cat \N{REPLACEMENT CHARACTER}"
    spelled = [encoder.tokenizers["characters"].decode(row) for row in made.pieces]
    assert spelled == [
        "the",
        "\N{REPLACEMENT CHARACTER}" * 2 + "T",
        "\N{REPLACEMENT CHARACTER}at",
    ]  # known letters are read
    plain = fit(training, characters=False)
    assert plain.tokenizers.keys() == {"input"}
    assert plain.encode(training).batch(torch.tensor([0, 1])).pieces is None


def test_the_middle_of_a_very_long_word_is_not_read():
    long = "ab" * LONGEST_WORD
    encoder = fit(rows([[long, "abc"]], "words"))
    made = encoder.encode(rows([[long, "abc"]], "words"))
    assert made.pieces.lengths.tolist() == [LONGEST_WORD, 3]


# Batches


def encoders() -> dict[str, tuple[Inputs, Encoder]]:
    inputs = {
        "text": rows(["a rose", "", "is a rose is a rose", "b"]),
        "ids": rows([[1, 2, 3], [], [4], [5, 5]]),
        "series": rows([[[1.0, 2.0]], [], [[3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0]]]),
        "sentences": rows([["a rose .", "", "it is"], [], ["a"], ["b c", "d"]]),
        "words": rows([["a", "rose", "a"], [], ["is", "a"], ["rose", "rose"]], "words"),
        "image": rows([*np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3), None, np.ones((2, 2), np.uint8)], "image"),
        "audio": rows([[0.1, 0.2], [], [0.3] * 5, [0.4]], "audio", sample_rate=100),
        "spectrogram": rows([[[1.0, 2.0]], [], [[3.0, 4.0]] * 3, [[7.0, 8.0]]], "spectrogram"),
    }
    return {kind: (given_rows, fit(given_rows)) for kind, given_rows in inputs.items()}


ENCODERS = encoders()


def check_batch(kind: str, chosen: list[int]) -> None:
    """Every row is in the batch as it would be alone."""
    inputs, encoder = ENCODERS[kind]
    whole = encoder.encode(inputs)
    batch = whole.batch(torch.tensor(chosen, dtype=torch.int64))
    longest = max((int(whole.lengths[row]) for row in chosen), default=0)
    assert batch.values.shape[:2] == (len(chosen), longest)
    assert (batch.pieces is None) == (kind not in ("sentences", "words"))
    for b, row in enumerate(chosen):
        alone = encoder.encode(inputs.take([row]))
        length = int(batch.lengths[b])
        assert length == int(alone.lengths[0])
        assert (batch.values[b, length:] == 0).all()
        if kind != "sentences":
            assert batch.values[b, :length].tolist() == alone.values[0].tolist()
        if batch.pieces is not None:
            there = [batch.pieces.ids[i, : batch.pieces.lengths[i]].tolist() for i in batch.pieces.index[b, :length]]
            assert there == [alone.pieces[i].tolist() for i in alone.index[0].tolist()]
            assert (batch.pieces.index[b, length:] == 0).all()
    if batch.pieces is not None:
        pieces = batch.pieces
        assert pieces.ids.shape == (len(pieces.lengths), int(pieces.lengths.max()) if len(pieces.lengths) else 0)
        assert (len(pieces.lengths) == 0) == (longest == 0)
        assert all((ids[n:] == 0).all() for ids, n in zip(pieces.ids, pieces.lengths.tolist(), strict=True))
        used = {int(i) for b in range(len(chosen)) for i in pieces.index[b, : batch.lengths[b]]}
        assert used == set(range(len(pieces.lengths)))  # each one is there once, and for somebody
    if kind == "sentences":
        assert batch.values is batch.pieces.index


@pytest.mark.parametrize("kind", ENCODERS)
@given(chosen=st.lists(st.integers(0, 3), max_size=6))
@settings(deadline=None)
def test_a_batch_is_its_rows_one_by_one(kind, chosen):
    check_batch(kind, chosen)


def backwards(values, starts, lengths, fill=0, reverse=False):
    return pad_rows(values, starts, lengths, fill, not reverse)


def padded_with_ones(values, starts, lengths, fill=0, reverse=False):
    return pad_rows(values, starts, lengths, 1, reverse)


@pytest.mark.parametrize("where", [encoded, ragged])
@pytest.mark.parametrize("fault", [backwards, padded_with_ones])
def test_the_check_notices_planted_faults(where, fault, monkeypatch):
    monkeypatch.setattr(where, "pad_rows", fault)
    with pytest.raises(AssertionError):
        check_batch("words", [0, 1, 2])


def test_a_batch_has_each_different_word_once():
    inputs, encoder = ENCODERS["words"]
    pieces = encoder.encode(inputs).batch(torch.tensor([0, 3])).pieces
    assert len(pieces.lengths) == 2
    assert pieces.index.tolist() == [[0, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize("kind", ENCODERS)
def test_integers_of_a_batch_are_int64(kind):
    inputs, encoder = ENCODERS[kind]
    batch = encoder.encode(inputs).batch(torch.tensor([0, 1]))
    tensors = [batch.values, batch.lengths, *(batch.pieces or ())]
    assert {tensor.dtype for tensor in tensors} <= {
        torch.int64,
        torch.float32,
        *([torch.uint8] if kind == "image" else []),
    }
    moved = batch.to("meta")
    assert {tensor.device.type for tensor in [moved.values, moved.lengths, *(moved.pieces or ())]} == {"meta"}


# What is stored


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_comes_back_from_its_facts(kind):
    inputs, encoder = ENCODERS[kind]
    again = Encoder.from_facts(encoder.tokenizers, json.loads(json.dumps(encoder.facts())))
    everything = torch.arange(4)
    one, other = encoder.encode(inputs).batch(everything), again.encode(inputs).batch(everything)
    assert torch.equal(one.values, other.values)
    assert again.facts() == encoder.facts()
    assert (again.vocabulary_size, again.width) == (encoder.vocabulary_size, encoder.width)


@pytest.mark.parametrize(
    "change", [{"kind": "pickle"}, {"kind": "series"}, {"width": 3}, {"means": ["x"]}, {"ids": None}]
)
def test_facts_that_were_changed(change):
    encoder = ENCODERS["text"][1]
    with pytest.raises((ValueError, TypeError, KeyError)):
        Encoder.from_facts(encoder.tokenizers, encoder.facts() | change)
    with pytest.raises(ValueError, match="kind 'text'"):
        Encoder.from_facts({}, encoder.facts())


# What does not fit


def test_rows_of_another_kind():
    with pytest.raises(DataError, match="the rows are ids, and the model reads text"):
        ENCODERS["text"][1].encode(ENCODERS["ids"][0])
    with pytest.raises(DataError, match="the rows have 1 channels, and the training rows had 2"):
        ENCODERS["series"][1].encode(rows([[1.0, 2.0]]))


# Statistics


def test_statistics_are_numpys():
    values = np.random.default_rng(0).normal(5, [1, 100], (50, 2)).astype(np.float32)
    values[3, 0] = values[7, 1] = NAN
    inputs = rows([values[:20], values[20:20], values[20:]], "series", missing="mean")
    mean, scale = channel_statistics(inputs.rows, "channel")
    np.testing.assert_allclose(mean, np.nanmean(values.astype(float), axis=0), rtol=1e-6)
    np.testing.assert_allclose(scale, np.nanstd(values.astype(float), axis=0), rtol=1e-6)
    mean, scale = channel_statistics(inputs.rows, "all")
    np.testing.assert_allclose(mean, [np.nanmean(values.astype(float))] * 2, rtol=1e-6)
    np.testing.assert_allclose(scale, [np.nanstd(values.astype(float))] * 2, rtol=1e-6)
    mean, scale = channel_statistics(inputs.rows, "none")
    assert (mean.tolist(), scale.tolist()) == ([0, 0], [1, 1])
    assert mean.dtype == scale.dtype == torch.float32


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8])
def test_a_channel_that_never_changes(value):
    mean, scale = channel_statistics(rows(np.full((7, 9), value)).rows, "channel")
    assert (mean.tolist(), scale.tolist()) == ([pytest.approx(value)], [1])


def test_only_what_the_rows_hold_counts():
    middle = Ragged(torch.tensor([[9.0], [1.0], [3.0], [9.0]]), torch.tensor([1, 2, 3]))
    assert channel_statistics(rows(middle).rows, "channel")[0].tolist() == [2]
    assert fit(rows(Ragged(torch.tensor([9, 1, 2, 9]), torch.tensor([1, 2, 3])))).ids == (1, 2)


@pytest.mark.parametrize("how", ["channel", "all"])
def test_a_channel_without_a_value(how):
    with pytest.raises(DataError, match="channel 1 has no value in any training row"):
        channel_statistics(rows([[[1.0, NAN]]], missing="mean").rows, how)


@pytest.mark.parametrize(
    ("X", "kind"), [(TEXTS, "text"), ([["a rose", "is"], [], ["a"]], "sentences"), ([[5, 5, 9], [], [7]], "ids")]
)
def test_counts_are_those_of_every_id_in_every_row(X, kind: str) -> None:
    inputs = rows(X, kind)
    encoder = fit(inputs)
    encoded = encoder.encode(inputs)
    batch = encoded.batch(torch.arange(len(inputs)))
    ids, lengths = (batch.values, batch.lengths) if batch.pieces is None else (batch.pieces.ids, batch.pieces.lengths)
    real = ids[torch.arange(ids.shape[1]) < lengths[:, None]]
    assert torch.equal(encoded.counts(encoder.vocabulary_size), torch.bincount(real, minlength=encoder.vocabulary_size))


# Rows in files of their own


def test_pictures_are_kept_as_they_are():
    pictures = rows(np.arange(54, dtype=np.uint8).reshape(2, 3, 3, 3), "image", image_size=3)
    encoder = fit(pictures)
    encoded = encoder.encode(pictures)
    assert (encoder.width, encoder.vocabulary_size, encoder.unknown_id) == (3, 0, None)
    assert encoded.values is pictures.rows
    with pytest.raises(DataError, match="of 2 pixels a side, and the model reads 3: say --image-size 3"):
        encoder.encode(rows(np.ones((1, 2, 2, 3)), "image", image_size=2))


def test_recordings_are_counted_in_frames():
    clips = rows([[0.1] * 25, [], [0.3] * 10], "audio", sample_rate=1000)
    encoder = fit(clips, hop=0.01, window=0.02)
    encoded = encoder.encode(clips)
    assert (encoder.rate, encoder.hop) == (1000, 10)
    assert (encoded.lengths.tolist(), encoded.steps.tolist()) == ([25, 0, 10], [3, 0, 1])
    with pytest.raises(DataError, match="have 500 samples a second, and the model reads 1000: say --sample-rate 1000"):
        encoder.encode(rows([[0.1]], "audio", sample_rate=500))
    nameless = Inputs("audio", clips.rows)
    with pytest.raises(DataError, match="no recording that can be read"):
        fit(nameless)
    assert encoder.encode(nameless).steps.tolist() == [3, 0, 1]


def test_frames_that_are_missing_are_the_means_of_training():
    encoder = fit(rows([[[1.0, 2.0]], [[3.0, NAN]]], "spectrogram", missing="mean"))
    assert encoder.means == (2.0, 2.0)
    asked = rows([[[NAN, 5.0]]], "spectrogram", missing="mean")
    assert lists(encoder.encode(asked).values) == [[[2.0, 5.0]]]
    with pytest.raises(DataError, match="3 channels, and the training rows had 2"):
        encoder.encode(rows([[[1.0, 2.0, 3.0]]], "spectrogram"))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("image", {"width": 0}),
        ("audio", {"rate": 0}),
        ("audio", {"hop": 0}),
        ("spectrogram", {"width": 3}),
        ("spectrogram", {"rate": 8000}),
    ],
)
def test_facts_of_files(kind, wrong):
    _, encoder = ENCODERS[kind]
    facts = json.loads(json.dumps(encoder.facts()))
    assert Encoder.from_facts({}, facts).facts() == encoder.facts()
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} "):
        Encoder.from_facts({}, facts | wrong)
