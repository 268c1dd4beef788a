"""Tagged sentences: CoNLL-U, and columns between white space as the CoNLL tasks had them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harken.config import ExamplesConfig
from harken.data.columns import Kept, Table
from harken.data.opening import read_lines
from harken.errors import DataError

COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")  # of CoNLL-U


def read_conll(path: Path, config: ExamplesConfig, require_labels: bool = True) -> Table:
    """A sentence a row, with a list of words and a list of tags for each label.

    CoNLL-U has ten columns between tabs, which go by name or by number from 1: words are FORM and labels UPOS unless
    ``config`` says otherwise; comments, the ranges of words that are written as one (3-4) and empty nodes (8.1) are
    left out; ``_`` is a missing label. Elsewhere columns stand between white space and go by number: words are the
    first and labels the last; lines that begin with -DOCSTART- are left out. A blank line ends a sentence.

    Args:
        path: plain or gzipped.
        config: the columns.
        require_labels: False: a column of labels that is not there is left out.

    Raises:
        DataError: columns that are not there, or a bad line.
    """
    import pyarrow as pa

    name = str(path)
    lines = [line.rstrip("\r\n") for line in read_lines(path, config.encoding)[0]]
    universal = _is_universal(path, lines)
    width = len(COLUMNS) if universal else _width(lines)
    kept = Kept(name, config)
    if width == 0:
        kept.check()  # there are no words
    words = config.words or ("FORM" if universal else "1")
    labels = config.label or (("UPOS",) if universal else (str(width),) if width > 1 else ())
    if not require_labels and not universal:
        labels = tuple(called for called in labels if called.isdecimal() and 1 <= int(called) <= width)
    wanted = {called: _position(name, called, width, universal) for called in (words, *labels)}

    columns: dict[str, list[list[str | None]]] = {called: [] for called in wanted}
    sentence: list[list[str]] = []
    begin, problem = 0, ""  # the sentence's line, or the bad one
    for number, line in enumerate([*lines, ""], start=1):
        cells = line.split("\t") if universal else line.split()
        if line.strip():
            if problem or line.startswith("#" if universal else "-DOCSTART-"):
                continue
            begin = begin or number
            if len(cells) != width:
                between = "tabs" if universal else "white space"
                begin, problem = number, f"the line has {len(cells)} columns between {between}, and must have {width}"
            elif not universal or cells[0].isdecimal():
                sentence.append(cells)
            continue
        if problem:
            kept.refuse(begin, problem)
        elif sentence:
            kept.keep(begin)
            for called, position in wanted.items():
                tags = universal and called != words
                columns[called].append([None if tags and row[position] == "_" else row[position] for row in sentence])
        sentence, begin, problem = [], 0, ""
    kept.check()
    table = pa.table({called: pa.array(rows, pa.large_list(pa.large_string())) for called, rows in columns.items()})
    return replace(kept.table(table, wanted), fixed="words", labels=labels, task="tag")


def _is_universal(path: Path, lines: list[str]) -> bool:
    """CoNLL-U by its suffix, or by its first word."""
    if any(suffix.lower() == ".conllu" for suffix in path.suffixes):
        return True
    cells = next((line for line in lines if line.strip() and not line.startswith("#")), "").split("\t")
    return len(cells) == len(COLUMNS) and cells[0].split("-")[0] in ("1", "0.1")


def _width(lines: list[str]) -> int:
    """How many columns the first word has."""
    words = (line for line in lines if line.strip() and not line.startswith("-DOCSTART-"))
    return len(next(words, "").split())


def _position(name: str, called: str, width: int, universal: bool) -> int:
    if universal and called.upper() in COLUMNS:
        return COLUMNS.index(called.upper())
    if called.isdecimal() and 1 <= int(called) <= width:
        return int(called) - 1
    named = f" or one of {', '.join(COLUMNS)}" if universal else ""
    raise DataError(f"{name} has no column {called!r}: columns are numbers from 1 to {width}{named}")
