"""Whose answers depend on padding, on the batch, or on a row's place in it: ours, the classic recipes, and libraries.

All are given to `harken.testing.check_padding` (float64, 1e-10) or, from outside, to `check_estimator_padding` (1e-5):
each row alone is the truth, and gradients count as well as outputs. Libraries run in venvs of their own
(`peers/NAME.txt`), with weights as they draw them: nothing is learned here, and nothing is timed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

import harken
from benchmarks.harness import ROOT, Row, Run, Store, Values, claim, main, peer_python, run_script
from benchmarks.peers.padding_cases import SIZE, UNITS, Checked, check, digest, series
from harken.config import SequenceModelConfig
from harken.layers.pooling import Pooled, build_pooling, final_vector

VERSION = 2
PEERS = ROOT / "benchmarks" / "peers"
LIBRARIES = {
    "keras": "Keras",
    "sentence_transformers": "sentence-transformers",
    "torch_geometric": "PyTorch Geometric",
    "x_transformers": "x-transformers",
    "tslearn": "tslearn",
}
POOLINGS = next(get_args(t) for t in get_args(SequenceModelConfig.model_fields["pooling"].annotation) if get_args(t))
CASES = (
    "alone", "batch", "more padding", "garbage in padding", "a longer batch mate", "other batch mates", "another order",
    "empty rows", "only empty rows", "the batch again",
)  # fmt: skip

Cases = Mapping[str, Sequence[Any] | None]  # case → (what goes wrong, by how much)


class PooledStack(nn.Module):
    """What stands in every sequence model of harken: a bidirectional layer, then a pooling."""

    def __init__(self, pooling: str, cell: str) -> None:
        super().__init__()
        heads = 2 if "attention" in pooling else 1
        self.recurrent = harken.Recurrent(SIZE, UNITS, cell=cell, num_layers=2, bidirectional=True)
        self.pooling = build_pooling(pooling, self.recurrent.output_size, heads)

    def forward(self, x: Tensor, lengths: Tensor) -> Pooled:
        """(B, T, D) → vector (B, P), weights (B, heads, T) or None."""
        outputs, state = self.recurrent(x, lengths)
        return self.pooling(outputs, lengths, final_vector(state, 2))


def benchmark(store: Store, quick: bool) -> list[Row]:
    """All of it, quick or not: it takes half a minute, once the venvs are there."""
    sides = {
        "harken": store.measure("harken", {}, 0, ours),
        "recipe": store.measure("recipe", {}, 0, partial(run_script, PEERS / "padding_recipes.py")),
    }
    for name, spelled in LIBRARIES.items():
        requirements = PEERS / f"{name}.txt"
        python = peer_python(requirements)
        if python is not None:
            action = partial(run_script, PEERS / f"padding_{name}.py", python=python)
            sides[spelled] = store.measure(spelled, {"package": pinned(requirements, spelled)}, 0, action)
    print("\n" + matrix(sides))
    return [row for side, run in sides.items() for row in rows(side, run)]


def pinned(requirements: Path, package: str) -> str:
    """The line that pins a package: what was measured is measured again when that changes."""
    name = package.lower().replace("pytorch ", "torch-")
    return next(line for line in requirements.read_text().splitlines() if line.lower().startswith(f"{name}=="))


def ours() -> Values:
    """Layers with every pooling, then whole estimators."""
    torch.manual_seed(0)
    return {"version": harken.__version__, "models": {c.name: digest(check(c)) for c in models()}}


def models() -> Iterator[Checked]:
    """Of harken."""
    for pooling in POOLINGS:
        yield Checked(f"LSTM, pooling {pooling}", PooledStack(pooling, "lstm"))
    for cell in ("lstm", "gru"):  # in float32 they run on the native engine, and there 1e-5 is allowed
        yield Checked(
            f"{cell.upper()}, pooling attention, float32", PooledStack("attention", cell), dtype=torch.float32
        )
    texts = ["a good film", "bad", "good, so good!", "a bad and bad film", "film", "what a film"] * 2
    small = {"hidden_size": 8, "epochs": 1, "min_steps": 1}
    classes = ["good" if "good" in text else "bad" for text in texts]
    yield Checked("Classifier of texts", harken.Classifier(embedding_size=8, **small).fit(texts, classes), texts)
    X, y = series()
    yield Checked("Classifier of series", harken.Classifier(**small).fit(X, y), X)
    yield Checked("Regressor of series", harken.Regressor(**small).fit(X, [float(row[-1, 0]) for row in X]), X)
    words = [text.split() for text in texts]
    tags = [["ADJ" if word in ("good", "bad") else "X" for word in row] for row in words]
    yield Checked("Tagger of words", harken.Tagger(embedding_size=8, **small).fit(words, tags), words)


def rows(side: str, run: Run) -> list[Row]:
    """A claim for each model: in how many cases it fails, of those that it was put to; ours must fail in none."""
    goal = 0.0 if side == "harken" else None
    found = []
    for name, cases in run.value["models"].items():
        failed = float(sum(worst is not None for worst in cases.values()))
        found.append(claim(f"{side}: {name}: {verdict(cases)}", [failed], goal, "cases", at_most=True, runs=[run]))
    return found


def verdict(cases: Cases) -> str:
    """In words: what goes wrong, by how much and where."""
    alike: dict[str, list[str]] = {}  # what goes wrong → in which cases
    for case, worst in cases.items():
        if worst is not None:
            alike.setdefault(worst[0], []).append(case)
    found = []
    for what, names in alike.items():
        amounts = [worst[1] for worst in map(cases.get, names) if worst is not None and worst[1] is not None]
        most = f" by up to {max(amounts):.2g}" if amounts else ""
        found.append(f"{what}{most} in {_places(names, list(cases))}")
    return "; ".join(found) or "passes"


def _places(names: list[str], cases: list[str]) -> str:
    others = [case for case in cases if case not in names]
    if len(cases) == 1 or len(names) < len(others):
        return ", ".join(names)
    return "all cases but " + ", ".join(others) if others else "all cases"


def matrix(sides: Mapping[str, Run]) -> str:
    """Who fails in which case, and by how much, as a Markdown table."""
    cells = [("model", *CASES)]
    for side, run in sides.items():
        label = side if side == "recipe" else f"{side} {run.value['version']}"
        for name, cases in run.value["models"].items():
            cells.append((f"{label}: {name}", *(_cell(cases, case) for case in CASES)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _cell(cases: Cases, case: str) -> str:
    if case not in cases:
        return ""
    worst = cases[case]
    if worst is None:
        return "ok"
    what, amount = worst
    return what if amount is None else f"{what} {amount:.2g}"


if __name__ == "__main__":
    main("padding_table", VERSION, benchmark)
