"""The terminal shows the whole row, coloured by weight, and nothing in a row acts on the terminal."""

import io
import re
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from harken.explain.colored import colored, listed
from harken.explain.labels import running
from harken.explain.reading import Reading
from harken.explain.shades import largest_of, shade


def printed(reading: Reading, colors: str | None = "truecolor") -> str:
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, color_system=colors, width=1000).print(colored(reading))
    return stream.getvalue()


def test_every_word_has_its_colour(make: SimpleNamespace) -> None:
    reading = make.text("  a good, good film\nto see ")
    found = colored(reading)
    assert found.plain == "positive (94%)\n  a good, good film\nto see \n"
    papers = {}
    for span in found.spans:
        papers[found.plain[span.start : span.end]] = re.search(r"on rgb\((.*?)\)", str(span.style))
    for step, weight in zip(reading.steps, reading.weights[0].tolist(), strict=True):
        if step != "good":
            assert papers[step][1] == ",".join(map(str, shade(weight, largest_of(reading.weights))))
    assert papers[" "][1] == "255,255,255"


def test_shows_anything(reading: Reading) -> None:
    for colors in ("truecolor", "256", None):
        shown = printed(reading, colors)
        without = re.sub(r"\x1b\[[0-9;]*m", "", shown)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", without), "only our own colours act"
        if reading.kind == "text" and len(reading.heads) == 1:
            assert running(reading.source).split() == without.split()[2:]  # lines may break anew
    assert reading.title.split()[0] in listed(reading)


def test_heads_stand_below_each_other(make: SimpleNamespace) -> None:
    lines = colored(make.text("a b", heads=2)).plain.splitlines()
    assert lines == ["positive (94%)", "head 0", "a b", "head 1", "a b"]


def test_a_document_has_both_levels(make: SimpleNamespace) -> None:
    reading = make.document(["I hated it.", "See it!"])
    lines = colored(reading).plain.splitlines()
    for line, sentence, weight in zip(lines[1:], reading.steps, reading.weights[0].tolist(), strict=True):
        assert line == f" {weight:.2f}  {sentence}"
    plain = listed(reading)
    best = reading.sentences[int(reading.weights[0].argmax())]
    assert f"'{best.words[int(best.weights[0].argmax())]}' {float(best.weights.max()):.2f}" in plain.splitlines()[2]


@pytest.mark.parametrize("by", ["attention", "gradients"])
def test_words_of_a_document_have_a_scale(make: SimpleNamespace, by: str) -> None:
    reading = make.document(["I hated them", "", "see it"], by=by)
    shown = colored(reading)
    papers = {
        shown.plain[span.start : span.end]: re.search(r"on rgb\((.*?)\)", str(span.style)) for span in shown.spans
    }
    of_all = max(largest_of(sentence.weights) for sentence in reading.sentences if sentence.words)
    for words, _, weights in reading.sentences:
        darkest = of_all if by == "gradients" else largest_of(weights)
        for word, weight in zip(words, weights[0].tolist(), strict=True):
            assert papers[word][1] == ",".join(map(str, shade(weight, darkest)))


def test_words_that_speak_against_are_listed_too(make: SimpleNamespace) -> None:
    reading = make.document(["a b c d e f g h"], by="gradients")
    weights = reading.sentences[0].weights[0]
    line = listed(reading, most=3).splitlines()[2]
    order = weights.abs().argsort(descending=True)[:3].tolist()
    assert bool((weights[order] < 0).any())
    assert re.findall(r"'(\w)' ([+-]\d\.\d\d)", line) == [("abcdefgh"[i], f"{float(weights[i]):+.2f}") for i in order]


def test_a_series_is_a_line_of_blocks_for_each_channel(make: SimpleNamespace) -> None:
    lines = colored(make.series(40, 2)).plain.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["sensor", "sensor", "attention"]
    assert {len(line) for line in lines[1:]} == {40 + len("attention ")}
    assert len(colored(make.series(5000, 1)).plain.splitlines()[1]) < 100
    assert "… and 28 more channels" in colored(make.series(50, 40)).plain


