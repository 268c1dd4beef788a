"""Processes that decode files, so that a decoder that crashes or hangs takes one row with it and not the training.

They are started as programs of their own. Those of multiprocessing would either run the user's script a second time
(spawn) or inherit locks that OpenMP's threads hold (fork).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import numpy as np
import numpy.typing as npt

from harken.data.decoding_worker import Reading
from harken.errors import DataError

_PROGRAM = "harken.data.decoding_worker"
_PATIENCE = 60.0  # seconds for one file
_WINDOW = 4  # files in flight per process: a slow one does not stop the others, and memory stays bounded
_GLANCE = 0.2  # seconds between two looks at whether one hangs

Answer = npt.NDArray[Any] | str  # a file's array, or what is wrong with it


class DecodingPool:
    """A context in which files are decoded by other processes; at its end they are gone, whatever ended it.

    Args:
        reading: what files are made into.
        workers: processes, one or more.
    """

    def __init__(self, reading: Reading, workers: int) -> None:
        self._processes = [_Process(reading) for _ in range(workers)]
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(workers, "harken-decoding")  # one waits for each process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes:
            process.close()  # threads that wait for an answer read its end
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.reap()

    def decode(self, paths: Iterable[Path]) -> Iterator[Answer]:
        """The answers in the order of the paths.

        Raises:
            DataError: the processes do not start.
        """
        waiting: deque[Future[Answer]] = deque()
        for path in paths:
            waiting.append(self._threads.submit(self._decode, path))
            if len(waiting) >= _WINDOW * len(self._processes):
                yield self._wait(waiting.popleft())
        while waiting:
            yield self._wait(waiting.popleft())

    def _decode(self, path: Path) -> Answer:
        process = self._idle.get()
        try:
            return process.decode(path)
        finally:
            self._idle.put(process)

    def _wait(self, answer: Future[Answer]) -> Answer:
        while True:
            try:
                return answer.result(timeout=_GLANCE)
            except NotYet:
                for process in self._processes:
                    process.end_if_hanging()


class _Process:
    """One decoding process, started when it is first needed and again after a crash; one thread at a time asks it."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._lock = threading.Lock()  # over the starting and the ending
        self._process: subprocess.Popen[bytes] | None = None
        self._since: float | None = None  # when the file that it decodes was given to it
        self._hung = self._closed = False

    def decode(self, path: Path) -> Answer:
        with self._lock:
            self._since, self._hung = time.monotonic(), False
        try:
            asked, answers = self._pipes()
            try:
                asked.write(json.dumps(str(path)).encode() + b"\n")
                asked.flush()
                return _read_answer(answers)
            except (EOFError, OSError, ValueError, KeyError, TypeError, MemoryError):  # gone, or out of its mind
                self.reap()
            if self._hung:
                return f"{path} took more than {_PATIENCE:g} seconds to decode: leave it out, or convert it"
            return f"{path} cannot be decoded, its decoder crashed: leave it out, or convert it"
        finally:
            with self._lock:
                self._since = None

    def end_if_hanging(self) -> None:
        with self._lock:
            if self._since is not None and time.monotonic() - self._since > _PATIENCE and self._process is not None:
                self._hung = True
                self._process.kill()

    def close(self) -> None:
        """End it, and start it no more."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def reap(self) -> None:
        """Wait until it has ended, and give back its pipes."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                process.kill()
                for pipe in (process.stdin, process.stdout):
                    with contextlib.suppress(OSError):  # a question that it never read
                        if pipe is not None:
                            pipe.close()
                process.wait()

    def _pipes(self) -> tuple[IO[bytes], io.BufferedReader]:
        """Its input and its output, once it runs.

        Raises:
            EOFError: it is closed.
            DataError: it does not start.
        """
        with self._lock:
            if self._closed:
                raise EOFError
            process, starts = self._process, self._process is None
            if process is None:
                process = self._process = _start(self._reading)
        asked, answers = cast(IO[bytes], process.stdin), cast(io.BufferedReader, process.stdout)
        if starts and answers.readline() != b"{}\n":
            self.reap()
            raise DataError(
                f"the processes that decode files do not start: see why with {sys.executable} -m {_PROGRAM} "
                f"'{_described(self._reading)}'"
            )
        return asked, answers


def _start(reading: Reading) -> subprocess.Popen[bytes]:
    # -P, and the parent's own search path: else a json.py in the working folder would be taken for Python's.
    where = os.pathsep.join(folder or os.getcwd() for folder in sys.path)  # noqa: PTH109
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _PROGRAM, _described(reading)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": where, "OMP_NUM_THREADS": "1"},  # the processes are what runs side by side
    )


def _described(reading: Reading) -> str:
    return json.dumps(asdict(reading))


def _read_answer(answers: io.BufferedReader) -> Answer:
    """One answer, as `harken.data.decoding_worker` writes it."""
    line = answers.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    header = json.loads(line)
    if "problem" in header:
        return str(header["problem"])
    array = np.empty(header["shape"], header["dtype"])
    if array.size and answers.readinto(array.data.cast("B")) != array.nbytes:
        raise EOFError
    return array
