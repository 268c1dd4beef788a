"""A model at a glance: its layers, their shapes at a sample input, and what the output layer sees."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harken.config import RunConfig
from harken.files import write_whole
from harken.models.seq2seq import Seq2SeqModel

SAMPLE = {"B": 2, "S": 12, "T": 10}  # rows, source steps and target steps of the sample input


class Layer(NamedTuple):
    """One child of the model."""

    layer: str  # its name in the model
    kind: str  # its class
    shapes: dict[str, list[int]]  # name of an output → its shape at the sample input
    calls: int  # in one pass: 1, or T where each target step waits for the one before
    parameters: int

    def __str__(self) -> str:
        shown = " · ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in self.shapes.items())
        return shown if self.calls == 1 else f"{shown}, {self.calls} times"


@dataclass(frozen=True)
class Summary:
    """What `Seq2Seq.summary` returns.

    Args:
        kind: of the model: plain, peeky or attention.
        layers: in the order in which a batch meets them.
        total: number of parameters.
        joined: the vectors that meet below the decoder, with their sizes.
        width: length of what the output layer sees.
        logits: shape of the model's output.
    """

    kind: str
    layers: list[Layer]
    total: int
    joined: list[str]
    width: int
    logits: list[int]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The layers as plain data, for JSON."""
        return [layer._asdict() for layer in self.layers]

    @property
    def sees(self) -> list[str]:
        """What the output layer sees: the joined vectors or, with input feeding, the one made of them."""
        if self.layer("attentional") is None:
            return self.joined
        return [f"attentional vector ({self.width}) = tanh of a linear map of {' ⊕ '.join(self.joined)}"]

    def table(self) -> str:
        """The layers as a table of text, and a sentence on what the output layer sees."""
        sample = ", ".join(f"{axis}={size}" for axis, size in SAMPLE.items())
        lines = [("layer", "kind", f"output at {sample}", "parameters")]
        lines += [(layer.layer, layer.kind, str(layer), f"{layer.parameters:,}") for layer in self.layers]
        lines += [("total", "", "", f"{self.total:,}")]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = ["  ".join([*map(str.ljust, line[:3], widths), line[3].rjust(widths[3])]) for line in lines]
        rule = "─" * len(texts[0])
        return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1], "", self._sentence()])

    def draw(self, path: str | os.PathLike[str]) -> None:
        """Write a PNG of the layers as boxes, from the source to the logits.

        Raises:
            DataError: the file cannot be written.
        """
        from harken.explain.diagram import diagram

        buffer = io.BytesIO()
        diagram(self).savefig(buffer, format="png", dpi=150, bbox_inches="tight", pad_inches=0.15)
        write_whole(Path(path), buffer.getvalue())

    def layer(self, name: str) -> Layer | None:
        """The layer of that name, if the model has it."""
        return next((layer for layer in self.layers if layer.layer == name), None)

    def __str__(self) -> str:
        return self.table()

    def _sentence(self) -> str:
        total = f" → {self.width}" if len(self.sees) > 1 else ""
        return f"the output layer sees {' ⊕ '.join(self.sees)}{total}"


def summarise(model: Seq2SeqModel, config: RunConfig) -> Summary:
    """Run a sample input through the model and write down what comes out of each layer."""
    was_training, handles = model.training, []
    shapes: dict[str, dict[str, list[int]]] = {}
    calls: dict[str, int] = {}

    def watch(name: str, layer: nn.Module) -> None:
        def note(_: nn.Module, __: Any, output: Any) -> None:
            shapes[name] = dict(_shapes("output", output))
            calls[name] = calls.get(name, 0) + 1

        handles.append(layer.register_forward_hook(note))

    for name, layer in model.named_children():
        watch(name, layer)
    device = next(model.parameters()).device
    rows, source, target = (SAMPLE[axis] for axis in "BST")

    def ids(steps: int) -> tuple[Tensor, Tensor]:
        tokens = torch.zeros(rows, steps, dtype=torch.int64, device=device)
        return tokens, torch.full((rows,), steps, dtype=torch.int64, device=device)

    try:
        with torch.no_grad():
            output = model.eval()(*ids(source), *ids(target))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    children = dict(model.named_children())
    layers = [
        Layer(name, type(children[name]).__name__, shapes[name], calls[name], _count(children[name])) for name in shapes
    ]
    return Summary(
        config.model.kind, layers, _count(model), _joined(model), model.output.in_features, list(output.logits.shape)
    )


def _joined(model: Seq2SeqModel) -> list[str]:
    """What `Seq2SeqModel` joins below the decoder, in its order."""
    decoder = f"decoder h ({model.decoder.output_size})"
    if model.attention is not None:
        return [f"context ({model.attention.output_size})", decoder]
    if model.config.kind == "peeky":
        return [f"final encoder h ({model.config.hidden_size})", decoder]
    return [decoder]


def _shapes(name: str, output: Any) -> Iterator[tuple[str, list[int]]]:
    """Every tensor of a layer's output by its field: ``outputs``, ``h``, ``c``, ``context``, ``weights``."""
    if isinstance(output, Tensor):
        yield name, list(output.shape)
    elif isinstance(output, tuple):
        for field, part in zip(getattr(output, "_fields", map(str, range(len(output)))), output, strict=True):
            yield from _shapes(field, part)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
