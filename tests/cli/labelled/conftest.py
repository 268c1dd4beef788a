"""Small files of every kind of input and label, and a tiny run on each."""

import csv
import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from harken.data.synthetic import shapes

SMALL = (
    *("--hidden-size", "4", "--epochs", "1", "--min-steps", "0"),
    *("--show-examples", "2"),
)
"""Options that train on any of the sets in a moment."""

ADJECTIVES = ("warm", "dull", "moving", "flat", "funny", "noisy")  # good and bad in turn
VERDICTS = ("good", "bad")


class Set(NamedTuple):
    """A file of rows.

    Attributes:
        file: its name.
        write: makes it.
        options: of ``harken train``.
        told: lines that training must print.
        rows: how many there are.
    """

    file: str
    write: Callable[[Path], Path]
    options: tuple[str, ...]
    told: tuple[str, ...]
    rows: int


def review(row: int) -> str:
    return f"the plot of film {row} is {ADJECTIVES[row % 6]}"


def _csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_reviews(path: Path, rows: int = 40) -> Path:
    """A text, one of two verdicts, and two columns more."""
    lines = ((f"r{n}", review(n), VERDICTS[n % 2], 1 + n % 2) for n in range(rows))
    return _csv(path, ("id", "review", "stars", "weight"), lines)


def write_attributes(path: Path) -> Path:
    """Two attributes of a text, one of them sometimes missing."""
    lines = ((review(n), VERDICTS[n % 2], "" if n == 3 else ("film", "book", "play")[n % 3]) for n in range(40))
    return _csv(path, ("review", "mood", "about"), lines)


def write_genres(path: Path) -> Path:
    """Any number of labels, none too."""
    lines = ((review(n), ";".join(["drama"] * (n % 2) + ["war"] * (n % 3 == 0))) for n in range(40))
    return _csv(path, ("review", "genres"), lines)


def write_values(path: Path) -> Path:
    return _csv(path, ("review", "score"), ((review(n), n / 7) for n in range(40)))


def write_wide(path: Path) -> Path:
    lines = ((*np.round(np.sin(np.arange(5) * (1 + n % 2) + n), 3), VERDICTS[n % 2]) for n in range(40))
    return _csv(path, ("t0", "t1", "t2", "t3", "t4", "label"), lines)


def write_long(path: Path) -> Path:
    """Series of 3 to 5 steps and two channels, their steps out of order."""
    lines = [
        (f"s{n}", time, time / 2 + n % 2, -time, VERDICTS[n % 2])
        for n in range(20)
        for time in reversed(range(3 + n % 3))
    ]
    return _csv(path, ("id", "time", "x", "y", "label"), lines)


def write_vowels(path: Path) -> Path:
    """Three classes of ragged series of two channels."""
    header = (
        "@problemName vowels\n@univariate false\n@dimensions 2\n@equalLength false\n@classLabel true a e i\n@data\n"
    )
    lines = []
    for n in range(42):
        steps = range(3 + n % 4)
        channels = (",".join(str(step * (n % 3) + shift) for step in steps) for shift in (0.5, 2))
        lines.append(":".join([*channels, "aei"[n % 3]]))
    path.write_text(header + "\n".join(lines) + "\n")
    return path


def write_waves(path: Path) -> Path:
    values = np.stack([np.sin(np.arange(6) * (1 + n % 2) + n) for n in range(30)])
    np.savez(path, X=values, y=np.array([VERDICTS[n % 2] for n in range(30)]))
    return path


def write_chunks(path: Path) -> Path:
    documents = [np.full((1 + n % 4, 3), n % 2 - 0.5, dtype="f4").tolist() for n in range(24)]
    table = {"name": [f"d{n}" for n in range(24)], "chunks": documents, "label": [VERDICTS[n % 2] for n in range(24)]}
    pq.write_table(pa.table(table), path)
    return path


def write_documents(path: Path) -> Path:
    """Documents as lists of sentences."""
    rows = ({"document": [review(n), review(n + 2)], "label": VERDICTS[n % 2]} for n in range(24))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_events(path: Path) -> Path:
    rows = ({"events": [n % 5, 7 * (n % 2), n % 3], "label": VERDICTS[n % 2]} for n in range(24))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_tagged(path: Path, rows: int = 24) -> Path:
    """CoNLL-U: a determiner, a noun, and in every second sentence a verb."""
    tags = {"the": "DET", "dog": "NOUN", "cat": "NOUN", "barks": "VERB"}
    blocks = []
    for n in range(rows):
        words = ["the", ("dog", "cat")[n % 2], "barks"][: 2 + n % 2]
        lines = (f"{i}\t{word}\t_\t{tags[word]}\tX{i}\t_\t_\t_\t_\t_" for i, word in enumerate(words, start=1))
        blocks.append("\n".join(lines) + "\n")
    path.write_text("\n".join(blocks))
    return path


def write_shapes(path: Path) -> Path:
    """Pictures in files beside the table, two attributes, one of them sometimes missing."""
    drawn = shapes(20, 5, size=16)
    folder = path.parent / "pictures"
    folder.mkdir()
    for n, picture in enumerate(drawn.pictures):
        Image.fromarray(picture).save(folder / f"{n}.png")
    lines = ((f"pictures/{n}.png", VERDICTS[n % 2], "" if n == 3 else ("o", "x")[n % 2], n) for n in range(20))
    return _csv(path, ("file", "mood", "shape", "number"), lines)


