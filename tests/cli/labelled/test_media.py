"""Pictures, recordings and spectrograms from the command line: flows from files to answers, and every bad file."""

import csv
import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

import harken as library

TINY = ("--cnn", "4", "--cnn-layers", "2")
TO_16 = (*TINY, "--image-size", "16")
TO_MELS = (*TINY, "--mels", "16")


def table(path, cells, **columns):
    """A CSV file of paths, and of a label that is a and b in turn."""
    columns = columns or {"label": ["ab"[n % 2] for n in range(len(cells))]}
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file", *columns), *zip(cells, *columns.values(), strict=True)])
    return path


def wave(samples=1600, rate=8000, pitch=440):
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(samples) / rate)


@pytest.fixture
def good(tmp_path):
    """A folder with a few files of each kind that nobody can complain of, and their names."""
    for n in range(4):
        Image.new("RGB", (20, 20), (60 * n, 0, 0)).save(tmp_path / f"{n}.png")
        soundfile.write(tmp_path / f"{n}.wav", wave(pitch=300 + 100 * n), 8000)
        np.save(tmp_path / f"{n}.npy", np.ones((8, 3 + n)))
    return {kind: [f"{n}.{kind}" for n in range(4)] for kind in ("png", "wav", "npy")}


OPTIONS = {
    "png": ("--image", "file", *TO_16),
    "wav": ("--audio", "file", *TO_MELS),
    "npy": ("--audio", "file", *TINY),
}


# From files to answers


def test_a_table_a_folder_and_typed_paths_are_answered_alike(harken, labelled):
    data, run = labelled("shapes")
    folder = data.parent / "pictures"
    answers = harken("predict", run, "--data", data, "--json").json["answers"]
    assert [answer["file"] for answer in answers] == [f"pictures/{n}.png" for n in range(20)]
    assert list(answers[0]) == ["file", "mood", "mood_probability", "shape", "shape_probability"]
    expected = {answer["file"].removeprefix("pictures/"): answer["mood_probability"] for answer in answers}
    of_folder = harken("predict", run, "--data", folder, "--json").json["answers"]  # whose column is called file, too
    assert {a["file"]: a["mood_probability"] for a in of_folder} == pytest.approx(expected, rel=1e-4)
    paths = [str(folder / f"{n}.png") for n in (3, 1)]
    typed = harken("predict", run, *paths, "--json").json["answers"]
    piped = harken("predict", run, "--json", stdin="".join(f"{path}\n" for path in paths)).json["answers"]
    assert typed == piped
    assert [a["file"] for a in typed] == paths
    assert [a["mood_probability"] for a in typed] == pytest.approx([expected["3.png"], expected["1.png"]], rel=1e-4)


def test_the_answers_are_the_librarys(harken, labelled):
    data, run = labelled("tones")
    paths = sorted(data.rglob("*.wav"))
    expected = library.load(run).predict(paths)
    assert harken("predict", run, *paths).out.splitlines() == list(expected)
    assert harken("predict", run, "--data", data).out.splitlines() == list(expected)


def test_a_folder_of_classes_is_evaluated_by_a_run_on_a_table(harken, train, small, good, tmp_path):
    names = [f"{kind}/{n}.png" for kind in ("red", "blue") for n in range(4)]
    for n, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (255 * (n < 4), 0, 255 * (n >= 4))).save(tmp_path / name)
    data = table(tmp_path / "a.csv", names, color=[name.partition("/")[0] for name in names])
    run = train(data, tmp_path / "run", *TO_16, *small)
    for source in (data, tmp_path / "red"):
        assert harken("predict", run, "--data", source).code == 0
    for name in ("0.png", "1.png"):
        (tmp_path / name).unlink()
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "red").rename(tree / "red")
    (tmp_path / "blue").rename(tree / "blue")
    found = harken("evaluate", run, "--data", tree, "--json")
    assert (found.code, found.json["rows"]) == (0, 8), found.err


