"""Every command and Python snippet of README.md, CONTRIBUTING.md and docs/ is run, in order, in a folder of its own.

A document tells one story: its Python blocks share their names, and all of its blocks share a folder. What would take
too long, or touches the machine, is said in the document itself, in a comment before the block:

    <!-- in tests: add --epochs 1 --hidden-size 16 -->    to every `harken train` line of the block
    <!-- in tests: 45_000 is 300 -->                      a text of the block is replaced; it must be there
    <!-- in tests: not run, REASON -->

`make TARGET` is not run but asked for its recipe (`make -n`), which fails for a target that does not exist.

Tables that repeat what stands in the code are compared with it, and tests that a document names must be there.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harken.config import RECIPES, SequenceRun

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKER = re.compile(r"<!-- in tests: (.*?) -->")
RUNNABLE = {"bash", "python"}
ILLUSTRATIONS = {"text", "yaml", "json"}  # shown, not run


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    code: str
    markers: tuple[str, ...]

    def skipped(self) -> bool:
        return any(marker.startswith("not run, ") for marker in self.markers)

    def shortened(self) -> str:
        """The code with what the markers ask for."""
        code = self.code
        for marker in self.markers:
            if marker.startswith("add "):
                code, count = re.subn(r"(?m)^(harken train .*)$", rf"\1 {marker[4:]}", code)
                assert count, f"line {self.line}: no harken train to add {marker[4:]!r} to"
            elif " is " in marker:
                old, new = marker.split(" is ")
                assert old in code, f"line {self.line}: {old!r} is not in the block"
                code = code.replace(old, new)
            else:
                assert self.skipped(), f"line {self.line}: the marker {marker!r} is not known"
        return code


def blocks(text: str) -> list[Block]:
    """Fenced blocks, each with the markers that stand directly before it."""
    found, markers = [], []
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, line in lines:
        if line.startswith("```"):
            language, code = line[3:].strip(), []
            for _, inside in lines:
                if inside.startswith("```"):
                    break
                code.append(inside)
            found.append(Block(number, language, "\n".join(code) + "\n", tuple(markers)))
            markers = []
        elif match := MARKER.fullmatch(line.strip()):
            markers.append(match[1])
        elif line.strip():
            assert not markers, f"line {number}: a marker must stand directly before its block"
    return found


def run_bash(code: str, folder: Path, commands: Path) -> None:
    code = re.sub(r"(?m)^make\b", f"make --dry-run --directory {ROOT}", code)
    # CI=true: no progress bars, no colours; COLUMNS: tables are not folded
    environment = {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "CI": "true", "COLUMNS": "120"}
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, f"{code}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
    assert "Traceback" not in result.stderr, result.stderr


def tell(document: Path, text: str, folder: Path, commands: Path) -> int:
    """Run what a document shows; returns the number of blocks that were run."""
    names: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    for block in blocks(text):
        assert block.language in RUNNABLE | ILLUSTRATIONS, (
            f"{document.name}:{block.line}: a block in {block.language!r} is neither run nor an illustration"
        )
        code = block.shortened()
        if block.skipped() or block.language in ILLUSTRATIONS:
            continue
        if block.language == "python":
            # Padded with empty lines, so that a traceback names the document's own line.
            exec(compile("\n" * block.line + code, str(document), "exec"), names)
        else:
            run_bash(code, folder, commands)
        ran += 1
    return ran


@pytest.fixture
def commands(tmp_path_factory) -> Path:
    """A folder for PATH with this interpreter as `python`, and `harken` without having to be installed."""
    folder = tmp_path_factory.mktemp("commands")
    programs = {"python": '"$@"', "harken": '-c "import sys, harken.cli; sys.exit(harken.cli.main())" "$@"'}
    for name, arguments in programs.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}\n')
        program.chmod(0o755)
    return folder


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_shown_runs(document, tmp_path, commands, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    for shown in ("examples", "docs"):  # what a reader has beside the README
        (tmp_path / shown).symlink_to(ROOT / shown)
    ran = tell(document, document.read_text(), tmp_path, commands)
    assert ran or document.name not in {"README.md", "index.md"}, "nothing of it was run"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for text, target in re.findall(r"\[([^\]]*)\]\(([^)#\s]+)[^)]*\)", document.read_text()):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (document.parent / target).exists(), f"{document.name}: [{text}]({target}) leads nowhere"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_are_named_are_there(document):
    for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", document.read_text()):
        assert f"def {name}(" in (ROOT / path).read_text(), f"{document.name}: there is no {name} in {path}"


def recipes() -> dict[str, dict[str, object]]:
    """Kind of input → the options that a run takes from it; beside it, where values are learned, if that differs."""
    found = {}
    for task, called in (("classify", "{}"), ("regress", "{} (values)")):
        for kind, names in RECIPES.items():
            run = SequenceRun(task=task).settled(kind)
            options = {name: getattr(getattr(run, run.option_names()[name]), name) for name in names}
            if options != found.get(kind):
                found[called.format(kind)] = options
    return found


def as_table(recipes: dict[str, dict[str, object]]) -> str:
    """Kinds of input with equal recipes side by side in one column, a line for each option."""

    def written(value: object) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return f"{value:,}" if isinstance(value, int) else str(value)

    columns: dict[tuple[object, ...], list[str]] = {}
    for kind, recipe in recipes.items():
        columns.setdefault(tuple(recipe.values()), []).append(kind)
    heads = ["option", *(", ".join(kinds) for kinds in columns.values())]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for option, values in zip(recipes["text"], zip(*columns, strict=True), strict=True):
        lines.append(f"| `{option}` | {' | '.join(map(written, values))} |")
    return "\n".join(lines)


def test_the_recipes_are_those_of_the_code():
    expected = as_table(recipes())
    document = ROOT / "docs" / "classify.md"
    shown = re.search(r"(?m)^\| option \|.*(?:\n\|.*)+", document.read_text())
    assert shown, f"{document.name} has no table of recipes"
    if shown[0] != expected:
        pytest.fail(f"{document.name}: the table of recipes must be\n{expected}", pytrace=False)


def test_a_recipe_that_changes_is_noticed():
    before = recipes()
    other = {kind: dict(recipe) for kind, recipe in before.items()}
    other["ids"]["epochs"] = 1_000
    assert as_table(other) != as_table(before)
    assert re.search(r"\| ids \|.*(?:\n\|.*)*\n\| `epochs` \|.* 1,000 ", as_table(other))


def test_the_checks_that_are_left_out_are_those_of_the_test():
    tree = ast.parse((ROOT / "tests" / "estimators" / "test_sklearn.py").read_text())
    tables = [node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    names = [key.value for table in tables for key in table.keys if isinstance(key, ast.Constant)]
    left_out = {name for name in names if name.startswith("check_")}
    told = re.findall(r"(?m)^\| (`check_\w+`.*?) \|", (ROOT / "docs" / "classify.md").read_text())
    assert {name for line in told for name in re.findall(r"`(check_\w+)`", line)} == left_out


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("```python\nassert 1 == 2\n```", AssertionError),
        ("```python\nx = 1\n```\n```python\nassert x == 2\n```", AssertionError),  # names are shared
        ("```bash\nfalse\n```", AssertionError),
        ("```bash\nfalse | true\n```", AssertionError),
        ("```bash\nmake no-such-target\n```", AssertionError),
        ("```bash\nharken no-such-verb\n```", AssertionError),
        ("```console\n$ harken\n```", AssertionError),  # a language that nobody runs
        ("<!-- in tests: 10 is 1 -->\n```python\nx = 2\n```", AssertionError),  # nothing to replace
        ("<!-- in tests: add --epochs 1 -->\n```bash\ntrue\n```", AssertionError),
        ("<!-- in tests: perhaps -->\n```bash\ntrue\n```", AssertionError),
        ("<!-- in tests: not run, slow -->\nText.\n```bash\ntrue\n```", AssertionError),
    ],
)
def test_a_planted_fault_is_found(text, error, tmp_path, commands):
    with pytest.raises(error):
        tell(Path("planted.md"), text, tmp_path, commands)


def test_markers_shorten(tmp_path, commands):
    text = (
        "<!-- in tests: 45_000 is 3 -->\n```python\nrows = 45_000\n```\n```python\nassert rows == 3\n```\n"
        "<!-- in tests: not run, it needs the network -->\n```bash\nfalse\n```\n```text\nshown\n```\n"
    )
    assert tell(Path("planted.md"), text, tmp_path, commands) == 2
    block = Block(1, "bash", "harken train a.csv\nharken evaluate runs/a\n", ("add --epochs 1",))
    assert block.shortened() == "harken train a.csv --epochs 1\nharken evaluate runs/a\n"
