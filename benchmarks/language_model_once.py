"""One run of `harken.LanguageModel` in a process of its own.

    quality   train on files; the best epoch's scores on the validation text
    test      read another text with a model that `quality` kept
    recall    train on texts that ask what was said before; the share of answers that are right
    speed     tokens a second: of training, and of writing

Training is as `fit` has it in all of them, Lightning's loop and all: its clock is read through the objective that it
asks. Seconds of training are those between the start of an epoch and its validation; of the processor too, as runs of
one thread go side by side.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401  (imported before the clock starts)
import torch

import harken
from harken.data import synthetic
from harken.data.corpus import encode
from harken.data.running_text import RunningText
from harken.data.windows import WindowLoader
from harken.predictor.language_model import WINDOW
from harken.training import language_model as training
from harken.training.callbacks import Interrupted

WARM = 10  # windows, and tokens, that no speed counts
TEXTS = 2_000  # to learn recall from; a tenth to validate, and a tenth to test


class Clock:
    """When training's windows begin, and how long its epochs take."""

    def __init__(self, windows: int | None = None) -> None:
        self.limit = windows
        self.starts: list[float] = []
        self.wall = self.processor = 0.0
        self._began: tuple[float, float] | None = None

    def window(self) -> None:
        """One begins; after the last that is wanted, training is interrupted."""
        now = time.perf_counter()
        if self._began is None:
            self._began = now, time.process_time()
        self.starts.append(now)
        if self.limit is not None and len(self.starts) > self.limit:
            self.pause()
            raise Interrupted

    def pause(self) -> None:
        """Training is over, or validation begins."""
        if self._began is not None:
            self.wall += time.perf_counter() - self._began[0]
            self.processor += time.process_time() - self._began[1]
        self._began = None


def watch(clock: Clock) -> None:
    """From now on training tells it."""

    class Watched(training.LanguageModelObjective):
        def loss(self, model: Any, batch: Any) -> Any:
            clock.window()
            return super().loss(model, batch)

        def reset(self) -> None:
            clock.pause()
            super().reset()

    training.LanguageModelObjective = Watched  # type: ignore[misc]