def test_several_attributes_and_how_often_all_are_right(harken, labelled):
    data, run = labelled("shapes")
    found = harken("evaluate", run, "--data", data)
    share = harken("evaluate", run, "--data", data, "--json").json["all_right"]
    answers = harken("predict", run, "--data", data, "--json").json["answers"]
    with data.open() as file:
        truth = [(row["mood"], row["shape"]) for row in csv.DictReader(file)]
    right = [(a["mood"], a["shape"]) == t for a, t in zip(answers, truth, strict=True) if t[1]]
    assert share == pytest.approx(sum(right) / 19)
    assert f"{share:.2%}" in next(line for line in found.out.splitlines() if "all right" in line)


@pytest.mark.parametrize(("name", "word"), [("shapes", "cell "), ("tones", " s 0."), ("frames", "frame ")])
def test_explained(harken, labelled, tmp_path, name, word):
    data, run = labelled(name)
    file = data.parent / {"shapes": "pictures/0.png", "tones": "tones/good/0.wav", "frames": "0.npy"}[name]
    shown = harken("explain", run, file)
    assert (shown.code, word in shown.out) == (0, True), shown
    rows = harken("explain", run, "--data", data, "--json").json["rows"]
    assert rows
    for by in ("attention", "gradients"):
        for ending in ("png", "html"):
            drawn = harken("explain", run, file, "--by", by, "--out", tmp_path / f"{by}.{ending}")
            assert (drawn.code, (tmp_path / f"{by}.{ending}").is_file()) == (0, True), drawn.err


@pytest.mark.parametrize(("name", "what"), [("shapes", "cells of a picture"), ("tones", "frames of a recording")])
def test_what_overlaps_cannot_be_taken_out(harken, labelled, name, what):
    data, run = labelled(name)
    believed = harken("explain", run, "--data", data, "--believe")
    assert (believed.code, f"{what} overlap" in believed.sentence) == (2, True)


@pytest.mark.parametrize("name", ["shapes", "tones", "frames"])
def test_every_parameter_is_counted(harken, labelled, name):
    _, run = labelled(name)
    model = library.load(run).model
    total = sum(parameter.numel() for parameter in model.parameters())
    shown = harken("inspect", run)
    assert (shown.code, f"{total:,}" in shown.out) == (0, True), shown.out


def test_several_labels_of_a_picture_and_parquet(harken, small, good, tmp_path):
    cells = ["red;blue", "", "red", "blue"] * 2
    pq.write_table(pa.table({"file": good["png"] * 2, "colors": cells}), tmp_path / "a.parquet")
    arguments = ["--label-delimiter", ";", *TO_16, *small, "--out", tmp_path / "run"]
    result = harken("train", tmp_path / "a.parquet", *arguments)
    assert (result.code, "2 labels of 'colors': blue (4), red (4); 1 on a row" in result.out) == (0, True), result.err
    assert len(harken("predict", tmp_path / "run", "--data", tmp_path / "a.parquet").out.splitlines()) == 8


def test_a_file_to_validate_on_lies_where_its_own_pictures_are(harken, small, good, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (9, 9), "red").save(other / "0.png")
    held = table(other / "held.csv", ["0.png", "0.png"])
    data = table(tmp_path / "a.csv", good["png"])
    result = harken("train", data, *TO_16, *small, "--validation", held, "--out", tmp_path / "run", "--json")
    assert (result.code, result.json["validation"]["rows"]) == (0, 2), result.err
    assert "row 0 (16 × 16 pixels)" in result.err


