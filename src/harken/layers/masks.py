"""The one place that turns lengths into masks (True = real) and rows around.

The functions are written in :mod:`harken.engine.rows`, because the engine turns rows around too and imports
only point upwards; this is the door through which layers, models and users reach them.
"""

from __future__ import annotations

from harken.engine.rows import mask_from_lengths, reverse_rows

__all__ = ["mask_from_lengths", "reverse_rows"]
