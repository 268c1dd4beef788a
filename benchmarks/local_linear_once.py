"""One way to compute a locally connected layer, forward and backward, in a process of its own: seconds and memory."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import harken


class Recipe(nn.Module):
    """As it is passed on in forums (pytorch/pytorch issue 499): `matmul` copies all weights for every row."""

    def __init__(self, layer: harken.LocalLinear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.kernel, self.stride = layer.kernel_size, layer.stride

    def forward(self, x: Tensor) -> Tensor:
        """(M, N) → (M, L, F)."""
        windows = x.unfold(-1, size=self.kernel, step=self.stride)
        return torch.matmul(windows.unsqueeze(2), self.weight).squeeze(2) + self.bias


class MaskedDense(nn.Module):
    """A dense layer whose weights are multiplied by 0 and 1, so that learning leaves the zeros alone."""

    def __init__(self, layer: harken.LocalLinear) -> None:
        super().__init__()
        self.dense = layer.to_dense()
        self.register_buffer("kept", (self.dense.weight != 0).float())

    def forward(self, x: Tensor) -> Tensor:
        """(M, N) → (M, L · F)."""
        return F.linear(x, self.dense.weight * self.kept, self.dense.bias)


WAYS: dict[str, Callable[[harken.LocalLinear], nn.Module]] = {
    "harken": lambda layer: layer,
    "recipe": Recipe,
    "dense": MaskedDense,
}


def main() -> None:
    """Read the options, measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=tuple(WAYS), required=True)
    for name in ("rows", "values", "outputs", "kernel", "stride"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    layer = harken.LocalLinear(options.values, options.outputs, options.kernel, stride=options.stride)
    model, x = WAYS[options.way](layer), torch.randn(options.rows, options.values, requires_grad=True)
    y = model(x).flatten(1)
    torch.testing.assert_close(y, layer(x).flatten(1), rtol=1e-4, atol=1e-4)  # all ways compute the same
    dy = torch.randn_like(y)
    del y
    began, seconds = time.perf_counter(), []
    while len(seconds) < 5 or time.perf_counter() - began < 2.0:
        start = time.perf_counter()
        model(x).flatten(1).backward(dy)
        seconds.append(time.perf_counter() - start)
        model.zero_grad()
        x.grad = None
    report = {
        "ms": 1000 * statistics.median(seconds[1:]),
        "parameters": sum(p.numel() for p in model.parameters()),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,  # told in KiB
    }
    options.json.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
