"""Data made here, seeded, so that a fresh machine can run everything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from harken.data.synthetic_recall import Recall as Recall
from harken.data.synthetic_recall import recall as recall
from harken.data.synthetic_shapes import Shapes as Shapes
from harken.data.synthetic_shapes import shapes as shapes
from harken.errors import DataError

_FIRST, _LAST = date(1969, 1, 1), date(2068, 12, 31)  # the hundred years that two digits name, by the rule of POSIX

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Abbreviations as newspapers write them, beside the plain three letters.
_PRESS = ("Jan.", "Feb.", "March", "April", "May", "June", "July", "Aug.", "Sept.", "Oct.", "Nov.", "Dec.")


def _month(day: date) -> str:
    return _MONTHS[day.month - 1]


def _weekday(day: date) -> str:
    return _WEEKDAYS[day.weekday()]


def _press(day: date) -> str:
    return _PRESS[day.month - 1]


def _ordinal(day: date) -> str:
    suffix = "th" if 11 <= day.day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    return f"{day.day}{suffix}"


def _two(day: date) -> str:
    return f"{day.year % 100:02d}"


_WORDED: tuple[Callable[[date], str], ...] = (
    lambda d: f"{_month(d)} {d.day}, {d.year}",
    lambda d: f"{d.day} {_month(d)} {d.year}",
    lambda d: f"{_month(d)[:3]} {d.day}, {d.year}",
    lambda d: f"{d.day} {_month(d)[:3]} {d.year}",
    lambda d: f"{_press(d)} {d.day}, {d.year}",
    lambda d: f"{d.day} {_press(d).removesuffix('.')} {d.year}",
    lambda d: f"{_month(d)} {_ordinal(d)}, {d.year}",
    lambda d: f"{_ordinal(d)} of {_month(d)}, {d.year}",
    lambda d: f"the {_ordinal(d)} of {_month(d)} {d.year}",
    lambda d: f"{_weekday(d)}, {_month(d)} {d.day}, {d.year}",
    lambda d: f"{_weekday(d)} {_ordinal(d)} {_month(d)} {d.year}",
    lambda d: f"{_weekday(d)[:3]} {d.day} {_month(d)[:3]} {d.year}",
    lambda d: f"{d.day}-{_month(d)[:3]}-{_two(d)}",
    lambda d: f"{_month(d)[:3]} {d.day} '{_two(d)}",
)
# Slashes mean month/day, dots mean day.month: every form reads in one way only.
_NUMERIC: tuple[Callable[[date], str], ...] = (
    lambda d: f"{d.month}/{d.day}/{_two(d)}",
    lambda d: f"{d.month:02d}/{d.day:02d}/{_two(d)}",
    lambda d: f"{d.month}/{d.day}/{d.year}",
    lambda d: f"{d.month:02d}/{d.day:02d}/{d.year}",
    lambda d: f"{d.day}.{d.month}.{d.year}",
    lambda d: f"{d.day:02d}.{d.month:02d}.{d.year}",
    lambda d: d.isoformat(),
)
_CASES: tuple[Callable[[str], str], ...] = (str, str.lower, str.upper)
_FORMS = (*((form, case) for form in _WORDED for case in _CASES), *((form, str) for form in _NUMERIC))


def dates(n: int, seed: int) -> tuple[list[str], list[str]]:
    """English dates in 21 written forms (worded ones as written, in lower and in upper case), and the same in ISO 8601.

    The days run from 1969-01-01 to 2068-12-31; two-digit years follow POSIX: 69 to 99 are 1969 to 1999, 00 to 68 are
    2000 to 2068. Weekdays are right. No source occurs twice, and none has two readings.

    Raises:
        DataError: more dates than there are.
    """
    days = (_LAST - _FIRST).days + 1
    targets: dict[str, str] = {}
    if n <= days * len(_FORMS):
        for code in np.random.default_rng(seed).permutation(days * len(_FORMS)):
            if len(targets) >= n:
                break
            form, case = _FORMS[code // days]
            day = _FIRST + timedelta(days=int(code % days))
            targets[case(form(day))] = day.isoformat()  # some forms agree on some days, as May with its abbreviation
    if len(targets) < n:
        most = len(targets) or days * len(_FORMS)
        raise DataError(f"n ({n:,}) is more than there are different dates: ask for fewer than {most:,}")
    return list(targets), list(targets.values())


def adding(
    n: int, seed: int, shortest: int = 200, longest: int = 400
) -> tuple[list[npt.NDArray[np.float32]], list[float]]:
    """Series of two channels, random numbers and marks; the value of a series is the sum of its two marked numbers.

    Hochreiter & Schmidhuber 1997, section 5.4, as in Le et al. 2015, section 4.1: numbers are uniform in [0, 1],
    one mark is in the first half and one in the second. Differs from them: lengths are uniform from ``shortest`` to
    ``longest``. Always answering 1 has a squared error of 0.167 on average.

    Returns:
        n series (T, 2), and their values.

    Raises:
        DataError: lengths that cannot be.
    """
    if not 2 <= shortest <= longest:
        raise DataError(f"shortest ({shortest}) must lie between 2 and longest ({longest})")
    generator = np.random.default_rng(seed)
    series, values = [], []
    for length in generator.integers(shortest, longest + 1, size=n).tolist():
        row = np.zeros((length, 2), dtype=np.float32)
        row[:, 0] = generator.random(length)
        marked = [generator.integers(length // 2), generator.integers(length // 2, length)]
        row[marked, 1] = 1
        series.append(row)
        values.append(float(row[marked, 0].sum()))
    return series, values
