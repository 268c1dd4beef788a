"""Answers on their way to a file: written beside it, then renamed, so that nobody sees half a file."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harken.errors import UsageError

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")


def check_out(out: Path, data: str | None, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Refuse, before any work, a file that could not be written or must not be.

    Raises:
        UsageError: unknown suffix, a folder, or the file that is being read.
    """
    if out.suffix.lower() not in suffixes:
        raise UsageError(f"--out {out} does not end in one of {' '.join(suffixes)}")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: name a file")
    if data is not None and out.exists() and Path(data).exists() and out.samefile(data):
        raise UsageError(f"--out {out} is the file that is read: name another one")


def write_answers(out: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write equally long columns in the format that the suffix names."""
    rows = zip(*columns.values(), strict=True)
    with beside(out) as temporary:
        match out.suffix.lower():
            case ".parquet":
                _write_parquet(temporary, columns)
            case ".jsonl":
                with temporary.open("w", encoding="utf-8") as file:
                    for row in rows:
                        record = dict(zip(columns, row, strict=True))
                        file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
            case suffix:
                with temporary.open("w", encoding="utf-8", newline="") as file:
                    writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
                    writer.writerow(columns)
                    writer.writerows(rows)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder; renamed to ``path`` if the block succeeds, gone if it does not."""
    path = path.resolve()  # the file that a link names, not the link
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), path)
