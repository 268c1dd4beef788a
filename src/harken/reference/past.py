"""Attention over the past: every step of a text looks back at the steps before it, also those of an earlier window.

Daniluk, Rocktäschel, Welbl & Riedel (2017), "Frustratingly Short Attention Spans in Neural Language Modeling",
section 2.1: the outputs of a recurrent layer are queries, keys and values. Differs from the paper: besides its additive
score there are those of Luong et al. (2015), equation 8; and a window's first steps see the end of the window before.
"""

from __future__ import annotations

import math

import numpy as np

from harken.reference.dense import Layer
from harken.reference.functions import Array, IntArray, masked_softmax, masked_softmax_backward

PARAMETERS = {
    "dot": set[str](),
    "scaled-dot": set[str](),
    "general": {"weight"},
    "additive": {"query_weight", "key_weight", "bias", "energy"},
}
"""What each score has to learn."""


class PastAttention(Layer):
    """A loop over rows and steps, for reading; the memory's real steps and the window's are one text, h_1 … h_N.

    Step t looks at the M before it, and at itself if ``include_current``; in neither case at what follows:

        a_ts = softmax_s(e_ts)   c_t = Σ_s a_ts h_s        over t - M ≤ s < t, or s ≤ t; 0 where there is none

    with the score e_ts of (h_t, h_s)

        dot           ⟨h_t, h_s⟩
        scaled-dot    ⟨h_t, h_s⟩ / √H
        general       ⟨W h_t, h_s⟩
        additive      ⟨v, tanh(W_q h_t + W_k h_s + b)⟩

    Args:
        memory_length: M, at least 1.
        score: its name.
        include_current: whether a step sees itself.
        params: of "general" ``weight`` W (H, H); of "additive" ``query_weight`` W_q and ``key_weight`` W_k (A, H),
            ``bias`` b and ``energy`` v (A,); else none.

    Raises:
        ValueError: an unknown score, or other parameters than it has.
    """

    def __init__(
        self, memory_length: int, *, score: str = "dot", include_current: bool = False, **params: Array
    ) -> None:
        if score not in PARAMETERS or params.keys() != PARAMETERS[score]:
            raise ValueError(f"score ({score}) and parameters {sorted(params)} must be one of {PARAMETERS}")
        super().__init__(**params)
        self.memory_length = memory_length
        self.score = score
        self.include_current = include_current

    def forward(
        self, states: Array, lengths: IntArray, memory: Array, memory_lengths: IntArray
    ) -> tuple[Array, Array, Array, IntArray]:
        """Look back from every real step.

        Args:
            states: (B, T, H); what they hold on padding does not matter.
            lengths: (B,), 0 ≤ length ≤ T.
            memory: (B, M, H), the last ``memory_lengths`` places of a row are real, the newest last.
            memory_lengths: (B,), 0 ≤ length ≤ M.

        Returns:
            contexts (B, T, H), weights (B, T, M + T) over [memory; window], and the memory after the window with its
            lengths, where the places that are not real are 0.
        """
        (B, T, H), M = states.shape, self.memory_length
        contexts, weights = np.zeros_like(states), np.zeros((B, T, M + T), dtype=states.dtype)
        self._shape = states.shape
        self._texts = [  # (N, H) each, nothing in them but real steps
            np.concatenate([memory[b, M - before :], states[b, :length]])
            for b, (before, length) in enumerate(zip(memory_lengths, lengths, strict=True))
        ]
        self._before = [int(before) for before in memory_lengths]
        self._steps: list[tuple[int, int, slice, Array]] = []  # row, time in the window, what it saw, how much of each
        for b, (text, before) in enumerate(zip(self._texts, self._before, strict=True)):
            for t in range(len(text) - before):
                now = before + t
                seen = slice(max(0, now - M), now + 1 if self.include_current else now)
                a = masked_softmax(self._scores(text[now], text[seen]))  # (n,)
                contexts[b, t] = a @ text[seen]
                weights[b, t, self._places(b, seen)] = a
                self._steps.append((b, t, seen, a))
        after, after_lengths = np.zeros((B, M, H), dtype=states.dtype), np.zeros(B, dtype=np.int64)
        for b, text in enumerate(self._texts):
            kept = min(M, len(text))
            after[b, M - kept :], after_lengths[b] = text[len(text) - kept :], kept
        return contexts, weights, after, after_lengths

    def backward(
        self, dcontexts: Array, dweights: Array | None = None, dafter: Array | None = None
    ) -> tuple[Array, Array]:
        """A step is a query once, and a key and a value of all that look at it: its gradient is a sum of all these.

        Args:
            dcontexts: (B, T, H); what it holds on padding is ignored, as contexts are constant there.
            dweights: (B, T, M + T), if the loss depends on them.
            dafter: (B, M, H), of the memory after the window, from the windows that follow.

        Returns:
            dstates (B, T, H) and dmemory (B, M, H), 0 on all that is not real.
        """
        (B, T, H), M = self._shape, self.memory_length
        self.grads = {name: np.zeros_like(value) for name, value in self.params.items()}
        dtexts = [np.zeros_like(text) for text in self._texts]
        for b, t, seen, a in self._steps:
            text, dtext, now = self._texts[b], dtexts[b], self._before[b] + t
            da = text[seen] @ dcontexts[b, t]  # (n,)
            if dweights is not None:
                da += dweights[b, t, self._places(b, seen)]
            dq, dkeys = self._scores_backward(text[now], text[seen], masked_softmax_backward(a, da))
            dtext[now] += dq
            dtext[seen] += dkeys + np.outer(a, dcontexts[b, t])  # (n, H)
        dstates, dmemory = np.zeros((B, T, H), dtype=dcontexts.dtype), np.zeros((B, M, H), dtype=dcontexts.dtype)
        for b, (dtext, before) in enumerate(zip(dtexts, self._before, strict=True)):
            if dafter is not None:
                kept = min(M, len(dtext))
                dtext[len(dtext) - kept :] += dafter[b, M - kept :]
            dmemory[b, M - before :], dstates[b, : len(dtext) - before] = dtext[:before], dtext[before:]
        return dstates, dmemory

    def _places(self, b: int, seen: slice) -> slice:
        """Where the steps of a row's text stand in [memory; window], whose first places may be empty."""
        empty = self.memory_length - self._before[b]
        return slice(empty + seen.start, empty + seen.stop)

    def _scores(self, q: Array, keys: Array) -> Array:
        """q (H,), keys (n, H) → (n,)."""
        scores: Array
        if self.score == "additive":
            scores = self._energies(q, keys) @ self.params["energy"]
        elif self.score == "general":
            scores = keys @ (self.params["weight"] @ q)
        else:
            scores = keys @ q * self._scale(q)
        return scores

    def _scores_backward(self, q: Array, keys: Array, de: Array) -> tuple[Array, Array]:
        """→ dq (H,), dkeys (n, H), and what this step adds to the parameters' gradients.

        dot: dq = Σ_s de_s h_s, dh_s = de_s q. general: the same with W q for q; then dq ← Wᵀ dq and dW = dq qᵀ.
        additive: the tanh's input gets dz_s = de_s v ⊙ (1 - tanh²), of which q's part is the sum over s.
        """
        if self.score == "additive":
            energies = self._energies(q, keys)  # (n, A)
            dz = np.outer(de, self.params["energy"]) * (1 - energies**2)  # (n, A)
            dsum = dz.sum(axis=0)  # (A,)
            self.grads["energy"] += de @ energies
            self.grads["bias"] += dsum
            self.grads["query_weight"] += np.outer(dsum, q)
            self.grads["key_weight"] += dz.T @ keys
            return dsum @ self.params["query_weight"], dz @ self.params["key_weight"]
        if self.score == "general":
            weight, dasked = self.params["weight"], de @ keys
            self.grads["weight"] += np.outer(dasked, q)
            return dasked @ weight, np.outer(de, weight @ q)
        return de @ keys * self._scale(q), np.outer(de, q) * self._scale(q)

    def _energies(self, q: Array, keys: Array) -> Array:
        """Tanh of the sum that the additive score weighs, (n, A)."""
        energies: Array = np.tanh(
            keys @ self.params["key_weight"].T + self.params["query_weight"] @ q + self.params["bias"]
        )
        return energies

    def _scale(self, q: Array) -> float:
        return 1 / math.sqrt(len(q)) if self.score == "scaled-dot" else 1.0
