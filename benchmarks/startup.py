"""How long a person waits: `harken --help` and `import harken`, medians over fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.harness import Row, Store, Values, claim, main

VERSION = 1
IMPORT = "import time; start = time.perf_counter(); import harken; print(time.perf_counter() - start)"
HELP = "import sys, harken.cli; sys.exit(harken.cli.main())"


def benchmark(store: Store, quick: bool) -> list[Row]:
    """Both medians; the processes are the same with --quick, only fewer."""
    repeats = 5 if quick else 21
    settings: Values = {"repeats": repeats}
    imports = store.measure("import harken", settings, 0, lambda: _median(_import_seconds, repeats))
    helps = store.measure("harken --help", settings, 0, lambda: _median(_help_seconds, repeats))
    return [
        claim(
            "import harken",
            [imports.value["median"]],
            0.3,
            "s",
            at_most=True,
            runs=[imports],
        ),
        claim(
            "harken --help",
            [helps.value["median"]],
            1.0,
            "s",
            at_most=True,
            runs=[helps],
        ),
    ]


def _median(seconds, repeats: int) -> Values:
    seconds()  # the first one reads the files from disk
    measured = [seconds() for _ in range(repeats)]
    return {"median": statistics.median(measured), "most": max(measured)}


def _import_seconds() -> float:
    return float(subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout)


def _help_seconds() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", HELP, "--help"], capture_output=True, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main("startup", VERSION, benchmark)
