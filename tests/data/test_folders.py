"""A folder as a table: what is read of it, in which order, and what its files are called."""

import pytest

from harken.config import ExamplesConfig
from harken.data.folders import read_folder
from harken.data.tables import read_table
from harken.errors import DataError


def tree(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def cells(folder, **options):
    return read_folder(folder, ExamplesConfig(**options)).columns.to_pydict()


def test_a_row_for_each_file_and_a_class_for_each_folder(tmp_path):
    tree(tmp_path, "red/b.jpg", "red/a.PNG", "blue/deep/er/c.jpeg", "d.webp")
    paths = ["blue/deep/er/c.jpeg", "d.webp", "red/a.PNG", "red/b.jpg"]
    assert cells(tmp_path) == {"path": paths, "label": ["blue", None, "red", "red"]}
    table = read_table(str(tmp_path), ExamplesConfig())
    assert (table.name, table.folder, table.described) == (str(tmp_path), tmp_path, ())


def test_without_folders_there_are_no_labels(tmp_path):
    assert cells(tree(tmp_path, "b.wav", "a.wav")) == {"path": ["a.wav", "b.wav"]}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"image": "file"}, ["file", "label"]),
        ({"audio": "clip", "label": ("word",)}, ["clip", "word"]),
        ({"label": ("color", "shape")}, ["path", "label"]),
        ({"label": ("path",)}, ["path", "label"]),
    ],
)
def test_columns_are_called_as_those_of_the_table_that_was_learned_from(options, names, tmp_path):
    assert list(cells(tree(tmp_path, "a/x.png"), **options)) == names


def test_what_is_left_out(tmp_path):
    tree(tmp_path, "a/x.npy", "a/notes.txt", "README", ".hidden.npy", ".cache/y.npy")
    (tmp_path / "linked").symlink_to(tree(tmp_path / ".elsewhere", "z.npy"))
    table = read_folder(tmp_path, ExamplesConfig())
    assert table.columns.to_pydict() == {"path": ["a/x.npy"], "label": ["a"]}
    assert table.described == ("not read: 2 files of other kinds",)


def test_files_of_several_kinds_or_of_none(tmp_path):
    with pytest.raises(DataError, match=r"holds no pictures and no recordings, whose names end with \.jpg, .*\.wav"):
        cells(tmp_path)
    tree(tmp_path, "a.txt", "a.png", "b.png", "c.wav")
    with pytest.raises(DataError, match=r"files of several kinds \(2 of image, 1 of audio\): name a table"):
        cells(tmp_path)
