"""What the benchmarks share: runs that are kept, rows that state a claim, and the table that they make.

A *run* is one thing measured once: a name, its settings, a seed, and the values that came out. It is appended
to `benchmarks/results/NAME.json` as soon as it is finished, so that a benchmark that is started again goes on
where it was stopped. A *row* is one claim, computed from runs. `--quick` keeps its runs apart, and starts
from none.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict, TypeVar

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

Values = dict[str, Any]
J = TypeVar("J")


class Row(TypedDict):
    """One claim. `goal` and `holds` are None where a number is only reported."""

    claim: str
    value: float | None
    goal: float | None
    holds: bool | None
    unit: str
    seeds: int
    seconds: float
    spread: float | None  # standard deviation over the seeds; None with one seed


@dataclass(frozen=True)
class Run:
    """One thing, measured once."""

    name: str
    settings: Values
    seed: int
    value: Values
    seconds: float  # wall clock of the whole run, imports and reading included; what a claim counts is in `value`
    version: int
    commit: str
    machine: str
    busy: float  # share of the processor that others used in the second before: it makes CPU timings worthless
    stale: bool = False


@dataclass
class Store:
    """The finished runs of one benchmark, in a file.

    `version` is the benchmark's own: raise it when the benchmark measures something else than before, and the
    runs of older versions are marked stale: kept, and never used again.
    """

    path: Path
    version: int
    runs: list[Run] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, version: int) -> Store:
        """Read the file, if there is one, and mark what an older benchmark measured."""
        store = cls(path, version)
        if path.exists():
            content = json.loads(path.read_text())
            for run in content["runs"]:
                store.runs.append(Run(**{**run, "stale": run["stale"] or run["version"] != version}))
            store.rows = content["rows"]
        return store

    def find(self, name: str, settings: Values, seed: int) -> Run | None:
        """The run that was made with these settings and this seed on this machine, if it is finished and not stale."""
        key = (name, settings, seed, machine())
        return next((r for r in self.runs if not r.stale and (r.name, r.settings, r.seed, r.machine) == key), None)

    def measure(self, name: str, settings: Values, seed: int, action: Callable[[], Values]) -> Run:
        """Do `action` and append what it returns; or return what it returned before."""
        known = self.find(name, settings, seed)
        if known is not None:
            print(f"  {name} {_spell(settings)} seed {seed}: measured before, at {known.commit}", flush=True)
            return known
        others = busy()
        start = time.perf_counter()
        print(f"  {name} {_spell(settings)} seed {seed} (others {others:.0%}) …", end="", flush=True)
        value = action()
        seconds = time.perf_counter() - start
        run = Run(name, settings, seed, value, seconds, self.version, commit(), machine(), others)
        self.runs.append(run)
        self.save()
        print(f" {seconds:.1f} s", flush=True)
        return run

    def save(self) -> None:
        """Write beside and rename: a benchmark that is killed here loses nothing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".writing")
        content = {"runs": [asdict(run) for run in self.runs], "rows": self.rows}
        beside.write_text(json.dumps(content, indent=1) + "\n")
        beside.replace(self.path)


def measure_all(store: Store, jobs: Mapping[J, tuple[str, Values, int, tuple[str, ...]]]) -> dict[J, Run]:
    """Run scripts of one thread each, as many at a time as there are cores; those that are stored are not run again.

    Args:
        store: where finished runs are kept, in the order of the jobs.
        jobs: what a run is called here → its name, settings and seed in the store, and what `run_script` takes.
    """
    found = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        missing = {job: call for job, (*key, call) in jobs.items() if store.find(*key) is None}
        running = {job: pool.submit(run_script, *call) for job, call in missing.items()}
        for job, (*key, _) in jobs.items():
            found[job] = store.measure(*key, running[job].result if job in running else _never)
    return found


def _never() -> Values:
    raise AssertionError("a run that is stored is not measured again")


