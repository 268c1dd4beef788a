"""The two oracles of the oracle: finite differences, and PyTorch's autograd."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest


def _numeric(loss: Callable[[], float], array: np.ndarray) -> np.ndarray:
    """Central differences of ``loss()`` with respect to every element of ``array``, which is nudged in place."""
    gradient, nudge = np.empty_like(array), 1e-5
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + nudge
        above = loss()
        array[index] = kept - nudge
        gradient[index] = (above - loss()) / (2 * nudge)
        array[index] = kept
    return gradient


def _worst(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> float:
    """The largest ‖got - wanted‖ / ‖wanted‖ over the named arrays; a name or shape too few is infinitely wrong."""
    if got.keys() != wanted.keys() or any(got[name].shape != wanted[name].shape for name in got):
        return np.inf
    differences = [np.linalg.norm(got[name] - wanted[name]) / max(np.linalg.norm(wanted[name]), 1e-12) for name in got]
    return float(max(differences)) if np.isfinite(differences).all() else np.inf


@pytest.fixture
def worst():
    return _worst


@pytest.fixture
def numeric_error():
    """numeric_error(loss, arrays, grads): how far hand-derived gradients are from finite differences."""

    def error(loss: Callable[[], float], arrays: Mapping[str, np.ndarray], grads: Mapping[str, np.ndarray]) -> float:
        return _worst(grads, {name: _numeric(loss, array) for name, array in arrays.items()})

    return error


@pytest.fixture
def rng():
    return np.random.default_rng(7)
