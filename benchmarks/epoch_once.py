"""One epoch of the date model, and its engine calls alone, in a process of its own.

The epoch is trained as a user trains it: `harken.Seq2Seq.fit`, with the exercise's sizes. Then the same batches go
through parts of it, each part a whole pass, each containing the one before:

    engine      encoder and decoder alone, forward and backward, on the embeddings that they would read
    model       embeddings, attention, output layer and loss too
    optimizer   clipping and AdamW's step too
    batches     making the batches too
    epoch       what `fit` took: Lightning's loop, callbacks, bookkeeping too
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401  (imported before the clock starts)
import torch
from torch import Tensor

import harken
from benchmarks.pairs import split
from benchmarks.train_once import EXERCISE, SEEN_ROWS
from harken.data.batching import Batch, PairLoader
from harken.layers.recurrent import Recurrent
from harken.models.seq2seq import Seq2SeqModel, token_loss


def main() -> None:
    """Read the options, measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", help="HARKEN_ENGINE; default: harken's own choice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, help="train on only this many rows, to try it")
    parser.add_argument("--json", type=Path, help="default: print it")
    options = parser.parse_args()
    if options.engine:
        os.environ["HARKEN_ENGINE"] = options.engine
    train = split("dates").train
    # `fit` strips them too: the parts below read the very batches that it reads.
    sources, targets = ([text.strip() for text in side[: options.rows]] for side in (train.sources, train.targets))
    trained = harken.Seq2Seq(**EXERCISE, epochs=1, seed=options.seed, show_examples=0)
    trained.fit(sources, targets, validation=(sources[:SEEN_ROWS], targets[:SEEN_ROWS]))
    seconds = measure_parts(trained, sources, targets) | {"epoch": trained.history_[0].train_seconds}
    report = json.dumps({"seconds": seconds, "batches": -(-len(sources) // EXERCISE["batch_size"])}, indent=1)
    if options.json:
        options.json.write_text(report)
    else:
        print(report)


def measure_parts(trained: harken.Seq2Seq, sources: list[str], targets: list[str]) -> dict[str, float]:
    """Seconds of a pass over the epoch's batches, part by part."""
    model, clip = trained.model.train(), trained.config.training.clip_norm
    loader = _loader(trained, sources, targets)
    batches = list(loader)
    embedded = [_embedded(model, batch) for batch in batches]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def engine(number: int) -> None:
        _forget(model.encoder, model.decoder)
        engine_calls(model, batches[number], *embedded[number])

    def learn(batch: Batch) -> None:
        _forget(model)
        loss(model, batch).backward()

    def step(batch: Batch) -> None:
        learn(batch)
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()

    return {
        "engine": _seconds(engine, range(len(batches))),
        "model": _seconds(learn, batches),
        "optimizer": _seconds(step, batches),
        "batches": _seconds(step, loader),
    }


def engine_calls(model: Seq2SeqModel, batch: Batch, source: Tensor, target: Tensor) -> None:
    """Both layers over (B, S, E) and (B, T, E), joined by the state; any gradient that is not 0 does for a loss."""
    keys, state = model.encoder(source, batch.source_lengths)
    outputs = model.decoder(target, batch.target_lengths, state).outputs
    torch.autograd.backward([keys, outputs], [keys.detach(), outputs.detach()])


def loss(model: Seq2SeqModel, batch: Batch) -> Tensor:
    """As `harken.training.module` has it: the mean over real target tokens."""
    assert batch.target_in is not None
    assert batch.target_out is not None
    assert batch.target_lengths is not None
    logits = model(batch.source, batch.source_lengths, batch.target_in, batch.target_lengths).logits
    return token_loss(logits, batch.target_out, batch.target_lengths).sum() / batch.target_lengths.sum()


def _embedded(model: Seq2SeqModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """What encoder and decoder read, as leaves that get a gradient."""
    both = model.source_embedding(batch.source), model.target_embedding(batch.target_in)
    return tuple(x.detach().requires_grad_() for x in both)


def _loader(trained: harken.Seq2Seq, sources: list[str], targets: list[str]) -> PairLoader:
    """The loader of training, at its first epoch: the same batches in the same order."""
    config = trained.config
    return PairLoader(
        trained.source_tokenizer.encode(sources),
        trained.target_tokenizer.encode(targets),
        batch_size=config.training.batch_size,
        bos_id=trained.target_tokenizer.bos_id,
        eos_id=trained.target_tokenizer.eos_id,
        reverse_source=config.features.reverse_source,
        shuffle=True,
        bucket=config.training.bucket,
        seed=config.training.seed,
    )


def _forget(*modules: Seq2SeqModel | Recurrent) -> None:
    for module in modules:
        module.zero_grad(set_to_none=True)


def _seconds(action: Callable[[Any], None], items: Iterable[Any]) -> float:
    start = time.perf_counter()
    for item in items:
        action(item)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
