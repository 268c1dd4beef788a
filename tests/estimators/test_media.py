"""Pictures, recordings and spectrograms from Python: learned from, answered, explained, saved, resumed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from sklearn.base import clone
from torch import Tensor, nn

import harken
from harken.data import stored
from harken.data.synthetic import shapes
from harken.errors import BundleError, ConfigError, DataError, UsageError
from harken.estimators.sequence import Classifier, Regressor, Tagger
from harken.training import callbacks

SMALL: dict[str, Any] = {
    "cnn": 4,
    "cnn_layers": 2,
    "hidden_size": 4,
    "batch_size": 8,
    "epochs": 1,
    "min_steps": 0,
    "accelerator": "cpu",
}
DRAWN = shapes(16, 3, size=16)
PICTURES = list(DRAWN.pictures)
COLOURS = [("red", "blue")[row % 2] for row in range(16)]
RATE = 2000
PITCHES = [200 + 25 * row for row in range(16)]
CLIPS = [0.5 * np.sin(2 * np.pi * pitch * np.arange(300 + 20 * row) / RATE) for row, pitch in enumerate(PITCHES)]
FRAMES = [np.abs(np.fft.rfft(clip[:288].reshape(-1, 32), axis=1)).astype(np.float32) for clip in CLIPS]

KINDS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "image": (PICTURES, {"image_size": 16}),
    "audio": (CLIPS, {"sample_rate": RATE, "mels": 16}),
    "spectrogram": (FRAMES, {}),
}


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str], list[Path]]:
    """The rows of a kind in files."""

    def write(kind: str) -> list[Path]:
        paths = [tmp_path / f"{row}{ {'image': '.png', 'audio': '.wav'}.get(kind, '.npy') }" for row in range(16)]
        for path, content in zip(paths, KINDS[kind][0], strict=True):
            if kind == "image":
                Image.fromarray(content).save(path)
            elif kind == "audio":
                soundfile.write(path, content, RATE, subtype="DOUBLE")
            else:
                np.save(path, content.T)  # (frequencies, steps)
        return paths

    return write


def fitted(kind: str, **options: Any) -> Any:
    X, how = KINDS[kind]
    return Classifier(**SMALL | how | options, input=kind).fit(X, COLOURS)  # type: ignore[arg-type]  # one of the three


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_arrays_are_learned_from_and_answered_alike(kind: str, files: Callable[[str], list[Path]]) -> None:
    paths, (X, how) = files(kind), KINDS[kind]
    model = Classifier(**SMALL | how).fit(paths, COLOURS)
    chances = model.predict_proba(paths)
    assert chances.shape == (16, 2)
    assert model.config.data.input is None, "an estimator keeps the options that it was made with"
    assert model.predictor.config.data.input == kind
    assert np.array_equal(fitted(kind).predict_proba(X), chances)
    assert np.array_equal(model.predict_proba(X), chances)
    assert np.array_equal(model.predict_proba([str(path) for path in paths]), chances), "texts are paths now"
    assert model.score(paths, COLOURS) == np.mean(model.predict(paths) == np.array(COLOURS))
    with pytest.raises(DataError, match=r"row 1: .* cannot be read"):
        model.predict([paths[0], paths[0].with_name("gone" + paths[0].suffix)])


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_row_is_answered_and_alone_as_among_others(kind: str) -> None:
    model, X = fitted(kind), KINDS[kind][0]
    together = model.predict_proba([*X[:3], None, X[3]])
    assert np.isfinite(together).all()
    for row, given in enumerate([*X[:3], None, X[3]]):
        assert np.allclose(model.predict_proba([given]), together[row], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_answers_and_explains_the_same(kind: str, tmp_path: Path) -> None:
    model, X = fitted(kind), KINDS[kind][0]
    model.save(tmp_path / "bundle")
    again = harken.load(tmp_path / "bundle")
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    for by in ("attention", "gradients"):
        here, there = (each.explain(X[:2], by=by) for each in (model, again))
        for a, b in zip(here, there, strict=True):
            assert torch.allclose(a.weights, b.weights)
            assert a.kind == kind
    (reading,) = model.explain(X[:1])
    assert float(reading.weights.sum()) == pytest.approx(1, abs=1e-4)
    data = again.predictor.config.data
    assert (data.sample_rate, data.image_size) == (
        (RATE, 64) if kind == "audio" else (None, 16 if kind == "image" else 64)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_scikit_learn_asks(kind: str) -> None:
    model = Classifier(**SMALL | KINDS[kind][1], input=kind)
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    assert copied.get_params()["cnn"] == 4
    assert np.array_equal(
        copied.fit(KINDS[kind][0], COLOURS).predict(KINDS[kind][0]), fitted(kind).predict(KINDS[kind][0])
    )


def test_several_attributes_may_be_missing() -> None:
    y = {"color": COLOURS, "shape": [None if row % 3 == 0 else "ox"[row % 2] for row in range(16)]}
    model = Classifier(**SMALL, input="image", image_size=16).fit(PICTURES, y, validation=(PICTURES, y))
    found = model.evaluate(PICTURES, y).metrics
    answers = model.predict(PICTURES)
    known = np.array([label is not None for label in y["shape"]])
    right = (answers["color"] == np.array(COLOURS)) & (answers["shape"] == np.array(y["shape"]))
    assert found["all_right"] == pytest.approx(right[known].mean())
    assert model.best_epoch_.valid["all_right"] == found["all_right"]


def test_values_are_learned_of_recordings() -> None:
    model = Regressor(**SMALL | {"epochs": 40, "learning_rate": 0.01, "mels": 16}, input="audio", sample_rate=RATE)
    model.fit(CLIPS, PITCHES)
    assert model.score(CLIPS, PITCHES) > 0.8


def test_a_clip_of_another_rate_is_answered_as_the_same_clip(tmp_path: Path) -> None:
    paths: dict[int, list[Path]] = {4000: [], 8000: []}
    for rate, row in ((rate, row) for rate in paths for row in range(8)):
        paths[rate].append(tmp_path / f"{rate}-{row}.wav")
        wave = 0.5 * np.sin(2 * np.pi * (300 + 100 * row) * np.arange(rate // 2) / rate)
        soundfile.write(paths[rate][-1], wave, rate)
    values = np.arange(8) / 8
    model = Regressor(**SMALL | {"mels": 16, "epochs": 60, "learning_rate": 0.01}).fit(paths[4000], values)
    assert model.score(paths[4000], values) > 0.8
    assert model.predictor.config.data.sample_rate == 4000
    assert np.allclose(model.predict(paths[8000]), model.predict(paths[4000]), atol=0.05)


def test_an_option_of_today_does_not_change_how_rows_are_read() -> None:
    model = fitted("image")
    expected = model.predict_proba(PICTURES)
    model.config = model.config.override(image_size=32)
    assert np.array_equal(model.predict_proba(PICTURES), expected)


def test_rows_that_are_held_out_lie_in_a_file_as_all_rows_do(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fitted("image", validation=0.25)
    monkeypatch.setattr(stored, "_IN_MEMORY", 100)
    assert np.array_equal(fitted("image", validation=0.25).predict_proba(PICTURES), expected.predict_proba(PICTURES))


@pytest.mark.parametrize("steps", [2, 4], ids=["mid-epoch", "epoch-end"])
@pytest.mark.parametrize("kind", ["image", "audio"])
def test_an_interrupted_run_resumes_as_if_never_interrupted(
    kind: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, how = KINDS[kind]
    changed = {"flip": True, "shift": 0.2, "jitter": 0.2} if kind == "image" else {"spec_augment": True}
    options = SMALL | how | changed | {"epochs": 3, "batch_size": 3, "input": kind}
    fit: dict[str, Any] = {"validation": 0.25}
    whole = Classifier(**options).fit(X, COLOURS, **fit)
    step = callbacks.Stop.on_train_batch_end

    def on_train_batch_end(self: callbacks.Stop, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == steps:
            signal.raise_signal(signal.SIGINT)
        step(self, trainer, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Stop, "on_train_batch_end", on_train_batch_end)
        assert Classifier(**options).fit(X, COLOURS, out=tmp_path / "run", **fit).interrupted_
    resumed = Classifier(**options).fit(X, COLOURS, out=tmp_path / "run", resume=True, **fit)
    assert not resumed.interrupted_
    assert [(e.train_loss, e.valid) for e in resumed.history_] == [(e.train_loss, e.valid) for e in whole.history_]
    found = resumed.model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in whole.model.state_dict().items())


# A backbone of the user's own


class Backbone(nn.Module):
    """Patches of 4 × 4 pixels, each a cell."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.output_size = channels
        self.patches = nn.Conv2d(3, channels, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.patches(x)
        return found


OWN: dict[str, Any] = {"input": "image", "image_size": 16, **{k: v for k, v in SMALL.items() if "cnn" not in k}}


def test_a_backbone_is_copied_trained_and_asked_for_again(tmp_path: Path) -> None:
    mine = Backbone()
    before = mine.patches.weight.clone()
    model = Classifier(**OWN).fit(PICTURES, COLOURS, backbone=mine)
    assert torch.equal(mine.patches.weight, before)
    assert not torch.equal(model.model.frontend.backbone.patches.weight, before)  # type: ignore[union-attr]
    model.save(tmp_path / "bundle")
    again = harken.load(tmp_path / "bundle", backbone=Backbone())
    assert np.array_equal(again.predict_proba(PICTURES), model.predict_proba(PICTURES))
    with pytest.raises(UsageError, match=r"a backbone of your own \(Backbone\): give it, as in harken.load"):
        harken.load(tmp_path / "bundle")
    with pytest.raises(UsageError, match=r"the backbone \(Backbone\) does not have the weights .*frontend\.backbone"):
        harken.load(tmp_path / "bundle", backbone=Backbone(7))
    with pytest.raises(UsageError, match=r"the backbone \(Identity\) must say its channels as output_size"):
        harken.load(tmp_path / "bundle", backbone=nn.Identity())


def test_a_backbone_that_nobody_asked_for(tmp_path: Path) -> None:
    fitted("image").save(tmp_path / "bundle")
    with pytest.raises(UsageError, match="trained without a backbone of your own: leave it out"):
        harken.load(tmp_path / "bundle", backbone=Backbone())
    with pytest.raises(ConfigError, match="a backbone reads pictures, and the rows are spectrogram"):
        Classifier(**SMALL, input="spectrogram").fit(FRAMES, COLOURS, backbone=Backbone())


# What is refused


@pytest.mark.parametrize(
    ("kind", "options", "error", "complaint"),
    [
        ("image", {"mels": 8}, ConfigError, r"mels \(8\) does nothing for input=image: it is for audio"),
        ("audio", {"cells": False}, ConfigError, r"cells \(False\) does nothing for input=audio: it is for image"),
        ("spectrogram", {"hop": 0.1}, ConfigError, r"hop \(0.1\) does nothing for input=spectrogram"),
        ("audio", {"mels": 500}, UsageError, r"mels \(500\) must be at most \d+ for every band .* take fewer"),
        ("audio", {"window": 0.0001}, UsageError, r"window \(0.0001\) must be at least .* at sample_rate \(2000\)"),
        ("spectrogram", {"cnn_layers": 6}, UsageError, r"cnn_layers \(6\) halve the 17 frequencies .* at most 4"),
        ("image", {"num_layers": 0, "pooling": "query"}, ConfigError, r"pooling \(query\) needs a final state"),
    ],
)
def test_options_that_do_not_fit(kind: str, options: dict[str, Any], error: type[Exception], complaint: str) -> None:
    kept = {name: value for name, value in SMALL.items() if "num_layers" not in options or name != "hidden_size"}
    with pytest.raises(error, match=complaint):
        Classifier(**kept | KINDS[kind][1] | {"input": kind} | options).fit(KINDS[kind][0], COLOURS)


def test_pictures_have_no_tags() -> None:
    with pytest.raises(DataError, match="input=image has no tags for: say task=classify or regress"):
        Tagger(input="image").fit(PICTURES, [["a"]] * 16)


@pytest.mark.parametrize("changed", [{"rate": 0}, {"hop": 0}, {"rate": 10**9}, {"rate": 2001}])
def test_facts_that_were_tampered_with(changed: dict[str, int]) -> None:
    bundle = fitted("audio").predictor.bundle
    facts = bundle.facts | {"encoder": bundle.facts["encoder"] | changed}
    with pytest.raises(BundleError, match="tampered"):
        Classifier.from_bundle(replace(bundle, facts=facts))
