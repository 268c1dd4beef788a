"""The peer: the language model that everybody starts from, PyTorch's own example of one, as a plain loop.

Time-first batches of columns of text, windows of bptt tokens with the hidden state carried on but cut from its
gradients, dropout, nn.LSTM, a decoder over the whole vocabulary, clipped SGD whose rate is divided by 4 whenever the
validation loss is no better; and for generation a call of the model for each token. Given options, what its users add:
Adam with a cosine down to 0, and autocast to bfloat16. It imports nothing of harken.

Seconds are those of training alone, and on one thread they are seconds of the processor: runs go side by side.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

Hidden = tuple[Tensor, Tensor]

WARM = 10  # windows, and tokens, that no speed counts
ANNEAL = 4.0
EVAL_BATCH = 10


class RNNModel(nn.Module):
    """Encoder, LSTM, decoder; all time-first."""

    def __init__(self, tokens: int, embedding: int, hidden: int, layers: int, dropout: float, tied: bool) -> None:
        super().__init__()
        if tied and hidden != embedding:
            raise SystemExit(f"tied needs hidden ({hidden}) to equal embedding ({embedding})")
        self.layers, self.hidden = layers, hidden
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(tokens, embedding)
        self.rnn = nn.LSTM(embedding, hidden, layers, dropout=dropout if layers > 1 else 0.0)
        self.decoder = nn.Linear(hidden, tokens)
        if tied:
            self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, ids: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """(T, B) and a state → log-probabilities (T · B, V) and the next state."""
        embedded = self.drop(self.encoder(ids))  # (T, B, E)
        outputs, hidden = self.rnn(embedded, hidden)  # (T, B, H)
        decoded = self.decoder(self.drop(outputs)).view(-1, self.decoder.out_features)  # (T · B, V)
        return torch.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, batch: int) -> Hidden:
        """Zeros."""
        zeros = self.decoder.bias.new_zeros(self.layers, batch, self.hidden)
        return zeros, zeros.clone()


class Text(NamedTuple):
    """A text as ids, (N,), and what turns one into bits per character."""

    ids: Tensor
    characters: int


class Clock:
    """Seconds of training: of the processor where there is one thread, else of the wall."""

    def __init__(self, threads: int) -> None:
        self.now = time.process_time if threads == 1 else time.perf_counter
        self.seconds, self.began = 0.0, self.now()

    def start(self) -> None:
        """Training goes on."""
        self.began = self.now()

    def stop(self) -> None:
        """Something else does."""
        self.seconds += self.now() - self.began


def repackage_hidden(hidden: Hidden) -> Hidden:
    """The same without its history."""
    h, c = hidden
    return h.detach(), c.detach()


def batchify(ids: Tensor, batch: int) -> Tensor:
    """(N,) → (N // B, B): B columns of text; what does not fit is cut off."""
    steps = len(ids) // batch
    return ids[: steps * batch].view(batch, steps).t().contiguous()


def get_batch(source: Tensor, start: int, bptt: int) -> tuple[Tensor, Tensor]:
    """A window (T, B), and the tokens that come next (T · B,)."""
    steps = min(bptt, len(source) - 1 - start)
    return source[start : start + steps], source[start + 1 : start + 1 + steps].view(-1)


def main() -> None:
    """Read the options, train, generate, write the report."""
    options = arguments().parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train, valid, tokens = texts(options)
    model = RNNModel(tokens, options.embedding, options.hidden, options.layers, options.dropout, options.tied)
    trained = Training(model, options, train, valid)
    report = trained.run()
    if options.generate:
        seconds = generate(model, tokens, options)
        report["generation_rate"] = 1 / statistics.median(seconds[WARM:] or seconds)
    report |= {"parameters": sum(p.numel() for p in model.parameters()), "tokens": tokens, "version": torch.__version__}
    text = json.dumps(report, indent=1)
    if options.json:
        options.json.write_text(text)
    else:
        print(text)


class Training:
    """The loop over epochs."""

    def __init__(self, model: RNNModel, options: argparse.Namespace, train: Text, valid: Text) -> None:
        self.model, self.options, self.valid = model, options, valid
        self.train = batchify(train.ids, options.batch)
        self.criterion = nn.NLLLoss()
        self.adam = options.optimizer == "adam"
        if self.adam:
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
                model.parameters(), lr=options.learning_rate, fused=True
            )
        else:
            self.optimizer = torch.optim.SGD(model.parameters(), lr=options.learning_rate)
        self.clock = Clock(options.threads)
        self.seconds: list[float] = []  # wall clock of each full window
        self.spent = False

    def run(self) -> dict[str, object]:
        """Epochs until the budget is spent; without one, as many windows as are timed."""
        epochs, best, kept = 0, math.inf, None
        rate = self.options.learning_rate
        while not self.spent:
            self.clock.start()
            self.epoch()
            self.clock.stop()
            epochs += 1
            if self.options.minutes is None:
                continue
            loss = evaluate(self.model, self.valid.ids, self.options, EVAL_BATCH)
            print(f"epoch {epochs}: {loss:.4f} nats after {self.clock.seconds:.0f} s", flush=True)
            if loss < best:
                best, kept = loss, copy.deepcopy(self.model.state_dict())
            elif not self.adam:
                rate /= ANNEAL
                self.optimizer.param_groups[0]["lr"] = rate
        timed = self.seconds[WARM:] or self.seconds
        report: dict[str, object] = {
            "train_rate": self.options.batch * self.options.bptt / statistics.median(timed),
            "seconds": self.clock.seconds,
            "epochs": epochs,
        }
        if self.options.minutes is not None:
            if kept is not None:
                self.model.load_state_dict(kept)
            loss = evaluate(self.model, self.valid.ids, self.options, 1)  # in one pass
            bits = loss * len(self.valid.ids) / math.log(2) / self.valid.characters
            report |= {"loss": loss, "perplexity": math.exp(min(loss, 700)), "bits_per_character": bits}
        return report

    def epoch(self) -> None:
        """One pass over the text, or the rest of the budget."""
        options, model = self.options, self.model
        model.train()
        hidden = model.init_hidden(options.batch)
        total = 0.0
        for start in range(0, len(self.train) - 1, options.bptt):
            if self.is_spent():
                self.spent = True
                return
            began = time.perf_counter()
            data, targets = get_batch(self.train, start, options.bptt)
            model.zero_grad()
            hidden = repackage_hidden(hidden)
            with autocast(options):
                output, hidden = model(data, hidden)
                loss = self.criterion(output, targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), options.clip)
            self.optimizer.step()
            total += loss.item()
            if len(data) == options.bptt:
                self.seconds.append(time.perf_counter() - began)
        if not math.isfinite(total):
            raise SystemExit("the loss is not finite")

    def is_spent(self) -> bool:
        """Is the budget? Before that, Adam's rate follows the share of it that is spent."""
        if self.options.minutes is None:
            return len(self.seconds) >= WARM + self.options.windows
        share = (self.clock.seconds + self.clock.now() - self.clock.began) / (60 * self.options.minutes)
        if self.adam:
            factor = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
            self.optimizer.param_groups[0]["lr"] = self.options.learning_rate * factor
        return share >= 1


