"""What `make demo` promises: 45,000 made-up dates, 99.9% of 5,000 unseen ones, in three minutes on two cores."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Row, Store, Values, claim, clean_environment, main

VERSION = 1
HARKEN = (sys.executable, "-c", "import sys, harken.cli; sys.exit(harken.cli.main())")


def benchmark(store: Store, quick: bool) -> list[Row]:
    """The demo as a person runs it, with three seeds; quick: with one."""
    runs = [store.measure("harken demo dates", {}, seed, lambda s=seed: _demo(s)) for seed in range(1 if quick else 3)]
    return [
        claim(
            "demo: exact match on 5,000 unseen dates", [r.value["exact_match"] for r in runs], 0.999, "share", runs=runs
        ),
        claim(
            "demo: training and validation",
            [r.value["epoch_seconds"] for r in runs],
            180.0,
            "s",
            at_most=True,
            runs=runs,
        ),
    ]


def _demo(seed: int) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        command = [*HARKEN, "demo", "dates", "--json", "--seed", str(seed), "--out", "run"]
        done = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"harken demo dates failed:\n{done.stderr[-4000:]}")
        return json.loads(done.stdout) | json.loads((Path(folder) / "run" / "metrics.json").read_text())


if __name__ == "__main__":
    main("demo", VERSION, benchmark)
