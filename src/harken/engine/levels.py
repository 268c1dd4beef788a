"""Which native module runs here.

The kernel is compiled once per instruction level, one module each, and the best one that this processor can run is
loaded, once. Levels are those of the x86-64 psABI: ``avx512`` is x86-64-v4, ``avx2`` v3, ``baseline`` v2. Where
there are no such levels (another architecture, an old compiler) there is one module, ``generic``.

A module that is missing or does not load is passed over and never an error, unless somebody asked for it by name:
an installation without a compiler has none, and runs the portable engine.
"""

from __future__ import annotations

import functools
import platform
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

# First, for its libgomp: the kernel takes its threads from the one that is in the process, and torch brings it.
import torch  # noqa: F401

from harken.errors import ConfigError

CPUINFO = Path("/proc/cpuinfo")

# Flags as Linux spells them: pni is SSE3, abm is LZCNT. It shows avx and above only where it saves their registers.
_V2 = frozenset({"cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"})
_V3 = _V2 | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}
_V4 = _V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
_NEEDS: dict[str, frozenset[str]] = {"avx512": _V4, "avx2": _V3, "baseline": _V2, "generic": frozenset()}

LEVELS = tuple(_NEEDS)
"""Best first."""

UNCHECKED = ("baseline", "generic")
"""What runs where the processor's flags cannot be read: every x86-64 processor since about 2009 has the baseline."""

WAY_OUT = "install a C++ compiler (g++ 11, clang++ 12, or newer) and Python's headers (python3-dev), then harken again"


class Absent(Exception):
    """One level cannot be used here; the message is a clause that says why."""


class _Choice(NamedTuple):
    module: ModuleType | None
    reason: str


def native_module() -> ModuleType | None:
    """The kernel at the best level that this processor can run, or None where there is none; looked for once."""
    return _choose().module


def reason() -> str:
    """Why it is this module, or why there is none; a clause without a full stop."""
    return _choose().reason


def forced_module(name: str) -> ModuleType:
    """The kernel that ``HARKEN_ENGINE`` asks for: the best one for ``native``, or the level of exactly this name.

    Raises:
        ConfigError: it was not built or does not load, or this processor cannot run it.
    """
    if name == "native":
        module, why = _choose()
        if module is None:
            raise ConfigError(f"HARKEN_ENGINE is 'native', and {why}: {WAY_OUT}, or unset it for the portable engine")
        return module
    try:
        return load(name)
    except Absent as absent:
        here = ", ".join(level for level in runnable() if level in built()) or "none"
        raise ConfigError(
            f"HARKEN_ENGINE is {name!r}, and {absent}: name one that runs here ({here}), or unset it for the best"
        ) from absent


def load(level: str) -> ModuleType:
    """The module of one level.

    Raises:
        Absent: this processor cannot run it, it was not built, or it does not load.
    """
    if lacking := _lacking(level):
        raise Absent(lacking)
    name = _module_name(level)
    try:
        return import_module(name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise Absent(f"the module of {level} was not built") from error
        raise Absent(f"the module of {level} does not load ({error})") from error


def runnable() -> tuple[str, ...]:
    """The levels that this processor can run, built or not, best first."""
    return tuple(level for level in LEVELS if not _lacking(level))


def built() -> tuple[str, ...]:
    """The levels whose module is there, whether this processor can run it or not, best first."""
    return tuple(level for level in LEVELS if find_spec(_module_name(level)) is not None)


@functools.cache
def _choose() -> _Choice:
    if not built():
        return _Choice(None, "the native engine was not built when harken was installed")
    passed_over: list[str] = []
    for level in _of_this_architecture():
        try:
            module = load(level)
        except Absent as absent:
            passed_over.append(str(absent))
        else:
            return _Choice(module, "; ".join(passed_over) or f"the best that there is for {platform.machine()}")
    return _Choice(None, "; ".join(passed_over))


def _module_name(level: str) -> str:
    return f"harken.engine._native_{level}"


def _of_this_architecture() -> tuple[str, ...]:
    return LEVELS if platform.machine().lower() in ("x86_64", "amd64") else ("generic",)


def _lacking(level: str) -> str:
    """What keeps this processor from running a level, as a clause; empty if it can."""
    if level not in _of_this_architecture():
        return f"{platform.machine()} has no {level}"
    flags = cpuinfo("flags")
    if flags is None:
        return "" if level in UNCHECKED else f"whether this processor has {level} cannot be read on this system"
    missing = sorted(_NEEDS[level] - set(flags.split()))
    return f"this processor cannot run {level} (it lacks {', '.join(missing)})" if missing else ""


@functools.cache
def cpuinfo(field: str) -> str | None:
    """What Linux says of the first processor, such as its ``flags``; None where it does not, and on other systems."""
    try:
        with CPUINFO.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == field:
                    return value.strip()
    except OSError:
        pass
    return None
