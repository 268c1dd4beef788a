"""Values that come piece by piece, and may be more than memory holds, become one tensor."""

from __future__ import annotations

import math
import tempfile
from typing import IO, Any, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harken.errors import DataError

_IN_MEMORY = 64 * 2**20  # bytes; more lie in a file


class Store:
    """Arrays of one type, one after the other: ``with Store(dtype) as store``.

    More than 64 MiB lie in a file without a name, in the folder for temporary files (TMPDIR), and are mapped into
    memory: the system drops pages at will and the file is gone with the last tensor that shares it.

    Args:
        dtype: of every value.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._file = cast(IO[bytes], tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, array: npt.NDArray[Any]) -> None:
        """Add an array of any shape.

        Raises:
            DataError: no room for the temporary file.
        """
        try:
            self._file.write(np.ascontiguousarray(array, self._dtype).data)
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"the folder for temporary files, {tempfile.gettempdir()}, takes no more ({error.strerror}): make "
                "room, or name another with TMPDIR"
            ) from None

    def tensor(self, *shape: int) -> Tensor:
        """All that was added, as one tensor of this shape: read if it is little, else mapped."""
        if math.prod(shape) * self._dtype.itemsize <= _IN_MEMORY:
            self._file.seek(0)
            return torch.from_numpy(np.frombuffer(bytearray(self._file.read()), self._dtype).reshape(shape))
        # "c": torch wants it writable
        return torch.from_numpy(np.memmap(self._file, self._dtype, mode="c", shape=shape))