def main() -> None:
    """Read the options, run, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=tuple(KINDS))
    parser.add_argument("options", nargs="*", metavar="NAME=VALUE", help="an option of harken")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--valid", type=Path, help="text to validate on; for test, the text to read")
    parser.add_argument("--texts", type=int, default=TEXTS, help="of recall")
    parser.add_argument("--keep", type=Path, help="the trained model: quality writes it, test reads it")
    parser.add_argument("--windows", type=int, default=60, help="of training, that are timed")
    parser.add_argument("--generate", type=int, default=200, help="tokens whose writing is timed")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as PyTorch takes by itself")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="default: print it")
    told = parser.parse_intermixed_args()
    if told.threads:
        torch.set_num_threads(told.threads)
    options = {"seed": told.seed, "show_examples": 0} | parsed(told.options)
    text = json.dumps(KINDS[told.kind](options, told) | {"harken": harken.__version__}, indent=1)
    if told.json:
        told.json.write_text(text)
    else:
        print(text)


def parsed(options: list[str]) -> dict[str, Any]:
    """NAME=VALUE texts; values as in JSON, or words."""
    found: dict[str, Any] = {}
    for option in options:
        name, _, value = option.partition("=")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def quality(options: dict[str, Any], told: argparse.Namespace) -> dict[str, Any]:
    """Train on files."""
    clock = Clock()
    watch(clock)
    model = harken.LanguageModel(**options)
    model.fit(told.train, validation=told.valid, show=print)
    if told.keep:
        model.save(told.keep)
    return {**model.predictor.bundle.facts["validation"], **_trained(model, clock)}


def test(options: dict[str, Any], told: argparse.Namespace) -> dict[str, Any]:
    """Read another text, once."""
    return harken.load(told.keep).evaluate(told.valid)


def recall(options: dict[str, Any], told: argparse.Namespace) -> dict[str, Any]:
    """Train on texts that ask what was said before; the share of answers in others that are right.

    The texts follow each other as one, in those for validation and for the test too.
    """
    clock = Clock()
    watch(clock)
    sizes = {"train": told.texts, "valid": told.texts // 10, "unseen": told.texts // 10}
    made = {name: synthetic.recall(size, 3 * told.seed + n) for n, (name, size) in enumerate(sizes.items())}
    model = harken.LanguageModel(**options)
    model.fit(running(made["train"].texts), validation=running(made["valid"].texts), show=print)
    return {"accuracy": answered(model, made["unseen"]), **_trained(model, clock)}


def answered(model: harken.LanguageModel, unseen: Any) -> float:
    """The share of answers that the model thinks likeliest, given all text before them."""
    network = model.predictor.model
    corpus = encode(RunningText.from_texts([running(unseen.texts)]), model.predictor.tokenizer)
    right, state = [], None
    with torch.no_grad():
        for batch in WindowLoader(corpus.ids, corpus.start_id, streams=1, window=WINDOW, vary=False, seed=0):
            output = network(batch.ids, batch.lengths, state)
            state = output.state
            right.append(network.logits(output.features).argmax(-1)[0] == batch.targets[0])  # (T,)
    sizes = [len(text.split()) + 1 for text in unseen.texts]  # in tokens: a line's end is one
    starts = [0, *accumulate(sizes)]
    places = [start + place for start, answers in zip(starts, unseen.answers, strict=False) for place in answers]
    return float(torch.cat(right)[places].double().mean())


def running(texts: Sequence[str]) -> str:
    """A line each."""
    return "".join(f"{text}\n" for text in texts)


def speed(options: dict[str, Any], told: argparse.Namespace) -> dict[str, Any]:
    """Windows of the first epoch, the median one; then tokens as they come from the model as it then is."""
    clock = Clock(WARM + told.windows)
    watch(clock)
    model = harken.LanguageModel(**options)
    model.fit(told.train, validation=told.valid)
    if len(clock.starts) <= clock.limit:
        raise SystemExit(f"training was over after {len(clock.starts)} windows: give it more text, or time fewer")
    tokens = model.config.training.batch_size * model.config.training.bptt
    came = [time.perf_counter()]
    for _ in model.stream(max_tokens=told.generate + WARM, temperature=1.0):
        came.append(time.perf_counter())
    if len(came) != told.generate + WARM + 1:
        raise SystemExit(f"{len(came) - 1} pieces of text came for {told.generate + WARM} tokens: they cannot be timed")
    return {
        "train_rate": tokens / median_gap(clock.starts),
        "generation_rate": 1 / median_gap(came),
        "parameters": parameters(model),
        "vocabulary": model.predictor.tokenizer.vocabulary_size,
    }


def median_gap(times: Sequence[float]) -> float:
    """Between one and the next, after the first few."""
    return statistics.median([end - start for start, end in pairwise(times)][WARM:])


def parameters(model: harken.LanguageModel) -> int:
    """Numbers that are learned."""
    return sum(p.numel() for p in model.predictor.model.parameters())


def _trained(model: harken.LanguageModel, clock: Clock) -> dict[str, Any]:
    clock.pause()
    tokens = model.predictor.bundle.facts["training_rows"]
    return {
        "seconds": clock.processor,
        "wall_seconds": clock.wall,
        "epochs": len(model.history_),
        "best_epoch": None if model.best_epoch_ is None else model.best_epoch_.epoch,
        "valid_losses": [epoch.valid["loss"] for epoch in model.history_],
        "train_losses": [epoch.train_loss for epoch in model.history_],
        "tokens": tokens,
        "train_rate": tokens * len(model.history_) / clock.wall,
        "parameters": parameters(model),
        "vocabulary": model.predictor.tokenizer.vocabulary_size,
    }


KINDS: dict[str, Callable[[dict[str, Any], argparse.Namespace], dict[str, Any]]] = {
    "quality": quality,
    "test": test,
    "recall": recall,
    "speed": speed,
}


if __name__ == "__main__":
    main()
