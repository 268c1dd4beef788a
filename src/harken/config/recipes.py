"""What a newcomer's first run uses, by the kind of its input, and which options make no difference: plain tables.

An option that is None in a run is looked up here, under the kind of input that the data turned out to be; what the
user sets wins. Every recipe answers for the same options, so a settled run has no None among them; an option that
makes no sense for a kind is there and does nothing. What regression needs otherwise stands below.
"""

from __future__ import annotations

from typing import Any, Literal

InputKind = Literal["text", "ids", "series", "vectors", "sentences", "words", "image", "audio", "spectrogram"]

_TOKENS: dict[str, Any] = {
    # features
    "tokens": "wordpunct",
    "lowercase": False,
    "vocabulary_size": 20_000,
    "min_count": 1,
    "characters": False,
    "standardize": "none",
    # model
    "embedding_size": 200,
    "hidden_size": 96,  # the native engine computes 16 units at a time: 100 would cost as much as 112
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

_PICTURES = _NUMBERS | {
    "standardize": "none",
    "dropout": 0.2,
    "min_steps": 1500,
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
}
_SOUND = _NUMBERS | {"min_steps": 1500, "learning_rate": 1e-3, "weight_decay": 0.05}

RECIPES: dict[InputKind, dict[str, Any]] = {
    "text": _TOKENS,
    "ids": _TOKENS,
    "sentences": _TOKENS | {"dropout": 0.3},  # it acts on two levels
    "words": _TOKENS
    | {"lowercase": True, "characters": True, "embedding_size": 100, "hidden_size": 200, "dropout": 0.4, "epochs": 5},
    "series": _NUMBERS | {"convolution": 64},
    "vectors": _NUMBERS,
    "image": _PICTURES,
    "audio": _SOUND,
    "spectrogram": _SOUND,
}
"""Kind of input → option → its value."""

_EXACT: dict[str, Any] = {"dropout": 0.0, "weight_decay": 0.0}
VALUES: dict[InputKind, dict[str, Any]] = {"series": _EXACT, "vectors": _EXACT}
"""What differs where values are learned of numbers: dropout and decay blur what could be exact."""

_TEXTS: tuple[InputKind, ...] = ("text", "sentences", "words")
_LOOKED_UP: tuple[InputKind, ...] = ("text", "ids", "sentences", "words")
_MEASURED: tuple[InputKind, ...] = ("series", "vectors")
_FILES: tuple[InputKind, ...] = ("image", "audio", "spectrogram")
_SOUNDS: tuple[InputKind, ...] = ("audio", "spectrogram")
_STEPS: tuple[InputKind, ...] = (*_TEXTS, "ids", *_MEASURED, "spectrogram")

KINDS: dict[str, tuple[InputKind, ...]] = {
    "missing": (*_MEASURED, "spectrogram"),
    "strip": _TEXTS,
    "max_characters": _TEXTS,
    "truncate": _STEPS,
    "max_steps": _STEPS,
    "root": _FILES,
    "image_size": ("image",),
    "max_pixels": ("image",),
    "sample_rate": ("audio",),
    "max_seconds": ("audio",),
    "mels": ("audio",),
    "window": ("audio",),
    "hop": ("audio",),
    "cnn": _FILES,
    "cnn_layers": _FILES,
    "cells": ("image",),
    "skip": ("image",),
    "flip": ("image",),
    "shift": ("image",),
    "jitter": ("image",),
    "spec_augment": _SOUNDS,
    "tokens": ("text", "sentences"),
    "lowercase": _TEXTS,
    "vocabulary_size": _LOOKED_UP,
    "min_count": _LOOKED_UP,
    "characters": ("words",),
    "word_vectors": _TEXTS,
    "standardize": (*_MEASURED, *_SOUNDS),
    "embedding_size": _LOOKED_UP,
    "embedding_dropout": _LOOKED_UP,
    "word_dropout": _LOOKED_UP,
    "rare_word_dropout": _LOOKED_UP,
    "character_size": ("words",),
    "character_hidden": ("words",),
    "local": _MEASURED,
    "local_size": _MEASURED,
}
"""Option → the kinds of input that it does something for; an option that is not here does for all."""

USED_BY: dict[str, tuple[str, ...]] = {
    "pooling": ("classify", "regress"),
    "num_heads": ("classify", "regress"),
    "binary": ("classify",),
    "label_smoothing": ("classify", "tag"),
    "class_weight": ("classify", "tag"),
}
"""Option → the tasks that it does something for."""

WITHOUT: dict[str, tuple[str, tuple[Any, ...]]] = {
    "vocabulary_size": ("tokens", ("character", "byte")),
    "character_size": ("characters", (False,)),
    "character_hidden": ("characters", (False,)),
    "kernel_size": ("convolution", (0,)),
    "cell": ("num_layers", (0,)),
    "hidden_size": ("num_layers", (0,)),
    "bidirectional": ("num_layers", (0,)),
    "skip": ("num_layers", (0,)),
    "local_size": ("local", (0,)),
    "num_heads": ("pooling", ("last", "sum", "mean", "max", "query", "gated", "gated-query")),
}
"""Option → another one, and its values under which the first does nothing."""
