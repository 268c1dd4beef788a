"""The language model: how good within a time, what each part of it is worth, how fast, and whether it looks back.

`--only ptb,parts` measures some of: ptb, parts, characters, recall, speed; the table has what was measured before too.
All but speed are runs of one thread, as many at a time as there are cores; their seconds are seconds of the processor,
of training alone. speed wants an idle machine. The settings were chosen on the validation texts (docs/log.md); PTB's
test text is read once, by the finished models of `ptb`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import tempfile
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from benchmarks.harness import ROOT, Row, Store, Values, main, measure_all, run_script
from benchmarks.language_model_rows import (
    ATTENTION,
    BFLOAT16,
    HARKEN,
    LOOP,
    MINUTES,
    NONE,
    PARTS,
    Job,
    check_tokens,
    rows,
)
from benchmarks.pairs import DATA
from harken.config import RunConfig
from harken.models.language_model import LanguageModel

VERSION = 1

# Every option that counts is spelled out: the defaults may change, and what was measured stays what it was.
PTB: Values = {
    **{"tokens": "word", "vocabulary_size": 20_000, "embedding_size": 256, "hidden_size": 256, "num_layers": 2},
    **{"tied": True, "attention": "dot", "memory_length": 100, "attend_layers": "last", "join": "linear"},
    **{"dropout": 0.2, "input_dropout": 0.1, "embedding_dropout": 0.05, "weight_dropout": 0.1},
    **{"batch_size": 20, "bptt": 35, "vary_bptt": True, "learning_rate": 0.003, "schedule": "cosine", "warmup": 0.05},
    **{"weight_decay": 0.0, "clip_norm": 1.0, "precision": "bf16-mixed", "epochs": 10},
}
PTB_SEEDS = 2

TEN_MINUTES: Values = PTB | {"epochs": 5}  # a variant that is faster or slower names its own
VARIANTS: dict[str, Values] = {
    ATTENTION: {},
    NONE: {"attention": "none"},  # and the hidden size that makes up for it
    "no weight dropout": {"weight_dropout": 0.0},
    "no locked dropout": {"dropout": 0.0, "input_dropout": 0.0},
    "no embedding dropout": {"embedding_dropout": 0.0},
    "not tied": {"tied": False},
    "windows all alike": {"vary_bptt": False},
}
VARIANT_SEEDS = {ATTENTION: 2, NONE: 2}  # of the others: 1

CHARACTERS: Values = PTB | {
    **{"tokens": "character", "embedding_size": 256, "hidden_size": 256, "epochs": 10, "precision": "32-true"},
    **{"dropout": 0.1, "input_dropout": 0.0, "embedding_dropout": 0.0, "weight_dropout": 0.1},
    **{"batch_size": 20, "bptt": 100, "learning_rate": 0.002},
}
CHARACTER_VARIANTS: dict[str, Values] = {HARKEN: {}, f"{HARKEN}, {NONE}": {"attention": "none", "epochs": 14}}
CHARACTER_SEEDS = 1
LOOPS: dict[str, Values] = {  # the peer's ways; the best one counts
    "SGD": {"optimizer": "sgd", "learning_rate": 20.0, "clip": 0.25, "dropout": 0.2},
    "Adam, 2e-3": {"optimizer": "adam", "learning_rate": 2e-3, "clip": 1.0, "dropout": 0.1},
    "Adam, 2e-3, dropout 0.3": {"optimizer": "adam", "learning_rate": 2e-3, "clip": 1.0, "dropout": 0.3},
    "Adam, 4e-3": {"optimizer": "adam", "learning_rate": 4e-3, "clip": 1.0, "dropout": 0.1},
}

RECALL: Values = PTB | {
    **{"embedding_size": 128, "hidden_size": 128, "num_layers": 1, "memory_length": 200, "precision": "32-true"},
    **{"batch_size": 16, "bptt": 200, "epochs": 4},
    **{"dropout": 0.0, "input_dropout": 0.0, "embedding_dropout": 0.0, "weight_dropout": 0.0},
}
RECALL_SEEDS = 3

SPEED: Values = PTB | {  # the loop's sizes; dropouts are harken's own, of which the loop has but the plain one
    **{"embedding_size": 400, "hidden_size": 400, "num_layers": 2, "tied": True, "attention": "none"},
    **{"batch_size": 20, "bptt": 35, "vary_bptt": False, "precision": "32-true", "epochs": 1},
}
OURS: dict[str, Values] = {
    HARKEN: {},
    HARKEN + BFLOAT16: {"precision": "bf16-mixed"},
    f"{HARKEN} with attention": {"attention": "dot"},
    f"{HARKEN} with attention{BFLOAT16}": {"attention": "dot", "precision": "bf16-mixed"},
}
THEIRS: dict[str, Values] = {
    LOOP: {},
    LOOP + BFLOAT16: {"bf16": True},
    f"{LOOP}, Adam": {"optimizer": "adam", "learning_rate": 2e-3},
}
TURNS = 3

QUICK: Values = {"embedding_size": 64, "hidden_size": 64, "batch_size": 8, "bptt": 10, "epochs": 1}
QUICK_LINES, QUICK_TEXTS, QUICK_MINUTES = 400, 50, 0.05
KEPT = ROOT / "build" / "benchmarks" / "language_model"
ONCE, PEER = ROOT / "benchmarks" / "language_model_once.py", ROOT / "benchmarks" / "peers" / "word_language_model.py"

Call = tuple[str, Values, int, tuple[str, ...]]  # its name, settings and seed in the store, and the command


def benchmark(store: Store, quick: bool, only: Sequence[str] = PARTS) -> list[Row]:
    """The chosen parts, those of one thread together; then the rows of all that is in the store."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Path(folder), quick)
        jobs, tests, turns = plan.jobs(), plan.tests(), plan.turns()
        measure_all(store, {job: call for job, call in jobs.items() if job.part in only})
        for job, (name, settings, seed, command) in (tests | turns).items():
            if job.part in only:
                store.measure(name, settings, seed, partial(run_script, *command))
    known = {job: store.find(name, settings, seed) for job, (name, settings, seed, _) in (jobs | tests | turns).items()}
    found = {job: run for job, run in known.items() if run is not None}
    if not quick:
        check_tokens(found)
    return rows(found)


