"""The house is read from top to bottom: a room imports only from the rooms above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"

ROOMS = (
    "_version", "errors", "files", "config", "data", "engine", "layers", "models", "bundle", "predictor", "training",
    "explain", "deploy", "estimators", "testing", "cli", "reference",
)  # fmt: skip
NARROWER = {  # rooms that may see less than all that stands above them
    "_version": set(),
    "errors": set(),
    "engine": {"errors"},
    "layers": {"errors", "engine"},
    "reference": set(),
}
ANYWHERE = {"_version"}


def imports(module: str, source: str) -> Iterator[tuple[int, str]]:
    """(line, absolute name) of everything that a module imports, inside functions and under TYPE_CHECKING too."""
    package = module.split(".")  # of a package's own __init__ the name is the package
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            name = ".".join(filter(None, [base, node.module]))
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def allowed(room: str) -> set[str]:
    above = set(ROOMS[: ROOMS.index(room)])
    return NARROWER.get(room, above) | ANYWHERE | {room}


def violations(modules: Mapping[str, str]) -> list[str]:
    """What breaks the rule among these modules (name → source); the root's own table of names is exempt."""
    found = []
    for module, source in modules.items():
        if module == "harken":
            continue
        room = module.split(".")[1]
        if room not in ROOMS:
            found.append(f"{module}: {room} is no room of the house: give it a place in the order")
            continue
        for line, name in imports(module, source):
            if name != "harken" and not name.startswith("harken."):
                continue
            other = [*name.split("."), ""][1]
            if other not in allowed(room):
                found.append(f"{module}:{line} imports {name}")
    return found


def house() -> dict[str, str]:
    """Every module under src/harken; an ``__init__`` counts as ``package.__init__`` when it is not the root's."""
    modules = {}
    for path in sorted((SRC / "harken").rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        modules["harken" if parts == ("harken", "__init__") else ".".join(parts)] = path.read_text()
    return modules


def test_imports_point_upwards():
    modules = house()
    assert len(modules) > 20, "the house was not found"
    assert violations(modules) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("harken.data.ragged", "from harken.layers.masks import mask_from_lengths"),
        ("harken.layers.recurrent", "from harken.config import RunConfig"),
        ("harken.layers.recurrent", "import harken.data.ragged"),
        ("harken.engine.op", "from harken.layers import masks"),
        ("harken.engine.op", "def f():\n    from harken.config import RunConfig"),
        (
            "harken.models.seq2seq",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from harken.bundle import Bundle",
        ),
        ("harken.explain.summary", "from harken.estimators import Seq2Seq"),
        ("harken.testing", "from harken.reference import TimeLSTM"),
        ("harken.reference.loss", "from harken.errors import ShapeError"),
        ("harken.models.decoding", "from ..training import loop"),
        ("harken.cli.train", "from harken import Seq2Seq"),
        ("harken.cli.train", "import harken"),
        ("harken.utils", ""),
    ],
)
def test_a_planted_import_is_found(module, source):
    assert len(violations({module: source})) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("harken.layers.recurrent", "from harken.engine.op import ragged_lstm\nfrom .masks import mask_from_lengths"),
        ("harken.estimators", "from harken.explain.alignment import Attention\nimport torch"),
        ("harken.bundle", "from harken._version import __version__"),
        ("harken.cli.__init__", "from harken.cli.train import train"),
    ],
)
def test_what_is_allowed_passes(module, source):
    assert violations({module: source}) == []
