"""Which attention learns quickly: the comparison that tutorials get wrong.

A well-known exercise puts nn.MultiheadAttention behind a bidirectional LSTM, in the place of attention pooling, and
finds that it converges far more slowly. It changes several things at once. Here are both, right; that one as it is,
with its four faults; each fault alone: the batch axis taken for time, q, k and v projected twice, the steps summed, no
mask; and the last three together.

TREC-6 questions, as words. Embedding 64, hidden 64 each way, 4 heads, Adam at 1e-3 (PyTorch's default), batches of 32
rows in random order, padded to the longest. With one seed all ways begin with the same embedding and the same LSTM, and
see the same batches. A tenth of the training rows is held out for the curves; the test file is not read.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

import harken
from benchmarks.harness import Row, Run, Store, Values, claim, main
from benchmarks.labelled import split
from harken.layers.masks import mask_from_lengths
from harken.layers.pooling import build_pooling

VERSION = 1
SIZE, HEADS, BATCH, RATE = 64, 4, 32, 1e-3
STEPS, EVERY = 800, 40  # of training, and between two points of a curve
HALF = 0.8  # nats: less than half of what it costs to know only how frequent the classes are (1.64)
MOST = 0.75  # of the held-out rows right
LAST = 4  # points of a curve whose mean is its end
RIGHT = "self-attention, then attention pooling"  # what a fault is compared with


@dataclass(frozen=True)
class Way:
    """From the LSTM's outputs (B, T, 2H) to one vector a row."""

    attends: bool = True  # multi-head self-attention before the pooling
    batch_axis: bool = False  # nn.MultiheadAttention without batch_first, fed (B, T, 2H)
    twice: bool = False  # q, k and v projected before a module that projects them itself
    pooling: str = "attention"  # or mean, or sum
    mask: bool = True  # False: the LSTM, the attention and the pooling take padding for steps


WAYS = {
    "attention pooling": Way(attends=False),
    RIGHT: Way(),
    "self-attention, then the mean": Way(pooling="mean"),
    "fault: batch axis taken for time": Way(batch_axis=True),
    "fault: q, k, v projected twice": Way(twice=True),
    "fault: steps summed": Way(pooling="sum"),
    "fault: no mask": Way(mask=False),
    "all faults but the batch axis": Way(twice=True, pooling="sum", mask=False),
    "all four faults, as in the exercise": Way(batch_axis=True, twice=True, pooling="sum", mask=False),
}


class Model(nn.Module):
    """Embedding, bidirectional LSTM, a way, output layer."""

    def __init__(self, way: Way, vocabulary: int, classes: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)  # what all ways have is drawn first
        self.way = way
        self.embedding = nn.Embedding(vocabulary, SIZE)
        recurrent = harken.Recurrent(SIZE, SIZE, bidirectional=True)
        size = recurrent.output_size
        self.output = nn.Linear(size, classes)
        self.recurrent = recurrent if way.mask else recurrent.to_torch()  # which draws weights before it has these
        self.pooling = build_pooling(way.pooling, size)
        if way.attends:
            self.attention = nn.MultiheadAttention(size, HEADS, batch_first=not way.batch_axis)
            count = 3 if way.twice else 0
            self.projections = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(count))

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) ids and (B,) lengths → (B, classes) logits."""
        if not self.way.mask:
            lengths = torch.full_like(lengths, ids.shape[1])
            x = self.recurrent(self.embedding(ids))[0]  # (B, T, 2H)
        else:
            x = self.recurrent(self.embedding(ids), lengths).outputs
        if self.way.attends:
            x = self.look(x, mask_from_lengths(lengths, ids.shape[1]))
        vector = self.pooling(x, lengths, x[:, 0]).vector  # (B, 2H); these poolings have no use for a final state
        return self.output(vector)

    def look(self, x: Tensor, mask: Tensor) -> Tensor:
        """Self-attention, right or not, of (B, T, 2H); the mask means the same in both."""
        q, k, v = (projection(x) for projection in self.projections) if self.way.twice else (x, x, x)
        padding = ~mask.T if self.way.batch_axis else ~mask  # of the keys, for each row of what the module takes for B
        return self.attention(q, k, v, key_padding_mask=padding, need_weights=False)[0]


@dataclass(frozen=True)
class Rows:
    """Ids row by row, and their classes."""

    ids: Sequence[Tensor]
    y: Tensor

    def batches(self, order: Sequence[int]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Padded ids (B, T), lengths (B,), classes (B,)."""
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            chosen = [self.ids[row] for row in rows]
            yield pad_sequence(chosen, batch_first=True), torch.tensor([len(ids) for ids in chosen]), self.y[rows]