def test_missing_values_leave_a_gap(make: SimpleNamespace) -> None:
    reading = make.series(12, 1)
    reading.source[3:5] = torch.nan
    line = colored(reading).plain.splitlines()[1][len("attention ") :]
    assert [place for place, block in enumerate(line) if block == " "] == [3, 4]
    assert "▁" in line
    assert "█" in line


def test_labels_stand_behind_their_words(make: SimpleNamespace) -> None:
    assert "The/DET dog/NOUN" in colored(make.tagged("The dog", "DET NOUN")).plain


def test_the_list_is_in_order_of_weight(make: SimpleNamespace) -> None:
    reading = make.text("a b c d e f g h", by="gradients")
    line = listed(reading, most=3).splitlines()[1]
    order = reading.weights[0].abs().argsort(descending=True)[:3].tolist()
    assert re.findall(r"'(\w)'", line) == [reading.steps[step] for step in order]
    assert re.findall(r"[+-]\d\.\d\d", line) == [f"{float(reading.weights[0][step]):+.2f}" for step in order]
    assert "\x1b" not in listed(make.TEXTS["hostile"])


def test_the_list_of_a_series_says_its_values(make: SimpleNamespace) -> None:
    assert re.search(r"step \d+ \(-?[\d.]+\) 0\.\d\d", listed(make.series(40, 1)))
    assert re.search(r"step \d+ 0\.\d\d", listed(make.series(40, 2)))
    assert re.search(r"chunk \d+ 0\.\d\d", listed(make.series(14, 9, kind="vectors")))
    assert listed(make.series(0, 1)).endswith("nothing to look at")


def test_a_picture_is_its_grid(make: SimpleNamespace) -> None:
    reading = make.picture(3, 5)
    found = colored(reading)
    assert found.plain.splitlines()[1:] == [" " * 10] * 3
    papers = [re.search(r"on rgb\((.*?)\)", str(span.style)) for span in found.spans]
    expected = [",".join(map(str, shade(w, largest_of(reading.weights)))) for w in reading.weights[0].tolist()]
    assert [paper[1] for paper in papers if paper] == expected
    best = int(reading.weights.argmax())
    assert (
        listed(reading)
        .splitlines()[1]
        .startswith(f"  cell {best // 5},{best % 5} {float(reading.weights.max()):.2f}  ")
    )
    assert listed(make.picture(1, 1)).endswith("the whole picture 1.00")
    assert max(map(len, colored(make.picture(60, 50)).plain.splitlines())) == 72
    faint = make.picture(by="gradients")
    faint.weights.mul_(0.001)
    assert f"{float(faint.weights.max()):.2g}" in listed(faint)


def test_sound_is_a_line_of_blocks(make: SimpleNamespace) -> None:
    reading = make.sound(40)
    _, blocks, ends = colored(reading).plain.splitlines()
    assert len(blocks) == 40
    assert blocks.index("█") == int(reading.weights.argmax())
    assert ends == "0 s" + "0.40 s".rjust(37)
    assert len(colored(make.sound(5000)).plain.splitlines()[1]) == 72
    assert colored(make.sound(40, seconds=None)).plain.splitlines()[2] == "frame 0" + "39".rjust(33)
    best, weight = int(reading.weights.argmax()), float(reading.weights.max())
    assert listed(reading).splitlines()[1].startswith(f"  {best / 100:.2f} s {weight:.2f}  ")
    frames = make.sound(40, seconds=None)
    assert listed(frames).splitlines()[1].startswith(f"  frame {int(frames.weights.argmax())} ")
    fine = make.sound(40, seconds=0.0025)
    assert f"{int(fine.weights.argmax()) * 0.0025:.4f} s" in listed(fine)
