"""What an autoencoder made of a row: as data, as files, in the terminal, as a picture."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.image import imread

from harken.data.samples import as_samples
from harken.errors import ShapeError, UsageError
from harken.estimators.autoencoder import Autoencoder
from harken.explain.reconstruction import Reconstruction, write
from harken.explain.reconstruction_plot import reconstruction_figure
from harken.explain.reconstruction_text import colored, listed


def one(steps: int = 5, channels: int = 2, *, names: tuple[str, ...] = (), threshold: float = -0.5) -> Reconstruction:
    values = torch.arange(steps * channels).float().view(steps, channels)
    errors = torch.arange(steps).float() / 2
    score = -float(errors.mean()) if steps else 0.0
    return Reconstruction(values, values + 0.5, errors, score, threshold, names)


def test_rows_by_hand() -> None:
    assert one(2).rows(7) == [
        {"row": 7, "prediction": "normal", "score": -0.25, "threshold": -0.5, "index": 0, "error": 0.0,
         "values": [0.0, 1.0], "rebuilt": [0.5, 1.5]},
        {"row": 7, "prediction": "normal", "score": -0.25, "threshold": -0.5, "index": 1, "error": 0.5,
         "values": [2.0, 3.0], "rebuilt": [2.5, 3.5]},
    ]  # fmt: skip
    assert one(5).prediction == "outlier"
    assert one(5).title == "outlier: error 1, threshold 0.5"


def test_explain_gives_what_the_estimator_says(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [random.normal(size=(steps, 2, 2)) for steps in (3, 0, 6)]
    rows[0][1, 0, 0] = np.nan
    model = Autoencoder(hidden_size=3, latent_size=2, epochs=1, min_steps=0, missing="carry").fit(rows, validation=0)
    found = model.explain(rows)
    rebuilt = model.reconstruct(rows)
    for row, given in enumerate(rows):
        assert np.allclose(found[row].rebuilt.view(-1, 2, 2), rebuilt[row])
        assert np.allclose(found[row].errors, model.errors(rows)[row])
        assert len(found[row].values) == len(given)
    assert np.allclose(found[2].values.view(-1, 2, 2), rows[2])
    assert float(found[0].values[1, 0]) == pytest.approx(rows[0][0, 0, 0])  # as it was carried on
    assert [r.score for r in found] == pytest.approx(model.score_samples(rows))
    assert [r.prediction == "normal" for r in found] == (model.predict(rows) == 1).tolist()
    assert found[2].threshold == model.offset_
    assert model.explain(as_samples(rows, model.config.data))[2].score == found[2].score


def test_files(tmp_path: Path) -> None:
    found = [one(3), one(0), one(2, 14)]
    files = write(found, tmp_path / "seen.png", [4, 8, 9])
    assert [file.name for file in files] == ["seen-4.png", "seen-8.png", "seen-9.png"]
    assert all(imread(file).std() > 0.01 for file in files)
    write(found, tmp_path / "seen.json", [4, 8, 9])
    lines = json.loads((tmp_path / "seen.json").read_text())
    assert [(line["row"], line["index"]) for line in lines] == [(4, 0), (4, 1), (4, 2), (9, 0), (9, 1)]
    write(found, tmp_path / "seen.parquet", [4, 8, 9])
    assert pq.read_table(tmp_path / "seen.parquet").to_pylist() == lines
    write([], tmp_path / "none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0
    write(found, tmp_path / "seen.html")
    page = (tmp_path / "seen.html").read_text()
    assert page.count("<img ") == 3
    assert "row 2, normal" in page
    with pytest.raises(UsageError, match="no answer to draw"):
        write([], tmp_path / "seen.png")


def test_what_has_diverged_is_null_in_files() -> None:
    nan = torch.full((1, 1), math.nan)
    line = Reconstruction(torch.ones(1, 1), nan, nan[0], math.nan, -1.0).rows(0)[0]
    assert (line["error"], line["rebuilt"], line["values"]) == (None, [None], [1.0])


@pytest.mark.parametrize("channels", [1, 3, 12])
def test_a_picture_has_both_curves_of_every_channel_and_the_errors(channels: int) -> None:
    figure = reconstruction_figure(one(6, channels, names=tuple("abcdefghijkl"[:channels])))
    *panels, errors = figure.axes
    assert len(panels) == channels
    for number, axis in enumerate(panels):
        given, rebuilt = axis.lines
        assert np.allclose(given.get_ydata(), np.arange(6) * channels + number)
        assert np.allclose(rebuilt.get_ydata(), np.arange(6) * channels + number + 0.5)
        assert axis.get_ylabel() == "abcdefghijkl"[number]
    (bars,) = errors.patches
    assert np.allclose(bars.get_data().values, np.arange(6) / 2)
    assert errors.lines[0].get_ydata()[0] == 0.5  # the threshold


def test_many_channels_are_two_pictures_in_one_scale() -> None:
    given, rebuilt, _ = reconstruction_figure(one(6, 13)).axes
    assert np.allclose(given.images[0].get_array(), one(6, 13).values.T)
    assert np.allclose(rebuilt.images[0].get_array(), one(6, 13).rebuilt.T)
    assert given.images[0].get_clim() == rebuilt.images[0].get_clim() == (0, 77.5)
    assert (given.get_ylabel(), rebuilt.get_ylabel()) == ("input", "rebuilt")


def test_in_words() -> None:
    assert listed(one(8), 3).splitlines() == [
        "outlier: error 1.75, threshold 0.5",
        "  largest errors: step 7 3.5  step 6 3  step 5 2.5",
    ]
    assert listed(one(0)).splitlines()[1] == "  no steps"


def test_in_the_terminal() -> None:
    lines = colored(one(3, 2, names=("speed", "\x1b[31mheat"))).plain.splitlines()
    assert lines[0] == "normal: error 0.5, threshold 0.5"
    assert [line.split()[-1] for line in lines[1:]] == ["▁▄▇", "▂▅█", "▁▄▇", "▂▅█", "▁▅█"]
    assert "\x1b" not in "".join(lines)
    assert len(colored(one(300)).plain.splitlines()[1].split()[-1]) == 72
    assert "… and 3 more channels" in colored(one(2, 15)).plain
    assert len(colored(one(0)).plain.splitlines()) == 6


def test_parts_of_unequal_length_are_refused() -> None:
    parts: list[Any] = [torch.ones(3, 2), torch.ones(2, 2), torch.ones(3)]
    with pytest.raises(ShapeError, match=r"must be \(T, D\), \(T, D\) and \(T,\)"):
        Reconstruction(*parts, 0.0, 0.0)
