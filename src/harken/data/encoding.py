"""Rows of any kind → numbers. What has to be fitted for that is fitted on training rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Self, get_args

import numpy as np
import torch
from torch import Tensor

from harken.config import InputKind, ReadingConfig, TokenKind
from harken.data.encoded import Encoded
from harken.data.features import Tokenizer
from harken.data.inputs import Inputs
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.data.sequences import check_steps, cut_rows
from harken.errors import ConfigError, DataError

PADDING, UNKNOWN = 0, 1  # of ids; those that training rows hold follow
LONGEST_WORD = 64  # characters of a word that are read: its first and its last ones

_BLOCK = 8192  # texts that are encoded at once: their ids are made narrow before the next ones come


@dataclass(frozen=True, eq=False)
class Encoder:
    """Inputs → `Encoded`; made by `fit` or `from_facts`.

    Attributes:
        kind: of the inputs that it reads.
        tokenizers: text, sentences, words: ``input``; words whose characters are read: ``characters`` too.
        width: D, the channels of series and vectors, the frequencies of spectrograms, the pixels of a picture's side;
            else 0.
        channels: names of the channels, where they are known.
        ids: the different numbers that training rows held, rising; the first of them has id 2.
        means: of each channel over the training rows, (D,): what stands for a value that is missing.
        rate: of recordings, samples a second; else 0.
        hop: of recordings, samples from one step that the model reads to the next; else 1.
    """

    kind: InputKind
    tokenizers: Mapping[str, Tokenizer] = field(default_factory=dict)
    width: int = 0
    channels: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    means: tuple[float, ...] = ()
    rate: int = 0
    hop: int = 1

    @classmethod
    def fit(cls, inputs: Inputs, features: ReadingConfig) -> Self:
        """Learn vocabulary or means.

        Args:
            inputs: training rows only.
            features: settled.

        Raises:
            ConfigError: a vocabulary too small for anything.
            DataError: a channel without a single value.
        """
        match inputs.kind:
            case "series" | "vectors" | "spectrogram":
                mean, _ = channel_statistics(_ragged(inputs), "channel", inputs.channels)
                return cls(inputs.kind, {}, len(mean), inputs.channels, means=tuple(mean.tolist()))
            case "image":
                return cls(inputs.kind, {}, _ragged(inputs).values.shape[1])
            case "audio":
                if inputs.rate is None:
                    raise DataError("there is no recording that can be read: give some")
                return cls(inputs.kind, rate=inputs.rate, hop=max(1, round(features.hop * inputs.rate)))
            case "ids":
                return cls(inputs.kind, ids=_known_ids(_ragged(inputs), features))
            case "words":
                different = list(dict.fromkeys(_flat(inputs)))
                texts = [" ".join(map(_as_token, row)) for row in _lists(inputs)]
                tokenizers = {"input": _fitted(texts, "word", features)}
                if features.characters:
                    spelled = map(_shortened, different)
                    tokenizers["characters"] = Tokenizer.fit(list(spelled), "character", 1, markers=False)
                return cls(inputs.kind, tokenizers)
            case "text" | "sentences":
                return cls(inputs.kind, {"input": _fitted(_flat(inputs), features.tokens, features)})

    @property
    def vocabulary_size(self) -> int:
        """How many ids there are, padding and unknown included; 0 for series and vectors."""
        if self.kind == "ids":
            return len(self.ids) + 2
        return self.tokenizers["input"].vocabulary_size if "input" in self.tokenizers else 0

    @property
    def unknown_id(self) -> int | None:
        """The id of what training rows never held; None where nothing can be unknown."""
        if self.kind == "ids":
            return UNKNOWN
        return self.tokenizers["input"].unk_id if "input" in self.tokenizers else None

    def encode(self, inputs: Inputs) -> Encoded:
        """Rows of the encoder's own kind as numbers; series and vectors stand for each other.

        Raises:
            DataError: rows of another kind, of other channels, or too long; half of a surrogate pair in a text.
        """
        if inputs.kind != self.kind and not {inputs.kind, self.kind} <= {"series", "vectors"}:
            raise DataError(
                f"the rows are {inputs.kind}, and the model reads {self.kind}: give it what it was trained on"
            )
        match self.kind:
            case "series" | "vectors" | "spectrogram":
                return Encoded(self.kind, self._filled(_ragged(inputs)))
            case "image":
                rows = _ragged(inputs)
                if rows.values.shape[1] != self.width:
                    raise DataError(
                        f"the pictures are of {rows.values.shape[1]} pixels a side, and the model reads {self.width}: "
                        f"say --image-size {self.width}"
                    )
                return Encoded(self.kind, rows)
            case "audio":
                if inputs.rate not in (self.rate, None):
                    raise DataError(
                        f"the recordings have {inputs.rate} samples a second, and the model reads {self.rate}: "
                        f"say --sample-rate {self.rate}"
                    )
                return Encoded(self.kind, _ragged(inputs), stride=self.hop)
            case "ids":
                return Encoded(self.kind, self._numbered(_ragged(inputs)))
            case "text":
                values = _encoded(self.tokenizers["input"], _flat(inputs), inputs.truncate)
                check_steps(values.lengths, inputs.max_steps)
                return Encoded(self.kind, values)
            case "sentences":
                assert inputs.lengths is not None
                pieces = _encoded(self.tokenizers["input"], _flat(inputs))
                index = Ragged(_narrow(torch.arange(len(pieces)), len(pieces)), offsets_from_lengths(inputs.lengths))
                return Encoded(self.kind, None, index, pieces)
            case "words":
                return self._spelled(inputs)

    def facts(self) -> dict[str, Any]:
        """What is learned beside the tokenizers, as plain JSON."""
        return {
            "kind": self.kind,
            "width": self.width,
            "channels": list(self.channels),
            "ids": list(self.ids),
            "means": list(self.means),
        } | ({"rate": self.rate, "hop": self.hop} if self.kind == "audio" else {})

    @classmethod
    def from_facts(cls, tokenizers: Mapping[str, Tokenizer], facts: Mapping[str, Any]) -> Self:
        """What `facts` and the tokenizers describe.

        Raises:
            ValueError, KeyError, TypeError, OverflowError: they do not describe an encoder.
        """
        kind, width, means = facts["kind"], facts["width"], tuple(map(float, facts["means"]))
        wants_tokenizer = kind in ("text", "sentences", "words")
        measured = 0 if kind == "image" else width
        if kind not in get_args(InputKind) or wants_tokenizer != ("input" in tokenizers) or len(means) != measured:
            raise ValueError(f"kind {kind!r}, width {width!r}, tokenizers {sorted(tokenizers)}")
        ids, channels = tuple(map(int, facts["ids"])), tuple(map(str, facts["channels"]))
        rising = np.array(ids, dtype=np.int64)  # OverflowError: no id is larger
        if not np.isfinite(means).all() or (np.diff(rising) <= 0).any() or len(channels) not in (0, width):
            raise ValueError(f"width {width!r}, channels {channels[:5]}, means {means[:5]}, ids {ids[:5]}")
        rate, hop = int(facts.get("rate", 0)), int(facts.get("hop", 1))
        if hop < 1 or (rate > 0) != (kind == "audio") or (kind == "image" and width < 1):
            raise ValueError(f"rate {rate}, hop {hop}, width {width}")
        return cls(kind, dict(tokenizers), width, channels, ids, means, rate, hop)

    def _filled(self, series: Ragged) -> Ragged:
        if len(series.values) == 0:  # empty rows alone have any number of channels
            return Ragged(torch.zeros(0, self.width), series.offsets)
        if series.values.shape[1] != self.width:
            raise DataError(
                f"the rows have {series.values.shape[1]} channels, and the training rows had {self.width}: "
                "give the same ones in the same order"
            )
        absent = series.values.isnan()
        if not absent.any():
            return series
        return Ragged(torch.where(absent, torch.tensor(self.means), series.values), series.offsets)

    def _numbered(self, rows: Ragged) -> Ragged:
        known = torch.tensor(self.ids, dtype=torch.int64)
        if len(known) == 0:
            return Ragged(torch.full_like(rows.values, UNKNOWN), rows.offsets)
        place = torch.searchsorted(known, rows.values).clamp_(max=len(known) - 1)  # (N,)
        ids = torch.where(known[place] == rows.values, place + UNKNOWN + 1, UNKNOWN)
        return Ragged(_narrow(ids, self.vocabulary_size), rows.offsets)

    def _spelled(self, inputs: Inputs) -> Encoded:
        """Words as ids, and the characters of each different one, of unknown words too."""
        assert inputs.lengths is not None
        offsets = offsets_from_lengths(inputs.lengths)
        numbers: dict[str, int] = {}
        flat = torch.from_numpy(
            np.fromiter(
                (numbers.setdefault(word, len(numbers)) for word in _flat(inputs)),
                dtype=np.int64,
                count=int(offsets[-1]),
            )
        )
        ids = _encoded(self.tokenizers["input"], list(map(_as_token, numbers))).values  # one for each
        values = Ragged(ids[flat], offsets)
        if "characters" not in self.tokenizers:
            return Encoded(self.kind, values)
        pieces = _encoded(self.tokenizers["characters"], list(map(_shortened, numbers)))
        return Encoded(self.kind, values, Ragged(_narrow(flat, len(numbers)), offsets), pieces)


def channel_statistics(rows: Ragged, how: str, channels: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a series' channels over all steps of all rows, each (D,) float32.

    Missing values count nowhere. A channel that never changes has the scale 1.

    Args:
        rows: of training, values (N, D).
        how: channel: each one's own; all: of all channels together; none: 0 and 1.
        channels: their names, for messages; none: they are counted from 0.

    Raises:
        DataError: a channel without a single value.
    """
    values = rows.values[int(rows.offsets[0]) : int(rows.offsets[-1])]
    width = values.shape[1]
    if how == "none":
        return torch.zeros(width), torch.ones(width)
    counts, sums, squares = (torch.zeros(width, dtype=torch.float64) for _ in range(3))
    blocks = torch.split(values, 1 << 20)  # so that no copy in float64 is as large as the data
    for block in blocks:
        counts += (~block.isnan()).sum(0)
        sums += block.double().nansum(0)
    if (counts == 0).any():
        channel = int((counts == 0).nonzero()[0])
        name = repr(channels[channel]) if channels else channel
        raise DataError(f"channel {name} has no value in any training row: leave it out")
    if how == "all":
        counts, sums = counts.sum().expand(width), sums.sum().expand(width)
    means = sums / counts
    for block in blocks:
        squares += (block.double() - means).square().nansum(0)
    scales = ((squares.sum().expand(width) if how == "all" else squares) / counts).sqrt()
    constant = scales <= means.abs() * torch.finfo(torch.float32).eps  # what rounding alone would give
    return means.float(), scales.masked_fill(constant, 1).float()


