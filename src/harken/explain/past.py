"""Which past tokens each next token of a text was predicted from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harken.data.corpus import encode_prompt
from harken.data.features import Tokenizer
from harken.data.running_text import RunningText
from harken.errors import DataError, UsageError
from harken.explain.alignment import Attention
from harken.predictor.language_model import LanguagePredictor

MOST_TOKENS = 2000
"""Of a text: its weights are one for every two of them, and a picture of more shows nothing."""


class LookedBack(Attention):
    """What one text looked at when each token of it was predicted: source and target are the same text."""

    across: ClassVar[str] = "what was read"
    down: ClassVar[str] = "next token"
    part: ClassVar[str] = "layer"

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, once."""
        return (self.source,)


def looked_back(predictor: LanguagePredictor, texts: Sequence[str]) -> list[Attention]:
    """For each text, T next tokens downwards and the T tokens that were read before them to the right.

    The first of those is the mark of a beginning. A token was predicted when the one before it had been read: that one
    the step itself holds, and attention sees the steps before, so the weights lie below the diagonal. With
    attend_layers=all every layer is a head, the lowest first. Lines end with line feeds here, whatever ended them.

    Raises:
        UsageError: a model without attention.
        DataError: a text with more tokens than can be shown.
    """
    if predictor.config.model.attention == "none":
        raise UsageError("a model of attention=none does not attend, so it has nothing to show: train with another")
    return [_looked_back(predictor, text) for text in texts]


def _looked_back(predictor: LanguagePredictor, text: str) -> LookedBack:
    tokenizer = predictor.tokenizer
    lines = list(RunningText.from_texts([text]).lines())
    text = "".join(lines)
    ids = encode_prompt(text, tokenizer).tolist()
    if len(ids) > MOST_TOKENS:
        raise DataError(f"a text of {len(ids):,} tokens ({text[:30]!r} …) is too long to show: {MOST_TOKENS:,} at most")
    spans = _spans(tokenizer, lines)
    if tokenizer.kind in ("byte", "bpe"):
        tokens = [tokenizer.token(id) for id in ids]
    else:
        tokens = [text[start:end] for start, end in spans]
    weights = predictor.weights(ids)[:, : len(ids), : len(ids)]  # (layers, T, T)
    return LookedBack(
        source=text,
        target=text,
        source_tokens=["\n", *tokens][: len(tokens)],
        target_tokens=tokens,
        spans=[(0, 0), *spans][: len(spans)],
        weights=weights if len(weights) > 1 else weights[0],
    )


def _spans(tokenizer: Tokenizer, lines: Sequence[str]) -> list[tuple[int, int]]:
    """Where each token lies in the text that the lines make up, (start, end) in characters: cut as they were encoded.

    An end marker is the line feed.
    """
    found, start = [], 0
    for line in lines:
        found += [(start + first, start + last) for first, last in tokenizer.spans(line)]
        start += len(line)
        if tokenizer.eos_id is not None and line.endswith("\n"):
            found.append((start - 1, start))
    return found
