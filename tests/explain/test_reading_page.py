"""The page holds every word and weight, needs nothing else, and a text in it stays a text."""

import base64
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import torch

from harken.explain.colored import listed
from harken.explain.labels import running
from harken.explain.reading import Reading
from harken.explain.reading_page import reading_page
from harken.explain.shades import largest_of, shade

VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Tags, attributes and texts as a browser finds them."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def spans(read: Reader) -> list[tuple[str, str]]:
    return [(tag[1]["style"], tag[1]["title"]) for tag in read.tags if tag[0] == "span"]


def test_any_reading_is_a_whole_page(reading: Reading) -> None:
    content = reading_page([reading], [7])
    read = Reader(content)
    assert not read.open
    assert "row 7" in "".join(read.texts)
    policy = next(dict(tag)["content"] for name, tag in read.tags if "http-equiv" in tag)
    drawn = reading.kind in ("image", "audio", "spectrogram")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'" + ("; img-src data:" if drawn else "")
    plain = re.sub(r"data:image/png;base64,[\w+/=]+", "", content)
    assert (plain != content) == drawn
    assert not re.search(r"https?:|url\(|@import|\bnan\b|inf\b", plain)
    if reading.kind == "text":
        assert running(reading.source) in "".join(read.texts)


def test_every_word_has_its_colour_and_weight(make: SimpleNamespace) -> None:
    reading = make.text("a good, good film", heads=2)
    found = spans(Reader(reading_page([reading])))
    expected = []
    for weights in reading.weights.tolist():
        for weight in weights:
            red, green, blue = shade(weight, largest_of(reading.weights))
            expected.append((f"background:rgb({red},{green},{blue})", f"{weight:.4f}"))
    assert [(style.split(";")[0], title) for style, title in found] == expected


def test_hostile_texts_stay_texts(make: SimpleNamespace) -> None:
    mild = [make.text("a b"), make.document(["a b"]), make.tagged("a", "N"), make.series(3, 1)]
    wild = [make.TEXTS["hostile"], make.TEXTS["hostile document"], make.tagged("<b>", "<i>"), make.series(3, 1)]
    plain, hostile = Reader(reading_page(mild)), Reader(reading_page(wild))
    assert {tag for tag, _ in hostile.tags} == {tag for tag, _ in plain.tags}
    names = [{name for _, attributes in read.tags for name in attributes} for read in (plain, hostile)]
    assert names[0] == names[1]
    assert running(make.HOSTILE) in "".join(hostile.texts)
    curve = make.series(3, 1)
    named = Reading("series", curve.source, curve.answers, curve.steps, curve.weights, None, (make.HOSTILE,))
    assert {tag for tag, _ in Reader(reading_page([named])).tags} <= {tag for tag, _ in plain.tags}


def test_a_document_has_both_levels(make: SimpleNamespace) -> None:
    reading = make.document(["I hated it.", "See it!"])
    read = Reader(reading_page([reading]))
    texts = "".join(read.texts)
    assert all(f"{weight:.3f}" in texts for weight in reading.weights[0].tolist())
    titles = [title for _, title in spans(read)]
    assert titles == [f"{weight:.4f}" for sentence in reading.sentences for weight in sentence.weights[0].tolist()]


@pytest.mark.parametrize("by", ["attention", "gradients"])
def test_words_of_a_document_have_the_scale_that_is_named(make: SimpleNamespace, by: str) -> None:
    reading = make.document(["I hated it.", "", "See it!"], by=by)
    read = Reader(reading_page([reading]))
    inner = [sentence.weights[0].tolist() for sentence in reading.sentences]
    of_all = max(abs(weight) for weights in inner for weight in weights)
    papers = []
    for weights in inner:
        darkest = of_all if by == "gradients" else max(weights, default=0)
        papers += ["background:rgb({},{},{})".format(*shade(weight, darkest)) for weight in weights]
    assert [style.split(";")[0] for style, _ in spans(read)] == papers
    note = f"darkest = {largest_of(reading.weights):.3f}, of words "
    note += f"{of_all:.3f}: blue" if by == "gradients" else "their sentence's largest"
    assert note in "".join(read.texts)


def test_labels_stand_over_their_words(make: SimpleNamespace) -> None:
    read = Reader(reading_page([make.tagged("The dog", "DET NOUN")]))
    assert [tag for tag, _ in read.tags].count("ruby") == 2
    assert [text for text in read.texts if text in ("The", "DET", "dog", "NOUN")] == ["The", "DET", "dog", "NOUN"]


@pytest.mark.parametrize("steps", [1, 40, 5000])
def test_bars_stand_under_their_steps(make: SimpleNamespace, steps: int) -> None:
    reading = make.series(steps, 2, heads=2)
    read = Reader(reading_page([reading]))
    curves = [tag["points"].split() for name, tag in read.tags if name == "polyline"]
    bars = [
        tag
        for name, tag in read.tags
        if name == "rect" and tag["fill"] == "rgb(8,81,156)" and "fill-opacity" not in tag
    ]
    columns = min(steps, 900)
    assert len(curves) == 2
    assert len(bars) == 2 * columns
    first = bars[::2]  # of head 0
    peak = max(range(columns), key=lambda column: float(first[column]["height"]))
    assert peak * steps // columns <= int(reading.weights[0].argmax()) < (peak + 1) * steps // columns
    points = curves[0] if steps == columns else curves[0][::2]
    for column in (0, columns // 2, columns - 1):
        x = float(points[column].split(",")[0])
        left, wide = float(first[column]["x"]), float(first[column]["width"])
        assert left <= x <= left + wide + 0.5


def test_missing_values_part_the_curve(make: SimpleNamespace) -> None:
    reading = make.series(12, 1)
    reading.source[3:5] = torch.nan
    curves = [tag["points"].split() for name, tag in Reader(reading_page([reading])).tags if name == "polyline"]
    assert [len(points) for points in curves] == [3, 7]
    heights = [float(point.split(",")[1]) for points in curves for point in points]
    assert (min(heights), max(heights)) == (4, 60)


def test_pictures_and_sound_stand_in_the_page(make: SimpleNamespace) -> None:
    """As the PNG that they are, and in words."""
    for reading in (make.picture(), make.sound(40), make.sound(40, seconds=None)):
        (image,) = [tag for name, tag in Reader(reading_page([reading, make.text("a b")])).tags if name == "img"]
        address, content = image["src"].split(",")
        assert address == "data:image/png;base64"
        assert base64.b64decode(content, validate=True).startswith(b"\x89PNG")
        assert image["alt"] == "; ".join(line.strip() for line in listed(reading).splitlines())
    (hostile,) = [tag for name, tag in Reader(reading_page([make.MEDIA["picture, hostile"]])).tags if name == "img"]
    assert set(hostile) == {"src", "alt"}
    assert "blue speaks for the answer" in reading_page([make.sound(40, by="gradients")])
