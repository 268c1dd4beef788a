"""The peer: Keras 3, `fit` on a masked model of the same sizes, on its JAX or its PyTorch backend, in its own venv.

`Embedding(mask_zero=True)`, `Bidirectional(LSTM)`, additive attention with the mask handed to the softmax. Rows of like
length share a batch; JAX compiles once for each shape, so batches are padded to a multiple of `--multiple` steps.
It imports nothing of harken.
"""

from __future__ import annotations

import os
import sys
import time

os.environ["KERAS_BACKEND"] = sys.argv[1] if len(sys.argv) > 1 else ""  # before Keras is imported

import keras
import numpy as np
from benchmarks.peers.text_rows import PAD, Batch, Rows, arguments, read, report
from keras import layers


class Batches(keras.utils.PyDataset):
    """What `fit` reads: new batches at each epoch."""

    def __init__(self, rows: Rows, seed: int) -> None:
        super().__init__()
        self.rows, self.draw = rows, np.random.default_rng(seed)
        self.batches: list[Batch] = rows.batches(self.draw)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        batch = self.batches[place]
        return batch.ids.astype("int32"), batch.labels[:, None].astype("float32")

    def on_epoch_end(self) -> None:
        """Keras calls it."""
        self.batches = self.rows.batches(self.draw)


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        """Keras calls it."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Keras calls it."""
        self.seconds.append(time.perf_counter() - self.start)


def build(vocabulary: int, embedding: int, hidden: int, attention: int, dropout: float) -> keras.Model:
    """The model; (B, T) ids → (B, 1) logits."""
    words = keras.Input((None,), dtype="int32")
    mask = keras.ops.expand_dims(keras.ops.not_equal(words, PAD), 2)
    x = layers.Dropout(dropout)(layers.Embedding(vocabulary, embedding, mask_zero=True)(words))
    steps = layers.Bidirectional(layers.LSTM(hidden, return_sequences=True))(x)
    scores = layers.Dense(1, use_bias=False)(layers.Dense(attention, activation="tanh")(steps))
    weights = layers.Softmax(axis=1)(scores, mask=mask)
    vector = layers.Reshape((2 * hidden,))(layers.Dot(axes=1)([weights, steps]))
    return keras.Model(words, layers.Dense(1)(layers.Dropout(dropout)(vector)))


def main() -> None:
    """Read the options, train, write the report."""
    parser = arguments(__doc__)
    parser.add_argument("backend", choices=("jax", "torch"))
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    rows = read(options)
    model = build(rows.vocabulary, options.embedding, options.hidden, options.attention, options.dropout)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(options.learning_rate), loss=loss)
    clock = Clock()
    history = model.fit(Batches(rows, options.seed), epochs=options.epochs, verbose=0, callbacks=[clock])
    losses = [float(value) for value in history.history["loss"]]
    more = {"losses": losses, "parameters": model.count_params(), "version": keras.__version__}
    report(options, rows, clock.seconds, **more)


if __name__ == "__main__":
    main()
