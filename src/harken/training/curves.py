"""history.csv as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from harken.training.callbacks import Epoch


def draw_curves(epochs: Sequence[Epoch], unit: str, shares: Sequence[str], file: IO[bytes]) -> None:
    """Loss on the left, in training and on validation rows; on the right the scores that are shares, if there are any.

    Args:
        epochs: at least one.
        unit: of the loss.
        shares: the names of scores whose values lie between 0 and 1.
        file: where the PNG goes.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    drawn = [name for name in shares if name in epochs[0].valid]
    figure = Figure(figsize=(9 if drawn else 4.5, 3.6), layout="constrained")
    left, *right = figure.subplots(1, 2 if drawn else 1, squeeze=False)[0]
    steps = [e.epoch for e in epochs]
    losses = {"training": [e.train_loss for e in epochs]}
    if epochs[0].valid:
        losses["validation"] = [e.valid["loss"] for e in epochs]
    for name, values in losses.items():
        left.plot(steps, values, marker="o", label=name)
    left.set_ylabel(f"loss ({unit})")
    seen = [value for values in losses.values() for value in values]
    if min(seen) > 0 and max(seen) > 10 * min(seen):  # over less than a decade a logarithmic axis has no round ticks
        left.set_yscale("log")
    for axes in right:
        for name in drawn:
            axes.plot(steps, [e.valid[name] for e in epochs], marker="o", label=name.replace("_", " "))
        axes.set_ylabel("share, on validation rows")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylim(-0.03, 1.03)
    for axes in (left, *right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(file, dpi=150, format="png")
