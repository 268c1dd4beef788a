"""Keras 3 on its PyTorch backend, with masking as its guide has it: `Embedding(mask_zero=True)`, and layers that read
the mask. Ids are 0 on padding, as the guide wants them: what stands there is overwritten before Keras sees it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch
from benchmarks.peers.padding_cases import UNITS, WORDS, Checked, ids, report_all
from benchmarks.peers.padding_recipes import real
from keras import layers
from torch import Tensor

Pool = Callable[[object, object], object]  # ids, embedded → vector


def last(words: object, steps: object) -> object:
    """The final states, side by side."""
    return layers.Bidirectional(layers.LSTM(UNITS))(steps)


def every_step(steps: object) -> object:
    """Outputs of all steps."""
    return layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True))(steps)


def mean(words: object, steps: object) -> object:
    """GlobalAveragePooling1D reads the mask."""
    return layers.GlobalAveragePooling1D()(every_step(steps))


def maximum(words: object, steps: object) -> object:
    """GlobalMaxPooling1D does not."""
    return layers.GlobalMaxPooling1D()(every_step(steps))


def tutorial_attention(words: object, steps: object) -> object:
    """Attention pooling as tutorials have it: a Dense(1), a softmax over time, a dot product. The mask is not asked."""
    steps = every_step(steps)
    scores = layers.Reshape((-1,))(layers.Dense(1, activation="tanh")(steps))
    return layers.Dot(axes=1)([layers.Activation("softmax")(scores), steps])


def masked_attention(words: object, steps: object) -> object:
    """The same, with the mask handed to the softmax."""
    steps = every_step(steps)
    mask = keras.ops.expand_dims(keras.ops.not_equal(words, 0), 2)
    weights = layers.Softmax(axis=1)(layers.Dense(1, activation="tanh")(steps), mask=mask)
    return layers.Flatten()(layers.Dot(axes=1)([weights, steps]))


def self_attention(words: object, steps: object) -> object:
    """keras.layers.Attention of the outputs over themselves, then the mean; both read the mask."""
    steps = every_step(steps)
    return layers.GlobalAveragePooling1D()(layers.Attention()([steps, steps]))


def multi_head(words: object, steps: object) -> object:
    """keras.layers.MultiHeadAttention, then the mean; both read the mask."""
    steps = every_step(steps)
    return layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, UNITS)(steps, steps))


POOLS: dict[str, Pool] = {
    "Bidirectional(LSTM), final state": last,
    "LSTM, GlobalAveragePooling1D": mean,
    "LSTM, GlobalMaxPooling1D": maximum,
    "LSTM, Dense(1) + Activation(softmax) + Dot": tutorial_attention,
    "LSTM, Dense(1) + Softmax(mask) + Dot": masked_attention,
    "LSTM, Attention, GlobalAveragePooling1D": self_attention,
    "LSTM, MultiHeadAttention, GlobalAveragePooling1D": multi_head,
}


def models() -> Iterator[Checked]:
    """One functional model for each pooling."""
    keras.utils.set_random_seed(0)
    for name, pool in POOLS.items():
        words = keras.Input((None,), dtype="int64")
        vector = pool(words, layers.Embedding(WORDS, 5, mask_zero=True)(words))
        model = keras.Model(words, vector)
        parameters = {weight.path: weight.value for weight in model.trainable_weights}

        def answer(x: Tensor, lengths: Tensor, model: keras.Model = model) -> Tensor:
            return model(x * real(x, lengths), training=False)

        yield Checked(name, answer, ids(), parameters, torch.float32)  # its float64 has float32 parts


if __name__ == "__main__":
    report_all(keras.__version__, models)
