"""Text ↔ ids, by Hugging Face `tokenizers`. A tokenizer is fitted on training rows only and travels with the model.

    kind        one token is             ids after the markers               never seen before
    character   a Unicode code point     by frequency, then by code point    <unk>
    word        what white space cuts    by frequency, then by text          <unk>
    byte        a byte of UTF-8          in the order of the bytes           cannot happen
    bpe         a frequent run of bytes  bytes, then merges as learned       cannot happen

The markers come first: pad = 0, unk (character and word only), then bos and eos when asked for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import tokenizers
import torch
from tokenizers import models, pre_tokenizers, trainers
from torch import Tensor

from harken.config import TokenKind
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.errors import BundleError, ConfigError, DataError, UsageError

# The space inside keeps users' texts from spelling a marker: it cannot occur in one character, in a word, or in the
# alphabet that stands for bytes. For the same reason they are plain entries, not the library's "special tokens".
PAD, UNK, BOS, EOS = "< pad >", "< unk >", "< bos >", "< eos >"

_FORMAT = 1
_BLOCK = 1 << 20  # characters that are encoded at once: the library's records take some hundred bytes for each token


class Tokenizer:
    """Texts to ids and back; see the table above. Made by `fit` or `load`.

    Attributes:
        kind: what one token is.
        vocabulary_size: how many ids there are, markers included.
        pad_id: 0.
        unk_id: the id of everything never seen; None where nothing can be unknown.
        bos_id, eos_id: the ids that begin and end an answer; None without markers.
    """

    def __init__(
        self, kind: TokenKind, tokens: Sequence[str], merges: Sequence[tuple[str, str]], markers: bool
    ) -> None:
        """Put a tokenizer together from its tokens after the markers; `fit` finds them, `load` reads them."""
        special = _markers(kind, markers)
        vocabulary = {token: i for i, token in enumerate([*special, *tokens])}
        self.kind: TokenKind = kind
        self.vocabulary_size = len(vocabulary)
        self.pad_id = vocabulary[PAD]
        self.unk_id = vocabulary.get(UNK)
        self.bos_id = vocabulary.get(BOS)
        self.eos_id = vocabulary.get(EOS)
        self._special = len(special)
        self._tokens = list(vocabulary)
        self._pipeline = _pipeline(kind, vocabulary, list(merges))

    @classmethod
    def fit(cls, texts: Sequence[str], kind: TokenKind, vocabulary_size: int, markers: bool) -> Self:
        """Learn the tokens of ``texts``; the same texts give the same ids on every machine.

        Args:
            texts: training rows only.
            kind: what one token is.
            vocabulary_size: most ids of a word or BPE vocabulary, markers included.
            markers: add bos and eos, for what a decoder writes.

        Raises:
            ConfigError: a vocabulary too small to hold the markers (and, for BPE, the 256 bytes) and one token more.
        """
        _check(texts)
        reserved = len(_markers(kind, markers)) + (256 if kind == "bpe" else 0)
        if kind in ("word", "bpe") and vocabulary_size <= reserved:
            raise ConfigError(
                f"vocabulary_size ({vocabulary_size}) must be more than {reserved} with {kind} tokens: "
                f"the markers{' and the single bytes' if kind == 'bpe' else ''} take that many"
            )
        room = vocabulary_size - len(_markers(kind, markers))
        match kind:
            case "character":
                counts = Counter(chain.from_iterable(texts))
                return cls(kind, sorted(counts, key=lambda c: (-counts[c], c)), [], markers)
            case "word":
                counter = trainers.WordLevelTrainer(vocab_size=room, show_progress=False, special_tokens=[])
                return cls(kind, *_learned(models.WordLevel(), counter, kind, texts), markers)
            case "byte":
                return cls(kind, _byte_alphabet(), [], markers)
            case "bpe":
                trainer = trainers.BpeTrainer(
                    vocab_size=room, show_progress=False, special_tokens=[], initial_alphabet=_byte_alphabet()
                )
                return cls(kind, *_learned(models.BPE(), trainer, kind, texts), markers)

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
        if self.kind in ("character", "word") or id < self._special:
            return token
        return _bytes_of(token).decode("utf-8", errors="backslashreplace")

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text of ``ids`` (T,) up to the first eos; pad and bos are left out, an unknown token is U+FFFD.

        Words are joined by one space; bytes that are not UTF-8 become U+FFFD.
        """
        ids = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if self.eos_id is not None and self.eos_id in ids:
            ids = ids[: ids.index(self.eos_id)]
        tokens = [self._tokens[i] for i in ids if i != self.pad_id and i != self.bos_id]
        if self.kind in ("byte", "bpe"):
            return b"".join(map(_bytes_of, tokens)).decode("utf-8", errors="replace")
        separator = " " if self.kind == "word" else ""
        return separator.join("\N{REPLACEMENT CHARACTER}" if token == UNK else token for token in tokens)

    def unknown(self, text: str) -> list[str]:
        """The pieces of ``text`` that were never seen in training, each once, in order."""
        if self.unk_id is None:
            return []
        _check([text])
        encoding = self._pipeline.encode(text)
        pieces = (text[a:b] for id, (a, b) in zip(encoding.ids, encoding.offsets, strict=True) if id == self.unk_id)
        return list(dict.fromkeys(pieces))

    def save(self, path: Path) -> None:
        """Write one JSON file; its entry ``tokenizer`` is Hugging Face's own format."""
        content = {
            "format": _FORMAT,
            "kind": self.kind,
            "markers": self.bos_id is not None,
            "tokenizer": json.loads(self._pipeline.to_str()),
        }
        Path(path).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")

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
            return cls(stored["kind"], *_stored(stored), stored["markers"])
        except BundleError:
            raise
        except Exception as error:  # the library raises bare Exception for a model that makes no sense
            raise BundleError(
                f"{name} is not a tokenizer that harken saved ({type(error).__name__}: {error})"
            ) from None


