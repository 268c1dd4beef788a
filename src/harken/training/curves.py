"""history.csv as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from harken.training.callbacks import Epoch


def draw_curves(epochs: Sequence[Epoch], file: IO[bytes]) -> None:
    """Loss of training and validation on the left, exact match and token accuracy on the right."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, shares = figure.subplots(1, 2)
    steps = [e.epoch for e in epochs]
    losses.plot(steps, [e.train_loss for e in epochs], marker="o", label="training")
    losses.plot(steps, [e.valid_loss for e in epochs], marker="o", label="validation")
    losses.set_ylabel("loss (nats per token)")
    losses.set_yscale("log")
    shares.plot(steps, [e.exact_match for e in epochs], marker="o", label="exact match")
    shares.plot(steps, [e.token_accuracy for e in epochs], marker="o", label="token accuracy")
    shares.set_ylabel("share of validation rows or tokens")
    shares.yaxis.set_major_formatter(PercentFormatter(1.0))
    shares.set_ylim(-0.03, 1.03)
    for axes in (losses, shares):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(file, dpi=150, format="png")
