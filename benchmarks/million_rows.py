"""Memory follows the data, not its longest row: 1,000,000 rows of text from Parquet, one of them of 90,000 characters.

`harken train` is run on it and on 2,000 short rows of the same words, each in a process of its own. What the large run
needs at its peak beyond the small one is what the data and the long row cost; the libraries and the model are in both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.demo import HARKEN
from benchmarks.harness import Row, Store, Values, claim, clean_environment, main

VERSION = 1
ROWS, FEW = 1_000_000, 2_000
LONGEST = 90_000  # characters of the one long row
OPTIONS = ("--epochs", "1", "--embedding-size", "32", "--hidden-size", "32", "--batch-size", "256",
           "--vocabulary-size", "20000", "--show-examples", "0")  # fmt: skip


def benchmark(store: Store, quick: bool) -> list[Row]:
    """Both runs; quick: 100,000 rows."""
    rows = 100_000 if quick else ROWS
    small, large = (store.measure("train", {"rows": n}, 0, lambda n=n: _train(n)) for n in (FEW, rows))
    more = large.value["peak_bytes"] - small.value["peak_bytes"]
    return [
        claim(f"{rows:,} rows of text: memory above the model", [more / 2**30], 2.0, "GiB", at_most=True, runs=[large]),
        claim(f"{rows:,} rows of text: seconds of the command", [large.value["seconds"]], None, "s", runs=[large]),
    ]


def _train(rows: int) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder) / "rows.parquet", rows)
        command = [*HARKEN, "train", "rows.parquet", "--text", "text", "--label", "label", *OPTIONS]
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, _peak(process.pid))
            time.sleep(0.05)
        seconds = time.perf_counter() - start
        if process.returncode:
            sys.exit(process.stderr.read() if process.stderr else "harken train failed")
        metrics = json.loads((Path(folder) / "runs" / "rows" / "metrics.json").read_text())
        return {"peak_bytes": peak, "seconds": seconds, "validation": metrics["validation"]}


def _peak(process: int) -> int:
    """Most resident memory so far, in bytes."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _write(path: Path, rows: int) -> None:
    """Rows of 5 to 40 words that lean to one of two halves of the vocabulary, as the label says."""
    generator = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(30_000)])
    with pq.ParquetWriter(path, pa.schema({"text": pa.string(), "label": pa.int64()})) as writer:
        for start in range(0, rows, 50_000):
            size = min(50_000, rows - start)
            labels = generator.integers(2, size=size)
            ids = (30_000 * generator.random((size, 40)) ** 3).astype(np.int64)
            ids = np.where(generator.random((size, 40)) < 0.6, ids // 2 * 2 + labels[:, None], ids)
            lengths = generator.integers(5, 41, size=size)
            texts = [" ".join(words[row[:length]]) for row, length in zip(ids, lengths, strict=True)]
            if rows <= FEW:  # as large a vocabulary as the other file's, so that the model is as large
                texts = [f"{text} {' '.join(words[15 * row : 15 * row + 15])}" for row, text in enumerate(texts)]
            if start == 0 and rows > FEW:
                texts[7] = " ".join(["w1"] * (LONGEST // 3))
            writer.write_table(pa.table({"text": texts, "label": labels}))


if __name__ == "__main__":
    main("million_rows", VERSION, benchmark)