def _markers(kind: TokenKind, markers: bool) -> list[str]:
    return [PAD, *([UNK] if kind in ("character", "word") else []), *([BOS, EOS] if markers else [])]


def _pipeline(kind: TokenKind, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> tokenizers.Tokenizer:
    model: models.Model
    if kind == "word":
        model = models.WordLevel(vocabulary, unk_token=UNK)
    elif kind == "character":  # BPE that never merges: the same characters as Split(Regex("(?m).")), in half the time
        model = models.BPE(vocabulary, [], unk_token=UNK, fuse_unk=False)
    else:
        model = models.BPE(vocabulary, merges)
    pipeline = tokenizers.Tokenizer(model)
    if (cut := _cutter(kind)) is not None:
        pipeline.pre_tokenizer = cut
    return pipeline


def _cutter(kind: TokenKind) -> pre_tokenizers.PreTokenizer | None:
    """What cuts a text before the model sees it; one rule for fitting and for encoding."""
    if kind == "word":
        return pre_tokenizers.WhitespaceSplit()
    if kind in ("byte", "bpe"):
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind == "bpe")
    return None


def _learned(
    model: models.Model, trainer: trainers.Trainer, kind: TokenKind, texts: Sequence[str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Tokens in the order of their ids, and merges in the order learned."""
    learner = tokenizers.Tokenizer(model)
    learner.pre_tokenizer = _cutter(kind)
    learner.train_from_iterator(texts, trainer, length=len(texts))
    fitted = json.loads(learner.to_str())["model"]
    return sorted(fitted["vocab"], key=fitted["vocab"].get), [tuple(pair) for pair in fitted.get("merges", [])]


def _stored(content: dict[str, Any]) -> tuple[list[str], list[tuple[str, str]]]:
    """Tokens after the markers, and merges, of a saved file; ValueError where they are not what `save` writes."""
    kind, model = content["kind"], content["tokenizer"]["model"]
    if kind not in get_args(TokenKind) or not isinstance(content["markers"], bool):
        raise ValueError(f"kind {kind!r}, markers {content['markers']!r}")
    special = _markers(kind, content["markers"])
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    if [model["vocab"][token] for token in tokens] != list(range(len(tokens))) or tokens[: len(special)] != special:
        raise ValueError("the ids of its vocabulary are not the markers and what follows them")
    tokens = tokens[len(special) :]
    merges = [(left, right) for left, right in model.get("merges", [])]
    alphabet = _byte_alphabet()
    fits = {
        "character": all(len(token) == 1 for token in tokens),
        "word": all(" " not in token for token in tokens),
        "byte": tokens == alphabet and not merges,
        "bpe": set(alphabet) <= set(tokens) and set("".join(tokens)) <= set(alphabet),
    }
    if not fits[kind]:
        raise ValueError(f"its vocabulary is not one of {kind} tokens")
    return tokens, merges


def _byte_alphabet() -> list[str]:
    """The printable character that stands for each byte, 0 to 255, in a byte-level vocabulary (as in GPT-2)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    stand_ins = iter(range(256, 512))
    return [chr(byte if byte in printable else next(stand_ins)) for byte in range(256)]


_BYTE = {character: byte for byte, character in enumerate(_byte_alphabet())}


def _bytes_of(token: str) -> bytes:
    return bytes(_BYTE[character] for character in token)


def _check(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise UsageError(f"texts is the string {texts[:40]!r}, and must be a list of strings")
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"a text holds half of a surrogate pair ({error.object[error.start]!r}): repair or drop it"
        ) from None
    except TypeError as error:
        raise UsageError(f"texts must be a list of strings: {error}") from None


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    block, size = [], 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= _BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block
