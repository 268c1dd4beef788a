"""What a newcomer's first run uses, by the kind of its input: a plain table.

An option that is None in a run is looked up here, under the kind of input that the data turned out to be; what the
user sets wins. Every recipe answers for the same options, so a settled run has no None among them; an option that
makes no sense for a kind has the value that does nothing. What regression needs otherwise stands below.
"""

from __future__ import annotations

from typing import Any, Literal

InputKind = Literal["text", "ids", "series", "vectors", "sentences", "words"]

_TOKENS: dict[str, Any] = {
    # features
    "tokens": "wordpunct",
    "lowercase": True,
    "vocabulary_size": 20_000,
    "min_count": 1,
    "characters": False,
    "standardize": "none",
    # model
    "embedding_size": 200,
    "hidden_size": 100,
    "num_layers": 1,
    "bidirectional": True,
    "dropout": 0.5,
    "embedding_dropout": 0.0,
    "word_dropout": 0.0,
    "rare_word_dropout": 1.0,
    "convolution": 0,
    "kernel_size": 5,
    "pooling": "attention",
    "mlp_size": 0,
    # training
    "epochs": 8,
    "batch_size": 32,
    "min_steps": 0,
    "learning_rate": 2e-3,
    "weight_decay": 0.0,
}

_NUMBERS = _TOKENS | {
    "standardize": "channel",
    "hidden_size": 64,
    "dropout": 0.3,
    "rare_word_dropout": 0.0,
    "epochs": 20,
    "min_steps": 1000,
    "learning_rate": 3e-3,
    "weight_decay": 1.0,
}

RECIPES: dict[InputKind, dict[str, Any]] = {
    "text": _TOKENS,
    "ids": _TOKENS,
    "sentences": _TOKENS,
    "words": _TOKENS | {"characters": True, "embedding_size": 100, "hidden_size": 200, "dropout": 0.4, "epochs": 5},
    "series": _NUMBERS | {"convolution": 64},
    "vectors": _NUMBERS,
}
"""Kind of input → option → its value."""

_EXACT: dict[str, Any] = {"dropout": 0.0, "weight_decay": 0.0}
VALUES: dict[InputKind, dict[str, Any]] = {"series": _EXACT, "vectors": _EXACT}
"""What differs where values are learned of numbers: dropout and decay blur what could be exact."""