def claim(
    text: str,
    values: Iterable[float | None],
    goal: float | None,
    unit: str,
    *,
    at_most: bool = False,
    median: bool = False,
    runs: Iterable[Run] = (),
) -> Row:
    """The row for the mean (or median) of `values`, one per seed; one that was never reached (None) fails the claim."""
    known = list(values)
    reached = [value for value in known if value is not None]
    middle = statistics.median if median else statistics.fmean
    mean = middle(reached) if reached and len(reached) == len(known) else None
    holds = None if goal is None else mean is not None and (mean <= goal if at_most else mean >= goal)
    return Row(
        claim=text,
        value=mean,
        goal=goal,
        holds=holds,
        unit=unit,
        seeds=len(known),
        seconds=sum(run.seconds for run in runs),
        spread=statistics.stdev(reached) if mean is not None and len(reached) > 1 else None,
    )


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table, which reads well in a terminal too."""
    cells = [("claim", "value", "goal", "holds", "seeds", "seconds"), *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def clean_environment() -> dict[str, str]:
    """The environment without settings of threads, which would serve one side."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("OMP_", "MKL_", "OPENBLAS_", "MALLOC_"))}
    return kept | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}


def run_script(*arguments: str | Path, python: str | Path = sys.executable) -> Values:
    """Run a Python script in a process of its own, with the default number of threads; returns its `--json`.

    Both sides of a comparison are started here, so that neither inherits what the other left in memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [str(python), *map(str, arguments), "--json", str(report)]
        result = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
        if result.returncode:
            raise SystemExit(f"\n{' '.join(command)} failed:\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
        return json.loads(report.read_text())


def peer_python(requirements: Path) -> Path | None:
    """The interpreter of a venv with these packages, for a peer that harken does not depend on.

    It is made beside the file, once; None, after a line that says why, where it cannot be.
    """
    folder = requirements.parent / ".venv" / requirements.stem
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    make = [sys.executable, "-m", "venv", str(folder)]
    fill = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "-r", str(requirements)]
    for command in (fill,) if python.exists() else (make, fill):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"  the peer of {requirements.name} is missing: {done.stderr.strip()}", flush=True)
            return None
    return python


def main(name: str, version: int, benchmark: Callable[[Store, bool], list[Row]]) -> None:
    """The command line of a benchmark: measure what is missing, print the table, keep it."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=sys.modules["__main__"].__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one seed, a few minutes; kept apart from the full results"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows of the table here too")
    options = parser.parse_args()
    path = RESULTS / "quick" / f"{name}.json" if options.quick else RESULTS / f"{name}.json"
    if options.quick:
        path.unlink(missing_ok=True)
    print(f"{name} on {machine()}, commit {commit()}", flush=True)
    store = Store.open(path, version)
    store.rows = benchmark(store, options.quick)
    store.save()
    print(f"\n{table(store.rows)}\n")
    if options.json:
        options.json.write_text(json.dumps(store.rows, indent=1) + "\n")


def commit() -> str:
    """The commit that is measured, with a + when code that is measured differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git(
        "status", "--porcelain", "--", "src", "examples", "benchmarks/*.py", "benchmarks/*.cpp", "constraints.txt"
    )
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")


def busy(seconds: float = 1.0) -> float:
    """Share of all processor time that was used while this process slept; 0 where the system does not tell."""

    def ticks() -> tuple[int, int]:
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        return sum(map(int, first)), int(first[3]) + int(first[4])  # all, idle and waiting

    if not Path("/proc/stat").exists():
        return 0.0
    total, idle = ticks()
    time.sleep(seconds)
    later, idler = ticks()
    return 1 - (idler - idle) / max(1, later - total)


def machine() -> str:
    """Processor and number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _spell(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _cells(row: Row) -> tuple[str, ...]:
    holds = {None: "", True: "yes", False: "NO"}[row["holds"]]
    value, goal = (_number(row[name], row["unit"]) for name in ("value", "goal"))
    missing = "not reached" if row["value"] is None else value
    if row["spread"] is not None:
        missing += f" ± {_number(row['spread'], row['unit'])}"
    return row["claim"], missing, goal, holds, str(row["seeds"]), f"{row['seconds']:.0f}"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "share":
        return f"{value * 100:.2f}%"
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"
