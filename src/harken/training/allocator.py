"""Memory that a training step has freed stays with the process: the next step needs as much again.

glibc gives large blocks back to the system at once, and what the system hands out anew it first fills with zeros, page
by page: 4 to 15% of a language model's step (docs/log.md).
"""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h has them
_FROM_THE_SYSTEM = 256 << 20  # bytes; a larger block is one of its own, and goes back
_KEPT = 1 << 30  # bytes, as the native engine keeps at most
_OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Ask for it, until the process ends; True if it is so.

    Nothing is asked where the allocator is not glibc's, or somebody has set it up or replaced it.
    """
    if any(os.environ.get(name) for name in _OWN_SETTINGS):
        return False
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no such handle
        return False
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return bool(libc.mallopt(_MMAP_THRESHOLD, _FROM_THE_SYSTEM)) and bool(libc.mallopt(_TRIM_THRESHOLD, _KEPT))
