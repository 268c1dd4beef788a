"""What every side of `benchmarks/padding_table.py` shares: the rows, the checks, and what is kept of a report.

A side is a script in its own venv that makes models and hands them to `report_all`. Of harken it imports
`harken.testing` alone, which needs nothing but PyTorch and NumPy.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harken.testing import PaddingReport, check_estimator_padding, check_padding

SIZE = 6  # D
UNITS = 8  # H, of each direction
NOTHING = 1e6  # what is larger was divided by 0
WORDS = 20  # ids 1 … 19; 0 is padding, where a library wants an id for it


class Checked(NamedTuple):
    """One model, and how it is to be checked."""

    name: str
    model: Any  # a callable of (x, lengths), or a fitted estimator
    rows: Any = None  # x: default `floats()`; an estimator's X
    parameters: dict[str, Tensor] | None = None  # of a callable that is no module
    dtype: torch.dtype = torch.float64


def floats() -> tuple[Tensor, Tensor]:
    """x (5, 9, D), float64, and lengths (5,)."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(5, 9, SIZE, generator=draw, dtype=torch.float64), torch.tensor([9, 3, 2, 6, 7])


def ids() -> tuple[Tensor, Tensor]:
    """x (5, 9), int64, and lengths (5,)."""
    draw = torch.Generator().manual_seed(0)
    return torch.randint(1, WORDS, (5, 9), generator=draw), torch.tensor([9, 3, 2, 6, 7])


def series() -> tuple[list[Any], list[str]]:
    """Rows (T, D) and their labels, for an estimator to be fitted on: up and down."""
    draw = torch.Generator().manual_seed(0)
    lengths = [3 + 2 * (n % 5) for n in range(12)]
    rows = [torch.randn(n, 2, generator=draw).cumsum(0).numpy() for n in lengths]
    return rows, ["up" if row[-1, 0] > row[0, 0] else "down" for row in rows]


def check(checked: Checked) -> PaddingReport:
    """The report on one model."""
    if hasattr(checked.model, "predict") and not isinstance(checked.model, nn.Module):
        return check_estimator_padding(checked.model, checked.rows)
    x, lengths = checked.rows or floats()
    return check_padding(checked.model, x, lengths, dtype=checked.dtype, parameters=checked.parameters)


class Worst(NamedTuple):
    """What went wrong in a case, in a word or two, and by how much (‖difference‖ / ‖value‖) where that can be said."""

    what: str
    amount: float | None


def digest(report: PaddingReport) -> dict[str, Worst | None]:
    """The worst of each case; None where all was right."""
    return {case: worst(report, case) for case in dict.fromkeys(row.case for row in report.rows)}


def worst(report: PaddingReport, case: str) -> Worst | None:
    """Whatever was raised before NaN, before outputs that moved, before gradients that did, before the rest."""
    failures = [row for row in report.failures if row.case == case]
    if not failures:
        return None
    raised = [row.note.partition(":")[0] for row in failures if row.note.startswith("raised ")]
    if raised:
        return Worst(raised[0].replace("raised", "raises"), None)
    if any(row.error != row.error for row in failures):
        return Worst("NaN", None)
    outputs = [row for row in failures if not row.tensor.startswith("d ")]
    amounts = [row.error for row in outputs or failures if row.error < float("inf")]
    if not amounts:
        return Worst(failures[0].note, None)
    if max(amounts) > NOTHING:
        return Worst("not 0, which it is alone", None)
    return Worst("off" if outputs else "gradient off", max(amounts))


def report_all(version: str, models: Callable[[], Iterable[Checked]]) -> None:
    """The command line of a side: check its models, write {"version": …, "models": {name: cases}}."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, help="default: print it")
    options = parser.parse_args()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {checked.name: digest(check(checked)) for checked in models()}
    text = json.dumps({"version": version, "models": found}, indent=1)
    if options.json:
        options.json.write_text(text)
    else:
        print(text)


def zero_where_empty(vectors: Tensor, lengths: Tensor) -> Tensor:
    """(B, P): zeros for rows of no length, as one has to write where a library answers them with anything else."""
    return vectors.masked_fill((lengths < 1).unsqueeze(1), 0.0)
