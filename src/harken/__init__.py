"""harken: recurrent networks that attend — exact, fast, visible."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harken._version import __version__

if TYPE_CHECKING:
    from harken import errors, reference, testing
    from harken.config import RunConfig
    from harken.data.ragged import Ragged
    from harken.data.sources import Pairs, read_pairs
    from harken.estimators import Predictions, Seq2Seq, load
    from harken.explain.alignment import Attention
    from harken.layers.attention import (
        AdditiveAttention,
        Attended,
        DotAttention,
        GeneralAttention,
        MultiHeadAttention,
    )
    from harken.layers.recurrent import Recurrent, RecurrentOutput
    from harken.layers.state import GRUState, LSTMState

# Public name → the room it lives in, in the order data meets them. Resolved when first used (PEP 562), so that
# `import harken` costs neither torch nor Lightning.
_ROOMS = {
    "errors": "harken.errors",
    "RunConfig": "harken.config",
    "read_pairs": "harken.data.sources",
    "Pairs": "harken.data.sources",
    "Ragged": "harken.data.ragged",
    "Recurrent": "harken.layers.recurrent",
    "RecurrentOutput": "harken.layers.recurrent",
    "LSTMState": "harken.layers.state",
    "GRUState": "harken.layers.state",
    "Attended": "harken.layers.attention",
    "DotAttention": "harken.layers.attention",
    "GeneralAttention": "harken.layers.attention",
    "AdditiveAttention": "harken.layers.attention",
    "MultiHeadAttention": "harken.layers.attention",
    "Attention": "harken.explain.alignment",
    "Seq2Seq": "harken.estimators",
    "Predictions": "harken.estimators",
    "load": "harken.estimators",
    "testing": "harken.testing",
    "reference": "harken.reference",
}

__all__ = [
    "AdditiveAttention",
    "Attended",
    "Attention",
    "DotAttention",
    "GRUState",
    "GeneralAttention",
    "LSTMState",
    "MultiHeadAttention",
    "Pairs",
    "Predictions",
    "Ragged",
    "Recurrent",
    "RecurrentOutput",
    "RunConfig",
    "Seq2Seq",
    "__version__",
    "errors",
    "load",
    "read_pairs",
    "reference",
    "testing",
]


def __getattr__(name: str) -> Any:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module 'harken' has no attribute {name!r}")
    module = import_module(room)
    value = module if room == f"harken.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
