"""The peer: a plain PyTorch loop over packed sequences, as its documentation has it, with nothing left out that helps.

Rows of like length share a batch, the attention is masked, the optimiser is fused. It imports nothing of harken.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from benchmarks.peers.text_rows import PAD, Batch, arguments, read, report
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Model(nn.Module):
    """Embedding, packed BiLSTM, additive attention over the real steps, one logit."""

    def __init__(self, vocabulary: int, embedding: int, hidden: int, attention: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=PAD)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=True)
        self.key = nn.Linear(2 * hidden, attention)
        self.query = nn.Linear(attention, 1, bias=False)
        self.output = nn.Linear(2 * hidden, 1)
        self.dropout = dropout

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) and (B,) → (B,) logits."""
        x = F.dropout(self.embedding(ids), self.dropout, self.training)  # (B, T, E)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        outputs = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=ids.shape[1])[0]
        scores = self.query(torch.tanh(self.key(outputs))).squeeze(2)  # (B, T)
        weights = scores.masked_fill(ids == PAD, -torch.inf).softmax(1)
        vector = (weights.unsqueeze(1) @ outputs).squeeze(1)  # (B, 2H)
        return self.output(F.dropout(vector, self.dropout, self.training)).squeeze(1)


def main() -> None:
    """Read the options, train, write the report."""
    options = arguments(__doc__).parse_args()
    torch.manual_seed(options.seed)
    draw = np.random.default_rng(options.seed)
    rows = read(options)
    model = Model(rows.vocabulary, options.embedding, options.hidden, options.attention, options.dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, fused=True)
    seconds, losses = [], []
    for _ in range(options.epochs):
        start = time.perf_counter()
        batches = rows.batches(draw)
        total = sum(step(model, optimizer, batch) for batch in batches)
        seconds.append(time.perf_counter() - start)
        losses.append(total / len(batches))
    parameters = sum(p.numel() for p in model.parameters())
    report(options, rows, seconds, losses=losses, parameters=parameters, version=torch.__version__)


def step(model: Model, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """One batch; returns its loss."""
    ids, lengths, labels = map(torch.from_numpy, batch)
    optimizer.zero_grad()
    loss = F.binary_cross_entropy_with_logits(model(ids, lengths), labels.float())
    loss.backward()
    optimizer.step()
    return float(loss.detach())


if __name__ == "__main__":
    main()
