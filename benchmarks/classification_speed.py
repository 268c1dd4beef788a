"""How fast a classifier of sentences trains: examples a second on SST-2, beside Keras 3 and a packed PyTorch loop.

harken runs as a newcomer has it: `harken.Classifier().fit`, with the defaults of text. The others get its sizes (read
from its recipe), its batch size, rows of like length in a batch, dropout where it has it, and no validation. A process
a run, turn by turn; the first epoch, which compiles and warms up, is not counted. Keras has a choice of settings: all
are tried with the first seed, and each backend goes on with its best.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness import ROOT, Row, Run, Store, Values, claim, main, peer_python, run_script
from benchmarks.pairs import DATA
from harken.config import RunConfig

VERSION = 1
PEERS = ROOT / "benchmarks" / "peers"
SENTENCES = DATA / "sst2" / "train.tsv.gz"
ROWS = 6920
GOALS = {"Keras": 3.0, "packed PyTorch": 2.0}
# Steps that batches are padded to a multiple of; 56: all rows alike. JAX compiles once for each shape: the fewer, the
# sooner, the more padding. LSTM(unroll=True) was tried: 32 steps compile for minutes and are not faster.
KERAS: dict[str, Sequence[Values]] = {
    "jax": ({"multiple": 16}, {"multiple": 8}, {"multiple": 4}, {"multiple": 56}),
    "torch": ({"multiple": 1}, {"multiple": 8}),
}
SPELLED = {"jax": "Keras, JAX", "torch": "Keras, PyTorch"}
LEARNED = 0.6  # nats: what does not get below it in the last epoch was not trained on these labels


def benchmark(store: Store, quick: bool) -> list[Row]:
    """Three seeds; quick: one, few rows, one setting."""
    race = Race(store, {"rows": 640, "epochs": 2} if quick else {"rows": ROWS, "epochs": 4})
    best = {backend: settings[:1] for backend, settings in KERAS.items()} if quick else dict(KERAS)
    runs: dict[str, list[Run]] = {}
    for seed in range(1 if quick else 3):
        for name, run in race.turn(best, seed).items():
            runs.setdefault(name, []).append(run)
        best = {backend: [race.fastest(backend)] for backend in best}
    check(runs, None if quick else LEARNED)
    return rows(runs)


class Race:
    """Who measures: keeps the store, and what all sides are told."""

    def __init__(self, store: Store, how: Values) -> None:
        self.store, self.how, self.sizes = store, how, recipe()
        self.python = peer_python(PEERS / "keras.txt")
        self.tried: dict[str, list[tuple[float, Values]]] = {backend: [] for backend in KERAS}

    def turn(self, settings: Mapping[str, Sequence[Values]], seed: int) -> dict[str, Run]:
        """Everybody once, Keras with each of the settings; of these the fastest is returned."""
        engine = {"engine": os.environ["HARKEN_ENGINE"]} if "HARKEN_ENGINE" in os.environ else {}
        script = ROOT / "benchmarks" / "classification_speed_once.py"
        found = {"harken": self.run("harken", [script], self.how, self.sizes | engine, seed)}
        packed = self.how | self.sizes
        found["packed PyTorch"] = self.run("packed PyTorch", [PEERS / "packed_text.py"], packed, {}, seed)
        if self.python is None:
            return found
        for backend, ways in settings.items():
            runs = []
            for way in ways:
                words = [PEERS / "keras_text.py", backend]
                runs.append(self.run(SPELLED[backend], words, packed | way, {}, seed, self.python))
                self.tried[backend].append((runs[-1].value["rate"], way))
            found[SPELLED[backend]] = max(runs, key=lambda run: run.value["rate"])
        return found

    def run(
        self, name: str, words: list[Path | str], options: Values, more: Values, seed: int, python: Path | None = None
    ) -> Run:
        """One process of one side, or what it said before; `more` is not said to it."""
        told = [word for option, value in options.items() for word in (f"--{option.replace('_', '-')}", str(value))]
        command = [*words, *told, "--data", SENTENCES, "--seed", str(seed)]
        action = partial(run_script, *command) if python is None else partial(run_script, *command, python=python)
        run = self.store.measure(name, options | more, seed, action)
        print(f"    {run.value['rate']:,.0f} examples a second", flush=True)
        return run

    def fastest(self, backend: str) -> Values:
        """The setting to go on with."""
        return max(self.tried[backend], key=lambda tried: tried[0])[1] if self.tried[backend] else KERAS[backend][0]


def recipe() -> Values:
    """harken's default sizes for text, in the peers' words.

    Raises:
        SystemExit: the default has become a model that the peers do not have.
    """
    run = RunConfig.build({"task": "classify"}).settled("text")
    model = run.model
    shape = {
        "cell": (model.cell, "lstm"),
        "num_layers": (model.num_layers, 1),
        "bidirectional": (model.bidirectional, True),
        "pooling": (model.pooling, "attention"),
        "num_heads": (model.num_heads, 1),
        "mlp_size": (model.mlp_size, 0),
        "convolution": (model.convolution, 0),
    }
    wrong = {name: value for name, (value, peers) in shape.items() if value != peers}
    if wrong:
        raise SystemExit(f"harken's default for text has {wrong}, which the peers' models have not: give it to them")
    return {
        "vocabulary": run.features.vocabulary_size,
        "embedding": model.embedding_size,
        "hidden": model.hidden_size,
        "attention": 2 * model.hidden_size,  # the steps' size, as harken.layers.pooling has it
        "dropout": model.dropout,
        "batch": run.training.batch_size,
        "learning_rate": run.training.learning_rate,
    }


def check(runs: Mapping[str, Sequence[Run]], learned: float | None) -> None:
    """Stop where not the same thing was measured: other sizes, or a side that did not learn."""
    size = runs["harken"][0].value["parameters"]
    for name, mine in runs.items():
        for run in mine:
            if abs(run.value["parameters"] / size - 1) > 0.02:
                raise SystemExit(f"{name} has {run.value['parameters']:,} parameters, harken {size:,}")
            if learned is not None and not run.value["losses"][-1] < learned:
                raise SystemExit(f"{name}, seed {run.seed}, did not learn: losses {run.value['losses']}")


def rows(runs: Mapping[str, Sequence[Run]]) -> list[Row]:
    """Each one's speed, then how many times faster harken is than the faster Keras, and than the loop."""
    rates = {name: [run.value["rate"] for run in mine] for name, mine in runs.items()}
    found = []
    for name, mine in runs.items():
        multiple = mine[-1].settings.get("multiple")
        told = f" (padded to a multiple of {multiple})" if multiple else ""
        found.append(claim(f"SST-2, training: {name}{told}", rates[name], None, "examples/s", median=True, runs=mine))
    keras = [name for name in SPELLED.values() if name in rates]
    if keras:
        faster = max(keras, key=lambda name: statistics.median(rates[name]))
        found.append(ratio(f"the faster Keras ({faster})", rates["harken"], rates[faster], GOALS["Keras"]))
    else:
        found.append(claim("SST-2, training: times Keras (cannot be installed here)", [None], None, "×"))
    name = "packed PyTorch"
    return [*found, ratio(name, rates["harken"], rates[name], GOALS[name])]


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float], goal: float) -> Row:
    """harken's speed over another one's, seed by seed."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return claim(f"SST-2, training: times {name}, median", ratios, goal, "×", median=True)


if __name__ == "__main__":
    main("classification_speed", VERSION, benchmark)
