"""Runs on labelled rows: class weights, word vectors, what is refused before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from harken.config import ExamplesConfig, SequenceRun
from harken.data.inputs import as_inputs
from harken.data.labels import Head, Labels
from harken.data.ragged import Ragged
from harken.errors import BundleError, ConfigError, DataError
from harken.estimators.sequence import Classifier, Regressor, Tagger
from harken.training.rows import label_rows
from harken.training.sequence import answers_of, class_weights, train_sequence

TINY: dict[str, Any] = {
    "hidden_size": 4,
    "convolution": 0,
    "batch_size": 8,
    "epochs": 2,
    "min_steps": 0,
    "accelerator": "cpu",
}
TEXTS = ["a good film", "a bad film", "good", "bad"]
LABELS = ["pos", "neg", "pos", "neg"]


def test_class_weights_are_scikit_learns_balanced() -> None:
    chance = torch.Generator().manual_seed(0)
    binary = (torch.rand(50, generator=chance) < 0.2).long()
    classes = torch.randint(0, 4, (50,), generator=chance).clamp(max=2)
    missing = torch.where(torch.arange(50) % 5 == 0, -1, classes)
    heads = [
        Head("two", "binary", 1, ("a", "b")),
        Head("three", "classes", 3, ("a", "b", "c")),
        Head("some", "classes", 3, ("a", "b", "c")),
        Head("size", "values", 1, (), (0.0,), (1.0,)),
    ]
    found = class_weights(heads, {"two": binary, "three": classes, "some": missing, "size": torch.zeros(50, 1)})
    assert found.keys() == {"two", "three", "some"}
    for name, target in (("two", binary), ("three", classes), ("some", missing[missing >= 0])):
        expected = compute_class_weight("balanced", classes=np.unique(target), y=target.numpy())
        assert np.allclose(found[name], expected)


def test_class_weights_of_tags_and_of_several_labels() -> None:
    tags = Head("part", "tags", 3, ("N", "V", "X"))
    steps = Ragged(torch.tensor([0, 0, 1, -1, 0, 2]), torch.tensor([0, 4, 6]))
    assert np.allclose(class_weights([tags], {"part": steps})["part"], [5 / 9, 5 / 3, 5 / 3])
    several = Head("genre", "multi-label", 4, ("a", "b", "always", "never"))
    target = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [torch.nan] * 4])
    weights = class_weights([several], {"genre": target})["genre"]
    assert weights.tolist() == [3.0, 1.0, 1.0, 1.0]
    target[3, 0] = torch.nan  # of this label three rows are known
    assert class_weights([several], {"genre": target})["genre"].tolist() == [2.0, 1.0, 1.0, 1.0]
    target[3, 0] = 0
    there = (target[:4] * weights).sum(0)[:2]
    assert torch.equal(there, (1 - target[:4]).sum(0)[:2]), "a label that is there weighs as much as one that is not"


def test_balanced_classes_are_found_where_rare_ones_are_drowned() -> None:
    X = ["a"] * 60  # nothing to tell them apart by: the answer is the class that weighs most
    y = ["rare"] * 6 + ["often"] * 54
    options = TINY | {"dropout": 0.0, "word_dropout": 0.0, "learning_rate": 0.05, "epochs": 6}
    assert Classifier(**options).fit(X, y).predict_proba(["a"])[0, 1] < 0.3
    assert Classifier(**options, class_weight="balanced").fit(X, y).predict_proba(["a"])[0, 1] == pytest.approx(
        0.5, abs=0.2
    )


@pytest.fixture
def glove(tmp_path: Path) -> str:
    lines = ["good 1 0 0.5", "bad -1 0 0.5", "movie 0 1 0"]
    (tmp_path / "glove.txt").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "glove.txt")


@pytest.mark.parametrize("kind", ["text", "sentences", "words"])
@pytest.mark.parametrize("freeze", [True, False])
def test_training_starts_from_word_vectors(glove: str, kind: str, freeze: bool) -> None:
    lines: list[str] = []
    X = {"text": TEXTS, "sentences": [[text, text] for text in TEXTS], "words": [text.split() for text in TEXTS]}[kind]
    options = TINY | {"word_vectors": glove, "freeze_vectors": freeze, "learning_rate": 0.01, "word_dropout": 0.0}
    model: Any
    if kind == "words":
        model = Tagger(**options).fit(X, [[word == "good" for word in row] for row in X], show=lines.append)
    else:
        model = Classifier(**options).fit(X, LABELS, show=lines.append)
    assert f"word vectors: {glove} has 2 of the 4 words of the vocabulary (50.0%)" in lines
    frontend = model.model.frontend
    tokens = {
        "text": frontend,
        "sentences": getattr(frontend, "tokens", None),
        "words": getattr(frontend, "words", None),
    }
    vectors = tokens[kind].embedding.weight
    numbers = model.predictor.encoder.tokenizers["input"].encode(["good", "bad"]).values
    moved = (vectors[numbers] - torch.tensor([[1, 0, 0.5], [-1, 0, 0.5]])).abs().max()
    assert moved == 0 if freeze else 0 < moved < 0.1


def test_word_vectors_that_do_not_fit(glove: str) -> None:
    with pytest.raises(ConfigError, match=r"embedding_size \(100\) must be 3, the length of the vectors in .*glove"):
        Classifier(word_vectors=glove, embedding_size=100).fit(TEXTS, LABELS)
    with pytest.raises(ConfigError, match="does nothing for input=ids: it is for text, sentences and words, so leave"):
        Classifier(**TINY, word_vectors=glove).fit([[1], [2], [3], [4]], LABELS)
    with pytest.raises(DataError, match="nowhere"):
        Classifier(**TINY, word_vectors="nowhere.txt").fit(TEXTS, LABELS)


@pytest.mark.parametrize("header", ["", "3 3\n"], ids=["glove", "word2vec"])
def test_the_size_of_vectors_is_the_files(glove: str, header: str) -> None:
    Path(glove).write_text(header + Path(glove).read_text())
    options = {name: value for name, value in TINY.items() if name != "embedding_size"} | {"word_vectors": glove}
    model = Classifier(**options).fit(TEXTS, LABELS)
    assert model.predictor.config.model.embedding_size == 3
    assert Classifier.from_config(model.predictor.config).fit(TEXTS, LABELS).model.frontend.output_size == 3
    for content, said in (("", "glove.txt is empty"), ("word\n", "line 1: 'word'… is not a word and 0 numbers")):
        Path(glove).write_text(content)
        with pytest.raises(DataError, match=said):
            Classifier(**options).fit(TEXTS, LABELS)


def test_another_vocabulary_is_not_resumed(tmp_path: Path) -> None:
    """Two bundles may have vocabularies of one size under which the weights mean different words."""
    start, rows = str(tmp_path / "start"), ["x y", "y x", "x", "y"]
    Classifier(**TINY).fit([*rows, "one"], [*LABELS, "pos"]).save(start)
    options = {"init_from": start, "epochs": 1, "accelerator": "cpu"}
    Classifier(**options).fit(rows, LABELS, out=tmp_path / "run")
    more = Classifier(**options | {"epochs": 2})
    Classifier(**TINY).fit([*rows, "two"], [*LABELS, "pos"]).save(start)
    with pytest.raises(DataError, match="the run began with, or their vocabulary is another: resume with the same"):
        more.fit(rows, LABELS, out=tmp_path / "run", resume=True)
    Classifier(**TINY | {"epochs": 1, "hidden_size": 4}).fit([*rows, "one"], [*LABELS, "pos"]).save(start)
    assert len(more.fit(rows, LABELS, out=tmp_path / "run", resume=True).history_) == 2


def test_options_that_change_nothing_are_refused_when_the_rows_are_known(tmp_path: Path) -> None:
    words, tags = [text.split() for text in TEXTS], [["N"] * (len(text.split()) - 1) + ["V"] for text in TEXTS]
    with pytest.raises(
        ConfigError, match=r"tokens \('byte'\) does nothing for input=words: it is for text and sentences"
    ):
        Tagger(**TINY, tokens="byte").fit(words, tags)
    with pytest.raises(
        ConfigError, match=r"label_smoothing \(0.5\) does nothing in task=regress: it is for classify and"
    ):
        Regressor(**TINY, label_smoothing=0.5).fit(TEXTS, [1.0, 2.0, 3.0, 4.0], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    model = Tagger(**TINY | Tagger().get_params() | {"epochs": 1, "pooling": "attention"}).fit(words, tags)
    again = Tagger.from_config(model.predictor.config)
    assert again.get_params()["pooling"] == "attention", "a settled run has every option"
    again.fit(words, tags)


def test_a_run_takes_from_the_one_it_starts_from_what_its_task_can_use(tmp_path: Path) -> None:
    start = str(tmp_path / "start")
    options = TINY | {"binary": "two-logits", "label_smoothing": 0.1, "pooling": "attention-linear", "num_heads": 2}
    Classifier(**options).fit(TEXTS, LABELS).save(start)
    model = (
        Regressor(init_from=start, epochs=1, accelerator="cpu").fit(TEXTS, [1.0, 2.0, 3.0, 4.0]).predictor.config.model
    )
    assert (model.binary, model.pooling, model.num_heads) == ("one-logit", "attention-linear", 2)


def test_long_rows_under_self_attention_are_batched_by_their_squares() -> None:
    """At 256 rows of 1,024 steps there would be a gigabyte of weights."""
    X, y = [np.arange(n) % 5 for n in (*[1024] * 40, *[3] * 40)], ["a", "b"] * 40
    options = TINY | {"pooling": "self-attention", "num_heads": 2, "epochs": 1, "batch_steps": 16_384}
    model = Classifier(**options).fit(X, y)
    sizes = [tuple(batch.inputs.values.shape) for batch in model.predictor.batches(as_inputs(X, ExamplesConfig(), ""))]
    assert sum(rows for rows, _ in sizes) == 80
    assert max(2 * rows * steps**2 for rows, steps in sizes) == 8 * 2 * 1024**2 == 16_384 * 1024
    with pytest.raises(DataError, match=r"row 1 \(12,000 steps\) would have 288,000,000 weights of self-attention"):
        model.predict([X[0], np.zeros(12_000, dtype=np.int64)])
    with pytest.raises(DataError, match="take pooling=attention, or only its start by --truncate"):
        Classifier(**options).fit([X[0], np.zeros(12_000, dtype=np.int64)], ["a", "b"])


def test_what_is_wrong_is_found_before_anything_is_written(tmp_path: Path) -> None:
    reading = ExamplesConfig()
    good = label_rows(TEXTS, LABELS, None, reading, "classify")
    empty = label_rows([], [], None, reading, "classify")
    config = SequenceRun().override(**TINY)
    for training, validation, options, said in (
        (empty, None, {}, "there are no training rows"),
        (good, empty, {}, "there are no validation rows"),
        (label_rows(TEXTS, LABELS, [0] * 4, reading, "classify"), None, {}, "weights of all training rows are zero"),
        (good, label_rows(TEXTS, LABELS, [0] * 4, reading, "classify"), {}, "of all validation rows are zero"),
        (good, label_rows(["a"], ["new"], None, reading, "classify"), {}, "no training row had"),
        (good, label_rows([["a"]], ["pos"], None, reading, "classify"), {}, "are words, and the model reads text"),
        (label_rows(TEXTS, ["pos"] * 4, None, reading, "classify"), None, {}, "only one class"),
        (good, None, {"vocabulary_size": 1}, "vocabulary"),
        (good, None, {"num_heads": 3, "pooling": "self-attention"}, "num_heads"),
        (good, None, {"init_from": "nowhere"}, "no bundle"),
    ):
        with pytest.raises((DataError, ConfigError, BundleError), match=said):
            train_sequence(config.override(**options), training, validation, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("X", "options", "what"),
    [
        (TEXTS, {"tokens": "word"}, "the 4 words"),
        (TEXTS, {"tokens": "character", "lowercase": True}, "the 10 characters"),
        (TEXTS, {"vocabulary_size": 3}, "the 4 words"),
        ([text.split() for text in TEXTS], {"input": "words"}, "the 4 words"),
        ([["so", "good"], ["bad"], ["so"], ["bad"]], {"input": "sentences"}, "the 3 words"),
        ([[1, 2], [3], [2, 2], [5]], {}, "the 4 numbers"),
    ],
)
def test_a_vocabulary_that_min_count_leaves_empty_is_refused(X: Any, options: dict[str, Any], what: str) -> None:
    options = {name: value for name, value in TINY.items() if name != "convolution"} | options
    with pytest.raises(
        ConfigError, match=rf"^min_count \(50\) leaves none of {what} that training rows hold: lower it$"
    ):
        Classifier(min_count=50, **options).fit(X, LABELS)
    Classifier(min_count=2, **options).fit(X, LABELS)
    with pytest.raises(DataError, match="every training row is empty"):
        Classifier(min_count=2, **options).fit([X[0][:0]] * 4, LABELS)


def test_what_is_wrong_with_rows_to_validate_on_is_said_of_them() -> None:
    with pytest.raises(
        DataError, match=r"^validation rows: row 1 has the label 'new' \(label\), which no training row"
    ):
        Classifier(**TINY).fit(TEXTS, LABELS, validation=(TEXTS[:2], ["pos", "new"]))


def test_a_column_for_every_head() -> None:
    one, several = Head("a", "classes", 2, (1, 2)), Head("b", "multi-label", 2, (1, 2))
    assert answers_of(one, Labels({"other": [1, None]})) == [1, None]
    assert answers_of(one, Labels({"b": [[1]], "a": [2]}), 2) == [2]
    assert answers_of(several, Labels({"b": [[1], None]})) == [[1], None]
    with pytest.raises(DataError, match="the labels are of other, and the model answers 'a' too"):
        answers_of(one, Labels({"other": [1]}), 2)
    with pytest.raises(DataError, match=r"row 1 has the label 2 \(b\): training rows had a list of labels each"):
        answers_of(several, Labels({"b": [[1], 2]}))
    with pytest.raises(DataError, match=r"row 0 has the label \[1\] \(a\): training rows had one label each"):
        answers_of(one, Labels({"a": [[1], 2]}))


# Pictures and sound

SMALL = TINY | {"cnn": 4, "cnn_layers": 2}


@pytest.mark.parametrize("standardize", ["channel", "all", "none"])
def test_recordings_are_standardised_by_the_frames_of_training_clips(standardize: str) -> None:
    chance = np.random.default_rng(0)
    clips = [0.1 * chance.standard_normal(samples).astype(np.float32) for samples in (300, 0, 150, 90)]
    model = Classifier(**SMALL, input="audio", sample_rate=1000, mels=8, standardize=standardize)
    frontend: Any = model.fit(clips, LABELS).model.frontend
    parts = [frontend.spectrogram(torch.tensor(clip)[None], torch.tensor([len(clip)]))[0][0] for clip in clips]
    frames = torch.cat([part for part in parts if len(part)]).double()
    assert len(frames) == sum(1 + (len(clip) - 25) // 10 for clip in clips if len(clip))
    mean, scale = torch.zeros(8), torch.ones(8)
    if standardize == "channel":
        mean, scale = frames.mean(0), frames.std(0, correction=0)
    elif standardize == "all":
        mean, scale = frames.mean().expand(8), frames.std(correction=0).expand(8)
    assert torch.allclose(frontend.mean.double(), mean.double(), atol=1e-4)
    assert torch.allclose(frontend.scale.double(), scale.double(), atol=1e-4)


def test_of_many_recordings_some_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.training.sequence._MEASURED", 2)
    clips = [np.full(100, 0.5, dtype=np.float32) * np.sin(np.arange(100) * pitch) for pitch in (0.3, 1, 2, 2.5)]
    options = SMALL | {"input": "audio", "sample_rate": 1000, "mels": 8, "standardize": "channel"}
    some, ends = (Classifier(**options).fit(X, y) for X, y in ((clips, LABELS), (clips[::3], LABELS[::3])))
    assert torch.equal(some.model.frontend.mean, ends.model.frontend.mean)


def test_spectrograms_are_standardised_without_what_is_missing() -> None:
    frames = [np.array([[1.0, 10, 0, 0], [np.nan, 20, 0, 0]]), np.array([[3.0, 30, 0, 0]])] * 2
    model = Classifier(**SMALL, input="spectrogram", missing="mean").fit(frames, LABELS)
    frontend: Any = model.model.frontend
    assert frontend.mean.tolist() == [2, 20, 0, 0]
    assert frontend.scale.tolist() == pytest.approx([1, (200 / 3) ** 0.5, 1, 1])


def test_the_rate_of_recordings_is_in_the_bundle() -> None:
    config = SequenceRun().override(input="audio", mels=8, **SMALL)
    clips = [np.zeros(100), np.ones(60)] * 2
    rows = label_rows(clips, LABELS, None, config.data.model_copy(update={"sample_rate": 1000}), "classify")
    bundle = train_sequence(config, rows, None).bundle
    assert isinstance(bundle.config, SequenceRun)
    assert (bundle.config.data.sample_rate, bundle.facts["encoder"]["rate"]) == (1000, 1000)
    assert bundle.facts["encoder"]["hop"] == 10


def test_recordings_without_a_sample_are_refused() -> None:
    with pytest.raises(DataError, match="every training row is empty"):
        Classifier(**SMALL, input="audio", sample_rate=1000).fit([[], []], ["a", "b"])
    with pytest.raises(DataError, match="every training row is empty"):
        Classifier(**SMALL, input="image").fit([None, None], ["a", "b"])
