"""harken.training.allocator: whether freed memory stays, in a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")

FREED = """
import sys
import torch
from harken.training.allocator import keep_freed_memory

def megabytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) // 1024

asked = keep_freed_memory() if sys.argv[1] == "keep" else False
torch.ones(1)
before = megabytes()
torch.ones(16 << 20)  # 64 MiB, freed at once
print(asked, megabytes() - before)
"""


def stays(way: str, **environment: str) -> tuple[bool, int]:
    """Was it asked for, and how many megabytes of 64 are still there?"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_PRE"))}
    result = subprocess.run(
        [sys.executable, "-c", FREED, way], env=clean | environment, capture_output=True, text=True, check=True
    )
    asked, count = result.stdout.split()
    return asked == "True", int(count)


def test_what_was_freed_stays() -> None:
    assert stays("leave")[1] < 16
    asked, megabytes = stays("keep")
    assert asked
    assert megabytes > 48


def test_who_has_set_the_allocator_up_is_left_alone() -> None:
    asked, megabytes = stays("keep", MALLOC_TRIM_THRESHOLD_="131072")
    assert not asked
    assert megabytes < 16
