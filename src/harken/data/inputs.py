"""What a model reads, one row each: texts, ids, series, vectors, sentences or words."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harken.config import ExamplesConfig, InputKind
from harken.data.decoding import take_rows
from harken.data.media import is_media, kind_of_files, media_of
from harken.data.ragged import Ragged
from harken.data.sentences import split_sentences
from harken.data.sequences import check_steps, cut_rows, ragged_from_array, ragged_from_arrow, ragged_from_rows
from harken.data.series import fill_missing
from harken.errors import DataError, UsageError

Rows = list[str] | list[list[str]] | Ragged

_TEXTS: tuple[InputKind, ...] = ("text", "sentences", "words")
_SAMPLE = 2000  # rows that a guess is made from


@dataclass(frozen=True, eq=False)
class Inputs:
    """Rows of one kind.

        kind               rows
        text               list[str]
        ids                Ragged, values (N,) int64
        series, vectors    Ragged, values (N, D) float32; NaN where the channel's training mean is to stand
        sentences, words   list[list[str]]: a document's sentences, a sentence's words
        image, audio,      Ragged, see `harken.data.media`
        spectrogram

    Attributes:
        kind: see above.
        rows: see above.
        channels: names of a series' channels, where they are known.
        truncate: how many steps of a row are read, from its start; texts, whose steps are not known yet, are cut when
            they are encoded, the others are cut already.
        max_steps: the longest row that is accepted; again, for texts.
        rate: of recordings, samples a second.
    """

    kind: InputKind
    rows: Rows
    channels: tuple[str, ...] = ()
    truncate: int | None = None
    max_steps: int | None = None
    rate: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> Tensor | None:
        """Steps of every row, (n,) int64 — numbers, vectors, sentences or words; None for text."""
        if isinstance(self.rows, Ragged):
            return self.rows.lengths
        return None if self.kind == "text" else torch.tensor(list(map(len, self.rows)), dtype=torch.int64)

    def take(self, indices: Tensor | Iterable[int]) -> Inputs:
        """The rows ``indices``, in that order."""
        chosen = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        rows: Any
        if isinstance(self.rows, Ragged):
            rows = take_rows(self.rows, chosen) if is_media(self.kind) else self.rows.take(chosen)
        else:
            rows = [self.rows[i] for i in chosen.tolist()]
        return replace(self, rows=rows)

    def keys(self) -> list[str]:
        """A text for every row, equal for equal rows and for no others: what `split_by_hash` deals rows by."""
        if self.kind == "text":
            return list(self.rows)  # type: ignore[arg-type]
        return [hashlib.blake2b(content, digest_size=16).hexdigest() for content in self._contents()]

    def fingerprint(self) -> bytes:
        """The same for the same rows in the same order, and for no others."""
        rate = "" if self.rate is None else f" {self.rate}"
        digest = hashlib.blake2b(f"{self.kind} {self.truncate} {len(self)}{rate}".encode(), digest_size=16)
        for content in self._contents():
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.digest()

    def _contents(self) -> Iterable[bytes]:
        """Every row as bytes that no other row has."""
        if isinstance(self.rows, Ragged):
            values, offsets = self.rows.values.contiguous().numpy(), self.rows.offsets.tolist()
            return (values[start:end].tobytes() for start, end in pairwise(offsets))
        parts: Iterable[Sequence[str]] = ([row] if isinstance(row, str) else row for row in self.rows)
        encoded = ([part.encode("utf-8", "surrogatepass") for part in row] for row in parts)
        return (b"".join(len(part).to_bytes(8, "little") + part for part in row) for row in encoded)


def as_inputs(X: Any, config: ExamplesConfig, task: str, channels: Sequence[str] = ()) -> Inputs:
    """Make rows of one kind of what a user has.

        X                                                               kind, unless ``config.input`` says otherwise
        a list, array or column of texts                                text; words, cut at white space, for tag
        a list or column of lists of texts                              words; for classify and regress sentences, where
                                                                        half of the texts or more hold a space
        a list or column of lists of whole numbers, or of bytes         ids
        a list or column of lists of numbers, or of arrays (T,), (T, D) series
        an array (n, T) or (n, T, D), a data frame of numbers           series
        a list of `pathlib.Path`                                        image, audio or spectrogram, by their suffixes

    What is said to be image, audio or spectrogram may be texts that are paths, too, or arrays: pictures (H, W, 3) or
    Pillow's own, samples (L,), frames (T, F).

    A column may be pandas, Polars or Arrow; a data frame of one column counts as that column; `Ragged` goes as it is.

    Args:
        X: see the table; `Inputs` come back as they are.
        config: the kind, what is missing, cut or too long.
        task: classify, regress or tag.
        channels: names of a series' channels, where they are known.

    Raises:
        DataError: a row that does not fit the kind or the limits; says which.
        UsageError: something that holds no rows.
    """
    if isinstance(X, Inputs):
        return X
    kind = config.input or ("vectors" if config.vectors else None) or ("image" if config.image else None)
    given = _opened(X)
    if kind is None and isinstance(given, list) and any(isinstance(row, os.PathLike) for row in given):
        kind = kind_of_files(given) if all(isinstance(row, os.PathLike) for row in given) else None
        if kind is None:
            raise DataError(
                "X holds paths, and not all rows are paths of pictures, of recordings or of spectrograms by their "
                "suffixes: give files of one kind, or say which they are with input=image, audio or spectrogram"
            )
    if is_media(kind):
        return _media(given, kind, config, task)  # type: ignore[arg-type]  # not None
    if isinstance(given, list):
        kind = kind or _kind_of_texts(given, task)
        if kind in _TEXTS:
            return _texts(given, kind, config, task)
    return _numbers(given, kind, config, channels)


# What holds the rows


def _opened(X: Any) -> Any:
    """A list of rows, a Ragged, or an array of numbers of two or three dimensions (then the kind is series)."""
    import pyarrow as pa

    if hasattr(X, "nnz") and hasattr(X, "toarray"):
        raise UsageError(f"X is a {type(X).__name__}, and sparse input is not supported: give X.toarray()")
    if not hasattr(X, "__len__") and hasattr(X, "__array__"):
        X = np.asarray(X)
    if isinstance(X, str | bytes | Mapping) or not (hasattr(X, "__len__") or hasattr(X, "__arrow_c_stream__")):
        raise UsageError(f"X is one {type(X).__name__}, and must be a list, array or column of rows")
    if hasattr(X, "columns") or hasattr(X, "column_names"):  # a data frame or an Arrow table
        return _opened_frame(X)
    if type(X).__module__.startswith("polars"):
        X = X.to_arrow()
    if isinstance(X, pa.Array | pa.ChunkedArray):
        nested = isinstance(X.type, pa.ListType | pa.LargeListType | pa.FixedSizeListType)
        inner = X.type.value_type if nested else X.type
        textual = inner in (pa.string(), pa.large_string(), pa.string_view())
        return ragged_from_arrow(X) if nested and not textual else X.to_pylist()
    if isinstance(X, Tensor):
        X = X.detach().cpu().numpy()
    if isinstance(X, np.ndarray):
        return X if X.dtype.kind in "iufbc" else X.tolist() if X.ndim == 1 else list(X)
    return X if isinstance(X, Ragged | list) else list(X)


def _opened_frame(frame: Any) -> Any:
    names = list(frame.column_names if hasattr(frame, "column_names") else frame.columns)
    if len(names) == 1:
        return _opened(frame[names[0]])
    array = np.asarray(frame.to_pandas() if hasattr(frame, "column_names") else frame)
    if array.dtype.kind not in "iufb":
        listed = ", ".join(map(str, names[:5]))
        raise DataError(f"X has {len(names)} columns ({listed}), not all of numbers: give the one that holds the rows")
    return array


# Texts


def _kind_of_texts(rows: list[Any], task: str) -> InputKind | None:
    """The kind of rows that are texts or lists of texts, as the first one that is not empty has it; else None."""
    first = next((row for row in rows if isinstance(row, str) or (hasattr(row, "__len__") and len(row))), None)
    if isinstance(first, str):
        return "words" if task == "tag" else "text"
    if isinstance(first, Iterable) and isinstance(next(iter(first)), str):
        return kind_of_lists([rows[row] for row in sample_of(len(rows))], task)
    return None


def kind_of_lists(rows: Iterable[Any], task: str | None) -> InputKind:
    """What rows that are lists of texts are, from Python and from files alike: sentences hold spaces, words do not."""
    parts = [part for row in rows if isinstance(row, Iterable) for part in row if part and isinstance(part, str)]
    spaced = sum(" " in part for part in parts)
    return "words" if task == "tag" or 2 * spaced < len(parts) else "sentences"


def sample_of(rows: int) -> list[int]:
    """The rows that a guess is made from, evenly from the first to the last."""
    places: list[int] = np.linspace(0, rows - 1, min(rows, _SAMPLE)).astype(np.int64).tolist()
    return places


def refuse_tags(kind: InputKind | None, task: str, where: str = "") -> None:
    """Refuse to tag rows whose steps nobody has tags for.

    Raises:
        DataError: texts that are no lists of words, or rows that lie in files of their own.
    """
    if task == "tag" and (kind in _TEXTS or is_media(kind)) and kind != "words":
        way_out = "say task=classify or regress" if is_media(kind) else "say input=words"
        raise DataError(
            (where and f"{where}: ")
            + f"tagging answers every step of a row, which input={kind} has no tags for: {way_out}"
        )


def too_long(size: int, config: ExamplesConfig) -> str:
    """What is wrong with a row of ``size`` characters; nothing where only its start is wanted."""
    if config.truncate is not None or size <= config.max_characters:
        return ""
    limit = f"more than max_characters ({config.max_characters:,})"
    return f"{size:,} characters, {limit}: read only its start (--truncate 1000), or raise the option"


def _texts(rows: list[Any], kind: InputKind, config: ExamplesConfig, task: str) -> Inputs:
    refuse_tags(kind, task)
    made: list[Any]
    if kind == "text" and set(map(type, rows)) <= {str} and not too_long(max(map(len, rows), default=0), config):
        made = [text.strip() for text in rows] if config.strip else rows  # at once, as nothing can be wrong
    else:
        made = [_text_row(row, cell, kind, config) for row, cell in enumerate(rows)]
    if kind != "text":
        made = [parts[: config.truncate] for parts in made]
    inputs = Inputs(kind, made, (), config.truncate, config.max_steps)
    if inputs.lengths is not None:
        check_steps(inputs.lengths, config.max_steps)
    return inputs


def _text_row(row: int, cell: Any, kind: InputKind, config: ExamplesConfig) -> Any:
    """One row: a text, or a list of them."""
    listed = kind != "text" and not isinstance(cell, str | bytes | Mapping | None) and hasattr(cell, "__iter__")
    parts = list(cell) if listed else [cell]
    size = 0
    for part in parts:
        if not isinstance(part, str):
            wanted = "a text" if kind == "text" else f"a text or a list of {kind}"
            raise DataError(
                f"row {row} {'holds' if listed else 'is'} {type(part).__name__} ({part!r:.60}): "
                f"input={kind} needs {wanted}"
            )
        size += len(part)
    if problem := too_long(size, config):
        raise DataError(f"row {row} has {problem}")
    if config.strip:
        parts = [part.strip() for part in parts]
    if kind == "text":
        return parts[0]
    if not listed:
        parts = parts[0].split() if kind == "words" else split_sentences(parts[0])
    return parts


# Files and numbers


def _media(given: Any, kind: InputKind, config: ExamplesConfig, task: str) -> Inputs:
    refuse_tags(kind, task)
    rows, rate = (given, config.sample_rate) if isinstance(given, Ragged) else media_of(given, kind, config)
    if kind == "spectrogram":
        if len(rows.values) and rows.values.shape[1:].numel() < 2:
            raise DataError("the steps of the rows are single numbers, and input=spectrogram needs two frequencies")
        rows = cut_rows(rows, config.truncate)
        check_steps(rows.lengths, config.max_steps)
        rows = fill_missing(rows, config.missing, ())
    return Inputs(kind, rows, (), config.truncate if kind == "spectrogram" else None, None, rate)


def _numbers(given: Any, kind: InputKind | None, config: ExamplesConfig, channels: Sequence[str]) -> Inputs:
    if isinstance(given, Ragged):
        ragged = given
    elif isinstance(given, list):
        ragged = ragged_from_rows(given)
    else:
        ragged, kind = ragged_from_array(given), kind or "series"
    whole = not ragged.values.is_floating_point()
    kind = kind or ("ids" if whole and ragged.values.dim() == 1 else "series")
    if kind in _TEXTS:
        raise DataError(f"X holds numbers, and input={kind} needs texts: leave the option out, or give texts")
    if ragged.values.dim() > 2 or (kind == "ids" and not (whole and ragged.values.dim() == 1)):
        needed = "whole numbers" if kind == "ids" else "numbers, or vectors of numbers"
        shape = f"{ragged.values.dtype} values of shape {tuple(ragged.values.shape)}"
        raise DataError(f"the steps of the rows are {shape}, and input={kind} needs {needed}")
    ragged = cut_rows(ragged, config.truncate)
    check_steps(ragged.lengths, config.max_steps)
    if kind == "ids":
        return Inputs(kind, Ragged(ragged.values.long(), ragged.offsets), (), config.truncate, config.max_steps)
    values = ragged.values.float()
    values = values if values.dim() == 2 else values.unsqueeze(1)  # (N, D)
    if values.shape[1] == 0:
        raise DataError("the steps of the rows are empty: every step must have one value or more")
    if channels and len(channels) != values.shape[1]:
        raise DataError(f"there are {len(channels)} names for {values.shape[1]} channels: give one for each")
    series = fill_missing(Ragged(values, ragged.offsets), config.missing, channels)
    return Inputs(kind, series, tuple(channels), config.truncate, config.max_steps)
