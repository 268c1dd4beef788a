"""harken: recurrent networks that attend — exact, fast, visible."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harken._version import __version__

if TYPE_CHECKING:
    from harken import errors, reference, testing
    from harken.config import AutoencoderRun, LanguageModelRun, RunConfig, Seq2SeqRun, SequenceRun
    from harken.data.examples import Examples, read_examples
    from harken.data.ragged import Ragged
    from harken.data.sources import Pairs, read_pairs
    from harken.estimators.autoencoder import Autoencoder
    from harken.estimators.language_model import LanguageModel
    from harken.estimators.loading import load
    from harken.estimators.seq2seq import Predictions, Seq2Seq
    from harken.estimators.sequence import Classifier, Regressor, Tagger
    from harken.explain.alignment import Attention
    from harken.explain.faithfulness import Faithfulness
    from harken.explain.reading import Reading
    from harken.explain.reconstruction import Reconstruction
    from harken.layers.attention import (
        AdditiveAttention,
        Attended,
        DotAttention,
        GeneralAttention,
        MultiHeadAttention,
    )
    from harken.layers.convolution import MaskedConv1d
    from harken.layers.local import LocalLinear
    from harken.layers.pooling import Pooled, build_pooling
    from harken.layers.recurrent import Recurrent, RecurrentOutput
    from harken.layers.state import GRUState, LSTMState

# Public name → the room it lives in, in the order data meets them. Resolved when first used (PEP 562), so that
# `import harken` costs neither torch nor Lightning.
_ROOMS = {
    "errors": "harken.errors",
    "RunConfig": "harken.config",
    "Seq2SeqRun": "harken.config",
    "SequenceRun": "harken.config",
    "LanguageModelRun": "harken.config",
    "AutoencoderRun": "harken.config",
    "read_pairs": "harken.data.sources",
    "Pairs": "harken.data.sources",
    "read_examples": "harken.data.examples",
    "Examples": "harken.data.examples",
    "Ragged": "harken.data.ragged",
    "MaskedConv1d": "harken.layers.convolution",
    "LocalLinear": "harken.layers.local",
    "Recurrent": "harken.layers.recurrent",
    "RecurrentOutput": "harken.layers.recurrent",
    "LSTMState": "harken.layers.state",
    "GRUState": "harken.layers.state",
    "Attended": "harken.layers.attention",
    "DotAttention": "harken.layers.attention",
    "GeneralAttention": "harken.layers.attention",
    "AdditiveAttention": "harken.layers.attention",
    "MultiHeadAttention": "harken.layers.attention",
    "build_pooling": "harken.layers.pooling",
    "Pooled": "harken.layers.pooling",
    "Attention": "harken.explain.alignment",
    "Reading": "harken.explain.reading",
    "Faithfulness": "harken.explain.faithfulness",
    "Reconstruction": "harken.explain.reconstruction",
    "Seq2Seq": "harken.estimators.seq2seq",
    "Predictions": "harken.estimators.seq2seq",
    "Classifier": "harken.estimators.sequence",
    "Regressor": "harken.estimators.sequence",
    "Tagger": "harken.estimators.sequence",
    "LanguageModel": "harken.estimators.language_model",
    "Autoencoder": "harken.estimators.autoencoder",
    "load": "harken.estimators.loading",
    "testing": "harken.testing",
    "reference": "harken.reference",
}

__all__ = [
    "AdditiveAttention",
    "Attended",
    "Attention",
    "Autoencoder",
    "AutoencoderRun",
    "Classifier",
    "DotAttention",
    "Examples",
    "Faithfulness",
    "GRUState",
    "GeneralAttention",
    "LSTMState",
    "LanguageModel",
    "LanguageModelRun",
    "LocalLinear",
    "MaskedConv1d",
    "MultiHeadAttention",
    "Pairs",
    "Pooled",
    "Predictions",
    "Ragged",
    "Reading",
    "Reconstruction",
    "Recurrent",
    "RecurrentOutput",
    "Regressor",
    "RunConfig",
    "Seq2Seq",
    "Seq2SeqRun",
    "SequenceRun",
    "Tagger",
    "__version__",
    "build_pooling",
    "errors",
    "load",
    "read_examples",
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
