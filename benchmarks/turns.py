"""Contenders that take turns in one process, A, B, C, A, B, C, …: what disturbs the machine disturbs them all."""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

Step = Callable[[], object]

TURN = 0.2  # seconds that a contender works before it is the next one's turn
LIMIT = 8.0  # seconds after which one is measured well enough: some need 40 for a step


def take_turns(steps: Mapping[str, Step], rounds: int, *, turn: float = TURN, limit: float = LIMIT) -> dict[str, float]:
    """Median seconds of each one's steps, all of them called before.

    A turn's first step finds the caches, and the threads, as another one left them: it counts only where the turn has
    time for no second one. A contender that has worked for `limit` seconds is left out of further rounds.
    """
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            if sum(taken[name]) < limit:
                seconds = _turn(step, turn)
                taken[name] += seconds[1:] or seconds
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _turn(step: Step, turn: float) -> list[float]:
    seconds: list[float] = []
    while sum(seconds) < turn:
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


class Ceiling:
    """ceiling.cpp as a contender: `flop` floating point operations at each call, on as many threads.

    Args:
        library: ceiling.cpp, compiled by `compile_library`.
        threads: as many as the others use.
    """

    def __init__(self, library: Path, threads: int) -> None:
        functions = ctypes.CDLL(str(library))
        self._run, count = functions.run, functions.flop
        self._run.argtypes = count.argtypes = (ctypes.c_long, ctypes.c_int)
        self._run.restype, count.restype = None, ctypes.c_double
        self.bits: int = functions.vector_bits()
        self._arguments = (2_000_000, threads)  # some 10 ms
        self.flop: float = count(*self._arguments)

    def __call__(self) -> None:
        """Work for a while."""
        self._run(*self._arguments)


def compile_library(source: Path, folder: Path, *options: str) -> Path:
    """Compile one C++ file for this very processor, as `folder`/NAME.so, unless that was done before."""
    library = folder / f"{source.stem}.so"
    command = [os.environ.get("CXX", "g++"), "-O3", "-march=native", *options, "-shared", "-fPIC", "-pthread"]
    command += ["-o", str(library), str(source)]
    if not library.exists():
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{' '.join(command)} failed ({error}): install g++, or name a compiler in CXX") from error
    return library


def stream_options(description: str | None) -> argparse.Namespace:
    """What `engine` asks of every process that streams; `json` is None where the report is to be printed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="default: print it")
    return parser.parse_args()


def time_steps(contenders: Mapping[str, tuple[Callable[[Any], Any], Sequence[Any]]], rounds: int) -> dict[str, Any]:
    """Contenders that step through a sequence each, from their initial states: microseconds of a step.

    Steps are too short for a clock of their own: a turn goes through the sequence a few times. `h` has the first units
    of each one's state after the first time: where they differ, not the same thing was measured.
    """
    last = {name: _through(step, xs).reshape(-1)[:4].tolist() for name, (step, xs) in contenders.items()}
    steps = {name: partial(_through, step, xs) for name, (step, xs) in contenders.items()}
    seconds = take_turns(steps, rounds, turn=0.05)
    return {"microseconds": {name: seconds[name] / len(contenders[name][1]) * 1e6 for name in seconds}, "h": last}


def _through(step: Callable[[Any], Any], xs: Sequence[Any]) -> Any:
    for x in xs:
        h = step(x)
    return h
