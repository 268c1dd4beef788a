"""The rows of the language model's benchmark, from its runs; `language_model` says which runs there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.harness import Row, Run, claim

PARTS = ("ptb", "parts", "characters", "recall", "speed")
ATTENTION, NONE = "attention (dot)", "no attention, as many parameters"
HARKEN, LOOP, BFLOAT16 = "harken", "the loop", ", bfloat16"

MINUTES = 10.0  # of one core, that a comparison has
LIMIT = 30.0  # and PTB
PERPLEXITY = 100.0
FASTER = {"training": 1.5, "generation": 3.0}
RIGHT, FORGOTTEN = 0.99, 0.6  # of recalled values: with attention at least, without at most
TOKENS = {"train": 929_589, "validation": 73_760, "test": 82_430}  # of PTB, as everybody counts them


class Job(NamedTuple):
    """A run, as it is called here."""

    part: str
    name: str
    seed: int


Runs = Mapping[Job, Run]


def rows(found: Runs) -> list[Row]:
    """All that can be said from these."""
    return [
        *ptb_rows(found),
        *part_rows(found),
        *character_rows(found),
        *recall_rows(found),
        *speed_rows(found),
    ]


def ptb_rows(found: Runs) -> list[Row]:
    """Perplexity on both texts, and what training took."""
    runs, tests = _of(found, "ptb", "validation"), _of(found, "ptb", "test")
    made = []
    if runs:
        made += [
            claim("PTB: validation perplexity", _values(runs, "perplexity"), PERPLEXITY, "", at_most=True, runs=runs),
            claim("PTB: minutes of training, one core", _minutes(runs), LIMIT, "min", at_most=True, runs=runs),
            claim("PTB: tokens a second in training, one core", _values(runs, "train_rate"), None, "tokens/s"),
            claim("PTB: parameters", _values(runs, "parameters"), None, ""),
        ]
    if tests:
        made.insert(1, claim("PTB: test perplexity", _values(tests, "perplexity"), None, "", runs=tests))
    return made


def check_tokens(found: Runs) -> None:
    """Stop where PTB was not read as it is elsewhere: perplexities would not compare."""
    for run in _of(found, "ptb", "validation"):
        _same(run.value["tokens"], "train")
        _same(run.value["rows"], "validation")
    for run in _of(found, "ptb", "test"):
        _same(run.value["tokens"], "test")


def _same(tokens: int, text: str) -> None:
    if tokens != TOKENS[text]:
        raise SystemExit(f"PTB's {text} text has {TOKENS[text]:,} tokens, and {tokens:,} were read")


def part_rows(found: Runs) -> list[Row]:
    """Attention against none, then each regulariser switched off: perplexity, beside size and time."""
    names = list(dict.fromkeys(job.name for job in found if job.part == "parts"))
    made = []
    for name in names:
        runs = _of(found, "parts", name)
        size, epochs = runs[0].value["parameters"] / 1e6, runs[0].value["epochs"]
        minutes = sum(_minutes(runs)) / len(runs)
        told = f"PTB, {name} ({size:.2f} M parameters, {epochs} epochs, {minutes:.1f} min): validation perplexity"
        made.append(claim(told, _values(runs, "perplexity"), None, "", runs=runs))
    with_it, without = _of(found, "parts", ATTENTION), _of(found, "parts", NONE)
    if with_it and without:
        size, other = with_it[0].value["parameters"], without[0].value["parameters"]
        if abs(other / size - 1) > 0.01:
            raise SystemExit(f"with attention {size:,} parameters, without {other:,}: not as many")
        saved = [b.value["perplexity"] - a.value["perplexity"] for a, b in _pairs(with_it, without)]
        made.append(claim("PTB: perplexity that attention saves at equal parameters", saved, None, ""))
    return made


def character_rows(found: Runs) -> list[Row]:
    """Bits per character, beside the loop's; of its ways the best."""
    runs = {job.name: _of(found, "characters", job.name) for job in found if job.part == "characters"}
    made = []
    for name, mine in runs.items():
        who = name if name.startswith(HARKEN) else f"{LOOP}, {name}"
        told = f"tinyshakespeare, {who} ({sum(_minutes(mine)) / len(mine):.1f} min): bits per character"
        made.append(claim(told, _values(mine, "bits_per_character"), None, "", runs=mine))
    loops = {name: mine for name, mine in runs.items() if not name.startswith(HARKEN)}
    if loops:
        best = min(loops, key=lambda name: sum(_values(loops[name], "bits_per_character")) / len(loops[name]))
        for name in [name for name in runs if name.startswith(HARKEN)]:
            pairs = _pairs(runs[name], loops[best])
            bits = [theirs.value["bits_per_character"] - ours.value["bits_per_character"] for ours, theirs in pairs]
            told = f"tinyshakespeare: bits per character that {name} saves over {LOOP}, {best}"
            made.append(claim(told, bits, None, ""))
    return made


