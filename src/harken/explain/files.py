"""How pictures, pages and rows reach the disk."""

from __future__ import annotations

import contextlib
from pathlib import Path

from harken.errors import DataError


def put(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, and its folder where there is none.

    Raises:
        DataError: the disk refuses.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from None
