"""PyTorch Geometric's aggregations: each makes one vector of a set's rows, and knows which rows are whose by an index.

Nothing is padded when they are called; what they do inside is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch_geometric
from benchmarks.peers.padding_cases import SIZE, UNITS, Checked, report_all
from benchmarks.peers.padding_recipes import real
from torch import Tensor, nn
from torch_geometric.nn import aggr


class Aggregated(nn.Module):
    """A padded batch, handed over as its real rows and their index."""

    def __init__(self, aggregation: nn.Module) -> None:
        super().__init__()
        self.aggregation = aggregation

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, P)."""
        mask = real(x, lengths)
        return self.aggregation(x[mask], mask.nonzero()[:, 0], dim_size=len(x))


def models() -> Iterator[Checked]:
    """The recurrent ones, and two that attend."""
    ways = {
        "LSTMAggregation": aggr.LSTMAggregation(SIZE, UNITS),
        "GRUAggregation": aggr.GRUAggregation(SIZE, UNITS),
        "AttentionalAggregation": aggr.AttentionalAggregation(nn.Linear(SIZE, 1)),
        "SetTransformerAggregation": aggr.SetTransformerAggregation(SIZE, heads=2),
    }
    for name, aggregation in ways.items():
        yield Checked(name, Aggregated(aggregation))


if __name__ == "__main__":
    report_all(torch_geometric.__version__, models)
