"""The page says what the weights are, and a text in it stays a text."""

import re
from html.parser import HTMLParser

import pytest
import torch

from harken.explain.alignment import Attention
from harken.explain.page import page

HOSTILE = "</style></table><script>alert(1)</script><img src=x onerror=alert(1)> \" ' &amp; \u202e"


class Reader(HTMLParser):
    """Tags, attributes and texts as a browser finds them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def make(source: str, target: str, heads: int | None = None) -> Attention:
    weights = torch.rand(*([] if heads is None else [heads]), len(target), len(source))
    return Attention(source, target, list(source), list(target), [(i, i + 1) for i in range(len(source))], weights)


def cells(read: Reader) -> list[tuple[str, float]]:
    found = []
    for tag, attributes in read.tags:
        if tag == "td" and "title" in attributes:
            alpha = float(re.fullmatch(r"background:rgba\(8,81,156,([\d.]+)\)", attributes["style"])[1])
            found.append((attributes["title"], alpha))
    return found


def test_every_weight_is_a_cell() -> None:
    attention = make("a b", "xy", heads=2)
    read = Reader(page([attention], [7]))
    assert not read.open
    largest = attention.weights.max()
    expected = [
        (f"{target} ← {source}: {attention.weights[h, t, s]:.4f}", float(attention.weights[h, t, s] / largest))
        for h in range(2)
        for t, target in enumerate("xy")
        for s, source in enumerate("a␣b")
    ]
    found = cells(read)
    assert [title for title, _ in found] == [title for title, _ in expected]
    assert [alpha for _, alpha in found] == pytest.approx([alpha for _, alpha in expected], abs=6e-4)
    text = "".join(read.texts)
    assert "row 7" in text
    assert "head 1" in text


def test_hostile_texts_stay_texts() -> None:
    plain, hostile = Reader(page([make("ab", "x")])), Reader(page([make(HOSTILE, HOSTILE)]))
    assert {tag for tag, _ in hostile.tags} == {tag for tag, _ in plain.tags}
    allowed = {"style", "title", "scope", "class", "lang", "charset", "name", "content", "http-equiv"}
    assert {name for _, attributes in hostile.tags for name in attributes} <= allowed
    assert not hostile.open
    assert HOSTILE.replace("\u202e", "U+202E") in hostile.texts
    assert len(cells(hostile)) == len(HOSTILE) ** 2


def test_that_test_finds_a_page_that_does_not_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harken.explain.page.escape", lambda text: text)
    with pytest.raises(AssertionError):
        test_hostile_texts_stay_texts()


def test_needs_nothing_else() -> None:
    text = page([make("ab", "x")])
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|<script|<link|<img|url\(", text)


@pytest.mark.parametrize(("source", "target"), [("", "x"), ("x", ""), ("", "")])
def test_empty_texts(source: str, target: str) -> None:
    read = Reader(page([make(source, target)]))
    assert not read.open
    assert cells(read) == []


def test_weights_of_zero() -> None:
    attention = Attention("a", "x", ["a"], ["x"], [(0, 1)], torch.zeros(1, 1))
    assert cells(Reader(page([attention]))) == [("x ← a: 0.0000", 0.0)]