# Texts and ids


def _ragged(inputs: Inputs) -> Ragged:
    assert isinstance(inputs.rows, Ragged)
    return inputs.rows


def _lists(inputs: Inputs) -> list[list[str]]:
    """Texts as one list; sentences and words as they are."""
    rows: Any = inputs.rows
    return [rows] if inputs.kind == "text" else rows


def _flat(inputs: Inputs) -> list[str]:
    """All texts of all rows."""
    return list(chain.from_iterable(_lists(inputs)))


def _fitted(texts: list[str], tokens: TokenKind, features: ReadingConfig) -> Tokenizer:
    return Tokenizer.fit(
        texts,
        tokens,
        features.vocabulary_size,
        markers=False,
        lowercase=features.lowercase,
        min_count=features.min_count,
    )


def _encoded(tokenizer: Tokenizer, texts: list[str], truncate: int | None = None) -> Ragged:
    """Every text's ids, narrow; a block of texts at a time, because they are wide at first."""
    values, lengths = [torch.zeros(0, dtype=torch.int16)], [torch.zeros(0, dtype=torch.int64)]
    for start in range(0, len(texts), _BLOCK):
        part = cut_rows(tokenizer.encode(texts[start : start + _BLOCK]), truncate)
        values.append(_narrow(part.values, tokenizer.vocabulary_size))
        lengths.append(part.lengths)
    return Ragged(torch.cat(values), offsets_from_lengths(torch.cat(lengths)))


def _narrow(values: Tensor, size: int) -> Tensor:
    """Integers below ``size`` in the smallest type that a batch can be gathered from."""
    kind = next(kind for kind in (torch.int16, torch.int32, torch.int64) if size <= torch.iinfo(kind).max)
    return values.to(kind)


def _as_token(word: str) -> str:
    """A word in a spelling that no tokenizer cuts: white space in it shows as ␣."""
    return re.sub(r"\s", "␣", word) or "␣"


def _shortened(word: str) -> str:
    half = LONGEST_WORD // 2
    return word if len(word) <= LONGEST_WORD else word[:half] + word[-half:]


def _known_ids(rows: Ragged, features: ReadingConfig) -> tuple[int, ...]:
    """The numbers that get an id of their own: the most frequent ones, rising."""
    if features.vocabulary_size <= 2:
        raise ConfigError(
            f"vocabulary_size ({features.vocabulary_size}) must be more than 2: padding and unknown take that many"
        )
    values = rows.values[int(rows.offsets[0]) : int(rows.offsets[-1])].numpy()
    known, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")[: features.vocabulary_size - 2]
    return tuple(np.sort(known[order[counts[order] >= features.min_count]]).tolist())