class Plan:
    """Which runs there are, the most important first.

    Args:
        folder: for parts of texts.
        quick: one seed, the beginning of each text, small sizes.
    """

    def __init__(self, folder: Path, quick: bool) -> None:
        self.quick = quick
        lines = QUICK_LINES if quick else None
        self.ptb = {
            name: beginning(DATA / "ptb" / f"ptb.{name}.txt.gz", folder, lines) for name in ("train", "valid", "test")
        }
        self.shakespeare = shakespeare(folder, lines)

    def jobs(self) -> dict[Job, Call]:
        """All but those that read the test text, and those that take turns."""
        found: dict[Job, Call] = {}
        for seed in self._seeds(PTB_SEEDS):
            keep = ("--keep", str(self._kept(seed)))
            found[Job("ptb", "validation", seed)] = self._trained("PTB", self._small(PTB), seed, self.ptb, *keep)
        for seed in self._seeds(max(VARIANT_SEEDS.values())):
            for variant, options in VARIANTS.items():
                if seed < VARIANT_SEEDS.get(variant, 1):
                    told = self._variant(TEN_MINUTES, options)
                    found[Job("parts", variant, seed)] = self._trained(f"PTB, {variant}", told, seed, self.ptb)
        for seed in self._seeds(CHARACTER_SEEDS):
            for variant, options in CHARACTER_VARIANTS.items():
                told = self._variant(CHARACTERS, options)
                named = variant.replace(HARKEN, "tinyshakespeare")
                found[Job("characters", variant, seed)] = self._trained(named, told, seed, self.shakespeare)
            for name, options in LOOPS.items():
                found[Job("characters", name, seed)] = self._looped(name, options, seed)
        for seed in self._seeds(RECALL_SEEDS):
            for variant in (ATTENTION, NONE):
                told = self._variant(RECALL, VARIANTS[variant])
                command = (str(ONCE), "recall", *_options(told), "--seed", str(seed), "--threads", "1")
                command += ("--texts", str(QUICK_TEXTS)) if self.quick else ()
                found[Job("recall", variant, seed)] = f"recall, {variant}", told, seed, command
        return found

    def tests(self) -> dict[Job, Call]:
        """The test text, read by models that are trained."""
        words = (str(ONCE), "test", "--valid", str(self.ptb["test"]), "--threads", "1", "--keep")
        return {
            Job("ptb", "test", seed): ("PTB, test text", self._small(PTB), seed, (*words, str(self._kept(seed))))
            for seed in self._seeds(PTB_SEEDS)
        }

    def turns(self) -> dict[Job, Call]:
        """Everybody once, then everybody again."""
        length = {"windows": 5, "generate": 20} if self.quick else {"windows": 60, "generate": 200}
        valid = ("--valid", str(self.ptb["valid"]))  # of the loop a speed needs none
        found: dict[Job, Call] = {}
        for turn in self._seeds(TURNS):
            end = (*_flags(length), "--train", str(self.ptb["train"]), "--seed", str(turn))
            for name, options in OURS.items():
                told = self._small(SPEED) | options
                command = (str(ONCE), "speed", *_options(told), *valid, *end)
                found[Job("speed", name, turn)] = name, told | length, turn, command
            for name, options in THEIRS.items():
                told = _sizes(self._small(SPEED)) | options
                found[Job("speed", name, turn)] = name, told | length, turn, (str(PEER), *_flags(told), *end)
        return found

    def _trained(self, name: str, told: Values, seed: int, files: Mapping[str, Path], *more: str) -> Call:
        command = (str(ONCE), "quality", *_options(told), "--seed", str(seed), "--threads", "1", *more)
        return name, told, seed, (*command, *self._files(files))

    def _looped(self, name: str, options: Values, seed: int) -> Call:
        minutes = QUICK_MINUTES if self.quick else MINUTES
        told = _sizes(self._small(CHARACTERS)) | {"unit": "char"} | options | {"minutes": minutes}
        command = (str(PEER), *_flags(told), "--seed", str(seed), "--threads", "1", *self._files(self.shakespeare))
        return f"tinyshakespeare, {LOOP}, {name}", told, seed, command

    def _variant(self, base: Values, options: Values) -> Values:
        """A model without attention gets more units instead."""
        full, told = self._small(base), self._small(base | options)
        return told | {"hidden_size": matched(full, told)} if told["attention"] == "none" else told

    def _kept(self, seed: int) -> Path:
        """Where the model of these very settings is."""
        settings = hashlib.sha256(json.dumps(self._small(PTB), sort_keys=True).encode()).hexdigest()[:8]
        return KEPT / f"ptb-{settings}-{seed}"

    def _small(self, options: Values) -> Values:
        return options | QUICK if self.quick else options

    def _seeds(self, seeds: int) -> range:
        return range(1 if self.quick else seeds)

    @staticmethod
    def _files(files: Mapping[str, Path]) -> tuple[str, ...]:
        return "--train", str(files["train"]), "--valid", str(files["valid"])


