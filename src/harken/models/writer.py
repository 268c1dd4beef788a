"""A text, one token at a time: read or written, with what is needed of its past and no more."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from harken.layers.past_stepper import PastStepper
from harken.models.language_model import LanguageModel

Floats: TypeAlias = npt.NDArray[np.floating[Any]]


class Writer:
    """Reads one token per call and says how likely each token is to be the next.

    NumPy over the model's own weights, and the engine's stepper: a call to PyTorch costs more than most of what is
    done here. What a step costs depends on the sizes and on memory_length, not on how many there were. Answers are
    those of the model in one pass over the text; one writer belongs to one text.

    Args:
        model: on the CPU; its weights must not change while the writer is in use.
    """

    def __init__(self, model: LanguageModel) -> None:
        config = model.config
        self._embedding = _array(model.embedding.weight)  # (V, E)
        self._scale = self._embedding.dtype.type(model.input_scale)
        self._output, self._bias = _array(model.output_weight), _array(model.bias)  # (V, E), (V,)
        self._join = None if model.join is None else (_array(model.join.weight), _array(model.join.bias))
        self._tanh = config.join == "mlp"
        self._recurrent = model.recurrent.stepper()
        self._attentions = [PastStepper(layer, self._embedding.dtype) for layer in model.attention_layers]
        outputs, hidden = model.recurrent.output_size, config.hidden_size
        self._outputs = outputs
        self._joined = np.zeros(outputs + hidden * len(self._attentions), self._embedding.dtype)
        self._states = [self._joined[start : start + hidden] for start in range(0, outputs, hidden)]  # views
        self._contexts = [self._joined[start : start + hidden] for start in range(outputs, len(self._joined), hidden)]

    def __call__(self, token: int) -> Floats:
        """Read a token: the logits of the next one, (V,), a new array."""
        logits: Floats = self._output @ self.features(token)
        logits += self._bias
        return logits

    def features(self, token: int) -> Floats:
        """Read a token: what the output layer would read, (E,); for tokens whose next one is known."""
        joined = self._joined
        joined[: self._outputs] = self._recurrent(self._embedding[token] * self._scale)
        for attention, state, context in zip(self._attentions, self._states, self._contexts, strict=False):
            context[...] = attention(state)
        if self._join is None:
            return joined
        weight, bias = self._join
        features: Floats = weight @ joined
        features += bias
        return np.tanh(features, out=features) if self._tanh else features

    @property
    def weights(self) -> list[Floats]:
        """Where each layer that attends looked at the last token, (n,) over the n steps before it, oldest first."""
        return [attention.weights for attention in self._attentions]


def _array(tensor: Tensor) -> Floats:
    found: Floats = tensor.detach().cpu().numpy()
    return found
