"""Running text, from files or from memory: as much as there is, a line at a time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from harken.data.opening import text_blocks
from harken.data.paths import resolve_path
from harken.data.texts import list_texts
from harken.errors import DataError, UsageError

TEXT_SUFFIXES = (".txt", ".txt.gz")
_LINE = 1 << 20  # characters; longer lines are cut
_BLOCK = 1 << 20  # characters of a text in memory that are looked at at once
_NEAR = 0.5  # how far the part that is held out may differ from what was asked for, of that

Blocks = Callable[[], Iterator[str]]


class RunningText:
    """Texts one after the other, which are read anew whenever they are asked for: nothing of a file is kept in memory.

    A line ends with a line feed, a carriage return or both, and comes out with a line feed. Where a text of several
    ends within a line, its line ends too; the last text may end within a line, unless `lines` is told to close it.
    """

    def __init__(self, name: str, texts: Sequence[Blocks], start: int = 0, stop: int | None = None) -> None:
        """Characters from ``start`` on and before ``stop`` of texts; `from_files` and `from_texts` find them.

        Args:
            name: for messages.
            texts: each a function that begins to read it, in blocks that are not empty and end lines with line feeds.
            start, stop: in characters of all texts together; None: to their end.
        """
        self.name = name
        self._texts = texts
        self._start, self._stop = start, stop

    @classmethod
    def from_files(cls, paths: str | Path | Sequence[str | Path], encoding: str | None = None) -> RunningText:
        """Text files, plain or gzipped; a folder is its .txt and .txt.gz files in the order of their names.

        Folders inside a folder, hidden files, and links that lead out of it, are left out.

        Args:
            paths: one or more, read in this order.
            encoding: None: UTF-8, and no option could say otherwise.

        Raises:
            DataError: a file that does not exist, or can be read only once, or a folder without texts. What is in
                the files is found out when they are read.
        """
        given = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
        if not given:
            raise DataError("there are no files to read: name one at least")
        files = [file for path in given for file in _files(path)]
        name = str(given[0]) if len(given) == 1 else f"{given[0]} and what follows it"
        return cls(name, [partial(text_blocks, file, encoding) for file in files])

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> RunningText:
        """Texts in memory.

        Raises:
            DataError: something that is no text.
            UsageError: one string instead of a list of them: it might as well be a path.
        """
        if isinstance(texts, str):
            raise UsageError(f"texts is the string {texts[:40]!r}, and must be a list of strings")
        return cls("the text", [partial(_blocks, text) for text in list_texts("texts", texts)])

    def lines(self, *, close: bool = False) -> Iterator[str]:
        """Every line with its line feed; those of more than a million characters in pieces, cut before a blank.

        Args:
            close: give the last line a line feed, if it has none.
        """
        rest = ""
        for block in self._read():
            *lines, rest = (rest + block).split("\n")
            for line in lines:
                yield from _cut(line + "\n")
            *pieces, rest = _cut(rest)
            yield from pieces
        if rest:
            yield rest + "\n" if close else rest

    def split(self, fraction: float) -> tuple[RunningText, RunningText]:
        """The text without its end, and its end, of ``fraction`` of all characters: to validate on.

        It is cut at the end of a line, where one is near enough: the end has between half and one and a half times the
        characters that were asked for. Otherwise it is cut within a line.

        Raises:
            DataError: fewer than two characters.
            UsageError: a fraction that leaves nothing on one side.
        """
        if not 0 < fraction < 1:
            raise UsageError(f"the fraction to hold out ({fraction}) must lie between 0 and 1")
        total = sum(map(len, self._read()))
        if total < 2:
            raise DataError(
                f"{self.name} has {total} characters, and must have two at least to hold some out: add text"
            )
        wanted = fraction * total
        target = min(max(round(total - wanted), 1), total - 1)
        ends = (end for end in self._ends_around(target) if 0 < end < total and abs(end - target) <= _NEAR * wanted)
        cut = min(ends, key=lambda end: abs(end - target), default=target)
        stop = self._start + total
        return (
            RunningText(self.name, self._texts, self._start, self._start + cut),
            RunningText(f"the end of {self.name}", self._texts, self._start + cut, stop),
        )

    def _ends_around(self, target: int) -> Iterator[int]:
        """The last place at or before ``target`` where a line has ended, and the first after it, if there are such."""
        place, before = 0, 0
        for block in self._read():
            last = block.rfind("\n", 0, max(0, target - place)) + 1
            before = place + last if last else before
            if place + len(block) > target:
                after = block.find("\n", max(0, target - place)) + 1
                if after:
                    yield from (before, place + after)
                    return
            place += len(block)
        yield before

    def _read(self) -> Iterator[str]:
        """The characters from start to stop, in blocks."""
        place = 0
        for block in self._joined():
            if self._stop is not None and place >= self._stop:
                return
            part = block[max(0, self._start - place) : None if self._stop is None else self._stop - place]
            place += len(block)
            if part:
                yield part

    def _joined(self) -> Iterator[str]:
        """All texts, in blocks."""
        inside = False  # a line
        for text in self._texts:
            for number, block in enumerate(text()):
                if inside and number == 0:
                    yield "\n"
                inside = not block.endswith("\n")
                yield block


def _files(path: Path) -> list[Path]:
    """A file, or a folder's."""
    if not path.is_dir():
        if not path.exists():
            raise DataError(f"{path} does not exist: check the name and the folder")
        if not path.is_file():
            raise DataError(f"{path} is a pipe, a socket or a device, which is read only once: save it in a file first")
        return [path]
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    named = [name for name in names if name.lower().endswith(TEXT_SUFFIXES) and not name.startswith(".")]
    found = [file for file, problem in (resolve_path(name, path) for name in named) if not problem]
    if not found:
        raise DataError(f"{path} holds no texts, whose names end with {' or '.join(TEXT_SUFFIXES)}: name the files")
    return found


def _blocks(text: str) -> Iterator[str]:
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    for start in range(0, len(text), _BLOCK):
        end = start + _BLOCK
        if block := newlines.decode(text[start:end], final=end >= len(text)):
            yield block


def _cut(line: str) -> list[str]:
    """A line, or its beginning, in one piece or more of about a million characters at most.

    A piece begins with the blanks before a word, where a cut makes no difference to words and to byte-level BPE. Where
    there are none, it begins anywhere.
    """
    pieces, start = [], 0
    while len(line) - start > _LINE:
        blank = max(line.rfind(character, start, start + _LINE) for character in " \t")
        before = start + len(line[start : max(start, blank)].rstrip())  # where the blanks that end there begin
        end = next(place for place in (before, blank, start + _LINE) if place > start)
        pieces.append(line[start:end])
        start = end
    return [*pieces, line[start:] if start else line]
