import re
from collections import Counter
from datetime import datetime

import numpy as np
import pytest

from harken.data.synthetic import adding, dates, recall, shapes
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


# An oracle of its own: what W3C's CSS Color 4 calls these colours, or the nearest that it has to how they are used.
NAMED = {
    "black": (0, 0, 0), "white": (255, 255, 255), "red": (220, 20, 60), "green": (34, 139, 34), "yellow": (255, 215, 0),
    "blue": (65, 105, 225), "brown": (139, 69, 19), "orange": (255, 140, 0), "pink": (255, 182, 193),
    "purple": (128, 0, 128), "grey": (128, 128, 128),
}  # fmt: skip


def looks_like(colour):
    names = list(NAMED)
    return names[int(np.abs(np.array(list(NAMED.values())) - colour).sum(axis=1).argmin())]


def middle(picture, box):
    top, left, bottom, right = box
    edge = (bottom - top) // 4
    return picture[top + edge : bottom - edge, left + edge : right - edge].reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize("most", [1, 3])
def test_every_shape_has_the_colour_that_it_is_said_to_have(most):
    made = shapes(1500, seed=4, most=most)
    seen: Counter[str] = Counter()
    for picture, colours, boxes in zip(made.pictures, made.colours, made.boxes, strict=True):
        assert [looks_like(middle(picture, box)) for box in boxes] == colours
        seen.update(colours)
    assert seen.keys() == NAMED.keys()
    assert min(seen.values()) > 0.7 * sum(seen.values()) / 11


@pytest.mark.parametrize("most", [1, 3])
def test_boxes_fit_the_shapes_and_circles_differ_from_squares(most):
    made = shapes(1000, seed=5, size=48, most=most)
    assert made.pictures.shape == (1000, 48, 48, 3)
    assert made.pictures.dtype == np.uint8
    for picture, kinds, boxes in zip(made.pictures.astype(int), made.shapes, made.boxes, strict=True):
        for kind, box in zip(kinds, boxes, strict=True):
            top, left, bottom, right = box
            assert 0 <= top < bottom <= 48
            assert 0 <= left < right <= 48
            assert bottom - top == right - left
            away = np.abs(picture - middle(picture, box)).max(axis=2)
            inner = away[top:bottom, left:right] < 36  # six times the noise
            assert inner[:, len(inner) // 2].mean() > 0.9  # to the box's edge, and not beyond it
            assert [inner[at, -1 - at] for at in (0, -1)].count(True) == (2 if kind == "square" else 0)
            beyond = [away[top - 1, left:right]] if top else []
            beyond += [away[bottom, left:right]] if bottom < 48 else []
            assert all(np.median(row) > 20 for row in beyond)


def test_how_many_shapes_there_are_and_that_none_overlap():
    made = shapes(1200, seed=6, most=3)
    counts = Counter(map(len, made.boxes))
    assert counts.keys() == {0, 1, 2, 3}
    assert min(counts.values()) > 250
    for boxes in made.boxes:
        taken = np.zeros((64, 64), int)
        for top, left, bottom, right in boxes:
            taken[top:bottom, left:right] += 1
        assert taken.max(initial=0) <= 1
    kinds = Counter(kind for kinds in made.shapes for kind in kinds)
    assert kinds["circle"] == pytest.approx(kinds["square"], rel=0.15)
    assert {len(boxes) for boxes in shapes(300, seed=6).boxes} == {1}


def test_shapes_follow_from_the_seed():
    first, again, other = shapes(300, seed=7, most=2), shapes(300, seed=7, most=2), shapes(300, seed=8, most=2)
    assert np.array_equal(first.pictures, again.pictures)
    assert first[1:] == again[1:]
    assert first.colours != other.colours
    assert shapes(0, seed=7).pictures.shape == (0, 64, 64, 3)


def test_shapes_that_cannot_be():
    with pytest.raises(DataError, match=r"size \(15\) must be 16 or more"):
        shapes(1, seed=0, size=15)
    with pytest.raises(DataError, match=r"most \(4\) must lie between 1 and 3"):
        shapes(1, seed=0, most=4)
    assert len(shapes(50, seed=0, size=16, most=3).boxes) == 50


@pytest.mark.parametrize("options", [{}, {"pairs": 3, "keys": 12, "values": 2, "shortest": 2, "longest": 10}])
def test_answers_are_known_from_what_was_stated_and_from_nothing_else(options):
    found = recall(200, 0, **options)
    pairs, shortest, longest = (options.get(name, d) for name, d in (("pairs", 16), ("shortest", 50), ("longest", 200)))
    assert len(found.texts) == len(found.answers) == 200
    used, back, changed = {}, [], 0
    for episode, (text, answers) in enumerate(zip(found.texts, found.answers, strict=True)):
        words = text.split()
        stated = {words[at]: (words[at - 1], at) for at in range(1, 2 * pairs, 2)}
        assert len(stated) == len(answers) == pairs
        assert [at for at in answers if words[at][0] != "v"] == []
        for at in answers:
            value, place = stated[words[at - 1]]
            assert words[at] == value
            back.append(at - 1 - place)
        assert {words[at - 1] for at in answers} == set(stated)
        fillers = words[2 * pairs : answers[0] - 2]
        assert {word[0] for word in fillers} <= {"w"}
        assert words[answers[0] - 2] == "?"
        assert answers[-1] == len(words) - 1
        for key, (value, _) in stated.items():
            before, last = used.get(key, (value, episode - 9))
            assert episode - last > 2
            changed += before != value
            used[key] = value, episode
    assert shortest <= min(back) <= shortest + 3
    assert longest - 3 <= max(back) <= longest
    assert changed > 200 * pairs / 3
    assert len(used) == options.get("keys", 64)


def test_recall_follows_from_the_seed():
    assert recall(5, 1) == recall(5, 1)
    assert recall(5, 1) != recall(5, 2)
    assert recall(5, 1).texts == recall(9, 1).texts[:5]
    assert recall(0, 1) == ([], [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keys": 63}, r"keys \(63\) must be four times pairs \(16\)"),
        ({"shortest": 1}, r"shortest \(1\) must be at least 2"),
        ({"longest": 109}, r"longest \(109\) at least 60 more: so far apart are 16 pairs"),
        ({"pairs": 0}, r"pairs \(0\)"),
        ({"values": 0}, r"values \(0\)"),
        ({"n": -1}, r"n \(-1\)"),
    ],
)
def test_recall_that_cannot_be(options, said):
    with pytest.raises(DataError, match=said):
        recall(**{"n": 1, "seed": 0} | options)
    assert len(recall(1, 0, longest=110).texts) == 1
