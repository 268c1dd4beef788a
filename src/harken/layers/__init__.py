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
from harken.layers.convolution import MaskedConv1d, MaskedConv2d, masked_conv1d, masked_conv2d
from harken.layers.gating import GatedAttention
from harken.layers.local import LocalLinear, local_linear
from harken.layers.masks import mask_from_lengths, reverse_rows
from harken.layers.past import Memory, PastAttention, PastOutput, past_mask
from harken.layers.past_stepper import PastStepper
from harken.layers.pooling import (
    AttentionPooling,
    GatedPooling,
    GatedQueryPooling,
    LastPooling,
    Pooled,
    Pooling,
    QueryPooling,
    SelfAttentionPooling,
    SelfAttentionQueryPooling,
    StepPooling,
    build_pooling,
    final_vector,
    max_steps,
    mean_steps,
    sum_steps,
)
from harken.layers.recurrent import Recurrent, RecurrentOutput
from harken.layers.regularization import (
    WeightDrop,
    drop_words,
    dropout,
    embedding_dropout,
    locked_dropout,
    spec_augment,
)
from harken.layers.residual import ResidualNetwork
from harken.layers.spectrogram import LogMelSpectrogram, Spectrogram, count_frames, mel_filters
from harken.layers.state import GRUState, LSTMState
from harken.layers.stepper import Stepper

__all__ = [
    "AdditiveAttention",
    "Attended",
    "AttentionLayer",
    "AttentionPooling",
    "DotAttention",
    "GRUState",
    "GatedAttention",
    "GatedPooling",
    "GatedQueryPooling",
    "GeneralAttention",
    "LSTMState",
    "LastPooling",
    "LocalLinear",
    "LogMelSpectrogram",
    "MaskedConv1d",
    "MaskedConv2d",
    "Memory",
    "MultiHeadAttention",
    "PastAttention",
    "PastOutput",
    "PastStepper",
    "Pooled",
    "Pooling",
    "QueryPooling",
    "Recurrent",
    "RecurrentOutput",
    "ResidualNetwork",
    "SelfAttentionPooling",
    "SelfAttentionQueryPooling",
    "Spectrogram",
    "StepPooling",
    "Stepper",
    "WeightDrop",
    "attend",
    "build_attention",
    "build_pooling",
    "count_frames",
    "drop_words",
    "dropout",
    "embedding_dropout",
    "final_vector",
    "local_linear",
    "locked_dropout",
    "mask_from_lengths",
    "masked_conv1d",
    "masked_conv2d",
    "masked_softmax",
    "max_steps",
    "mean_steps",
    "mel_filters",
    "past_mask",
    "reverse_rows",
    "spec_augment",
    "sum_steps",
]
