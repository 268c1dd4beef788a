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
from harken.layers.convolution import MaskedConv1d, masked_conv1d
from harken.layers.local import LocalLinear, local_linear
from harken.layers.masks import mask_from_lengths, reverse_rows
from harken.layers.pooling import (
    AttentionPooling,
    LastPooling,
    Pooled,
    Pooling,
    QueryPooling,
    SelfAttentionPooling,
    StepPooling,
    build_pooling,
    final_vector,
    max_steps,
    mean_steps,
    sum_steps,
)
from harken.layers.recurrent import Recurrent, RecurrentOutput
from harken.layers.regularization import drop_words, dropout, locked_dropout
from harken.layers.state import GRUState, LSTMState
from harken.layers.stepper import Stepper

__all__ = [
    "AdditiveAttention",
    "Attended",
    "AttentionLayer",
    "AttentionPooling",
    "DotAttention",
    "GRUState",
    "GeneralAttention",
    "LSTMState",
    "LastPooling",
    "LocalLinear",
    "MaskedConv1d",
    "MultiHeadAttention",
    "Pooled",
    "Pooling",
    "QueryPooling",
    "Recurrent",
    "RecurrentOutput",
    "SelfAttentionPooling",
    "StepPooling",
    "Stepper",
    "attend",
    "build_attention",
    "build_pooling",
    "drop_words",
    "dropout",
    "final_vector",
    "local_linear",
    "locked_dropout",
    "mask_from_lengths",
    "masked_conv1d",
    "masked_softmax",
    "max_steps",
    "mean_steps",
    "reverse_rows",
    "sum_steps",
]
