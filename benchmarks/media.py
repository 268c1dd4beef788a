"""The pictures and recordings that the benchmarks read, and how each set is split: train, validation, test.

The archives are unpacked into a folder for temporary files, once a process. The test rows are read here and handed to
one evaluation; nothing is chosen on them.
"""

from __future__ import annotations

import csv
import tempfile
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks.labelled import Labelled, Split
from benchmarks.pairs import DATA
from harken.data.recordings import decode_recording
from harken.data.synthetic import Shapes, shapes

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
_TRAINED, _UNSEEN = 6_000, 2_000  # pictures of shapes


def shapes_split(seed: int, most: int = 1) -> Split:
    """Coloured shapes, new ones for every seed: the colour and the shape of one, or which colours occur."""

    def part(n: int, drawn: int) -> Labelled:
        found = shapes(n, drawn, most=most)
        return Labelled(
            list(found.pictures), _answers(found) if most == 1 else [sorted({*row}) for row in found.colours]
        )

    return Split("classify", part(_TRAINED, 10 * seed), part(500, 10 * seed + 1), part(_UNSEEN, 10 * seed + 2))


def _answers(found: Shapes) -> Any:
    return {"colour": [row[0] for row in found.colours], "shape": [row[0] for row in found.shapes]}


@cache
def _unpacked(archive: str) -> tuple[tempfile.TemporaryDirectory[str], Path]:
    folder = tempfile.TemporaryDirectory(prefix="harken-bench-")
    with zipfile.ZipFile(DATA / archive) as content:
        content.extractall(folder.name)  # of our own data; Python refuses names that leave the folder
    return folder, Path(folder.name)


def apparel(seed: int = 0) -> Split:
    """Colour and category of clothes; no duplicates, a fifth to test on, a tenth of the rest to validate on."""
    with (DATA / "apparel" / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["duplicate_of"]]
    folder = _unpacked("apparel/apparel96.zip")[1]

    def kinds(rows: Sequence[dict[str, str]]) -> list[str]:
        return [row["color"] + row["category"] for row in rows]

    def part(rows: Sequence[dict[str, str]]) -> Labelled:
        answers: Any = {name: [row[name] for row in rows] for name in ("color", "category")}
        return Labelled([folder / row["file"] for row in rows], answers)

    train, test = train_test_split(rows, test_size=0.2, random_state=1984, stratify=kinds(rows))
    train, validation = train_test_split(train, test_size=0.1, random_state=seed, stratify=kinds(train))
    return Split("classify", part(train), part(validation), part(test))


def digits(speaker: str | None = None) -> Split:
    """Spoken digits: recordings 0 to 4 of each speaker and digit are the test, or all of one speaker."""
    train, test = _clips(speaker)
    digit = {path: path.name[0] for path in (*train, *test)}
    parts = [Labelled(paths, [digit[path] for path in paths]) for paths in (train, test)]
    return Split("classify", parts[0], None, parts[1])


def pitches() -> Split:
    """The mean pitch of spoken digits in Hz, official split."""
    parts = [Labelled(paths, [mean_pitch(decode_recording(path, 8_000, 60.0)) for path in paths]) for paths in _clips()]
    return Split("regress", parts[0], None, parts[1])


def _clips(speaker: str | None = None) -> tuple[list[Path], list[Path]]:
    """Paths to learn from, and to be tested on."""
    paths = sorted((_unpacked("fsdd/recordings.zip")[1] / "recordings").glob("*.wav"))
    named = {path: path.stem.split("_") for path in paths}
    held = {path for path, (_, who, n) in named.items() if (int(n) < 5 if speaker is None else who == speaker)}
    return [path for path in paths if path not in held], [path for path in paths if path in held]


def mean_pitch(samples: np.ndarray, rate: int = 8_000, lowest: float = 60.0, highest: float = 400.0) -> float:
    """Mean over 40 ms frames of the lag at which the normalised autocorrelation peaks, as a frequency in Hz.

    Frames that are quiet (below a tenth of the loudest one's energy) or not periodic (a peak below 0.5) are left out,
    unless all are. Boersma 1993, equations 4 to 9 and the cost of an octave of equation 26, so that a multiple of a
    period is not taken for it; without the interpolation between lags.
    """
    size = int(0.04 * rate)
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), size)[:: size // 4]
    frames = (frames - frames.mean(1, keepdims=True)) * np.hanning(size)
    spectrum = np.abs(np.fft.rfft(frames, 2 * size)) ** 2
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size), 2 * size)) ** 2)[:size]
    correlation = np.fft.irfft(spectrum)[:, :size]
    energy = correlation[:, :1]
    normed = correlation / np.maximum(energy, 1e-12) / np.maximum(window / window[0], 1e-3)
    lags = slice(int(rate / highest), int(rate / lowest) + 1)
    best = normed[:, lags]
    loud = energy[:, 0] >= 0.1 * energy.max()
    voiced = loud & (best.max(1) >= 0.5)
    cost = 0.05 * np.log2(np.arange(lags.start, lags.stop) * lowest / rate)  # from -1 octave on: rises with the lag
    chosen = (best - cost)[voiced if voiced.any() else loud]
    return float((rate / (chosen.argmax(1) + lags.start)).mean())
