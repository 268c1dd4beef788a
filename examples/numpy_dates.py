"""Teach a network to rewrite dates, with nothing but NumPy: "27 sept 1994" → "1994-09-27".

    python examples/numpy_dates.py --quick
    python examples/numpy_dates.py --data ../shared/data/dates/date.txt.gz --until 0.999

An encoder LSTM reads the date from its end, a decoder LSTM writes it anew, and attention between the decoder and
the output layer shows it where to look. All the mathematics, with its derivatives, is in `harken.reference`; no
PyTorch. Without ``--data`` the dates are synthetic. The last tenth of a fixed permutation is never trained on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harken.reference import Adam, AttentionSeq2Seq, clip_gradients

PAD, BOS, EOS = 0, 1, 2  # padding, begin token, end token; the characters follow


class Rows(NamedTuple):
    """Pairs as ids, right-padded; the source turned around, the target between its begin and end tokens."""

    source: np.ndarray  # (n, S)
    source_lengths: np.ndarray  # (n,)
    target: np.ndarray  # (n, T + 1): begin, characters, end; padded with end
    target_lengths: np.ndarray  # (n,): what the decoder reads and writes, T at most

    def take(self, rows: np.ndarray) -> Rows:
        """Some of the rows, with no more padding than they need."""
        source_lengths, target_lengths = self.source_lengths[rows], self.target_lengths[rows]
        source = self.source[rows, : source_lengths.max()]
        return Rows(source, source_lengths, self.target[rows, : target_lengths.max() + 1], target_lengths)

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Rows]:
        """The rows in this order, ``batch_size`` at a time."""
        for start in range(0, len(order), batch_size):
            yield self.take(order[start : start + batch_size])


def read_pairs(path: str | None, rows: int) -> tuple[list[str], list[str]]:
    """Lines ``source_target``, spaces around either side stripped; without a file, ``rows`` synthetic dates."""
    if path is None:
        from harken.data.synthetic import dates

        return dates(rows, seed=0)
    with gzip.open(path, "rt") if path.endswith(".gz") else Path(path).open() as file:
        pairs = [line.split("_") for line in file]
    return [source.strip() for source, _ in pairs], [target.strip() for _, target in pairs]


def vocabulary(texts: list[str]) -> dict[str, int]:
    """Character → id."""
    return {character: id_ for id_, character in enumerate(sorted(set("".join(texts))), start=EOS + 1)}


def encode(sources: list[str], targets: list[str], read: dict[str, int], write: dict[str, int]) -> Rows:
    """Texts → ids, the whole data set at once: it is small."""
    source_lengths = np.array([len(text) for text in sources])
    target_lengths = np.array([len(text) + 1 for text in targets])
    source = np.full((len(sources), source_lengths.max()), PAD)
    target = np.full((len(targets), target_lengths.max() + 1), EOS)
    target[:, 0] = BOS
    for row, (question, right) in enumerate(zip(sources, targets, strict=True)):
        source[row, : len(question)] = [read[character] for character in reversed(question)]
        target[row, 1 : 1 + len(right)] = [write[character] for character in right]
    return Rows(source, source_lengths, target, target_lengths)


def split(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and the tenth to hold out, by the permutation that others publish their numbers on."""
    permutation = np.random.RandomState(1984).permutation(rows)
    return permutation[: -(rows // 10)], permutation[-(rows // 10) :]


def train_epoch(
    model: AttentionSeq2Seq, optimizer: Adam, rows: Rows, order: np.ndarray, options: argparse.Namespace
) -> float:
    """One pass over the rows; returns the mean loss per target character."""
    losses = []
    for source, source_lengths, target, target_lengths in rows.batches(order, options.batch_size):
        losses.append(model.loss(source, source_lengths, target[:, :-1], target[:, 1:], target_lengths))
        model.backward()
        clip_gradients(model.grads.values(), options.clip_norm)
        optimizer.update(model.params, model.grads)
    return float(np.mean(losses))


def answers(model: AttentionSeq2Seq, rows: Rows) -> np.ndarray:
    """What the model writes, each character chosen after its own last one: (n, T), padded with end."""
    steps = rows.target.shape[1] - 1
    by_length = np.argsort(rows.source_lengths, kind="stable")
    written = [
        model.generate(source, lengths, bos_id=BOS, eos_id=EOS, max_length=steps)
        for source, lengths, _, _ in rows.batches(by_length, 500)
    ]
    return np.concatenate(written)[np.argsort(by_length)]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; ``--quick`` replaces what makes a run long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FILE", help="lines source_target, plain or .gz (default: synthetic)")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the rows, at most (default: 3)")
    parser.add_argument("--until", type=float, metavar="FRACTION", help="stop at this exact match, such as 0.999")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and of the order of the rows")
    parser.add_argument("--json", metavar="FILE", help="write the seconds and the exact match of every epoch")
    parser.add_argument("--quick", action="store_true", help="few rows and a small network: some seconds")
    options = parser.parse_args(arguments)
    options.rows, options.embedding_size, options.hidden_size = 50_000, 16, 256
    options.batch_size, options.learning_rate, options.clip_norm = 128, 3e-3, 5.0
    if options.quick:
        options.rows, options.hidden_size, options.batch_size, options.learning_rate = 5_000, 64, 64, 1e-2
    return options


def main(arguments: list[str] | None = None) -> None:
    """Train, and after every epoch answer the held-out rows."""
    options = parse(arguments)
    sources, targets = read_pairs(options.data, options.rows)
    sources, targets = sources[: options.rows], targets[: options.rows]
    read, write = vocabulary(sources), vocabulary(targets)
    rows = encode(sources, targets, read, write)

    known, unknown = split(len(sources))
    train, held_out = rows.take(known), rows.take(unknown)
    trained_on = {sources[row] for row in known}
    unseen = np.array([sources[row] not in trained_on for row in unknown])
    print(f"{len(known)} rows to train on, {len(unknown)} held out, {unseen.sum()} of them never seen in training")

    rng = np.random.default_rng(options.seed)
    model = AttentionSeq2Seq(
        EOS + 1 + len(read), EOS + 1 + len(write), options.embedding_size, options.hidden_size, rng
    )
    optimizer = Adam(options.learning_rate)
    epochs: list[dict[str, Any]] = []
    seconds = 0.0  # of training; answering the held-out rows is not counted
    for epoch in range(1, options.epochs + 1):
        start = time.perf_counter()
        loss = train_epoch(model, optimizer, train, rng.permutation(len(known)), options)
        seconds += time.perf_counter() - start
        written = answers(model, held_out)
        right = (written == held_out.target[:, 1:]).all(axis=1)
        epochs.append(
            {
                "epoch": epoch,
                "seconds": seconds,
                "loss": loss,
                "exact_match": float(right.mean()),
                "exact_match_unseen": float(right[unseen].mean()),
            }
        )
        print(f"epoch {epoch}: {seconds:6.1f} s  loss {loss:.4f}  exact match {right.mean():.2%}", end="")
        print(f", of unseen rows {right[unseen].mean():.2%}", flush=True)
        if options.until is not None and right.mean() >= options.until:
            break

    character = {id_: character for character, id_ in write.items()}
    for row in range(10):
        answer = "".join(character.get(id_, "") for id_ in written[row])
        print(f"  {'right' if right[row] else 'WRONG'}  {sources[unknown[row]]} → {answer}")
    if options.json:
        Path(options.json).write_text(json.dumps({"seed": options.seed, "epochs": epochs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
