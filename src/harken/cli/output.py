"""What is printed and where: results on standard output, everything said about them on standard error.

Nothing is coloured or animated unless a terminal reads it, and user text never passes through Rich's markup.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

INTERRUPTED = 130  # exit code after Ctrl-C: 128 + SIGINT, as shells count
PERCENT = (
    "exact_match",
    "all_right",
    "accuracy",
    "f1",
    "calibration_error",
    "outliers",
    "false_alarms",
    "found",
    "share",
)  # endings of names
ALONE = ("accuracy", "micro_f1", "r2")  # of a single head: one of these is its score


def say(sentence: str) -> None:
    """One line on standard error."""
    print(" ".join(sentence.splitlines()), file=sys.stderr)


def say_written(files: Sequence[Path]) -> None:
    """Which files there are now: one, or the first and the last."""
    say(f"wrote {files[0]}" if len(files) == 1 else f"wrote {files[0]} to {files[-1]}")


def show(line: str) -> None:
    """One line of progress on standard output, at once: whoever follows through a pipe sees it now."""
    print(line, flush=True)


@contextlib.contextmanager
def working(sentence: str) -> Iterator[None]:
    """A spinner on standard error for as long as the block runs, if a person watches."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(sentence)):
        yield


@contextlib.contextmanager
def chatter_aside(aside: bool) -> Iterator[None]:
    """With ``--json``, whatever the block prints goes to standard error, whoever prints it."""
    with contextlib.redirect_stdout(sys.stderr) if aside else contextlib.nullcontext():
        yield


def print_json(result: Mapping[str, Any]) -> None:
    """One object on one line; numbers that JSON does not know (a loss of NaN) become null."""
    print(json.dumps(_finite(result), ensure_ascii=False, default=str))


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A plain table; a pipe gets whole cells, a terminal gets them folded to its width."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # Text: brackets in a user's text are no markup
    Console(width=None if sys.stdout.isatty() else 10_000).print(table)


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """Name and value of each number, in the order they come."""
    print_table(("metric", "value"), [(name.replace("_", " "), shown(name, value)) for name, value in metrics.items()])


def said_once(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Without the ``score``, where another name says what it is."""
    twice = any(name in metrics for name in ALONE)
    return {name: value for name, value in metrics.items() if name != "score" or not twice}


def shown(name: str, value: Any) -> str:
    """A number as people read it."""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.2%}" if name.endswith(PERCENT) else f"{value:.4g}"
    return "none" if value is None else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
