"""Attention sequence to sequence: the layers of this package, joined.

    source ids → embedding → LSTM ──────────────── hs, (h_n, c_n)
                                                    │       │
    target ids → embedding → LSTM, from (h_n, c_n) ─┼─ h ───┤
                                                    └─ attention(hs, h) → context
                                                                           │
                                          logits ← affine ← context ⊕ h ←──┘

Sutskever, Vinyals & Le (2014) for the encoder's final state as the decoder's first; Luong et al. (2015),
section 3.1, for attention between the decoder and the output layer. Differs from Luong's equation 5: the
output layer sees the context and h directly, with no tanh layer between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harken.reference.attention import TimeAttention
from harken.reference.dense import Layer, TimeAffine, TimeEmbedding
from harken.reference.functions import Array, BoolArray, IntArray, mask_from_lengths
from harken.reference.loss import TimeSoftmaxWithLoss
from harken.reference.recurrent import TimeLSTM


class AttentionSeq2Seq:
    """Encoder, decoder, dot attention between the decoder and the output layer.

    Initial values: embeddings from N(0, 1), weights from N(0, 1/fan_in), biases 0. The embeddings' size decides how
    soon the LSTMs see their input: with the textbook's N(0, 0.01²) dates need at least one more epoch.

    Attributes:
        params: every parameter by ``layer.name``: the arrays themselves, so assign into them.
        grads: after `backward`, the gradients under the same names.
    """

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        embedding_size: int,
        hidden_size: int,
        rng: np.random.Generator,
        dtype: Any = np.float32,
    ) -> None:
        V, W, D, H = source_vocabulary, target_vocabulary, embedding_size, hidden_size

        def vectors(vocabulary: int) -> Array:
            return rng.standard_normal((vocabulary, D)).astype(dtype)

        def weight(outputs: int, inputs: int) -> Array:
            values: Array = (rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)).astype(dtype)
            return values

        def lstm() -> TimeLSTM:
            return TimeLSTM(weight(4 * H, D), weight(4 * H, H), np.zeros(4 * H, dtype), np.zeros(4 * H, dtype))

        self.source_embedding = TimeEmbedding(vectors(V))
        self.encoder = lstm()
        self.target_embedding = TimeEmbedding(vectors(W))
        self.decoder = lstm()
        self.attention = TimeAttention()
        self.output = TimeAffine(weight(W, 2 * H), np.zeros(W, dtype))
        self.softmax = TimeSoftmaxWithLoss()
        self.hidden_size = H
        self.layers: dict[str, Layer] = {
            "source_embedding": self.source_embedding,
            "encoder": self.encoder,
            "target_embedding": self.target_embedding,
            "decoder": self.decoder,
            "output": self.output,
        }
        self.params = {f"{layer}.{name}": p for layer, of in self.layers.items() for name, p in of.params.items()}
        self.grads: dict[str, Array] = {}

    def forward(
        self, source: IntArray, source_lengths: IntArray, target_in: IntArray, target_lengths: IntArray
    ) -> tuple[Array, Array]:
        """Predict every target token from the ones before it (teacher forcing).

        Args:
            source: (B, S) ids.
            source_lengths: (B,).
            target_in: (B, T) ids: the begin token, then the target.
            target_lengths: (B,), the begin token counted.

        Returns:
            logits (B, T, V), weights (B, T, S): what comes after each token of ``target_in``, and where the
            decoder looked for it. Both are 0 on padding.
        """
        self._target_mask = mask_from_lengths(target_lengths, target_in.shape[1])  # (B, T)
        hs, h_n, c_n, source_mask = self.encode(source, source_lengths)
        embedded = self.target_embedding.forward(target_in)  # (B, T, D)
        h, _, _ = self.decoder.forward(embedded, target_lengths, h_n, c_n)  # (B, T, H)
        context, weights = self.attention.forward(hs, h, source_mask)  # (B, T, H), (B, T, S)
        logits = self.output.forward(np.concatenate([context, h], axis=-1))  # (B, T, 2H) → (B, T, V)
        return logits * self._target_mask[..., None], weights * self._target_mask[..., None]

    def loss(
        self,
        source: IntArray,
        source_lengths: IntArray,
        target_in: IntArray,
        target_out: IntArray,
        target_lengths: IntArray,
    ) -> float:
        """Mean cross-entropy per real target token; ``target_out`` (B, T): the target, then the end token."""
        logits, _ = self.forward(source, source_lengths, target_in, target_lengths)
        return self.softmax.forward(logits, target_out, self._target_mask)

    def backward(self) -> None:
        """Fill `grads` with the gradient of the last `loss`."""
        self.backward_from(self.softmax.backward())

    def backward_from(self, dlogits: Array) -> None:
        """Fill `grads` from the gradient of any loss with respect to the logits, (B, T, V)."""
        H = self.hidden_size
        dseen = self.output.backward(dlogits * self._target_mask[..., None])  # (B, T, 2H)
        dcontext, dh = dseen[..., :H], dseen[..., H:]  # (B, T, H) each
        dhs, dh_as_query = self.attention.backward(dcontext)  # (B, S, H), (B, T, H)
        nothing = np.zeros_like(dh[:, 0])  # (B, H): no loss looks at the decoder's final state
        dembedded, dh_n, dc_n = self.decoder.backward(dh + dh_as_query, nothing, nothing)
        self.target_embedding.backward(dembedded)
        dembedded, _, _ = self.encoder.backward(dhs, dh_n, dc_n)
        self.source_embedding.backward(dembedded)
        self.grads = {f"{layer}.{name}": g for layer, of in self.layers.items() for name, g in of.grads.items()}

    def encode(self, source: IntArray, source_lengths: IntArray) -> tuple[Array, Array, Array, BoolArray]:
        """Source (B, S) → outputs (B, S, H), final h and c (B, H), mask (B, S)."""
        embedded = self.source_embedding.forward(source)  # (B, S, D)
        zero = np.zeros((len(source), self.hidden_size), dtype=embedded.dtype)
        hs, h_n, c_n = self.encoder.forward(embedded, source_lengths, zero, zero)
        return hs, h_n, c_n, mask_from_lengths(source_lengths, source.shape[1])

    def generate(
        self, source: IntArray, source_lengths: IntArray, *, bos_id: int, eos_id: int, max_length: int
    ) -> IntArray:
        """Greedy decoding: feed the best token back in, ``max_length`` times.

        Returns:
            tokens (B, max_length): a row's answer, then the end token from its end on.
        """
        hs, h, c, mask = self.encode(source, source_lengths)
        one = np.ones(len(source), dtype=np.int64)
        tokens = np.full((len(source), max_length + 1), bos_id, dtype=np.int64)  # the begin token, then the answer
        for t in range(max_length):
            embedded = self.target_embedding.forward(tokens[:, t : t + 1])  # (B, 1, D)
            top, h, c = self.decoder.forward(embedded, one, h, c)  # (B, 1, H)
            context, _ = self.attention.forward(hs, top, mask)
            logits = self.output.forward(np.concatenate([context, top], axis=-1))[:, 0]  # (B, V)
            ended = (tokens[:, 1 : t + 1] == eos_id).any(axis=1)
            tokens[:, t + 1] = np.where(ended, eos_id, logits.argmax(axis=-1))
        return tokens[:, 1:]
