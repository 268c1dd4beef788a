"""What a check found, as rows and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class PaddingRow(NamedTuple):
    """One comparison: the worst row of one tensor in one case."""

    case: str  # what was changed
    tensor: str  # an output's name, or "d x" / "d name" for the gradient of it
    row: int | None  # place in the user's batch; None: the empty row that was added, or all rows together
    error: float  # ‖difference‖ / ‖value‖, inf when there is nothing to compare
    tolerance: float
    note: str

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class PaddingReport:
    """What `check_padding` found; `print` shows it as a table."""

    rows: tuple[PaddingRow, ...]

    @property
    def passed(self) -> bool:
        """Whether every comparison passed."""
        return all(row.passed for row in self.rows)

    @property
    def failures(self) -> tuple[PaddingRow, ...]:
        """The rows that did not pass."""
        return tuple(row for row in self.rows if not row.passed)

    def raise_if_failed(self) -> None:
        """Raise an AssertionError that lists the failures; for use in a test."""
        if not self.passed:
            raise AssertionError(f"answers depend on what must not matter\n{_table(self.failures)}")

    def __str__(self) -> str:
        return _table(self.rows)


def _table(rows: Sequence[PaddingRow]) -> str:
    cells = [("case", "tensor", "row", "error", "")]
    for r in rows:
        mark = "ok" if r.passed else f"FAILED {r.note}".rstrip()
        cells.append((r.case, r.tensor, "–" if r.row is None else str(r.row), f"{r.error:.1e}", mark))
    widths = [max(len(row[k]) for row in cells) for k in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)
