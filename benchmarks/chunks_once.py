"""One fold of movie reviews as vectors: 200-word chunks → TF-IDF, 300 singular vectors → Parquet → `harken train`.

Vocabulary and singular vectors come from the training rows. Three inputs to the same model: all chunks of a document in
their order, the first alone, and the mean of all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from benchmarks.demo import HARKEN
from benchmarks.labelled import movie_reviews

WORDS = 200
SIZE = 300


def main() -> None:
    """Read the options, make the files, train, evaluate, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--which", choices=("all", "first", "mean"), required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, options.fold, options.which)
        start = time.perf_counter()
        harken(folder, "train", "train.parquet", "--vectors", "chunks", "--label", "label", "--seed", str(options.seed),
               "--out", "run")  # fmt: skip
        seconds = time.perf_counter() - start
        report = json.loads(harken(folder, "evaluate", "run", "--data", "test.parquet"))
        metrics = json.loads((folder / "run" / "metrics.json").read_text())
    report = {name: value for name, value in report.items() if isinstance(value, float | int)}
    options.json.write_text(json.dumps(report | {"command_seconds": seconds, "parameters": metrics["parameters"]}))


def write_files(folder: Path, fold: int, which: str) -> None:
    """``train.parquet`` and ``test.parquet``: a label, and a list of vectors."""
    rows = movie_reviews()
    chunked = [_chunks(" ".join(sentences).split()) for sentences, _, _ in rows]
    held_out = [number == fold for _, _, number in rows]
    weigh = TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.5, ngram_range=(1, 2))
    weigh.fit(" ".join(chunks) for chunks, held in zip(chunked, held_out, strict=True) if not held)
    reduce = TruncatedSVD(SIZE, random_state=0)
    reduce.fit(weigh.transform([c for chunks, held in zip(chunked, held_out, strict=True) if not held for c in chunks]))
    ends = np.cumsum([len(chunks) for chunks in chunked])
    vectors_of = np.split(normalize(reduce.transform(weigh.transform(chain.from_iterable(chunked)))), ends[:-1])
    for name, part in (("train", False), ("test", True)):
        chosen = [i for i, held in enumerate(held_out) if held == part]
        vectors = [_only(vectors_of[i], which).tolist() for i in chosen]
        column = pa.array(vectors, pa.list_(pa.list_(pa.float32())))
        pq.write_table(pa.table({"chunks": column, "label": [rows[i][1] for i in chosen]}), folder / f"{name}.parquet")


def harken(folder: Path, verb: str, *words: str) -> str:
    """Run the command line there; what it prints as JSON."""
    command = [*HARKEN, verb, *words, "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # runs go side by side, one on each core
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"harken {verb} failed:\n{done.stderr[-4000:]}")
    return done.stdout


def _chunks(words: list[str]) -> list[str]:
    return [" ".join(words[start : start + WORDS]) for start in range(0, len(words), WORDS)] or [""]


def _only(vectors: np.ndarray, which: str) -> np.ndarray:
    return {"all": vectors, "first": vectors[:1], "mean": vectors.mean(0, keepdims=True)}[which]


if __name__ == "__main__":
    main()
