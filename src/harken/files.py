"""Files that are there whole or not at all: written beside, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harken.errors import DataError


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A new file in the folder of ``path``, for the block to fill: renamed to ``path`` if it succeeds, else removed.

    The name is made up and the file opened here, so no link that waits under it is followed; where ``path`` itself
    is a link, the file that it names is replaced.

    Raises:
        DataError: the disk refuses.
    """
    home = path.resolve()
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{home.name}.", dir=home.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp's own 0600 would surprise whoever shares the folder
            temporary.replace(home)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file, as UTF-8 if it is text; what was there before is replaced whole or not at all.

    Raises:
        DataError: the disk refuses.
    """
    with beside(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def _umask() -> int:
    mask = os.umask(0)  # there is no call that only asks
    os.umask(mask)
    return mask
