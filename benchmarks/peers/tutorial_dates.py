"""The peer: the same attention seq2seq, in plain PyTorch, the way tutorials write it.

A packed encoder, a Python loop over target steps with attention in it, teacher forcing, a DataLoader with a
collate function. It is written to do well: texts are encoded once, the output layer is applied to all steps at
once, gradients are clipped, and decoding is batched. The learning rate is constant or follows PyTorch's one-cycle
schedule; `benchmarks/dates.py` says which one races. Sizes, batch, clipping, the reversed source and the split are
the exercise's, as in `benchmarks/train_once.py`. It imports nothing of harken.

Seconds count training: not imports, not reading the file, and not answering the held-out rows after every epoch.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = Path(os.environ.get("HARKEN_DATA", ROOT.parent / "shared" / "data")) / "dates" / "date.txt.gz"
PAD, BOS, EOS = 0, 1, 2
HELD_OUT = 5000
EMBEDDING, HIDDEN, BATCH, CLIP = 16, 256, 128, 5.0

Pair = tuple[Tensor, Tensor]


class Encoder(nn.Module):
    """Embedding and LSTM over a packed batch."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBEDDING, padding_idx=PAD)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs (B, S, H), zero on padding, and the final state of each row."""
        packed = pack_padded_sequence(self.embedding(source), lengths, batch_first=True, enforce_sorted=False)
        outputs, (h, c) = self.lstm(packed)
        return pad_packed_sequence(outputs, batch_first=True)[0], (h[0], c[0])


class Decoder(nn.Module):
    """One LSTM step, then dot-product attention over the encoder's outputs."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBEDDING)
        self.cell = nn.LSTMCell(EMBEDDING, HIDDEN)
        self.output = nn.Linear(2 * HIDDEN, vocabulary)

    def step(self, embedded: Tensor, state: tuple[Tensor, Tensor], keys: Tensor, mask: Tensor) -> tuple[Tensor, tuple]:
        """What the output layer sees (B, 2H), and the next state."""
        h, c = self.cell(embedded, state)
        scores = torch.bmm(keys, h.unsqueeze(2)).squeeze(2)  # (B, S)
        weights = torch.softmax(scores.masked_fill(~mask, -1e9), dim=1)
        context = torch.bmm(weights.unsqueeze(1), keys).squeeze(1)  # (B, H)
        return torch.cat([context, h], dim=1), (h, c)


class Seq2Seq(nn.Module):
    """Encoder and decoder."""

    def __init__(self, source_vocabulary: int, target_vocabulary: int) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(source_vocabulary), Decoder(target_vocabulary)

    def forward(self, source: Tensor, lengths: Tensor, target_in: Tensor) -> Tensor:
        """Logits (B, T, V) with teacher forcing."""
        keys, state = self.encoder(source, lengths)
        mask = source[:, : keys.shape[1]] != PAD
        embedded = self.decoder.embedding(target_in)
        seen = []
        for t in range(target_in.shape[1]):
            features, state = self.decoder.step(embedded[:, t], state, keys, mask)
            seen.append(features)
        return self.decoder.output(torch.stack(seen, dim=1))

    @torch.no_grad()
    def greedy(self, source: Tensor, lengths: Tensor, max_length: int) -> Tensor:
        """The most probable token at every step, (B, T)."""
        keys, state = self.encoder(source, lengths)
        mask = source[:, : keys.shape[1]] != PAD
        token, tokens = source.new_full((len(source),), BOS), []
        for _ in range(max_length):
            features, state = self.decoder.step(self.decoder.embedding(token), state, keys, mask)
            token = self.decoder.output(features).argmax(dim=1)
            tokens.append(token)
        return torch.stack(tokens, dim=1)


def read(path: Path) -> tuple[list[Pair], list[Pair], int, int]:
    """Training and held-out pairs as ids (source reversed, target with both markers), and the vocabularies."""
    with gzip.open(path, "rt") as file:
        texts = [tuple(part.strip() for part in line.split("_", 1)) for line in file]
    vocabularies = [{c: i + 3 for i, c in enumerate(sorted(set("".join(side))))} for side in zip(*texts, strict=True)]
    pairs = [
        (
            torch.tensor([vocabularies[0][c] for c in reversed(source)]),
            torch.tensor([BOS, *(vocabularies[1][c] for c in target), EOS]),
        )
        for source, target in texts
    ]
    order = np.random.RandomState(1984).permutation(len(pairs)).tolist()
    train, test = [pairs[row] for row in order[:-HELD_OUT]], [pairs[row] for row in order[-HELD_OUT:]]
    return train, test, *(len(vocabulary) + 3 for vocabulary in vocabularies)


def collate(pairs: list[Pair]) -> tuple[Tensor, Tensor, Tensor]:
    """Pad a batch."""
    sources, targets = zip(*pairs, strict=True)
    lengths = torch.tensor([len(source) for source in sources])
    return pad_sequence(sources, batch_first=True), lengths, pad_sequence(targets, batch_first=True)


def exact_match(model: Seq2Seq, loader: DataLoader) -> float:
    """Share of rows that are right to the last character, end marker included."""
    model.eval()
    right = total = 0
    for source, lengths, target in loader:
        answer = model.greedy(source, lengths, target.shape[1] - 1)
        right += int(((answer == target[:, 1:]) | (target[:, 1:] == PAD)).all(dim=1).sum())
        total += len(source)
    return right / total


def main() -> None:
    """Train, and report seconds of training and held-out exact match after every epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schedule", choices=("onecycle", "constant"), default="onecycle")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--until", type=float, default=2.0, help="stop after the epoch that reaches this exact match")
    parser.add_argument("--rows", type=int, help="use only this many training and held-out rows, to try it")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()

    train, test, source_vocabulary, target_vocabulary = read(options.data)
    start = time.perf_counter()
    torch.manual_seed(options.seed)
    batches = DataLoader(train[: options.rows], batch_size=BATCH, shuffle=True, collate_fn=collate)
    held_out = DataLoader(test[: options.rows], batch_size=512, collate_fn=collate)
    model = Seq2Seq(source_vocabulary, target_vocabulary)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
    schedule = None
    if options.schedule == "onecycle":
        steps = options.epochs * len(batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, total_steps=steps)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)
    epochs, seconds = [], time.perf_counter() - start
    for epoch in range(1, options.epochs + 1):
        model.train()
        start = time.perf_counter()
        for source, lengths, target in batches:
            logits = model(source, lengths, target[:, :-1])
            loss = criterion(logits.flatten(0, 1), target[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            if schedule is not None:
                schedule.step()
        seconds += time.perf_counter() - start
        reached = exact_match(model, held_out)
        epochs.append({"epoch": epoch, "exact_match": reached, "seconds": seconds})
        print(f"epoch {epoch}: {reached:.2%} after {seconds:.1f} s", flush=True)
        if reached >= options.until:
            break
    options.json.write_text(json.dumps({"epochs": epochs}))


if __name__ == "__main__":
    main()
