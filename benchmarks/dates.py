"""Dates and sums: how often harken is right, how soon, and how soon its peers are.

Dates: 45,000 pairs to learn from, 5,000 held out; embedding 16, hidden 256, batch 128, clipping at 5, source reversed.
The same file is learned by (a) the NumPy implementation of `examples/numpy_dates.py` and (b) a plain PyTorch loop as
tutorials write it, `peers/tutorial_dates.py`. Sums: the same command on another file.

Seconds are of training, in one process a run, one after the other; answering the held-out rows to know how good an
epoch was is not counted, nor are imports and reading the file.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import ROOT, Row, Run, Store, Values, claim, main, run_script

VERSION = 1
KINDS = ("plain", "peeky", "attention")
GOAL = 0.999
EPOCHS = 2  # of the claim, which harken reaches with its defaults
# Who runs, and how. harken: with its defaults. The loop: with the best of four settings that were tried on the held-out
# rows themselves, in its favour (one-cycle at 3e-3 and 5e-3 over two epochs, constant 3e-3 and 5e-3). NumPy: with the
# settings of the example, which are right on all rows after one epoch.
RACE: dict[str, tuple[str, ...]] = {
    "harken": ("benchmarks/train_once.py", "--purpose", "race", "--epochs", str(EPOCHS)),
    "PyTorch loop": ("benchmarks/peers/tutorial_dates.py", "--epochs", "4", "--until", str(GOAL),
                     "--schedule", "constant", "--learning-rate", "5e-3"),
    "NumPy": ("examples/numpy_dates.py", "--epochs", "5", "--until", str(GOAL), "--data", "{dates}"),
}  # fmt: skip


def benchmark(store: Store, quick: bool) -> list[Row]:
    """All of it; quick: one seed, and curves of few epochs."""
    rows = score(store, range(1 if quick else 5))
    rows += race(store, range(1 if quick else 3))
    rows += curves(store, 2 if quick else 10)
    return rows + addition(store, 5 if quick else 8, range(1 if quick else 3))


def score(store: Store, seeds: Sequence[int]) -> list[Row]:
    """The claim: attention is right on 99.9% of the held-out rows after two epochs."""
    runs = [train(store, "score", "dates", "attention", EPOCHS, seed) for seed in seeds]
    return [
        claim(
            f"dates: {which}, exact match after {EPOCHS} epochs",
            [run.value[name] for run in runs],
            GOAL,
            "share",
            runs=runs,
        )
        for name, which in (("exact_match", "5,000 held-out rows"), ("unseen_exact_match", "3,595 rows never seen"))
    ]


def race(store: Store, seeds: Sequence[int]) -> list[Row]:
    """Seconds until 99.9% of the held-out rows are right, on each side, turn by turn."""
    runs: dict[str, list[Run]] = {name: [] for name in RACE}
    for seed in seeds:
        for name, command in RACE.items():
            runs[name].append(store.measure(f"race: {name}", {"command": " ".join(command)}, seed, _run(command, seed)))
    seconds = {name: [_seconds_to(GOAL, run.value) for run in mine] for name, mine in runs.items()}
    epochs = {name: [_epoch(run.value) for run in mine] for name, mine in runs.items()}
    rows = [claim(f"dates: {name}, until {GOAL:.1%}", seconds[name], None, "s", runs=runs[name]) for name in RACE]
    rows += [claim(f"dates: {name}, an epoch", epochs[name], None, "s", runs=runs[name]) for name in RACE]
    for peer, goal in (("NumPy", 8.0), ("PyTorch loop", 2.0)):
        both = [*runs[peer], *runs["harken"]]
        ratios = [_ratio(*pair) for pair in zip(seconds[peer], seconds["harken"], strict=True)]
        rows.append(
            claim(
                f"dates: times faster than {peer}, until {GOAL:.1%}, median", ratios, goal, "×", runs=both, median=True
            )
        )
        ratios = [_ratio(*pair) for pair in zip(epochs[peer], epochs["harken"], strict=True)]
        rows.append(claim(f"dates: times faster than {peer}, an epoch", ratios, None, "×", runs=both))
    return rows


def curves(store: Store, epochs: int) -> list[Row]:
    """Held-out exact match after every epoch, of the three kinds; drawn in one picture."""
    runs = {kind: train(store, "curve", "dates", kind, epochs, 0) for kind in KINDS}
    draw({kind: [epoch["exact_match"] for epoch in run.value["epochs"]] for kind, run in runs.items()}, store)
    return [
        claim(
            f"dates: {kind}, {run.value['parameters']:,} parameters, exact match after {epochs} epochs",
            [run.value["epochs"][-1]["exact_match"]], None, "share", runs=[run],
        )
        for kind, run in runs.items()
    ]  # fmt: skip


def addition(store: Store, epochs: int, seeds: Sequence[int]) -> list[Row]:
    """The other file through the same command: attention or peeky must reach 95%."""
    rows = []
    for kind in ("attention", "peeky"):
        runs = [train(store, "score", "addition", kind, epochs, seed) for seed in seeds]
        right = [run.value["exact_match"] for run in runs]
        seconds = [run.value["epochs"][-1]["seconds"] for run in runs]
        kind = f"{kind}, {runs[0].value['parameters']:,} parameters"
        rows.append(claim(f"sums: {kind}, exact match after {epochs} epochs", right, 0.95, "share", runs=runs))
        rows.append(claim(f"sums: {kind}, {epochs} epochs", seconds, None, "s", runs=runs))
    return rows


def train(store: Store, purpose: str, data: str, kind: str, epochs: int, seed: int) -> Run:
    """One training of harken, measured once."""
    settings: Values = {"data": data, "kind": kind, "epochs": epochs}
    command = ["benchmarks/train_once.py", "--purpose", purpose]
    command += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    return store.measure(purpose, settings, seed, _run(command, seed))


def draw(matches: dict[str, list[float]], store: Store) -> None:
    """One line per kind, beside the results."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for (kind, values), marker in zip(matches.items(), "os^", strict=True):
        axes.plot(range(1, len(values) + 1), values, marker=marker, label=kind)
    axes.set(xlabel="epoch", ylabel="exact match on 5,000 held-out rows", ylim=(-0.02, 1.02), title="Rewriting dates")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")
    store.path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(store.path.with_name("dates_curves.png"), dpi=150)
    plt.close(figure)


def _run(command: Sequence[str], seed: int):
    from benchmarks.pairs import FILES

    words = [word.replace("{dates}", str(FILES["dates"])) for word in command]
    return lambda: run_script(ROOT / words[0], *words[1:], "--seed", str(seed))


def _seconds_to(goal: float, report: Values) -> float | None:
    """Seconds at the end of the first epoch that reaches the goal."""
    return next((epoch["seconds"] for epoch in report["epochs"] if epoch["exact_match"] >= goal), None)


def _epoch(report: Values) -> float:
    return report["epochs"][-1]["seconds"] / len(report["epochs"])


def _ratio(peer: float | None, ours: float | None) -> float | None:
    """Of one seed; None when a side did not get there."""
    return None if peer is None or ours is None else peer / ours


if __name__ == "__main__":
    main("dates", VERSION, benchmark)
