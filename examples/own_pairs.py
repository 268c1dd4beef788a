"""Pairs of your own, from a table: train, save, load elsewhere, predict, and get the attention as rows.

    python examples/own_pairs.py --quick
    python examples/own_pairs.py --data pairs.csv --source question --target answer

Without ``--data`` the table is made here: product codes that are to be written in one house style. Any file that
`harken train` reads will do, and so will a pandas, Polars or DuckDB data frame: it goes into `read_pairs` as it is.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path
from tempfile import mkdtemp

import harken

FULL = {"hidden_size": 128, "epochs": 5}
QUICK = {"hidden_size": 48, "epochs": 4, "batch_size": 32, "learning_rate": 0.01}


def write_codes(path: Path, rows: int, seed: int) -> None:
    """A table of codes as people type them: "ab 12/7" → "AB-0012-7"."""
    rng = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "typed", "wanted"])
        for row in range(rows):
            letters = "".join(rng.choices("ABCDEFGHKLMNPRST", k=2))
            number, size = rng.randrange(1, 3000), rng.randrange(10)
            typed = rng.choice(["{} {}/{}", "{}{}-{}", "{}-{}-{}", " {} {} {}"]).format(letters, number, size)
            writer.writerow(
                [f"P{row}", typed.lower() if rng.random() < 0.5 else typed, f"{letters}-{number:04}-{size}"]
            )


def main(arguments: list[str] | None = None) -> float:
    """From a table to answers and the attention behind them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="table of pairs; default: one that is made here")
    parser.add_argument("--source", default="typed", help="its column of inputs")
    parser.add_argument("--target", default="wanted", help="its column of answers")
    parser.add_argument("--quick", action="store_true", help="a small network and few rows: a few seconds")
    options = parser.parse_args(arguments)
    rows, size = (2_000, QUICK) if options.quick else (20_000, FULL)
    folder = Path(mkdtemp())
    table = options.data or folder / "codes.csv"
    if options.data is None:
        write_codes(table, rows, seed=0)

    # The encoder reads both ways, so its outputs are longer than the decoder's: the general score compares them.
    model = harken.Seq2Seq(source=options.source, target=options.target, bidirectional=True, score="general", **size)
    pairs = harken.read_pairs(table, model.config.data)
    model.fit_pairs(pairs, out=folder / "run", show=print)  # a tenth of the rows chooses the best epoch
    model.save(folder / "codes")

    # Somewhere else: the folder is JSON and safetensors, so loading it runs no code.
    loaded = harken.load(folder / "codes")
    questions = pairs.sources[:5]
    answers = loaded.predict_with_probability(questions)
    for question, answer, probability in zip(questions, answers.texts, answers.probabilities, strict=True):
        print(f"  {question} → {answer} ({probability:.3f})")

    attention = loaded.explain(questions[:1])[0]
    strongest = max(attention.rows(0), key=lambda row: row["weight"])
    print("the strongest link:", {name: strongest[name] for name in ("target", "source", "span", "weight")})
    return loaded.score(pairs.sources, pairs.targets or [])


if __name__ == "__main__":
    print(f"exact match on all rows: {main():.2%}")
