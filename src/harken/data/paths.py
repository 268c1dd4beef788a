"""Paths as a table's cells have them become files, none of them outside the folder where files may lie."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_SHOWN = 100  # characters of a path that a message repeats


def resolve_path(written: str, folder: Path, root: Path | None = None) -> tuple[Path, str]:
    """The file that a cell names, and what is wrong with it; "" if nothing is.

    What is wrong is told and not raised, because bad rows are collected and may be skipped. A relative path is taken
    from ``root`` if there is such a file, else from ``folder``. Wherever it is taken from, and whatever links it goes
    through, the file has to lie inside ``root``; nothing is said of what lies outside, not even whether it exists.

    Args:
        written: the cell.
        folder: the table's own folder.
        root: where files may lie; None: ``folder``.

    Returns:
        the file's real path, links followed, and ""; or an empty path and the problem.
    """
    shown = repr(written if len(written) <= _SHOWN else written[:_SHOWN] + "…")
    if not written.strip():
        return Path(), "the path is empty: name a file"
    if "\0" in written:
        return Path(), f"the path {shown} holds a NUL character, which no file's name has: correct it"
    home = folder if root is None else root
    try:
        inside = _real(home)
        starts = [folder] if root is None else [root, folder]
        there = [path for path in (_real(start / written) for start in starts) if path.is_relative_to(inside)]
        if not there:
            way_out = "put the files inside, or widen it with --root"
            return Path(), f"the path {shown} leads out of the folder {_as_folder(home)}: {way_out}"
        problems = [_problem(path, shown, home) for path in there]
        fine = next((path for path, problem in zip(there, problems, strict=True) if not problem), None)
        return (Path(), problems[0]) if fine is None else (fine, "")
    except UnicodeError:
        return Path(), f"the path {shown} holds characters that no file's name has here: correct it"
    except OSError as error:
        return Path(), f"the path {shown} cannot be used: {error.strerror}"


def _real(path: Path) -> Path:
    """Links and dots followed as far as there is something to follow; unlike `Path.resolve`, loops of links too."""
    return Path(os.path.realpath(path))


def _problem(path: Path, shown: str, home: Path) -> str:
    """Why this path, which lies inside, is no file to read; "" if it is one."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return f"the file {shown} does not exist in the folder {_as_folder(home)}: check the name and the folder"
    except OSError as error:  # a name that is too long, a loop of links, a folder that is locked
        return f"the path {shown} cannot be used: {error.strerror}"
    if stat.S_ISDIR(mode):
        return f"the path {shown} is a folder: name a file in it"
    if not stat.S_ISREG(mode):  # a pipe would be waited for for ever, a device may never end
        return f"the path {shown} is a pipe, a socket or a device: name a regular file"
    return ""


def _as_folder(path: Path) -> str:
    return str(path) if str(path).endswith(os.sep) else f"{path}{os.sep}"
