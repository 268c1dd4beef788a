"""Attention as data: which piece of the answer looked at which piece of the input, and how much.

The weights that a model returns are padded and, with ``reverse_source``, in the order in which it read. An
`Attention` is neither: it belongs to one text, and its columns are the tokens of that text from left to right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from harken.config import DataConfig, DecodingConfig
from harken.data.features import Tokenizer
from harken.data.texts import check_texts
from harken.errors import ShapeError, UsageError
from harken.predictor.seq2seq import Predictor

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_SIZE = 64  # small: weights of long texts are large


@dataclass(frozen=True, eq=False)
class Attention:
    """What one answer looked at.

    Args:
        source: the input text.
        target: the answer.
        source_tokens: S pieces of the input, in its order; bytes that are no text of their own as ``\\xe4``.
        target_tokens: T pieces of the answer, without the end marker.
        spans: for each piece of the input, the characters (start, end) of ``source`` that it covers.
        weights: (T, S), or (heads, T, S) with several heads; the weights of one token sum to 1.

    Raises:
        ShapeError: weights that do not fit the tokens.
    """

    source: str
    target: str
    source_tokens: list[str]
    target_tokens: list[str]
    spans: list[tuple[int, int]]
    weights: Tensor

    across: ClassVar[str] = "input"  # what pictures and tables call the source, …
    down: ClassVar[str] = "answer"  # the target, …
    part: ClassVar[str] = "head"  # and each of several heads

    def __post_init__(self) -> None:
        expected = (len(self.target_tokens), len(self.source_tokens))
        if self.weights.dim() not in (2, 3) or self.weights.shape[-2:] != expected:
            raise ShapeError(
                f"weights {tuple(self.weights.shape)} must be (T, S) or (heads, T, S) with (T, S) = {expected}"
            )
        if len(self.spans) != len(self.source_tokens):
            raise ShapeError(f"spans ({len(self.spans)}) must be as many as source_tokens ({expected[1]})")

    @property
    def texts(self) -> tuple[str, ...]:
        """What the weights lie between."""
        return self.source, self.target

    @property
    def heads(self) -> list[tuple[int | None, Tensor]]:
        """(number, weights (T, S)) of each head; the number is None where there is but one."""
        return [(None, self.weights)] if self.weights.dim() == 2 else list(enumerate(self.weights))

    def rows(self, row: int) -> list[dict[str, Any]]:
        """One dictionary for each weight, under the number ``row``: what JSON and Parquet files hold."""
        return [
            {
                "row": row,
                "target_index": t,
                "target": target,
                "source_index": s,
                "source": source,
                "span": list(self.spans[s]),
                "head": head,
                "weight": weight,
            }
            for head, weights in self.heads
            for t, (target, line) in enumerate(zip(self.target_tokens, weights.tolist(), strict=True))
            for s, (source, weight) in enumerate(zip(self.source_tokens, line, strict=True))
        ]


def table(attentions: Sequence[Attention], rows: Sequence[int] | None = None) -> pa.Table:
    """All weights of several answers in the columns that `Attention.rows` names.

    Args:
        rows: the number of each answer; default 0, 1, …
    """
    import pyarrow as pa

    schema = pa.schema(
        {
            "row": pa.int64(),
            "target_index": pa.int32(),
            "target": pa.string(),
            "source_index": pa.int32(),
            "source": pa.string(),
            "span": pa.list_(pa.int32(), 2),
            "head": pa.int32(),
            "weight": pa.float32(),
        }
    )
    numbers = range(len(attentions)) if rows is None else rows
    pieces = [_piece(attention, row, schema) for row, attention in zip(numbers, attentions, strict=True)]
    return pa.concat_tables(pieces) if pieces else schema.empty_table()


def _piece(attention: Attention, row: int, schema: pa.Schema) -> pa.Table:
    """`Attention.rows` without a Python object per weight: a page of text has a million of them."""
    import pyarrow as pa

    heads = attention.weights.shape[0] if attention.weights.dim() == 3 else 1
    head, target, source = (
        index.flatten().numpy()
        for index in torch.meshgrid(
            torch.arange(heads),
            torch.arange(len(attention.target_tokens)),
            torch.arange(len(attention.source_tokens)),
            indexing="ij",
        )
    )
    spans = pa.array(attention.spans, schema.field("span").type)
    columns = {
        "row": pa.repeat(row, len(head)),
        "target_index": target,
        "target": pa.array(attention.target_tokens, pa.string()).take(pa.array(target)),
        "source_index": source,
        "source": pa.array(attention.source_tokens, pa.string()).take(pa.array(source)),
        "span": spans.take(pa.array(source)),
        "head": head if attention.weights.dim() == 3 else pa.nulls(len(head), pa.int32()),
        "weight": attention.weights.float().flatten().numpy(),
    }
    return pa.table(columns).cast(schema)


def attention_of(
    predictor: Predictor,
    sources: Sequence[str],
    *,
    reading: DataConfig | None = None,
    decoding: DecodingConfig | None = None,
    seed: int = 0,
) -> list[Attention]:
    """Answer every text and keep where the model looked.

    Args:
        sources: texts as the user has them: spans count their characters, those that `strip` ignores too.
        reading: whether texts are stripped and how long they may be; default: as in training.
        decoding: how to read answers off the model; default: as it was trained.
        seed: of sampling.

    Raises:
        UsageError: a model without attention.
        DataError: something that is no list of texts.
    """
    config = predictor.config
    if predictor.model.attention is None:
        raise UsageError(
            f"a model of kind={config.model.kind} does not attend, so it has nothing to show: train with kind=attention"
        )
    reading = reading or config.data
    originals = check_texts("sources", sources, reading.model_copy(update={"strip": False}))
    texts = check_texts("sources", originals, reading)
    found: dict[int, Attention] = {}
    for batch in predictor.batches(texts, batch_size=BATCH_SIZE):
        decoded = predictor.decode(batch, decoding or config.decoding, seed, with_weights=True)
        assert decoded.weights is not None  # this model attends
        for place, (row, ids) in enumerate(zip(batch.rows.tolist(), decoded.ids(), strict=True)):
            looked = decoded.weights[place, ..., : len(ids), : int(batch.source_lengths[place])]  # (…, T, S)
            if config.features.reverse_source:
                looked = looked.flip(-1)
            # A copy, for a view would keep the whole batch.
            found[row] = _aligned(predictor, originals[row], texts[row], ids, looked.clone())
    return [found[row] for row in range(len(texts))]


def _aligned(predictor: Predictor, original: str, text: str, ids: list[int], weights: Tensor) -> Attention:
    target, reads = predictor.target_tokenizer, predictor.source_tokenizer
    spans = reads.spans(text)
    ignored = len(original) - len(original.lstrip()) if text != original else 0  # characters before the text
    return Attention(
        source=original,
        target=target.decode(ids),
        source_tokens=token_texts(reads, text, spans),
        target_tokens=["\N{REPLACEMENT CHARACTER}" if id == target.unk_id else target.token(id) for id in ids],
        spans=[(start + ignored, end + ignored) for start, end in spans],
        weights=weights,
    )


def token_texts(tokenizer: Tokenizer, text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """Tokens as they stand in the text, known or not; bytes by their token, since several share one character."""
    if tokenizer.kind in ("character", "word", "wordpunct"):
        return [text[start:end] for start, end in spans]
    return [tokenizer.token(id) for id in tokenizer.encode([text])[0].tolist()]
