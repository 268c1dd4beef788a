r"""Text ↔ ids, by Hugging Face `tokenizers`. A tokenizer is fitted on training rows only and travels with the model.

    kind        one token is                 ids after the markers               never seen before
    character   a Unicode code point         by frequency, then by code point    <unk>
    word        what white space cuts        by frequency, then by text          <unk>
    wordpunct   a run of letters, digits     by frequency, then by text          <unk>
                and _, or of other marks
    byte        a byte of UTF-8              in the order of the bytes           cannot happen
    bpe         a frequent run of bytes      bytes, then merges as learned       cannot happen

The markers come first: pad = 0, unk (not among bytes), then bos and eos when asked for. wordpunct is the regular
expression ``\w+|[^\w\s]+``, as NLTK's tokenizer of that name has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from harken.config import TokenKind
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.data.vocabulary import BOS, EOS, PAD, UNK, bytes_of, learned_tokens, markers_of, pipeline, stored_tokens
from harken.errors import BundleError, ConfigError, DataError, UsageError

__all__ = ["BOS", "EOS", "PAD", "UNK", "Tokenizer"]

_FORMAT = 2  # 1: before there was lowercase
_BLOCK = 1 << 20  # characters that are encoded at once: the library's records take some hundred bytes for each token


class Tokenizer:
    """Texts to ids and back; see the table above. Made by `fit` or `load`.

    Attributes:
        kind: what one token is.
        lowercase: capital letters are read as small ones.
        min_count: a token that the training rows held less often is none of the vocabulary.
        vocabulary_size: how many ids there are, markers included.
        pad_id: 0.
        unk_id: the id of everything never seen; None where nothing can be unknown.
        bos_id, eos_id: the ids that begin and end an answer; None without markers.
    """

    def __init__(
        self,
        kind: TokenKind,
        tokens: Sequence[str],
        merges: Sequence[tuple[str, str]],
        markers: bool,
        lowercase: bool = False,
        min_count: int = 1,
    ) -> None:
        """Put a tokenizer together from its tokens after the markers; `fit` finds them, `load` reads them."""
        special = markers_of(kind, markers)
        vocabulary = {token: i for i, token in enumerate([*special, *tokens])}
        self.kind: TokenKind = kind
        self.lowercase = lowercase
        self.min_count = min_count
        self.vocabulary_size = len(vocabulary)
        self.pad_id = vocabulary[PAD]
        self.unk_id = vocabulary.get(UNK)
        self.bos_id = vocabulary.get(BOS)
        self.eos_id = vocabulary.get(EOS)
        self._special = len(special)
        self._tokens = list(vocabulary)
        self._pipeline = pipeline(kind, vocabulary, list(merges), lowercase)

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        kind: TokenKind,
        vocabulary_size: int,
        markers: bool,
        *,
        lowercase: bool = False,
        min_count: int = 1,
    ) -> Self:
        """Learn the tokens of ``texts``; the same texts give the same ids on every machine.

        Args:
            texts: training rows only; they are gone through twice, and need not be in memory.
            kind: what one token is.
            vocabulary_size: most ids of a word, wordpunct or BPE vocabulary, markers included.
            markers: add bos and eos, for what a decoder writes.
            lowercase: read capital letters as small ones.
            min_count: leave out what occurs less often; BPE merges no pair that does.

        Raises:
            ConfigError: a vocabulary too small to hold the markers (and, for BPE, the 256 bytes) and one token more;
                a min_count for bytes, none of which is ever left out.
            DataError: half of a surrogate pair, which is no character.
            UsageError: one string, or an iterator, which can be gone through only once.
        """
        _check(texts)
        reserved = len(markers_of(kind, markers)) + (256 if kind == "bpe" else 0)
        if kind in ("word", "wordpunct", "bpe") and vocabulary_size <= reserved:
            raise ConfigError(
                f"vocabulary_size ({vocabulary_size}) must be more than {reserved} with {kind} tokens: "
                f"the markers{' and the single bytes' if kind == 'bpe' else ''} take that many"
            )
        if kind == "byte" and min_count > 1:
            raise ConfigError(f"min_count ({min_count}) must be 1 with byte tokens: every byte has its id")
        room = vocabulary_size - len(markers_of(kind, markers))
        tokens, merges = learned_tokens(kind, texts, room, lowercase, min_count)
        return cls(kind, tokens, merges, markers, lowercase, min_count)

    def encode(self, texts: Sequence[str]) -> Ragged:
        """Ids of each text, int64, without bos and eos; an empty text is an empty row.

        Raises:
            DataError: half of a surrogate pair, which is no character.
            UsageError: one string instead of a list of them.
        """
        _check(texts)
        lengths: list[int] = []
        values = []
        for block in _blocks(texts):
            rows = [encoding.ids for encoding in self._pipeline.encode_batch_fast(block)]
            lengths += map(len, rows)
            values.append(np.fromiter(chain.from_iterable(rows), dtype=np.int64))
        flat = torch.from_numpy(np.concatenate(values)) if values else torch.zeros(0, dtype=torch.int64)
        return Ragged(flat, offsets_from_lengths(torch.tensor(lengths, dtype=torch.int64)))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token of ``text`` lies in it: (start, end) in characters.

        Several bytes of one character all have that character's span.
        """
        _check([text])
        return list(self._pipeline.encode(text).offsets)

    def token(self, id: int) -> str:
        r"""What an id stands for, for people to read; bytes that are no text of their own as ``\xe4``."""
        token = self._tokens[id]
        if self.unk_id is not None or id < self._special:
            return token
        return bytes_of(token).decode("utf-8", errors="backslashreplace")

    def token_bytes(self, id: int) -> bytes:
        """The bytes that an id of byte or bpe tokens stands for; none of pad."""
        return b"" if id < self._special else bytes_of(self._tokens[id])

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text of ``ids`` (T,) up to the first eos; pad and bos are left out, an unknown token is U+FFFD.

        Words are joined by one space; bytes that are not UTF-8 become U+FFFD.
        """
        ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if self.eos_id is not None and self.eos_id in ids:
            ids = ids[: ids.index(self.eos_id)]
        tokens = [self._tokens[i] for i in ids if i != self.pad_id and i != self.bos_id]
        if self.kind in ("byte", "bpe"):
            return b"".join(map(bytes_of, tokens)).decode("utf-8", errors="replace")
        separator = "" if self.kind == "character" else " "
        return separator.join("\N{REPLACEMENT CHARACTER}" if token == UNK else token for token in tokens)

    def unknown(self, text: str) -> list[str]:
        """The pieces of ``text`` that were never seen in training, each once, in order."""
        if self.unk_id is None:
            return []
        _check([text])
        encoding = self._pipeline.encode(text)
        pieces = (text[a:b] for id, (a, b) in zip(encoding.ids, encoding.offsets, strict=True) if id == self.unk_id)
        return list(dict.fromkeys(pieces))

    def to_json(self) -> bytes:
        """The content of one JSON file; its entry ``tokenizer`` is Hugging Face's own format."""
        content = {
            "format": _FORMAT,
            "kind": self.kind,
            "markers": self.bos_id is not None,
            "lowercase": self.lowercase,
            "min_count": self.min_count,
            "tokenizer": json.loads(self._pipeline.to_str()),
        }
        return json.dumps(content, ensure_ascii=False, indent=1).encode()

    def save(self, path: Path) -> None:
        """Write what `to_json` gives."""
        Path(path).write_bytes(self.to_json())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            BundleError: no such file, not such a file, or one from a newer harken.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror or error}") from None
        return cls.from_json(content, str(path))

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Self:
        """Read the content of a file that `save` wrote: only tokens and merges are taken, the rest is rebuilt.

        Args:
            name: of the file, for the message.

        Raises:
            BundleError: not such a file, or one from a newer harken.
        """
        try:
            stored = json.loads(content.decode("utf-8"))
            if stored["format"] > _FORMAT:
                raise BundleError(
                    f"{name} has tokenizer format {stored['format']}, newer than {_FORMAT}: upgrade harken"
                )
            tokens, merges = stored_tokens(stored)
            options = stored.get("lowercase", False), stored.get("min_count", 1)
            return cls(stored["kind"], tokens, merges, stored["markers"], *options)
        except BundleError:
            raise
        except Exception as error:  # the library raises bare Exception for a model that makes no sense
            raise BundleError(
                f"{name} is not a tokenizer that harken saved ({type(error).__name__}: {error})"
            ) from None


def _check(texts: Iterable[str]) -> None:
    if isinstance(texts, str):
        raise UsageError(f"texts is the string {texts[:40]!r}, and must be a list of strings")
    if isinstance(texts, Iterator):
        raise UsageError(f"texts is a {type(texts).__name__}, and must be a list of strings")
    try:
        for block in _blocks(texts):  # not all at once, which would copy every text twice
            "".join(block).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"a text holds half of a surrogate pair ({error.object[error.start]!r}): repair or drop it"
        ) from None
    except TypeError as error:
        raise UsageError(f"texts must be a list of strings: {error}") from None


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    block, size = [], 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= _BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block
