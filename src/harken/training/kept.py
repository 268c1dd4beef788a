"""The best epoch so far, in memory and on the disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from harken.bundle import Bundle
from harken.training.callbacks import Epoch
from harken.training.run_folder import is_first_process


class Kept:
    """The best epoch so far: in memory at once, on the disk when somebody says so.

    Args:
        make: weights and epoch → bundle.
        folder: where it is written, by the first process alone; None: nowhere.
        pause: seconds between two writings by `write_if_due`.
    """

    def __init__(self, make: Callable[[dict[str, Tensor], Epoch], Bundle], folder: Path | None, pause: float) -> None:
        self.make, self.folder, self.pause = make, folder, pause
        self.bundle: Bundle | None = None
        self._to_write = False
        self._written = -float("inf")

    def keep(self, weights: dict[str, Tensor], epoch: Epoch) -> None:
        """This one is the best."""
        self.bundle, self._to_write = self.make(weights, epoch), True

    def write(self) -> None:
        """Write what is not on the disk yet."""
        if self._to_write and self.bundle is not None and self.folder is not None and is_first_process():
            self.bundle.save(self.folder)
            self._to_write, self._written = False, time.monotonic()

    def write_if_due(self) -> None:
        """The same, unless the last writing is not long ago."""
        if time.monotonic() - self._written >= self.pause:
            self.write()
