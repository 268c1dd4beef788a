import os
from pathlib import Path

import pytest

from harken.data.paths import resolve_path


@pytest.fixture
def tree(tmp_path):
    """root/{a.jpg, tables/{t.csv, b.jpg, a.jpg}}, and a secret beside root."""
    for name in ("root/a.jpg", "root/tables/b.jpg", "root/tables/a.jpg", "root/own.jpg", "secret.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path.resolve()


def found(written, folder, root=None):
    path, problem = resolve_path(str(written), folder, root)
    assert problem == ""
    return path


def problem(written, folder, root=None):
    path, text = resolve_path(str(written), folder, root)
    assert path == Path()
    assert text
    assert "\n" not in text
    return text


def test_without_a_root_paths_are_taken_from_the_tables_folder_and_stay_there(tree):
    tables = tree / "root" / "tables"
    assert found("b.jpg", tables) == tables / "b.jpg"
    assert found("../tables/./b.jpg", tables) == tables / "b.jpg"
    assert found(tables / "b.jpg", tables) == tables / "b.jpg"
    expected = f"the path '../own.jpg' leads out of the folder {tables}/: put the files inside, or widen it with --root"
    assert problem("../own.jpg", tables) == expected


def test_with_a_root_a_file_there_comes_first_and_the_tables_folder_second(tree):
    root, tables = tree / "root", tree / "root" / "tables"
    assert found("a.jpg", tables, root) == root / "a.jpg"
    assert found("b.jpg", tables, root) == tables / "b.jpg"
    assert found("../own.jpg", tables, root) == root / "own.jpg"  # beside root there is none such, nor may there be


def test_a_table_outside_the_root_names_files_in_the_root(tree):
    root = tree / "root" / "tables"
    assert found("b.jpg", tree, root) == root / "b.jpg"
    assert "'c.jpg' does not exist in the folder" in problem("c.jpg", tree, root)
    assert "'secret.jpg' does not exist in the folder" in problem("secret.jpg", tree, root)  # though it is beside


@pytest.mark.parametrize("name", ["secret.jpg", "nothing.jpg"])
def test_nothing_is_told_of_what_lies_outside(name, tree):
    root = tree / "root"
    (root / "link.jpg").symlink_to(tree / name)
    for written in (f"../{name}", tree / name, f"tables/../../{name}", "link.jpg"):
        expected = f"the path {str(written)!r} leads out of the folder {root}/: put the files inside, or widen it"
        assert problem(written, root).startswith(expected)
        assert problem(written, root, root).startswith(expected)
    assert "leads out" in problem(f"../../{name}", root / "tables", root)
    assert "does not exist in the folder" in problem(f"../{name}", root / "tables", root)


def test_a_folder_whose_name_begins_like_the_root_is_outside(tree):
    (tree / "root2").mkdir()
    (tree / "root2" / "a.jpg").write_bytes(b"x")
    assert "leads out" in problem("../root2/a.jpg", tree / "root")


def test_links_are_followed_where_they_stay_inside(tree):
    root = tree / "root"
    (root / "good.jpg").symlink_to("tables/b.jpg")
    (tree / "alias").symlink_to(root, target_is_directory=True)
    assert found("good.jpg", root) == root / "tables" / "b.jpg"
    assert found("a.jpg", tree / "alias") == root / "a.jpg"
    (root / "out").symlink_to(tree, target_is_directory=True)
    assert "leads out" in problem("out/secret.jpg", root)
    assert found("out/root/a.jpg", root) == root / "a.jpg"
    (root / "loop").symlink_to("loop")
    assert problem("loop", root).startswith("the path 'loop' cannot be used: ")


def test_what_is_no_regular_file(tree):
    root = tree / "root"
    os.mkfifo(root / "pipe.jpg")
    assert problem("pipe.jpg", root) == "the path 'pipe.jpg' is a pipe, a socket or a device: name a regular file"
    assert problem("tables", root) == "the path 'tables' is a folder: name a file in it"
    assert problem(".", root) == "the path '.' is a folder: name a file in it"
    assert problem("/dev/null", root, Path("/")) == (
        "the path '/dev/null' is a pipe, a socket or a device: name a regular file"
    )
    assert "does not exist in the folder" in problem("c.jpg", root)
    assert "does not exist in the folder" in problem("a.jpg/b.jpg", root)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", "the path is empty: name a file"),
        (" ", "the path is empty: name a file"),
        ("a\0.jpg", "the path 'a\\x00.jpg' holds a NUL character, which no file's name has: correct it"),
        ("a\ud800.jpg", "the path 'a\\ud800.jpg' holds characters that no file's name has here: correct it"),
    ],
)
def test_what_is_no_path(written, expected, tree):
    assert problem(written, tree / "root") == expected


@pytest.mark.parametrize("written", ["a" * 300, "a/" * 5000])
def test_names_that_are_too_long_are_shortened_in_the_message(written, tree):
    text = problem(written, tree / "root")
    assert "cannot be used: File name too long" in text
    assert len(text) < 200
