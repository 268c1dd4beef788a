"""Write benchmarks/RESULTS.md from the result files: `python -m benchmarks.render`."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.harness import RESULTS, Run, table

HEAD = """# Results

Rendered by `python -m benchmarks.render` from the files in `results/`; do not edit.
`make bench NAME=…` measures.
Timings compare two sides that were measured turn by turn on the same machine.
"""


def render(results: Path) -> str:
    """The whole page: a section per result file, and its picture when there is one."""
    return "\n".join([HEAD, *(_section(path) for path in sorted(results.glob("*.json")))])


def _section(path: Path) -> str:
    content = json.loads(path.read_text())
    runs = [run for run in (Run(**run) for run in content["runs"]) if not run.stale]
    stale = len(content["runs"]) - len(runs)
    lines = [f"## {path.stem}\n", table(content["rows"]) if content["rows"] else "Not finished yet.", ""]
    if runs:
        lines.append(
            f"{len(runs)} runs; others used at most {max(run.busy for run in runs):.0%} of the processor before a run."
        )
        lines += [f"Machine: {name}." for name in sorted({run.machine for run in runs})]
        lines.append(f"Commits: {', '.join(sorted({run.commit for run in runs}))}.")
    if stale:
        lines.append(f"{stale} older runs are stale and not used.")
    pictures = sorted(path.parent.glob(f"{path.stem}_*.png"))
    lines += [f"\n![{picture.stem}](results/{picture.name})" for picture in pictures]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    page = RESULTS.parent / "RESULTS.md"
    page.write_text(render(RESULTS))
    print(page)
