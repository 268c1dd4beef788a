"""The same mathematics in plain NumPy: what the rest of harken must compute, forward and backward.

Read in this order, it is a network that attends, from the ground up:

    functions.py     sigmoid, masked softmax, lengths → mask
    dense.py         a layer is parameters + forward + backward; embedding, affine
    recurrent.py     one LSTM step, then an LSTM over rows of unequal length
    attention.py     weights, weighted sum, attention, attention over time
    past.py          attention of every step over the steps before it, with a memory between windows
    convolution.py   every step, or every step and frequency, mixed with its neighbours
    spectrogram.py   sound → log-mel frames
    local.py         every place of a vector has a window and weights of its own
    pooling.py       all steps of a row → one vector: sum, mean, maximum, attention with a learnt question; gates
    loss.py          softmax and cross-entropy over the real targets
    seq2seq.py       the layers joined: encoder, decoder, attention, output
    optimization.py  Adam, gradient clipping

Every backward pass is derived by hand, and the tests hold it against finite differences and against
PyTorch's autograd in float64. Weights are laid out as in PyTorch, so they can be copied either way. Nothing
here imports anything but NumPy, and only tests and ``examples/numpy_dates.py`` import it.

A layer remembers its last forward pass until the next, for `backward` to use. That is the textbook's form,
for training in one thread; it is the one place in harken where a layer remembers its input.
"""

from harken.reference.attention import (
    Attention,
    AttentionWeight,
    TimeAttention,
    TimeAttentionLoop,
    WeightSum,
)
from harken.reference.convolution import TimeConvolution, TimeFrequencyConvolution
from harken.reference.dense import Layer, TimeAffine, TimeEmbedding
from harken.reference.functions import (
    mask_from_lengths,
    masked_softmax,
    masked_softmax_backward,
    sigmoid,
)
from harken.reference.local import LocalLinear
from harken.reference.loss import TimeSoftmaxWithLoss
from harken.reference.optimization import Adam, clip_gradients
from harken.reference.past import PastAttention
from harken.reference.pooling import AttentionPooling, GatedAttention, MaxPooling, MeanPooling, SumPooling
from harken.reference.recurrent import LSTMStep, TimeLSTM, lstm_step, lstm_step_backward
from harken.reference.seq2seq import AttentionSeq2Seq
from harken.reference.spectrogram import LogMel

__all__ = [
    "Adam",
    "Attention",
    "AttentionPooling",
    "AttentionSeq2Seq",
    "AttentionWeight",
    "GatedAttention",
    "LSTMStep",
    "Layer",
    "LocalLinear",
    "LogMel",
    "MaxPooling",
    "MeanPooling",
    "PastAttention",
    "SumPooling",
    "TimeAffine",
    "TimeAttention",
    "TimeAttentionLoop",
    "TimeConvolution",
    "TimeEmbedding",
    "TimeFrequencyConvolution",
    "TimeLSTM",
    "TimeSoftmaxWithLoss",
    "WeightSum",
    "clip_gradients",
    "lstm_step",
    "lstm_step_backward",
    "mask_from_lengths",
    "masked_softmax",
    "masked_softmax_backward",
    "sigmoid",
]