@dataclass(frozen=True)
class Data:
    """What is learned and what is held out."""

    train: Rows
    held_out: Rows
    vocabulary: int
    classes: int


def read() -> Data:
    """TREC's training file, one row in ten held out; id 0 is padding, 1 is a word that was not learned."""
    part = split("trec").train
    texts = [text.lower().split() for text in part.X]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(1984)).tolist()
    held_out, train = order[: len(order) // 10], order[len(order) // 10 :]
    seen = Counter(token for row in train for token in texts[row])
    place = {token: number for number, token in enumerate(seen, start=2)}
    classes = {label: number for number, label in enumerate(sorted(set(part.y)))}

    def rows(chosen: Sequence[int]) -> Rows:
        ids = [torch.tensor([place.get(token, 1) for token in texts[row]]) for row in chosen]
        return Rows(ids, torch.tensor([classes[part.y[row]] for row in chosen]))

    return Data(rows(train), rows(held_out), len(place) + 2, len(classes))


def learn(way: Way, data: Data, steps: int, seed: int) -> Values:
    """Train, and look up every EVERY steps: the mean training loss since the last time, and what is right."""
    model = Model(way, data.vocabulary, data.classes, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    points: dict[str, list[float]] = {"step": [], "loss": [], "right": []}
    losses: list[float] = []
    for step, (ids, lengths, y) in enumerate(_forever(data.train, seed), start=1):
        loss = F.cross_entropy(model(ids, lengths), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if step % EVERY == 0:
            points["step"].append(step)
            points["loss"].append(statistics.fmean(losses[-EVERY:]))
            points["right"].append(right(model, data.held_out))
        if step == steps:
            return points
    raise AssertionError("batches never end")


@torch.no_grad()
def right(model: Model, rows: Rows) -> float:
    """Share of the rows, in batches as in training: with a fault an answer depends on them."""
    model.eval()
    hits = sum(int((model(ids, lengths).argmax(1) == y).sum()) for ids, lengths, y in rows.batches(range(len(rows.y))))
    model.train()
    return hits / len(rows.y)


def _forever(rows: Rows, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    while True:
        yield from rows.batches(torch.randperm(len(rows.y), generator=draw).tolist())


def benchmark(store: Store, quick: bool) -> list[Row]:
    """Three seeds; quick: one, and few steps."""
    data, steps = read(), 200 if quick else STEPS
    curves: dict[str, list[Run]] = {name: [] for name in WAYS}
    for seed in range(1 if quick else 3):
        for name, way in WAYS.items():
            settings = {"steps": steps, **asdict(way)}
            curves[name].append(store.measure(name, settings, seed, partial(learn, way, data, steps, seed)))
    draw(curves, store)
    print(f"\n{summary(curves)}\n\n{details(curves)}")
    return [row for name, runs in curves.items() for row in rows(name, runs, steps)]


def rows(name: str, runs: Sequence[Run], steps: int) -> list[Row]:
    """How many steps it takes until half of the loss is gone, until most is right, and how much is right in the end."""
    half, most = passed(runs)
    return [
        claim(f"{name}: training loss below {HALF}", half, None, "steps", median=True, runs=runs),
        claim(f"{name}: {MOST:.0%} of the held-out rows right", most, None, "steps", median=True, runs=runs),
        claim(f"{name}: right, mean of the last {LAST} looks in {steps} steps", ends(runs), None, "share", runs=runs),
    ]


def summary(curves: Mapping[str, Sequence[Run]]) -> str:
    """The table of docs/which-attention.md: steps are medians over the seeds, the end is the mean."""
    lines = [f"| behind the LSTM | loss < {HALF} | {MOST:.0%} right | right, last {LAST} looks |", "|---|---|---|---|"]
    for name, runs in curves.items():
        told = [f"step {statistics.median(s):.0f}" if None not in s else "not reached" for s in passed(runs)]
        lines.append(f"| {name} | {told[0]} | {told[1]} | {statistics.fmean(ends(runs)):.1%} |")
    return "\n".join(lines)


def details(curves: Mapping[str, Sequence[Run]]) -> str:
    """What the words beside that table rest on: seed by seed, and against what is right with the same seed."""
    lines = []
    for name, runs in curves.items():
        half, most = passed(runs)
        compared = ""
        if RIGHT in curves and name != RIGHT:
            points = [100 * (end - right) for end, right in zip(ends(runs), ends(curves[RIGHT]), strict=True)]
            compared = f", {_spread(points, '+.1f')} points beside what is right"
        end = _spread([100 * value for value in ends(runs)], ".1f")
        told = f"loss < {HALF} {_steps(half)}; {MOST:.0%} right {_steps(most)}; in the end {end}% right{compared}"
        lines.append(f"{name}: {told}")
    return "\n".join(lines)


def _steps(found: Sequence[float | None]) -> str:
    """The median over the seeds, and each of them."""
    each = ", ".join("never" if step is None else f"{step:.0f}" for step in found)
    return f"{'not reached' if None in found else f'at step {statistics.median(found):.0f}'} ({each})"


def _spread(values: Sequence[float], spec: str) -> str:
    """The mean, and with several seeds their standard deviation."""
    mean = f"{statistics.fmean(values):{spec}}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def passed(runs: Sequence[Run]) -> tuple[list[float | None], list[float | None]]:
    """For each seed, the step at which half of the loss is gone, and the one at which most is right."""
    return [first(run, "loss", HALF) for run in runs], [first(run, "right", MOST) for run in runs]


def ends(runs: Sequence[Run]) -> list[float]:
    """For each seed, what is right in the end: one look is noisy, and the best of several flatters."""
    return [statistics.fmean(run.value["right"][-LAST:]) for run in runs]


def first(run: Run, curve: str, goal: float) -> float | None:
    """The step at which a curve passes the goal: downwards for a loss, upwards else."""
    beyond = (lambda value: value <= goal) if curve == "loss" else (lambda value: value >= goal)
    points = zip(run.value["step"], run.value[curve], strict=True)
    return next((float(step) for step, value in points if beyond(value)), None)


def draw(curves: Mapping[str, Sequence[Run]], store: Store) -> None:
    """Training loss and held-out accuracy, a line for each way: the mean over seeds, and their range."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, pair = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for axes, (curve, label) in zip(pair, (("loss", "training loss"), ("right", "held-out accuracy")), strict=True):
        for number, (name, runs) in enumerate(curves.items()):
            values = torch.tensor([run.value[curve] for run in runs])  # (seeds, points)
            steps = runs[0].value["step"]
            style = "--" if name.startswith("fault") else ":" if "fault" in name else "-"
            axes.plot(steps, values.mean(0), style, color=f"C{number}", label=name)
            axes.fill_between(steps, values.amin(0), values.amax(0), color=f"C{number}", alpha=0.12, linewidth=0)
        axes.set(xlabel="step", ylabel=label, title="TREC-6")
        axes.grid(alpha=0.3)
    pair[0].set(ylim=(0, None))
    pair[0].legend(fontsize=8)
    store.path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(store.path.with_name("attention_race_curves.png"), dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main("attention_race", VERSION, benchmark)
