"""Rows in files of their own: read from paths and from arrays alike, with what is wrong told of the row."""

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from harken.config import ExamplesConfig
from harken.data import stored
from harken.data.decoding import take_rows
from harken.data.media import is_media, kind_of_files, media_of, read_files
from harken.data.ragged import Ragged
from harken.data.synthetic import shapes
from harken.errors import DataError

CONFIG = ExamplesConfig(image_size=16)


@pytest.fixture
def pictures(tmp_path):
    """Four pictures, in files and in memory."""
    drawn = list(shapes(4, 0, size=16).pictures)
    paths = [tmp_path / f"{at}.png" for at in range(4)]
    for path, picture in zip(paths, drawn, strict=True):
        Image.fromarray(picture).save(path)
    return paths, drawn


def tone(path, samples, rate=8000, pitch=440.0):
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch * np.arange(samples) / rate), rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["a.jpg", "b/c.PNG", None, ""], None),
        (["a.jpg", "b/c.PNG", None, 3], "image"),
        (["a.wav"], "audio"),
        (["a.npy", "b.npz"], "spectrogram"),
        (["a.jpg", "a.wav"], None),
        (["a film.", "jpg"], None),
        ([None], None),
        ([], None),
    ],
)
def test_the_kind_is_told_by_suffixes(cells, kind):
    assert kind_of_files(cells) == kind
    assert kind is None or is_media(kind)


def test_pictures_are_the_same_from_paths_texts_arrays_and_pillow(pictures):
    paths, drawn = pictures
    ways = [paths, list(map(str, paths)), drawn, np.stack(drawn), list(map(Image.fromarray, drawn))]
    expected = torch.from_numpy(np.concatenate(drawn))
    for given in ways:
        rows, rate = media_of(given, "image", CONFIG)
        assert torch.equal(rows.values, expected)
        assert (rows.lengths.tolist(), rate) == ([16] * 4, None)


def test_a_row_without_a_path_is_empty(pictures):
    for given in ([None, pictures[0][0]], [None, pictures[1][0]]):
        rows, _ = media_of(given, "image", CONFIG)
        assert rows.lengths.tolist() == [0, 16]
    assert media_of([None, None], "image", CONFIG)[0].lengths.tolist() == [0, 0]
    frames, _ = media_of([np.ones((2, 3)), None], "spectrogram", CONFIG)
    assert (frames.lengths.tolist(), tuple(frames.values.shape)) == ([2, 0], (2, 3))


def test_recordings_take_the_rate_that_most_have(tmp_path):
    paths = [tone(tmp_path / f"{at}.wav", 800 * (at + 1), 8000) for at in range(2)]
    paths.append(tone(tmp_path / "fast.wav", 1600, 16000))
    rows, rate = media_of(paths, "audio", ExamplesConfig())
    assert (rate, rows.lengths.tolist()) == (8000, [800, 1600, 800])
    assert torch.allclose(rows[2][100:700], rows[0][100:700], atol=0.01), "the same tone at another rate"
    rows, rate = media_of(paths, "audio", ExamplesConfig(sample_rate=16000))
    assert (rate, rows.lengths.tolist()) == (16000, [1600, 3200, 1600])


def test_arrays_of_samples_and_of_frames():
    samples = [np.zeros(3), [0.5, -0.5]]
    rows, rate = media_of(samples, "audio", ExamplesConfig(sample_rate=100))
    assert (rows.values.dtype, rows.lengths.tolist(), rate) == (torch.float32, [3, 2], 100)
    rows, rate = media_of([np.ones((3, 4)), np.ones((1, 4))], "spectrogram", ExamplesConfig())
    assert (tuple(rows.values.shape), rows.lengths.tolist(), rate) == ((4, 4), [3, 1], None)


@pytest.mark.parametrize(
    ("given", "kind", "complaint"),
    [
        ([np.zeros(3)], "audio", "do not say how many of them are a second: give sample_rate"),
        ([np.zeros((3, 2))], "audio", r"1-dimensional|2-dimensional arrays: input=audio needs \(samples,\) each"),
        ([np.array([0.0, np.nan])], "audio", "NaN or infinity"),
        ([np.zeros(3)], "spectrogram", r"1-dimensional arrays: input=spectrogram needs \(steps, frequencies\)"),
        (["a.png", np.zeros((3, 3))], "image", "row 0 is a path and others are not"),
        ([np.zeros((3, 3)), np.zeros((3, 3, 7))], "image", r"row 1: the picture is float64 \(3, 3, 7\)"),
        (["nowhere/a.png"], "image", r"row 0: nowhere/a\.png cannot be read"),
    ],
)
def test_what_a_program_gives_wrongly_is_named(given, kind, complaint):
    config = ExamplesConfig(sample_rate=None if "sample_rate" in complaint else 100)
    with pytest.raises(DataError, match=complaint):
        media_of(given, kind, config)


def test_a_table_reads_nothing_outside_its_folder(pictures, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "link.png").symlink_to(pictures[0][1])
    cells = [None, str(pictures[0][0]), "../1.png", "link.png", "gone.png"]
    found = read_files(cells, "image", CONFIG, inner)
    assert found.problems.keys() == {1, 2, 3, 4}
    assert all("leads out of the folder" in found.problems[row] for row in (1, 2, 3))
    assert "does not exist" in found.problems[4]
    assert found.rows.lengths.tolist() == [0] * 5
    wider = read_files(cells, "image", CONFIG.model_copy(update={"root": str(tmp_path)}), inner)
    assert wider.problems.keys() == {4}
    free = read_files([str(pictures[0][0])], "image", CONFIG, None)
    assert not free.problems


def test_a_root_that_is_no_folder(pictures, tmp_path):
    for root in (tmp_path / "nowhere", pictures[0][0]):
        with pytest.raises(DataError, match=r"root \('.*'\) is no folder: name the one"):
            read_files(["0.png"], "image", CONFIG.model_copy(update={"root": str(root)}), tmp_path)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("limit", [1, 2**20])
def test_rows_that_are_taken_lie_in_a_file_if_they_are_many(dtype, limit, monkeypatch):
    monkeypatch.setattr(stored, "_IN_MEMORY", limit)
    mapped, memmap = [], np.memmap
    monkeypatch.setattr(np, "memmap", lambda *a, **k: mapped.append(1) or memmap(*a, **k))
    rows = Ragged(torch.arange(60).to(dtype).view(10, 2, 3), torch.tensor([1, 4, 4, 9]))
    for chosen in ([2, 0, 2], [1], [], [-1, 0]):
        indices = torch.tensor(chosen, dtype=torch.int64)
        taken, expected = take_rows(rows, indices), rows.take(indices)
        assert torch.equal(taken.offsets, expected.offsets)
        assert torch.equal(taken.values, expected.values)
        assert taken.values.dtype == dtype
    assert bool(mapped) == (limit == 1)
