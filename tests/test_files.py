"""A file is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from harken.errors import DataError
from harken.files import beside, write_whole


def test_what_was_there_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "a.txt"
    write_whole(file, "ärger")
    assert file.read_text(encoding="utf-8") == "ärger"
    write_whole(file, b"bytes")
    assert file.read_bytes() == b"bytes"
    assert [p.name for p in file.parent.iterdir()] == ["a.txt"]


def test_a_writer_that_fails_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def write_half() -> None:
        with beside(file) as temporary:
            temporary.write_text("half of")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_links_are_not_written_through_by_accident(tmp_path: Path) -> None:
    """No name that somebody could guess is opened; a link under the file's own name is what the user made it."""
    (tmp_path / "secret").write_text("mine")
    for name in ("a.txt.tmp", ".a.txt.new", ".a.txt."):
        (tmp_path / name).symlink_to(tmp_path / "secret")
    write_whole(tmp_path / "a.txt", "new")
    assert (tmp_path / "secret").read_text() == "mine"
    (tmp_path / "link").symlink_to(tmp_path / "a.txt")
    write_whole(tmp_path / "link", "newer")
    assert (tmp_path / "a.txt").read_text() == "newer"
    assert (tmp_path / "link").is_symlink()


def test_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    write_whole(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_disk_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*a\.txt: (Not a directory|File exists)"):
        write_whole(tmp_path / "file" / "a.txt", "")
