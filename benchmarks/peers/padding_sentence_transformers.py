"""sentence-transformers' own recurrent encoder: its `LSTM`, which packs, and its `Pooling`, which reads a mask.

Ids are 0 on padding. It pads to the longest text of a batch, and so do we; once, for what happens then, further.
"""

from __future__ import annotations

from collections.abc import Iterator

import sentence_transformers
from benchmarks.peers.padding_cases import UNITS, WORDS, Checked, ids, report_all
from benchmarks.peers.padding_recipes import real
from sentence_transformers.sentence_transformer.modules import LSTM, Pooling
from torch import Tensor, nn


class Encoder(nn.Module):
    """Word vectors and the two modules, one after the other, given the dictionary that they pass on."""

    def __init__(self, mode: str, further: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 5)
        self.lstm = LSTM(5, UNITS)
        self.pooling = Pooling(self.lstm.get_embedding_dimension(), mode)
        self.further = further

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) → (B, 2H)."""
        x = x * real(x, lengths)
        if not self.further:
            x = x[:, : max(int(lengths.max()), 1)]
        features = {
            "token_embeddings": self.embedding(x),
            "sentence_lengths": lengths,
            "attention_mask": real(x, lengths).long(),
        }
        return self.pooling(self.lstm(features))["sentence_embedding"]


def models() -> Iterator[Checked]:
    """The poolings, one by one."""
    for mode in ("mean", "max", "lasttoken", "weightedmean"):
        yield Checked(f"LSTM, Pooling({mode!r})", Encoder(mode), ids())
    yield Checked("LSTM, Pooling('mean'), padded further than the longest", Encoder("mean", further=True), ids())


if __name__ == "__main__":
    report_all(sentence_transformers.__version__, models)
