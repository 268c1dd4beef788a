"""An autoencoder's answer in the terminal: curves of blocks, the input over what was rebuilt, the error of each step.

`colored` is for a terminal that shows colours; `listed` is for all else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harken.explain.reconstruction import Reconstruction
from harken.explain.shades import AGAINST, CHANNELS, FOR, bins, extent

if TYPE_CHECKING:
    from rich.text import Text

MOST = 5  # steps that `listed` names
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 72  # columns


def colored(found: Reconstruction) -> Text:
    """The title, two lines for each channel in one scale, the input and below it what was rebuilt, and the errors."""
    from rich.text import Text

    text = Text(f"{found.title}\n", style="bold")
    names = [f"{name} " if name else "" for name in found.channel_names[:CHANNELS]]
    margin = max(map(len, [*names, "error "])) + len("rebuilt ")
    runs = bins(len(found.errors), _WIDTH)
    for number, name in enumerate(names):
        given, rebuilt = found.values[:, number], found.rebuilt[:, number]  # (T,)
        low, high = extent(torch.cat([given, rebuilt]))
        for line, curve, color in ((f"{name}input ", given, ""), ("rebuilt ", rebuilt, _rgb(FOR))):
            text.append(line.rjust(margin), style="not bold")
            text.append(f"{_blocks(curve, runs, low, high)}\n", style=f"not bold {color}")
    if found.values.shape[1] > CHANNELS:
        text.append(f"{' ' * margin}… and {found.values.shape[1] - CHANNELS} more channels\n", style="not bold")
    text.append("error ".rjust(margin), style="not bold")
    peaks = torch.tensor([float(found.errors[run].max()) for run in runs])
    one_each = [slice(place, place + 1) for place in range(len(runs))]
    text.append(f"{_blocks(peaks, one_each, 0.0, extent(peaks)[1])}\n", style=f"not bold {_rgb(AGAINST)}")
    return text


def listed(found: Reconstruction, most: int = MOST) -> str:
    """The title and the ``most`` steps with the largest errors, without colour."""
    order = found.errors.argsort(descending=True, stable=True)[:most].tolist()
    shown = "  ".join(f"step {step} {float(found.errors[step]):.2g}" for step in order)
    return f"{found.title}\n  {f'largest errors: {shown}' if shown else 'no steps'}"


def _blocks(curve: Tensor, runs: list[slice], low: float, high: float) -> str:
    """The mean of each run as a block, from ``low`` to ``high``."""
    means = [float(curve[run].mean()) for run in runs]
    heights = [(mean - low) / (high - low) if high > low else 0.0 for mean in means]
    return "".join(_BLOCKS[round(7 * min(height, 1))] if math.isfinite(height) else " " for height in heights)


def _rgb(color: tuple[int, int, int]) -> str:
    return f"rgb({','.join(map(str, color))})"
