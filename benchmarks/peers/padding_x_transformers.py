"""x-transformers' encoder over continuous rows, given a mask: the mean that it makes itself, and one made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from benchmarks.peers.padding_cases import SIZE, Checked, report_all
from benchmarks.peers.padding_recipes import real
from torch import Tensor, nn
from x_transformers import ContinuousTransformerWrapper, Encoder


class Read(nn.Module):
    """The wrapper, and what is taken from its steps."""

    def __init__(self, average: bool) -> None:
        super().__init__()
        layers = Encoder(dim=16, depth=1, heads=2, rotary_pos_emb=True)
        self.wrapper = ContinuousTransformerWrapper(
            dim_in=SIZE, max_seq_len=64, attn_layers=layers, use_abs_pos_emb=False, average_pool_embed=average
        )
        self.average = average

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) → (B, 16)."""
        mask = real(x, lengths)
        steps = self.wrapper(x, mask=mask)
        if self.average:
            return steps
        return (steps * mask.unsqueeze(2)).sum(1) / lengths.clamp(min=1).unsqueeze(1)


def models() -> Iterator[Checked]:
    """Both means."""
    yield Checked("Encoder, its own mean (average_pool_embed)", Read(True))
    yield Checked("Encoder, masked mean by hand", Read(False))


if __name__ == "__main__":
    report_all(version("x-transformers"), models)