def write_tones(path: Path) -> Path:
    """Recordings in one folder for each class."""
    for n in range(20):
        folder = path / VERDICTS[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{n}.wav", 0.5 * np.sin(np.arange(400 + 40 * n) * (0.3 + n % 2)), 2000)
    return path


def write_frames(path: Path) -> Path:
    """Spectrograms in files beside the table, and values to learn."""
    for n in range(24):
        np.save(path.parent / f"{n}.npy", np.random.default_rng(n).random((8, 3 + n % 4)) + n / 7)
    return _csv(path, ("clip", "height"), ((f"{n}.npy", n / 7) for n in range(24)))


SETS = {
    "reviews": Set(
        "reviews.csv",
        write_reviews,
        ("--validation", "0.25"),
        (
            *("task: classify", "input: text, column 'review'", "label: column 'stars'"),
            "2 classes of 'stars': bad (15), good (15)",
            "rows: 30 to learn from, 10 to validate on",
        ),
        40,
    ),
    "attributes": Set(
        "attributes.csv",
        write_attributes,
        ("--label", "mood", "--label", "about"),
        ("task: classify", "label: columns 'mood', 'about'", "3 classes of 'about': book (13), film (13), play (13)"),
        40,
    ),
    "genres": Set(
        "genres.csv",
        write_genres,
        ("--label", "genres", "--label-delimiter", ";"),
        ("task: classify", "2 labels of 'genres': drama (20), war (14); 0.85 on a row"),
        40,
    ),
    "values": Set(
        "values.csv",
        write_values,
        (),
        ("task: regress", "input: text, column 'review'", "values of 'score': from 0 to 5.571, mean 2.786"),
        40,
    ),
    "wide": Set("wide.csv", write_wide, (), ("task: classify", "2 classes of 'label': bad (20), good (20)"), 40),
    "long": Set(
        "long.csv",
        write_long,
        ("--id", "id", "--time", "time", "--series", "x", "--series", "y"),
        ("task: classify", "input: series, columns 'x', 'y'", "2 classes of 'label': bad (10), good (10)"),
        20,
    ),
    "vowels": Set(
        "vowels_TRAIN.ts",
        write_vowels,
        (),
        (
            *("task: classify", "input: series", "3 classes of 'label': a (14), e (14), i (14)"),
            "rows: 42 to learn from, none to validate on, so the last epoch is kept",
        ),
        42,
    ),
    "waves": Set("waves.npz", write_waves, (), ("task: classify", "input: series"), 30),
    "chunks": Set(
        "chunks.parquet",
        write_chunks,
        ("--vectors", "chunks", "--key", "name"),
        ("task: classify", "input: vectors, column 'chunks'"),
        24,
    ),
    "documents": Set("documents.jsonl", write_documents, (), ("input: sentences, column 'document'",), 24),
    "events": Set("events.jsonl", write_events, (), ("input: ids, column 'events'",), 24),
    "tagged": Set(
        "tagged.conllu",
        write_tagged,
        ("--character-size", "3", "--character-hidden", "3"),
        ("task: tag", "input: words, column 'FORM'", "3 tags of 'UPOS': DET (24), NOUN (24), VERB (12)"),
        24,
    ),
    "shapes": Set(
        "shapes.csv",
        write_shapes,
        (
            *("--image", "file", "--label", "mood", "--label", "shape", "--validation", "0.25"),
            *("--image-size", "16", "--cnn", "4", "--cnn-layers", "2"),
        ),
        (
            *("task: classify", "input: image, column 'file'", "label: columns 'mood', 'shape'"),
            "rows: 15 to learn from, 5 to validate on",
        ),
        20,
    ),
    "tones": Set(
        "tones",
        write_tones,
        ("--mels", "16", "--cnn", "4", "--cnn-layers", "2"),
        (
            *("task: classify", "input: audio, files of column 'path'", "label: column 'label'"),
            "2 classes of 'label': bad (10), good (10)",
        ),
        20,
    ),
    "frames": Set(
        "frames.csv",
        write_frames,
        ("--cnn", "4", "--cnn-layers", "2"),
        (
            *("task: regress", "input: spectrogram, files of column 'clip'"),
            "values of 'height': from 0 to 3.286, mean 1.643",
        ),
        24,
    ),
}


@pytest.fixture(params=SETS)
def rows(request):
    """Each of the sets in turn."""
    return SETS[request.param]


@pytest.fixture(scope="session")
def small():
    """Options that train in a moment."""
    return SMALL


@pytest.fixture(scope="session")
def labelled(tmp_path_factory, train):
    """Name of a set → its file and a run on it; tests read them and change nothing."""

    @functools.cache
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        data = SETS[name].write(folder / SETS[name].file)
        return data, train(data, folder / "run", *SETS[name].options, *SMALL)

    return make


@pytest.fixture
def file(tmp_path):
    """Name of a set → a fresh file of it."""
    return lambda name: SETS[name].write(tmp_path / SETS[name].file)
