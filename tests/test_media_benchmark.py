"""The benchmark of pictures and sound: what it compares is what it says; nothing is trained or timed here."""

from __future__ import annotations

import numpy as np
import pytest

from harken.config import SequenceRun
from harken.data.labels import Head
from harken.models.sequence import SequenceModel

pytest.importorskip("soundfile")
from benchmarks import media, pictures_sound


@pytest.mark.parametrize("hertz", [90.0, 130.0, 210.0, 300.0])
def test_the_pitch_of_a_voice_is_that_of_its_fundamental(hertz: float) -> None:
    time = np.arange(4_000) / 8_000
    voice = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6)) * np.hanning(4_000)
    noise = 0.01 * np.random.default_rng(0).normal(size=4_000)
    assert media.mean_pitch((0.2 * voice + noise).astype(np.float32)) == pytest.approx(hertz, rel=0.03)
    assert np.isfinite(media.mean_pitch(np.zeros(10, dtype=np.float32)))


def test_networks_that_are_compared_have_about_as_many_parameters() -> None:
    heads = (Head("color", "classes", 3, ("a", "b", "c")), Head("category", "classes", 4, ("a", "b", "c", "d")))
    sizes = {}
    for name, options in pictures_sound.VARIANTS.items():
        config = SequenceRun().settled("image").override(**options).model
        sizes[name] = sum(p.numel() for p in SequenceModel(config, "image", heads).parameters())
    assert max(sizes.values()) < 1.07 * min(sizes.values()), sizes


def test_pictures_to_test_on_are_not_those_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_TRAINED", 30)
    monkeypatch.setattr(media, "_UNSEEN", 30)
    split = media.shapes_split(1)
    seen = {picture.tobytes() for picture in split.train.X}
    assert len(seen) == 30
    assert not seen & {picture.tobytes() for part in (split.validation, split.test) for picture in part.X}


def test_speakers_and_recordings_are_held_out() -> None:
    if not (media.DATA / "fsdd" / "recordings.zip").exists():
        pytest.skip(f"there is no fsdd in {media.DATA}")
    official, unheard = media.digits(), media.digits("theo")
    assert (len(official.train.X), len(official.test.X)) == (2_700, 300)
    assert {int(path.stem.split("_")[2]) for path in official.test.X} == set(range(5))
    assert {path.stem.split("_")[1] for path in unheard.test.X} == {"theo"}
    assert "theo" not in {path.stem.split("_")[1] for path in unheard.train.X}
