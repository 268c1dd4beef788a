"""Tensors → tensors: batch-first, right-padded, with lengths or masks (True = real) beside them."""

from __future__ import annotations

from harken.layers.attention import (
    AdditiveAttention,
    Attended,
    AttentionLayer,
    DotAttention,
    GeneralAttention,
    MultiHeadAttention,
    attend,
    build_attention,
    masked_softmax,
)
from harken.layers.masks import mask_from_lengths, reverse_rows
from harken.layers.recurrent import Recurrent, RecurrentOutput
from harken.layers.state import GRUState, LSTMState
from harken.layers.stepper import Stepper

__all__ = [
    "AdditiveAttention",
    "Attended",
    "AttentionLayer",
    "DotAttention",
    "GRUState",
    "GeneralAttention",
    "LSTMState",
    "MultiHeadAttention",
    "Recurrent",
    "RecurrentOutput",
    "Stepper",
    "attend",
    "build_attention",
    "mask_from_lengths",
    "masked_softmax",
    "reverse_rows",
]