def recall_rows(found: Runs) -> list[Row]:
    """Values said 50 to 200 tokens before: how many come back."""
    made = []
    for name, goal, at_most in ((ATTENTION, RIGHT, False), (NONE, FORGOTTEN, True)):
        if runs := _of(found, "recall", name):
            told = f"recall over 50 to 200 tokens, {name} ({runs[0].value['parameters']:,} parameters): answers right"
            made.append(claim(told, _values(runs, "accuracy"), goal, "share", at_most=at_most, runs=runs))
    return made


def speed_rows(found: Runs) -> list[Row]:
    """Tokens a second of everybody, then how many times the loop's harken's are, turn by turn.

    In training the loop has the same precision; in generation, where harken's is always float32, the loop's fastest way
    counts.
    """
    names = list(dict.fromkeys(job.name for job in found if job.part == "speed"))
    runs = {name: _of(found, "speed", name) for name in names}
    made = []
    for what, number in (("training", "train_rate"), ("generation", "generation_rate")):
        for name, mine in runs.items():
            told = f"PTB, {what}: {name}"
            made.append(claim(told, _values(mine, number), None, "tokens/s", median=True, runs=mine))
        loops = [name for name in runs if name.startswith(LOOP)]
        for name in [name for name in runs if name.startswith(HARKEN)]:
            other = LOOP + (BFLOAT16 if name.endswith(BFLOAT16) else "")
            if what == "generation":
                other = max(loops, key=lambda loop: median(_values(runs[loop], "generation_rate")), default="")
            if other in runs:
                _check_sizes(runs[name][0], runs[other][0], name)
                ratios = [a.value[number] / b.value[number] for a, b in _pairs(runs[name], runs[other])]
                told = f"PTB, {what}: {name}, times {other}, median"
                made.append(claim(told, ratios, None if "attention" in name else FASTER[what], "×", median=True))
    return made


def _check_sizes(ours: Run, theirs: Run, name: str) -> None:
    """The model without attention is the loop's."""
    if "attention" not in name and abs(ours.value["parameters"] / theirs.value["parameters"] - 1) > 0.01:
        raise SystemExit(f"{name} has {ours.value['parameters']:,} parameters, the loop {theirs.value['parameters']:,}")


def _of(found: Runs, part: str, name: str) -> list[Run]:
    return [run for job, run in found.items() if (job.part, job.name) == (part, name)]


def _pairs(ours: Sequence[Run], theirs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Those of the same seed."""
    by_seed = {run.seed: run for run in theirs}
    return [(run, by_seed[run.seed]) for run in ours if run.seed in by_seed]


def _values(runs: Sequence[Run], number: str) -> list[float]:
    return [run.value[number] for run in runs]


def _minutes(runs: Sequence[Run]) -> list[float]:
    return [run.value["seconds"] / 60 for run in runs]
