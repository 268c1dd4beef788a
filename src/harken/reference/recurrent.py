"""Long short-term memory: one step, then all steps of rows of unequal length.

Hochreiter & Schmidhuber (1997), "Long Short-Term Memory", with the forget gate of Gers, Schmidhuber & Cummins
(2000), "Learning to Forget". Differs from the papers: no peepholes; the gradient flows through all gates and
all steps, neither truncated nor approximated. Gates are in PyTorch's order: i, f, g, o.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harken.reference.dense import Layer
from harken.reference.functions import Array, IntArray, sigmoid


class LSTMStep(NamedTuple):
    """What a step computed on its way, each (B, H): all that its backward pass needs."""

    i: Array
    f: Array
    g: Array
    o: Array
    c_prev: Array
    tanh_c: Array


def lstm_step(z: Array, c_prev: Array) -> tuple[Array, Array, LSTMStep]:
    """One step of an LSTM, from the sums that enter the gates.

    z = x W_ihᵀ + b_ih + h_prev W_hhᵀ + b_hh           what enters, for all four gates
    i = σ(z_i)   f = σ(z_f)   g = tanh(z_g)   o = σ(z_o)
    c = f ⊙ c_prev + i ⊙ g                             keep some of the old, write some of the new
    h = o ⊙ tanh(c)                                    show some of it

    Args:
        z: (B, 4H).
        c_prev: (B, H).

    Returns:
        h (B, H), c (B, H), and what `lstm_step_backward` needs.
    """
    H = c_prev.shape[1]
    i = sigmoid(z[:, :H])  # (B, H), as the rest
    f = sigmoid(z[:, H : 2 * H])
    g = np.tanh(z[:, 2 * H : 3 * H])
    o = sigmoid(z[:, 3 * H :])
    c = f * c_prev
    c += i * g
    tanh_c = np.tanh(c)
    return o * tanh_c, c, LSTMStep(i, f, g, o, c_prev, tanh_c)


def lstm_step_backward(dh: Array, dc: Array, step: LSTMStep, dz: Array) -> Array:
    """The chain rule through `lstm_step`, from the last line to the first.

    c reaches the loss both through the next step (``dc`` as given) and through this step's h:

    do   = dh ⊙ tanh(c)
    dc  += dh ⊙ o ⊙ (1 - tanh²(c))
    df   = dc ⊙ c_prev      di = dc ⊙ g      dg = dc ⊙ i      dc_prev = dc ⊙ f
    dz_i = di ⊙ i(1 - i)    dz_f = df ⊙ f(1 - f)    dz_g = dg ⊙ (1 - g²)    dz_o = do ⊙ o(1 - o)

    Args:
        dh: (B, H), from this step's output and from the next step together.
        dc: (B, H), from the next step.
        step: as `lstm_step` returned it.
        dz: (B, 4H), where the gradient of ``z`` is written.

    Returns:
        dc_prev (B, H).
    """
    i, f, g, o, c_prev, tanh_c = step
    H = dh.shape[1]
    dc = dc + dh * o * (1 - tanh_c**2)
    dz[:, :H] = dc * g * i * (1 - i)
    dz[:, H : 2 * H] = dc * c_prev * f * (1 - f)
    dz[:, 2 * H : 3 * H] = dc * i * (1 - g**2)
    dz[:, 3 * H :] = dh * tanh_c * o * (1 - o)
    return dc * f


class TimeLSTM(Layer):
    """An LSTM over right-padded rows, each up to its own length.

    Padding is never computed on, and so cannot matter. All real steps of the batch are packed into one
    matrix, step by step, longest row first, so that rows that have ended are the last ones and drop out:

        row of length 3   a0 a1 a2          step 0      step 1    step 2
        row of length 2   b0 b1      →      a0 b0 c0    a1 b1     a2          (N, ...), N = 3 + 2 + 1
        row of length 1   c0

    What enters the gates from x is then one product over all N steps, and so are dx and the weights'
    gradients.

    Args:
        weight_ih: (4H, D), gates in the order i, f, g, o, as in ``torch.nn.LSTM``.
        weight_hh: (4H, H).
        bias_ih: (4H,).
        bias_hh: (4H,), redundant beside ``bias_ih``; PyTorch has both.
    """

    def __init__(self, weight_ih: Array, weight_hh: Array, bias_ih: Array, bias_hh: Array) -> None:
        super().__init__(weight_ih=weight_ih, weight_hh=weight_hh, bias_ih=bias_ih, bias_hh=bias_hh)

    def forward(self, x: Array, lengths: IntArray, h0: Array, c0: Array) -> tuple[Array, Array, Array]:
        """Run every row from its initial state to its own end.

        Args:
            x: (B, T, D); what it holds on padding does not matter.
            lengths: (B,), 0 ≤ length ≤ T.
            h0: (B, H).
            c0: (B, H).

        Returns:
            outputs (B, T, H), 0 on padding; h_n and c_n (B, H), the state after each row's own last step:
            of an empty row, its initial state.

        Raises:
            ValueError: ``lengths`` do not fit ``x``.
        """
        B, T, _ = x.shape
        H = h0.shape[1]
        self._pack(lengths, B, T)
        weight_hh = self.params["weight_hh"]
        self._x, self._T = x[self._row, self._time], T  # (N, D)
        z = self._x @ self.params["weight_ih"].T  # (N, 4H)
        z += self.params["bias_ih"] + self.params["bias_hh"]
        h, c = h0[self._order], c0[self._order]  # (B, H), longest row first
        self._h_prev, packed = np.empty((2, len(z), H), dtype=z.dtype)  # (N, H) each
        self._steps: list[LSTMStep] = []
        for now, n in self._slices:
            self._h_prev[now] = h[:n]
            z[now] += h[:n] @ weight_hh.T
            h[:n], c[:n], step = lstm_step(z[now], c[:n].copy())  # a copy: the step keeps it
            packed[now] = h[:n]
            self._steps.append(step)
        outputs = np.zeros((B, T, H), dtype=z.dtype)
        outputs[self._row, self._time] = packed  # (B, T, H)
        return outputs, h[self._place], c[self._place]

    def backward(self, doutputs: Array, dh_n: Array, dc_n: Array) -> tuple[Array, Array, Array]:
        """Back through time (Werbos 1990): dh flows from step t to step t - 1 by dz W_hh.

        Args:
            doutputs: (B, T, H); what it holds on padding is ignored, as outputs are constant there.
            dh_n: (B, H).
            dc_n: (B, H).

        Returns:
            dx (B, T, D), 0 on padding; dh0 and dc0 (B, H).
        """
        weight_ih, weight_hh = self.params["weight_ih"], self.params["weight_hh"]
        packed = doutputs[self._row, self._time]  # (N, H)
        dz = np.empty((len(packed), len(weight_hh)), dtype=packed.dtype)  # (N, 4H)
        dh, dc = dh_n[self._order], dc_n[self._order]  # (B, H), longest row first
        for (now, n), step in zip(reversed(self._slices), reversed(self._steps), strict=True):
            dc[:n] = lstm_step_backward(dh[:n] + packed[now], dc[:n], step, dz[now])
            dh[:n] = dz[now] @ weight_hh
        dbias = dz.sum(axis=0)
        self.grads = {
            "weight_ih": dz.T @ self._x,
            "weight_hh": dz.T @ self._h_prev,
            "bias_ih": dbias,
            "bias_hh": dbias.copy(),  # clipping scales every gradient in place, and each must be scaled once
        }
        dx = np.zeros((len(dh), self._T, weight_ih.shape[1]), dtype=dz.dtype)
        dx[self._row, self._time] = dz @ weight_ih  # (B, T, D)
        return dx, dh[self._place], dc[self._place]

    def _pack(self, lengths: IntArray, B: int, T: int) -> None:
        """Packed step k is row ``_row[k]`` at time ``_time[k]``; ``_slices``: the packed steps of a time."""
        lengths = np.asarray(lengths)
        if lengths.shape != (B,) or (lengths < 0).any() or (lengths > T).any():
            raise ValueError(f"lengths {lengths.tolist()} must be {B} numbers between 0 and {T}, as x has {T} steps")
        self._order = np.argsort(-lengths, kind="stable")  # longest row first
        self._place = np.argsort(self._order)  # and back again
        self._time, place = np.nonzero(np.arange(T)[:, None] < lengths[self._order])  # (N,) each, step by step
        self._row = self._order[place]
        ends = np.searchsorted(self._time, np.arange(T), side="right").tolist()
        starts = [0, *ends[:-1]]
        self._slices = [(slice(a, b), b - a) for a, b in zip(starts, ends, strict=False) if b > a]
