"""Pretrained word vectors, as GloVe and word2vec write them in text: a word and its numbers on every line."""

from __future__ import annotations

import gzip
import math
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from harken.data.features import Tokenizer
from harken.errors import ConfigError, DataError


def read_word_vectors(path: str | Path, tokenizer: Tokenizer) -> tuple[Tensor, int]:
    """The vectors of a vocabulary's words.

    A word that the file lacks gets the vector of its spelling in small letters; one that has none either is drawn from
    a normal distribution as wide as the vectors that were found, always the same. Padding is 0.

    Args:
        path: a text file, plain or gzipped: ``word number number …``, perhaps below a line ``words width`` (word2vec).
        tokenizer: of words.

    Returns:
        vectors (V, D) float32, and how many of the vocabulary's words were found.

    Raises:
        ConfigError: tokens that are no words.
        DataError: no such file, a line that is no word and D numbers, no word of the vocabulary; says which line.
    """
    if tokenizer.kind not in ("word", "wordpunct"):
        raise ConfigError(f"word_vectors need tokens that are words: tokens={tokenizer.kind} must be word or wordpunct")
    markers = 2  # padding and unknown
    exact = {tokenizer.token(i).encode(): i for i in range(markers, tokenizer.vocabulary_size)}
    smaller: defaultdict[bytes, list[int]] = defaultdict(list)  # small spelling → words with capitals
    for word, i in exact.items():
        if (small := word.decode().lower().encode()) != word:
            smaller[small].append(i)
    found: dict[int, list[float]] = {}
    fallback: dict[int, list[float]] = {}
    width = 0
    for number, line in _lines(Path(path)):
        if number == 1 and (header := _header(line)):
            width = header
            continue
        width = width or len(line.split()) - 1
        spaces = line.count(b" ")
        word = line[: line.find(b" ")]
        if 0 < width == spaces and word not in exact and word not in smaller:
            continue  # most of a file
        word, vector = _vector(path, number, line, width)
        if word in exact:
            found.setdefault(exact[word], vector)
        for i in smaller.get(word, ()):
            fallback.setdefault(i, vector)
    known = fallback | found
    if not known:
        raise DataError(f"{path} holds none of the {len(exact):,} words of the vocabulary: it is of another language")
    table = torch.tensor(list(known.values()), dtype=torch.float32)
    spread = float(table.std()) if table.numel() > 1 else 1.0
    vectors = torch.randn(tokenizer.vocabulary_size, width, generator=torch.Generator().manual_seed(0)) * spread
    vectors[tokenizer.pad_id] = 0
    vectors[list(known)] = table
    return vectors, len(known)


def vector_size(path: str | Path) -> int:
    """How many numbers the vectors of a file have, as its first line says.

    Raises:
        DataError: no such file, nothing in it, or a first line that is no word and its numbers.
    """
    for number, line in _lines(Path(path)):
        return _header(line) or len(_vector(path, number, line, len(line.split()) - 1)[1])
    raise DataError(f"{path} is empty: it must hold a word and its numbers on every line")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line number from 1, and the line without white space at its ends."""
    try:
        with path.open("rb") as start:
            zipped = start.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if stripped := line.rstrip():
                    yield number, stripped
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{path} is a damaged gzip file: fetch or pack it again") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _header(line: bytes) -> int | None:
    """The width that word2vec's first line names."""
    parts = line.split()
    return int(parts[1]) if len(parts) == 2 and all(part.isdigit() for part in parts) else None


def _vector(path: str | Path, number: int, line: bytes, width: int) -> tuple[bytes, list[float]]:
    """A word, which may hold spaces, and its ``width`` numbers."""
    word, *rest = line.rsplit(b" ", width) if width else [line]
    vector = [_number(part) for part in rest]
    too_many = b" " in word and _number(word.rsplit(b" ", 1)[-1]) is not None
    if len(vector) != width or not width or None in vector or too_many:
        raise DataError(
            f"{path}, line {number}: {line[:40].decode(errors='replace')!r}… is not a word and {width} numbers "
            "between single spaces, as the first line has them: repair or drop it"
        )
    numbers = [value for value in vector if value is not None]
    if not all(map(math.isfinite, numbers)):
        raise DataError(f"{path}, line {number}: the vector holds NaN or inf: repair or drop the line")
    return word, numbers


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
