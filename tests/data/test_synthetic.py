import re
from collections import Counter
from datetime import datetime

import numpy as np
import pytest

from harken.data.synthetic import adding, dates
from harken.errors import DataError

# An oracle of its own: what strptime reads, once ordinals and little words are gone.
FORMATS = (
    *("%B %d, %Y", "%d %B %Y", "%b %d, %Y", "%d %b %Y", "%d %B, %Y", "%A, %B %d, %Y", "%A %d %B %Y", "%a %d %b %Y"),
    *("%d-%b-%y", "%b %d '%y", "%m/%d/%y", "%m/%d/%Y", "%d.%m.%Y", "%Y-%m-%d"),
)


def readings(text: str) -> set[tuple[str, str]]:
    plain = re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", text.lower())
    plain = re.sub(r"^the | of", "", plain)
    plain = re.sub(r"\bsept\b", "sep", plain)
    plain = re.sub(r"([a-z]{3})\.", r"\1", plain)
    found = set()
    for form in FORMATS:
        try:
            moment = datetime.strptime(plain, form)
        except ValueError:
            continue
        if "%a" in form.lower():
            assert moment.strftime("%a").lower() == plain[:3], f"{text} is not on that weekday"
        found.add((form, moment.date().isoformat()))
    return found


def test_every_date_reads_in_one_way_and_that_is_its_target():
    sources, targets = dates(8000, seed=3)
    forms: Counter[str] = Counter()
    for source, target in zip(sources, targets, strict=True):
        found = readings(source)
        assert {iso for _, iso in found} == {target}, source
        forms.update(form for form, _ in found)
    assert all(forms[form] > 50 for form in FORMATS)
    years = [int(target[:4]) for target in targets]
    assert (min(years), max(years)) == (1969, 2068)


def test_dates_vary_in_form():
    sources, _ = dates(20_000, seed=0)
    shapes = {re.sub(r"\d+", "9", re.sub(r"[A-Za-z]+", "w", source)) for source in sources}
    assert len(shapes) >= 12
    assert {str.islower, str.isupper, str.istitle} == {
        case for case in (str.islower, str.isupper, str.istitle) if any(case(source) for source in sources)
    }
    assert any("11th" in source for source in sources)
    assert not any(re.search(r"\b(\d*1[123](st|nd|rd)|\d*[1](th)\b(?<!11th))", source) for source in sources)


def test_dates_are_distinct_and_follow_from_the_seed():
    sources, targets = dates(50_000, seed=1)
    assert len(set(sources)) == len(targets) == 50_000
    assert dates(100, seed=1) == (sources[:100], targets[:100])
    assert dates(100, seed=2)[0] != sources[:100]


def test_more_than_there_are():
    most = 36525 * 49
    with pytest.raises(DataError, match=rf"n \({most + 1:,}\)"):
        dates(most + 1, 0)


def test_adding_is_the_sum_of_two_marked_numbers_one_in_each_half():
    series, values = adding(200, seed=3, shortest=5, longest=11)
    assert {len(row) for row in series} == set(range(5, 12))
    for row, value in zip(series, values, strict=True):
        marked = np.flatnonzero(row[:, 1])
        assert len(marked) == 2
        assert marked[0] < len(row) // 2 <= marked[1]
        assert value == pytest.approx(float(row[marked, 0].sum()))
    again, _ = adding(200, seed=3, shortest=5, longest=11)
    assert all(np.array_equal(a, b) for a, b in zip(series, again, strict=True))
    assert np.mean((np.array(values) - 1) ** 2) == pytest.approx(1 / 6, abs=0.03)


def test_adding_refuses_lengths_that_cannot_be():
    with pytest.raises(DataError, match=r"shortest \(7\) must lie between 2 and longest \(6\)"):
        adding(1, seed=0, shortest=7, longest=6)
