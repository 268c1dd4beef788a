import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.data import opening, running_text
from harken.data.running_text import RunningText
from harken.errors import DataError, UsageError

pieces = st.text(st.sampled_from("ab\n\r\t é😀"), max_size=30)


def whole(text: RunningText, **options) -> str:
    return "".join(text.lines(**options))


def expected(texts: list[str]) -> str:
    plain = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    plain = [text for text in plain if text]
    return "".join(text if text.endswith("\n") else text + "\n" for text in plain[:-1]) + "".join(plain[-1:])


@given(st.lists(pieces, max_size=4), st.sampled_from([1, 2, 3, 1 << 20]), st.sampled_from([1, 2, 5, 1 << 20]))
def test_blocks_of_any_size_give_the_same_lines(texts, block, longest):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_text, "_LINE", longest)
        reference = list(RunningText.from_texts(texts).lines())
        patch.setattr(running_text, "_BLOCK", block)
        lines = list(RunningText.from_texts(texts).lines())
        closed = whole(RunningText.from_texts(texts), close=True)
    assert lines == reference
    assert "".join(lines) == expected(texts)
    assert closed == expected(texts) + ("\n" if lines and not lines[-1].endswith("\n") else "")
    assert all(lines)
    assert all("\n" not in line[:-1] for line in lines)
    assert all(len(line) <= longest for line in lines)


@given(pieces, st.sampled_from([1, 3, 1 << 20]))
def test_files_are_read_as_texts_in_memory(tmp_path_factory, text, block):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (folder / "b.txt.gz").write_bytes(gzip.compress(text.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "_BLOCK", block)
        found = whole(RunningText.from_files(folder))
        assert found == whole(RunningText.from_files([str(folder / "a.txt"), folder / "b.txt.gz"]))
    assert found == whole(RunningText.from_texts([text, text]))


def test_long_lines_are_cut_before_a_blank(monkeypatch):
    monkeypatch.setattr(running_text, "_LINE", 10)
    lines = list(RunningText.from_texts(["one two  three\tfour five\nabcdefghijklmnopqrstuvwxyz\n"]).lines())
    assert lines == ["one two", "  three", "\tfour", " five\n", "abcdefghij", "klmnopqrst", "uvwxyz\n"]


def test_a_folder_is_its_texts_in_the_order_of_their_names(tmp_path):
    outside, folder = tmp_path / "outside.txt", tmp_path / "texts"
    outside.write_text("outside")
    (folder / "deeper.txt").mkdir(parents=True)
    for name in ("b.TXT", "a.txt", "C.txt", ".hidden.txt", "notes.md", "deeper.txt/d.txt"):
        (folder / name).write_text(f"{name}\n")
    (folder / "z.txt.gz").write_bytes(gzip.compress(b"z"))
    (folder / "link.txt").symlink_to(outside)
    (folder / "inside.txt").symlink_to("a.txt")
    assert list(RunningText.from_files(folder).lines()) == ["C.txt\n", "a.txt\n", "b.TXT\n", "a.txt\n", "z"]


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"empty holds no texts, whose names end with .txt or .txt.gz"):
        RunningText.from_files(tmp_path / "empty")
    with pytest.raises(DataError, match="pipe is a pipe, a socket or a device, which is read only once: save it"):
        RunningText.from_files(tmp_path / "pipe")
    with pytest.raises(DataError, match="nowhere does not exist"):
        RunningText.from_files([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no files to read"):
        RunningText.from_files([])
    (tmp_path / "latin.txt").write_bytes(b"one\ntw\xf6\n")
    with pytest.raises(DataError, match=r"latin.txt, line 2: byte 0xf6 is not UTF-8; .* --encoding latin-1"):
        list(RunningText.from_files(tmp_path / "latin.txt", "utf-8").lines())
    assert list(RunningText.from_files(tmp_path / "latin.txt", "latin-1").lines()) == ["one\n", "twö\n"]


def test_what_is_no_list_of_texts():
    with pytest.raises(UsageError, match=r"texts is the string 'book.txt', and must be a list"):
        RunningText.from_texts("book.txt")
    with pytest.raises(DataError, match=r"texts\[1\] is int \(7\): every text must be a str"):
        RunningText.from_texts(["a", 7])


@given(st.lists(pieces, max_size=4), st.floats(0.001, 0.999), st.sampled_from([1, 3, 1 << 20]))
def test_both_parts_of_a_split_are_the_text(texts, fraction, block):
    text, total = RunningText.from_texts(texts), expected(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_text, "_BLOCK", block)
        if len(total) < 2:
            with pytest.raises(DataError, match=r"the text has . characters, and must have two"):
                text.split(fraction)
            return
        before, end = map(whole, text.split(fraction))
        assert before
        assert end
        assert before + end == total
        wanted = fraction * len(total)
        target = min(max(round(len(total) - wanted), 1), len(total) - 1)
        ends = [at + 1 for at, character in enumerate(total[:-1]) if character == "\n"]
        near = [end for end in ends if abs(end - target) <= wanted / 2]
        assert abs(len(before) - target) == min((abs(end - target) for end in near), default=0)
        assert len(before) in near or not near
        again = [whole(part) for part in text.split(fraction)[0].split(0.5)] if len(before) > 1 else [before]
        assert "".join(again) == before


def test_an_end_is_cut_at_a_line_unless_lines_are_too_long():
    lines = [f"{number:03d}\n" for number in range(100)]
    before, end = RunningText.from_texts(["".join(lines)]).split(0.1)
    assert list(before.lines()) == lines[:90]
    assert list(end.lines()) == lines[90:]
    before, end = RunningText.from_texts(["a" * 80 + "\n" + "b" * 19]).split(0.1)
    assert len(whole(end)) == 10  # 19 of 10 would be too many
    before, end = RunningText.from_texts(["a" * 85 + "\n" + "b" * 14]).split(0.1)
    assert len(whole(end)) == 14
    assert end.name == "the end of the text"


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2])
def test_fractions_that_leave_nothing(fraction):
    with pytest.raises(UsageError, match="must lie between 0 and 1"):
        RunningText.from_texts(["a\nb\n"]).split(fraction)
