"""One time step of one layer, bound to its buffers: what streaming runs.

A step of a small layer takes a microsecond or two, which is less than a single PyTorch call. So everything that can
be is done beforehand: the weights are packed, the buffers' addresses are looked up, and what remains is a call without
arguments. Where the native engine is not to be used (not built, float64, ``HARKEN_ENGINE``) NumPy does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from harken.engine.backends import native_kernel
from harken.engine.checks import check
from harken.engine.directions import Cell, Weights, with_biases
from harken.engine.native import CELLS

Floats: TypeAlias = npt.NDArray[np.floating[Any]]


def bind_step(cell: Cell, weights: Weights, x: Floats, h: Floats, c: Floats | None) -> Callable[[], None]:
    """A function that reads ``x`` (B, D) and moves ``h`` and, in an LSTM, ``c`` (B, H) on by one step, in place.

    The arrays are C-contiguous, float32 or float64, and must outlive the function. The weights are copied.

    Raises:
        ShapeError: weights of another dtype than the arrays', or of sizes that do not fit.
    """
    w_ih, w_hh, b_ih, b_hh = (tensor.detach().cpu().contiguous() for tensor in with_biases(weights))
    one, lengths = torch.from_numpy(x).unsqueeze(1), torch.ones(len(x), dtype=torch.int64)  # (B, 1, D), (B,)
    h0, c0 = torch.from_numpy(h), None if c is None else torch.from_numpy(c)
    check(cell, one, lengths, [(w_ih, w_hh, b_ih, b_hh)], h0, c0)
    kernel = native_kernel(w_ih.dtype, w_ih.device)
    if kernel is not None:
        pointers = (tensor.data_ptr() for tensor in (w_ih, w_hh, b_ih, b_hh))
        stepper = kernel.Stepper(CELLS[cell], *x.shape, h.shape[1], *pointers)
        return partial(stepper.step, x.ctypes.data, h.ctypes.data, 0 if c is None else c.ctypes.data)
    u, w, b, b_h = (tensor.numpy().copy() for tensor in (w_ih.T, w_hh.T, b_ih, b_hh))
    return partial(_gru, u, w, b, b_h, x, h) if c is None else partial(_lstm, u, w, b + b_h, x, h, c)


def _lstm(u: Floats, w: Floats, b: Floats, x: Floats, h: Floats, c: Floats) -> None:
    """Input weights ``u`` (D, 4H), recurrent weights ``w`` (H, 4H), the sum of the biases ``b`` (4H,)."""
    gates, size = x @ u + h @ w + b, h.shape[1]  # (B, 4H)
    i_f, g, o = _sigmoid(gates[:, : 2 * size]), np.tanh(gates[:, 2 * size : 3 * size]), _sigmoid(gates[:, 3 * size :])
    c *= i_f[:, size:]
    c += i_f[:, :size] * g
    np.multiply(o, np.tanh(c), out=h)


def _gru(u: Floats, w: Floats, b_ih: Floats, b_hh: Floats, x: Floats, h: Floats) -> None:
    from_x, from_h, size = x @ u + b_ih, h @ w + b_hh, h.shape[1]  # (B, 3H) each
    r_z = _sigmoid(from_x[:, : 2 * size] + from_h[:, : 2 * size])  # (B, 2H)
    n = np.tanh(from_x[:, 2 * size :] + r_z[:, :size] * from_h[:, 2 * size :])
    h -= n
    h *= r_z[:, size:]
    h += n  # n + z · (h - n)


def _sigmoid(x: Floats) -> Floats:
    half: Floats = 0.5 * np.tanh(0.5 * x) + 0.5  # exp would overflow
    return half
