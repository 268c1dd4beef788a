"""A reading names every weight, and its answers read well."""

import json

import pytest
import torch

from harken.errors import ShapeError
from harken.explain.reading import Answer, Reading, Sentence, table

ONE = (Answer("label", "pos", 0.931),)


def text(heads: int = 1, **facts: object) -> Reading:
    return Reading("text", " a b", ONE, ["a", "b"], torch.rand(heads, 2), [(1, 2), (3, 4)], **facts)


def series(channels: int = 2) -> Reading:
    return Reading("series", torch.randn(5, channels), ONE, ["0", "1", "2"], torch.rand(1, 3), channels=("x", "y"))


def document(heads: int = 1) -> Reading:
    sentences = [
        Sentence(["go", "!"], [(0, 2), (2, 3)], torch.rand(heads, 2)),
        Sentence([], [], torch.rand(heads, 0)),
    ]
    return Reading("sentences", ["go!", ""], ONE, ["go!", ""], torch.rand(heads, 2), sentences=sentences)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (Answer("h", "pos", 0.931), "pos (93%)"),
        (Answer("h", 3, 1.0), "3 (100%)"),
        (Answer("h", 12.34567), "12.35"),
        (Answer("h", (1.0, -2.5)), "1, -2.5"),
        (Answer("h", ["a", "b"], [0.9, 0.6]), "a (90%), b (60%)"),
        (Answer("h", [], []), "no label"),
    ],
)
def test_answers(answer: Answer, shown: str) -> None:
    assert str(answer) == shown


def test_titles() -> None:
    assert text().title == "pos (93%)"
    several = (Answer("colour", "red", 0.98), Answer("shape", "round", 0.7))
    assert Reading("ids", torch.tensor([7]), several, ["7"], torch.ones(1, 1)).title == (
        "colour: red (98%) · shape: round (70%)"
    )
    tagged = Reading(
        "words", ["a", "b"], (Answer("pos", ["D", "N"], [0.9, 0.8], per_step=True),), ["a", "b"], torch.ones(1, 2)
    )
    assert tagged.title == "D N"
    assert tagged.tags == ["D", "N"]
    assert text().tags is None


def test_several_labels_of_a_row_are_no_tags() -> None:
    """Both are lists, and here even of the same length."""
    several = (Answer("topics", ["plot", "cast"], [0.9, 0.8]), Answer("mood", "glad", 0.7))
    reading = Reading("words", ["a", "b"], several, ["a", "b"], torch.ones(1, 2))
    assert reading.title == "topics: plot (90%), cast (80%) · mood: glad (70%)"
    assert reading.tags is None


def test_rows_of_a_text() -> None:
    reading = text(heads=2)
    rows = reading.rows(7)
    assert len(rows) == 4
    assert rows[3] == {
        "row": 7,
        "answer": "pos (93%)",
        "by": "attention",
        "head": 1,
        "index": 1,
        "word": None,
        "text": "b",
        "span": [3, 4],
        "values": None,
        "weight": reading.weights[1, 1].item(),
    }
    assert {row["head"] for row in text().rows(0)} == {None}


def test_rows_of_a_series() -> None:
    reading = series()
    rows = reading.rows(0)
    assert [row["values"] for row in rows] == reading.source[:3].tolist()  # what was not read has no weight
    assert {row["text"] for row in rows} == {None}


def test_missing_values_are_null() -> None:
    reading = series()
    reading.source[1, 0] = torch.nan
    values = [row["values"] for row in reading.rows(0)]
    assert values[1] == [None, reading.source[1, 1].item()]
    assert table([reading]).column("values").to_pylist()[1] == values[1]


def test_channels_without_names() -> None:
    values, weights = torch.zeros(1, 3), torch.ones(1, 1)
    assert Reading("series", values, ONE, ["0"], weights).channel_names == ["channel 0", "channel 1", "channel 2"]
    assert Reading("series", values[:, :1], ONE, ["0"], weights).channel_names == [""]
    assert Reading("series", values[:, 0], ONE, ["0"], weights).values.shape == (1, 1)


def test_rows_of_a_document() -> None:
    reading = document(heads=2)
    rows = reading.rows(0)
    assert [(row["head"], row["index"], row["word"], row["text"]) for row in rows] == [
        (head, *place) for head in (0, 1) for place in ((0, None, "go!"), (0, 0, "go"), (0, 1, "!"), (1, None, ""))
    ]
    assert rows[6]["weight"] == reading.sentences[0].weights[1, 1].item()
    assert rows[6]["span"] == [2, 3]


def test_the_table_holds_the_rows() -> None:
    empty = Reading("text", "", ONE, [], torch.zeros(1, 0), [])
    readings = [text(2), series(), document(), empty, text(by="gradients", about="label")]
    numbers = [3, 5, 8, 9, 11]
    expected = [row for number, reading in zip(numbers, readings, strict=True) for row in reading.rows(number)]
    assert table(readings, numbers).to_pylist() == expected
    assert table([]).schema == table(readings).schema
    json.dumps(expected)


def test_parts_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="weights"):
        Reading("text", "ab", ONE, ["a", "b"], torch.ones(2))
    with pytest.raises(ShapeError, match="weights"):
        Reading("text", "ab", ONE, ["a", "b"], torch.ones(1, 3))
    with pytest.raises(ShapeError, match="spans"):
        Reading("text", "ab", ONE, ["a", "b"], torch.ones(1, 2), [(0, 1)])
    with pytest.raises(ShapeError, match=r"grid \(2, 2\)"):
        Reading("image", torch.zeros(8, 8, 3), ONE, ["0,0", "0,1"], torch.ones(1, 2), grid=(2, 2))