def beginning(path: Path, folder: Path, lines: int | None) -> Path:
    """A text, or a file with its first lines."""
    if lines is None:
        return path
    with gzip.open(path, "rt", encoding="utf-8") as file:
        (folder / path.stem).write_text("".join(islice(file, lines)), encoding="utf-8")
    return folder / path.stem


def shakespeare(folder: Path, lines: int | None) -> dict[str, Path]:
    """Files with the first 90% of the characters, and with the last 10%."""
    with gzip.open(DATA / "tinyshakespeare" / "input.txt.gz", "rt", encoding="utf-8") as file:
        text = "".join(islice(file, lines))
    bound = len(text) * 9 // 10
    found = {}
    for name, part in (("train", text[:bound]), ("valid", text[bound:])):
        found[name] = folder / f"shakespeare.{name}.txt"
        found[name].write_text(part, encoding="utf-8")
    return found


def matched(full: Values, without: Values) -> int:
    """The hidden size that gives a model without attention about as many parameters as one with it."""
    goal, least = parameters(full), full["hidden_size"]

    def size(hidden: int) -> int:
        return parameters(without | {"hidden_size": hidden})

    above = least + bisect_left(range(least, 2 * least), goal, key=size)
    return min(above - 1, above, key=lambda hidden: abs(size(hidden) - goal))


def parameters(options: Values) -> int:
    """Numbers that are learned, without the vocabulary's, of which there are as many with attention as without."""
    run = RunConfig.build({"task": "language-model"}).override(**options)
    with torch.device("meta"):
        return sum(p.numel() for p in LanguageModel(run.model, 1).parameters())


def _sizes(options: Values) -> Values:
    """harken's options in the peer's words."""
    words = {
        **{"embedding_size": "embedding", "hidden_size": "hidden", "num_layers": "layers"},
        **{"tied": "tied", "batch_size": "batch", "bptt": "bptt"},
    }
    return {word: options[name] for name, word in words.items()}


def _options(options: Values) -> tuple[str, ...]:
    """NAME=VALUE, as language_model_once reads it."""
    return tuple(f"{n}={value if isinstance(value, str) else json.dumps(value)}" for n, value in options.items())


def _flags(options: Values) -> tuple[str, ...]:
    """--name value, as argparse reads it; what is True is named only, what is False left out."""
    found: list[str] = []
    for name, value in options.items():
        if value is not False:
            found += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return tuple(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--only", type=lambda words: words.split(","), default=PARTS)
    chosen, rest = parser.parse_known_args()
    if unknown := set(chosen.only) - set(PARTS):
        raise SystemExit(f"--only {','.join(sorted(unknown))} is unknown: choose from {','.join(PARTS)}")
    sys.argv[1:] = rest
    main("language_model", VERSION, partial(benchmark, only=chosen.only))
