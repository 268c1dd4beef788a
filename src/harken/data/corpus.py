"""Running text becomes ids, one after the other: what a language model reads and is to predict.

Lines are encoded one by one, whatever lies beside them, so that a text has the same ids however it is read. With word
and wordpunct tokens, which leave out white space, every line ends with the eos marker; with the others, with the line
feed that it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harken.config import TokenKind
from harken.data.features import Tokenizer
from harken.data.running_text import RunningText
from harken.data.stored import Store
from harken.errors import DataError, UsageError

_BLOCK = 1 << 18  # characters that are encoded at once: the tokenizer's records take some hundred bytes for each token
_WORDS = ("word", "wordpunct")


@dataclass(frozen=True, eq=False)
class Corpus:
    """Running text as ids.

    Attributes:
        ids: (N,) int32; more than 64 MiB lie in a file and not in memory, as a `Store` has it.
        characters: of the text, every line's end counted as one: for bits per character.
        unknown: how many of the ids are the one for what was never seen.
        start_id: what the text begins after, see `start_id`.
    """

    ids: Tensor
    characters: int
    unknown: int
    start_id: int

    def fingerprint(self) -> str:
        """The same for the same ids only."""
        digest = hashlib.blake2b(f"{self.start_id} {len(self.ids)} ".encode(), digest_size=16)
        digest.update(self.ids.numpy().data)
        return digest.hexdigest()


def fit_tokenizer(
    text: RunningText, kind: TokenKind, vocabulary_size: int, *, lowercase: bool = False, min_count: int = 1
) -> Tokenizer:
    """The tokenizer of a text that is trained on; its vocabulary has the eos marker where lines need one.

    Args:
        text: the training part only.
        kind, vocabulary_size, lowercase, min_count: as in `Tokenizer.fit`.

    Raises:
        ConfigError: as `Tokenizer.fit`.
        DataError: no text, nothing but one token in it, or files that cannot be read.
    """
    lines = _Lines(text, kind)
    tokenizer = Tokenizer.fit(
        lines, kind, vocabulary_size, markers=kind in _WORDS, lowercase=lowercase, min_count=min_count
    )
    only: int | None = None
    for ids, _ in _encoded(lines, tokenizer):
        only = int(ids[0]) if only is None and len(ids) else only
        if (ids != only).any():
            return tokenizer
    if only is None:
        raise DataError(f"{text.name} is empty: give a text")
    raise DataError(f"there is nothing to predict: every token of {text.name} is {tokenizer.token(only)!r}")


def encode(text: RunningText, tokenizer: Tokenizer) -> Corpus:
    """A whole text as ids.

    Raises:
        DataError: no text, or files that cannot be read.
        UsageError: a tokenizer of words without markers.
    """
    begins_after = start_id(tokenizer)
    count = characters = unknown = 0
    with Store(np.int32) as store:
        for ids, size in _encoded(_Lines(text, tokenizer.kind), tokenizer):
            store.append(ids)
            count, characters = count + len(ids), characters + size
            unknown += 0 if tokenizer.unk_id is None else int((ids == tokenizer.unk_id).sum())
        if not count:
            raise DataError(f"{text.name} is empty: give a text")
        return Corpus(store.tensor(count), characters, unknown, begins_after)


def encode_prompt(text: str, tokenizer: Tokenizer) -> Tensor:
    """The beginning of a text, (T,) int64, whose last line goes on; an empty one has no ids."""
    lines = RunningText.from_texts([text]).lines()
    ids = [ids for ids, _ in _encoded(lines, tokenizer)]
    return torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *ids]))


def start_id(tokenizer: Tokenizer) -> int:
    """The id that a text begins after, as if a line had just ended.

    eos for word and wordpunct tokens; else that of the line feed; pad where the vocabulary has none.

    Raises:
        UsageError: a tokenizer of words without markers.
    """
    if tokenizer.kind in _WORDS:
        return _eos(tokenizer)
    ids = tokenizer.encode(["\n"]).values.tolist()
    return ids[0] if ids != [tokenizer.unk_id] else tokenizer.pad_id


@dataclass(frozen=True)
class _Lines:
    """The lines of a text as tokens of one kind are cut from them, as often as one asks."""

    text: RunningText
    kind: TokenKind

    def __iter__(self) -> Iterator[str]:
        return self.text.lines(close=self.kind in _WORDS)


def _encoded(lines: Iterable[str], tokenizer: Tokenizer) -> Iterator[tuple[npt.NDArray[np.int64], int]]:
    """The ids of some lines, eos included, and how many characters they have."""
    for block in _blocks(lines):
        rows = tokenizer.encode(block)
        ids = rows.values.numpy()
        if tokenizer.kind in _WORDS:
            ended = np.fromiter((line.endswith("\n") for line in block), dtype=bool, count=len(block))
            ids = np.insert(ids, rows.offsets[1:].numpy()[ended], _eos(tokenizer))
        yield ids, sum(map(len, block))


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    block: list[str] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= _BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _eos(tokenizer: Tokenizer) -> int:
    if tokenizer.eos_id is None:
        raise UsageError(f"a tokenizer of {tokenizer.kind} tokens needs markers for running text: use fit_tokenizer")
    return tokenizer.eos_id