@torch.no_grad()
def evaluate(model: RNNModel, ids: Tensor, options: argparse.Namespace, batch: int) -> float:
    """Nats per token."""
    source = batchify(ids, batch)
    model.eval()
    hidden = model.init_hidden(batch)
    total = 0.0
    for start in range(0, len(source) - 1, options.bptt):
        data, targets = get_batch(source, start, options.bptt)
        output, hidden = model(data, hidden)
        total += len(data) * nn.functional.nll_loss(output, targets).item()
    return total / (len(source) - 1)


@torch.no_grad()
def generate(model: RNNModel, tokens: int, options: argparse.Namespace) -> list[float]:
    """Seconds of each token that is drawn."""
    model.eval()
    hidden = model.init_hidden(1)
    ids = torch.randint(tokens, (1, 1))
    seconds = []
    for _ in range(options.generate + WARM):
        began = time.perf_counter()
        with autocast(options):
            output, hidden = model(ids, hidden)
        word_weights = output.squeeze().float().div(options.temperature).exp()
        word = torch.multinomial(word_weights, 1)[0]
        ids.fill_(word)
        seconds.append(time.perf_counter() - began)
    return seconds


def autocast(options: argparse.Namespace) -> AbstractContextManager[object]:
    """bfloat16 where it was asked for."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bf16)


def texts(options: argparse.Namespace) -> tuple[Text, Text, int]:
    """Training and validation text, and how many types there are in both; without files, chance.

    A speed needs no validation text.
    """
    if options.train is None:
        sizes = options.length, max(2 * EVAL_BATCH, options.length // 10)
        train, valid = (Text(torch.randint(options.vocabulary, (size,)), size) for size in sizes)
        return train, valid, options.vocabulary
    places: dict[str, int] = {}
    read = [_read(path, options.unit, places) for path in (options.train, options.valid) if path is not None]
    return read[0], read[-1], len(places)


def _read(path: Path, unit: str, places: dict[str, int]) -> Text:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        text = file.read()
    ids = torch.tensor([places.setdefault(token, len(places)) for token in _tokens(text, unit)])
    return Text(ids, len(text))


def _tokens(text: str, unit: str) -> Iterator[str]:
    if unit == "char":
        yield from text
        return
    for line in text.splitlines():
        yield from line.split()
        yield "<eos>"


def arguments() -> argparse.ArgumentParser:
    """What can be said."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, help="text file, may be .gz; default: random ids")
    parser.add_argument("--valid", type=Path, help="text file, may be .gz; default: the one to train on")
    parser.add_argument("--unit", choices=("word", "char"), default="word")
    parser.add_argument("--vocabulary", type=int, default=10_000, help="of random ids")
    parser.add_argument("--length", type=int, default=100_000, help="how many random ids")
    parser.add_argument("--embedding", type=int, default=200)
    parser.add_argument("--hidden", type=int, default=200)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--tied", action="store_true", help="the decoder's weights are the encoder's")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--bptt", type=int, default=35)
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
    parser.add_argument("--learning-rate", type=float, default=20.0)
    parser.add_argument("--clip", type=float, default=0.25)
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--minutes", type=float, help="of training; none: time a number of windows, and end")
    parser.add_argument("--windows", type=int, default=60, help="windows that are timed")
    parser.add_argument("--generate", type=int, default=0, help="tokens whose drawing is timed")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as PyTorch takes by itself")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="default: print it")
    return parser


if __name__ == "__main__":
    main()