def test_spectrograms_in_the_table_itself(harken, small, tmp_path):
    rows = [{"x": np.ones((3 + n % 3, 8)).tolist(), "label": "ab"[n % 2]} for n in range(6)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for named in ([], ["--series", "x", "--label", "label"]):
        arguments = ["--input", "spectrogram", *named, *TINY, *small, "--out", tmp_path / "run", "--overwrite"]
        result = harken("train", tmp_path / "a.jsonl", *arguments)
        assert (result.code, "input: spectrogram, column 'x'" in result.out) == (0, True), result.err
        answers = harken("predict", tmp_path / "run", "--data", tmp_path / "a.jsonl")
        assert (answers.code, len(answers.out.splitlines())) == (0, 6), answers.err


def test_a_root_widens_where_files_may_lie(harken, small, good, tmp_path):
    inner = tmp_path / "tables"
    inner.mkdir()
    data = table(inner / "a.csv", [f"../{name}" for name in good["png"]])
    arguments = ["train", data, *TO_16, *small, "--out", tmp_path / "run"]
    refused = harken(*arguments)
    assert (refused.code, "'../0.png' leads out of the folder" in refused.sentence) == (1, True)
    assert "--root" in refused.sentence
    assert harken(*arguments, "--root", tmp_path).code == 0
    again = harken("predict", tmp_path / "run", "--data", data)
    assert (again.code, "leads out of the folder" in again.sentence) == (1, True), "a root is of one file"
    assert harken("predict", tmp_path / "run", "--data", data, "--root", tmp_path).code == 0
    plain = table(inner / "b.csv", good["png"])
    assert harken("predict", tmp_path / "run", "--data", plain, "--root", tmp_path).code == 0


@pytest.mark.parametrize("kind", ["png", "wav"])
def test_resuming_goes_on_with_the_rows_as_they_were_read(harken, small, good, tmp_path, kind):
    data, out = table(tmp_path / "a.csv", good[kind] * 2), tmp_path / "run"
    assert harken("train", data, *OPTIONS[kind], *small, "--out", out).code == 0
    more = harken("train", "--resume", "--out", out, "--epochs", "2", "--json")
    assert (more.code, more.json["epochs"], more.json["interrupted"]) == (0, 2, False), more.err
    assert "epoch 1/2" not in more.err
    Image.new("RGB", (20, 20), "white").save(tmp_path / "0.png")
    soundfile.write(tmp_path / "0.wav", wave(pitch=999), 8000)
    changed = harken("train", "--resume", "--out", out, "--epochs", "3")
    assert (changed.code, "the rows are not those that the run began with" in changed.err) == (1, True)


def test_a_recording_of_another_rate_is_answered_as_the_same_recording(harken, labelled, tmp_path):
    _, run = labelled("tones")
    for rate in (2000, 16000):
        soundfile.write(tmp_path / f"{rate}.wav", wave(rate, rate, 200), rate, subtype="FLOAT")
    slow, fast = harken("predict", run, tmp_path / "2000.wav", tmp_path / "16000.wav", "--json").json["answers"]
    assert slow["prediction"] == fast["prediction"]
    assert slow["probability"] == pytest.approx(fast["probability"], abs=1e-3)


def test_a_picture_of_another_size_is_brought_to_the_runs(harken, labelled, tmp_path):
    data, run = labelled("shapes")
    Image.open(data.parent / "pictures/0.png").resize((160, 160), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    small, large = harken("predict", run, data.parent / "pictures/0.png", tmp_path / "large.png", "--json").json[
        "answers"
    ]
    assert small["mood_probability"] == pytest.approx(large["mood_probability"], abs=0.01)
    refused = harken("predict", run, tmp_path / "large.png", "--image-size", "32")
    assert (refused.code, "--image-size" in refused.err) == (2, True)


# Files that are odd and fine


def test_pictures_of_every_kind(harken, small, tmp_path):
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    picture.resize((1, 1)).save(tmp_path / "one.png")
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    picture.convert("P").save(tmp_path / "palette.gif")
    picture.convert("RGBA").save(tmp_path / "alpha.png")
    picture.convert("1").save(tmp_path / "bits.bmp")
    Image.fromarray(random.integers(0, 65536, (20, 20), dtype=np.uint16)).save(tmp_path / "deep.png")
    data = table(tmp_path / "a.csv", [p.name for p in sorted(tmp_path.iterdir())])
    assert harken("train", data, *TO_16, *small, "--out", tmp_path / "run").code == 0
    answered = harken("predict", tmp_path / "run", "--data", data, "--strict")
    assert (answered.code, len(answered.out.splitlines())) == (0, 6), answered.err


def test_recordings_of_every_kind(harken, small, tmp_path):
    for coding in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        soundfile.write(tmp_path / f"{coding}.wav", wave(), 8000, subtype=coding)
    soundfile.write(tmp_path / "stereo.wav", np.stack([wave(), -wave()], 1), 8000)
    soundfile.write(tmp_path / "short.wav", wave(3), 8000)
    soundfile.write(tmp_path / "zero.wav", wave(0), 8000)
    data = table(tmp_path / "a.csv", [p.name for p in sorted(tmp_path.iterdir())])
    assert harken("train", data, *TO_MELS, *small, "--out", tmp_path / "run").code == 0
    answered = harken("predict", tmp_path / "run", "--data", data)
    assert (answered.code, len(answered.out.splitlines())) == (0, 9), answered.err
    assert "warning: empty rows: 1 of 9; each gets the model's answer to nothing" in answered.err
    strict = harken("predict", tmp_path / "run", tmp_path / "zero.wav", "--strict")
    assert (strict.code, "empty rows: 1 of 1" in strict.sentence) == (1, True)


# Files that are bad: one sentence that names the row and the file; skipped only if asked for


def _cut(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def _linked(path):
    (path.parents[1] / "outside.png").write_bytes(b"")
    path.symlink_to("../outside.png")


def _damaged(path):
    np.save(path, np.ones((8, 3)))
    path.write_bytes(path.read_bytes()[:-5])


BAD = {  # kind of the good files, the bad cell, what lies there, what is said
    "a picture that is cut short": ("png", "bad.jpg", _cut, ("bad.jpg is cut short or damaged",)),
    "no picture": ("png", "bad.jpg", lambda p: p.write_text("hello"), ("bad.jpg is no picture: give JPEG",)),
    "an empty file": ("png", "bad.png", lambda p: p.write_bytes(b""), ("bad.png is no picture",)),
    "a picture too large": (
        *("png", "bad.png", lambda p: Image.new("1", (20_000, 20_000)).save(p)),
        ("bad.png has more than 100,000,000 pixels: make it smaller",),
    ),
    "a missing file": ("png", "gone.png", None, ("'gone.png' does not exist", "check the name and the folder")),
    "a way out": ("png", "../../etc/passwd", None, ("'../../etc/passwd' leads out of the folder", "--root")),
    "an absolute path": ("png", "/etc/passwd", None, ("'/etc/passwd' leads out of the folder",)),
    "a link that leads out": ("png", "bad.png", _linked, ("'bad.png' leads out of the folder",)),
    "a folder": ("png", "bad.png", lambda p: p.mkdir(), ("'bad.png' is a folder",)),
    "no path": ("png", "", None, ("the path is empty: name a file",)),
    "an mp3 of another name": (
        *("wav", "bad.wav", lambda p: soundfile.write(p, wave(), 16000, format="MP3")),
        ("bad.wav is no WAV file, whatever its name: convert it",),
    ),
    "a picture of another name": (
        *("wav", "bad.wav", lambda p: Image.new("L", (9, 9)).save(p, "PNG")),
        ("bad.wav is no WAV file",),
    ),
    "samples that are no numbers": (
        *("wav", "bad.wav", lambda p: soundfile.write(p, np.full(9, np.nan), 8000, subtype="FLOAT")),
        ("bad.wav holds samples that are not numbers",),
    ),
    "a spectrogram that is cut short": ("npy", "bad.npy", _damaged, ("bad.npy is damaged",)),
    "a spectrogram of other bands": ("npy", "bad.npy", lambda p: np.save(p, np.ones((5, 3))), ("has 5 bands", "has 8")),
    "gaps in a spectrogram": ("npy", "bad.npy", lambda p: np.save(p, np.full((8, 3), np.nan)), ("--missing",)),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named_and_skipped_only_if_asked_for(harken, small, good, tmp_path, case):
    kind, cell, make, words = BAD[case]
    inner = tmp_path / "inner"
    inner.mkdir()
    for name in good[kind]:
        (tmp_path / name).rename(inner / name)
    if make is not None:
        make(inner / cell)
    data = table(inner / "a.csv", [*good[kind], cell])
    arguments = ["train", data, *OPTIONS[kind], *small, "--out", tmp_path / "run"]
    refused = harken(*arguments)
    assert refused.code == 1, refused.err
    assert all(word in refused.sentence for word in ("a.csv, line 6: ", "--skip-bad-rows", *words)), refused.sentence
    assert not (tmp_path / "run").exists()
    skipped = harken(*arguments, "--skip-bad-rows", "--json")
    assert (skipped.code, skipped.json["training_rows"]) == (0, 4), skipped.err
    assert "warning: rows that cannot be read and were skipped: 1" in skipped.err
    asked = ["predict", tmp_path / "run", "--data", data]
    again = harken(*asked)
    if case == "no path":
        assert (again.code, "the path is empty" in again.sentence) == (1, True)
    assert again.code == 1, "what training skipped is not skipped of what is asked"
    assert len(harken(*asked, "--skip-bad-rows").out.splitlines()) == 4


def test_typed_files_that_are_bad(harken, labelled, tmp_path):
    data, run = labelled("shapes")
    fine, bad = data.parent / "pictures/0.png", tmp_path / "bad.png"
    bad.write_text("hello")
    refused = harken("predict", run, fine, bad)
    assert (refused.code, "bad.png is no picture" in refused.sentence) == (1, True)
    skipped = harken("predict", run, fine, bad, "--skip-bad-rows", "--json")
    assert [answer["file"] for answer in skipped.json["answers"]] == [str(fine)]
    assert "warning: files that cannot be read and were skipped: 1" in skipped.err
    none = harken("predict", run, bad, "--skip-bad-rows")
    assert (none.code, "bad.png is no picture" in none.sentence) == (1, True)
    for wrong, code, word in (
        (tmp_path, 2, "is a folder: name files, or give the folder with --data"),
        ("", 2, "empty"),
    ):
        result = harken("predict", run, wrong)
        assert (result.code, word in result.sentence) == (code, True), result.err
    gone = harken("predict", run, tmp_path / "gone.png")
    assert (gone.code, "gone.png cannot be read: No such file" in gone.sentence) == (1, True)


# Commands that make no sense


@pytest.mark.parametrize(
    ("kind", "options", "code", "words"),
    [
        ("png", ("--task", "tag"), 1, ("a.csv: tagging answers every step", "say task=classify or regress")),
        ("png", ("--input", "audio"), 1, ("that --image names: that is image",)),
        ("png", ("--id", "file", "--label", "label"), 1, ("--id gathers rows of numbers or words",)),
        ("png", ("--root", "nowhere"), 1, ("root ('nowhere') is no folder",)),
        ("png", ("--text", "file"), 2, ("both say what a row is",)),
        ("png", ("--mels", "8"), 2, ("mels (8) does nothing for input=image: it is for audio",)),
        ("png", ("--sample-rate", "8000"), 2, ("sample_rate (8000) does nothing for input=image",)),
        ("png", ("--truncate", "3"), 2, ("truncate (3) does nothing for input=image",)),
        ("png", ("--spec-augment",), 2, ("spec_augment (True) does nothing for input=image",)),
        ("png", ("--image-size", "0"), 2, ("image_size (0)",)),
        ("png", ("--shift", "2"), 2, ("shift (2.0)",)),
        ("png", ("--max-pixels", "10"), 1, ("20 × 20 pixels, more than 10",)),
        ("wav", ("--task", "tag"), 1, ("input=audio has no tags for",)),
        ("wav", ("--input", "image"), 1, ("that is audio or spectrogram",)),
        ("wav", ("--input", "spectrogram"), 1, ("0.wav is damaged or not a file of numpy.save",)),
        ("wav", ("--mels", "400"), 2, ("mels (400) must be at most 86", "sample_rate (8000)", "take fewer")),
        ("wav", ("--cnn-layers", "5"), 2, ("cnn_layers (5) halve the 16 frequencies", "at most 4")),
        ("wav", ("--window", "0.00001"), 2, ("window (1e-05) must be at least",)),
        ("wav", ("--no-cells",), 2, ("cells (False) does nothing for input=audio",)),
        ("wav", ("--max-seconds", "0.1"), 1, ("lasts 0.2 seconds, more than 0.1: cut it",)),
        ("npy", ("--sample-rate", "8000"), 2, ("sample_rate (8000) does nothing for input=spectrogram",)),
        ("npy", ("--max-steps", "3"), 1, ("line 3", "max_steps")),
    ],
)
def test_commands_that_make_no_sense_are_one_sentence(
    harken, small, good, tmp_path, monkeypatch, kind, options, code, words
):
    monkeypatch.chdir(tmp_path)
    data = table(tmp_path / "a.csv", good[kind])
    result = harken("train", data.name, *OPTIONS[kind], *small, *options, "--out", "run")
    assert result.code == code, result.err
    assert all(word in result.sentence for word in words), result.sentence
    assert not (tmp_path / "run").exists()


def test_a_query_needs_a_recurrent_layer(harken, good, tmp_path):
    data = table(tmp_path / "a.csv", good["png"])
    result = harken("train", data, *TO_16, "--num-layers", "0", "--pooling", "query", "--out", tmp_path / "run")
    assert (result.code, "pooling (query) needs a final state" in result.sentence) == (2, True)


def test_columns_that_cannot_be_used(harken, small, good, tmp_path):
    constant = {"color": ["r", "g"] * 2, "shape": ["o"] * 4}
    data = table(tmp_path / "a.csv", good["png"], **constant)
    arguments = ["train", data, *TO_16, *small, "--out", tmp_path / "run"]
    result = harken(*arguments, "--label", "color", "--label", "shape")
    assert (result.code, "label 'shape' holds only one class, 'o'" in result.sentence) == (1, True)
    doubt = harken(*arguments)
    assert (doubt.code, "the label could be each of the columns 'color', 'shape'" in doubt.sentence) == (1, True)
    (tmp_path / "text.csv").write_text("text,label\n" + "".join(f"film {n},{n % 2}\n" for n in range(9)))
    result = harken("train", tmp_path / "text.csv", "--input", "audio", "--out", tmp_path / "run")
    assert (result.code, "no column of paths of audio files" in result.sentence) == (1, True)
    result = harken("train", tmp_path / "text.csv", "--audio", "text", "--label", "label", "--out", tmp_path / "run")
    assert (result.code, "the file 'film 0' does not exist" in result.sentence) == (1, True)


def test_folders_that_cannot_be_learned_from(harken, good, tmp_path):
    result = harken("train", tmp_path, "--out", tmp_path / "run")
    assert (result.code, "files of several kinds" in result.sentence) == (1, True)
    for kind in ("wav", "npy"):
        for name in good[kind]:
            (tmp_path / name).unlink()
    result = harken("train", tmp_path, "--out", tmp_path / "run")
    assert (result.code, "put the files of each class into a folder of their own" in result.sentence) == (1, True)


def test_what_is_not_installed_is_named(harken, labelled, monkeypatch, small, good, tmp_path):
    data, run = labelled("tones")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    for verb in (("train", data, "--out", tmp_path / "run"), ("predict", run, next(data.rglob("*.wav")))):
        result = harken(*verb)
        assert result.code == 1
        assert result.sentence == "harken: soundfile is not installed: pip install 'harken[audio]' brings it"
