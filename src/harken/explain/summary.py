"""A model at a glance: its layers, their shapes at a sample input, and what the output layer sees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harken.config import RunConfig, Seq2SeqRun, SequenceRun
from harken.data.batching import ModelInputs, Pieces
from harken.models.autoencoder import Autoencoder
from harken.models.convolutional import SpectrogramFrontend
from harken.models.frontends import SeriesFrontend, WordFrontend
from harken.models.language_model import LanguageModel
from harken.models.seq2seq import Seq2SeqModel
from harken.models.sequence import SequenceModel

SAMPLE = {"B": 2, "S": 12, "T": 10}  # rows, source steps and target steps of the sample input
SEQUENCE_SAMPLE = {"B": 2, "T": 12}  # rows and steps
PIECES_SAMPLE = {"L": 6}  # tokens of a sentence, characters of a word


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
    """What `summary()` of an estimator returns.

    Args:
        kind: of the model: plain, peeky, attention, language-model or autoencoder; or of the input: text, series, …
        layers: in the order in which a batch meets them.
        total: number of parameters.
        joined: the vectors that meet below the decoder or the output layer, or all that the heads see, with their
            sizes.
        width: length of what the output layer sees.
        logits: shape of the model's output; of several heads, of the first one's.
        sample: axes of the sample input and their sizes.
        given: what goes in → its shape at the sample input; empty for seq2seq, which has two sides.
        tanh: whether what a layer makes of the joined vectors goes through one.
    """

    kind: str
    layers: list[Layer]
    total: int
    joined: list[str]
    width: int
    logits: list[int]
    sample: dict[str, int] = field(default_factory=lambda: dict(SAMPLE))
    given: dict[str, list[int]] = field(default_factory=dict)
    tanh: bool = False

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The layers as plain data, for JSON."""
        return [layer._asdict() for layer in self.layers]

    @property
    def sees(self) -> list[str]:
        """What the output layer sees: the joined vectors, or the one that a layer between makes of them."""
        parts = " ⊕ ".join(self.joined)
        if self.layer("attentional") is not None:
            return [f"attentional vector ({self.width}) = tanh of a linear map of {parts}"]
        if self.layer("join") is not None:
            return [f"{'tanh of a ' if self.tanh else 'a '}linear map ({self.width}) of {parts}"]
        return self.joined

    def table(self) -> str:
        """The layers as a table of text, and a sentence on what the output layer sees."""
        sample = ", ".join(f"{axis}={size}" for axis, size in self.sample.items())
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
        from harken.explain.export import save_figure

        save_figure(diagram(self), Path(path))

    def layer(self, name: str) -> Layer | None:
        """The layer of that name, if the model has it."""
        return next((layer for layer in self.layers if layer.layer == name), None)

    def __str__(self) -> str:
        return self.table()

    def _sentence(self) -> str:
        total = f" → {self.width}" if len(self.sees) > 1 else ""
        return f"the output layer sees {' ⊕ '.join(self.sees)}{total}"


def summarise(model: Seq2SeqModel | SequenceModel | LanguageModel | Autoencoder, config: RunConfig) -> Summary:
    """Run a sample input through the model and write down what comes out of each layer."""
    match model:
        case SequenceModel():
            return _summarise_sequence(model, config)
        case LanguageModel():
            return _summarise_text(model)
        case Autoencoder():
            return _summarise_autoencoder(model)
        case _:
            return _summarise_pairs(model, config)


def _summarise_pairs(model: Seq2SeqModel, config: RunConfig) -> Summary:
    assert isinstance(config, Seq2SeqRun)
    device = next(model.parameters()).device
    rows, source, target = (SAMPLE[axis] for axis in "BST")

    def ids(steps: int) -> tuple[Tensor, Tensor]:
        tokens = torch.zeros(rows, steps, dtype=torch.int64, device=device)
        return tokens, torch.full((rows,), steps, dtype=torch.int64, device=device)

    output, layers = _watched(model, lambda: model(*ids(source), *ids(target)))
    return Summary(
        config.model.kind, layers, _count(model), _joined(model), model.output.in_features, list(output.logits.shape)
    )


def _summarise_sequence(model: SequenceModel, config: RunConfig) -> Summary:
    rows, steps = SEQUENCE_SAMPLE.values()
    device = next(model.parameters()).device

    def ids(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=device)

    lengths = ids(rows) + steps
    frontend, pieces, sample = model.frontend, None, SEQUENCE_SAMPLE
    given, values = {"ids": ids(rows, steps)}, ids(rows, steps)
    if model.kind == "sentences" or (isinstance(frontend, WordFrontend) and frontend.characters is not None):
        sample = SEQUENCE_SAMPLE | PIECES_SAMPLE
        lower = ids(rows * steps, sample["L"])
        index = torch.arange(rows * steps, device=device).view(rows, steps)
        pieces = Pieces(lower, ids(rows * steps) + sample["L"], index)
        given = {"ids of sentences": lower} if model.kind == "sentences" else given | {"ids of characters": lower}
    elif model.kind == "image":
        assert isinstance(config, SequenceRun)
        side = config.data.image_size
        sample, lengths = {"B": rows, "S": side}, ids(rows) + side
        values = torch.zeros(rows, side, side, 3, dtype=torch.uint8, device=device)
        given = {"pixels": values}
    elif isinstance(frontend, SpectrogramFrontend) and frontend.spectrogram is not None:
        samples = frontend.spectrogram.window_size + (steps - 1) * frontend.spectrogram.hop_size
        values, lengths = torch.zeros(rows, samples, device=device), ids(rows) + samples
        given = {"samples": values}
    elif isinstance(frontend, SeriesFrontend):
        values = torch.zeros(rows, steps, frontend.width, device=device)
        given = {"frames" if model.kind == "spectrogram" else "values": values}
    inputs = ModelInputs(values, lengths, pieces)

    def run() -> Any:
        frontend(inputs)  # the model calls its halves, which no hook hears
        return model(inputs)

    output, layers = _watched(model, run)
    first = model.heads.linears[0]
    assert isinstance(first, nn.Linear)
    sees = first.in_features
    if model.mlp is not None:
        joined = f"what the MLP makes ({sees}) of the pooled vector ({model.mlp.in_features})"
    else:
        joined = f"the pooled vector ({sees})"
    if model.pooling is None:
        joined = joined.replace("the pooled vector", "each step's vector")
    shape = list(next(iter(output.logits.values())).shape)
    shapes = {name: list(tensor.shape) for name, tensor in given.items()}
    return Summary(model.kind, layers, _count(model), [joined], sees, shape, sample, shapes)


def _summarise_text(model: LanguageModel) -> Summary:
    rows, steps = SEQUENCE_SAMPLE.values()
    config, attentions = model.config, model.attention_layers
    ids = torch.zeros(rows, steps, dtype=torch.int64, device=model.bias.device)
    several = len(attentions) > 1
    parts: dict[str, nn.Module] = {"embedding": model.embedding, "recurrent": model.recurrent}
    parts |= {f"attention {layer}" if several else "attention": each for layer, each in enumerate(attentions)}
    if model.join is not None:
        parts["join"] = model.join
    output, layers = _watched(model, lambda: model(ids), parts)
    logits = list(model.logits(output.features).shape)
    # Of tied weights nothing but the bias is the output layer's own.
    own = model.bias.numel() + (0 if model.output is None else model.output.numel())
    layers.append(Layer("output", "Linear, tied" if config.tied else "Linear", {"output": logits}, 1, own))
    hidden = config.hidden_size
    joined = [f"h of layer {layer} ({hidden})" for layer in range(config.num_layers)] if several else []
    joined = joined or [f"{'last ' if config.num_layers > 1 else ''}h ({hidden})"]
    joined += [f"context{f' {layer}' * several} ({hidden})" for layer in range(len(attentions))]
    sample = SEQUENCE_SAMPLE | ({"M": config.memory_length} if attentions else {})
    given, tanh = {"ids": list(ids.shape)}, config.join == "mlp"
    width = config.embedding_size
    return Summary("language-model", layers, _count(model), joined, width, logits, sample, given, tanh)


def _summarise_autoencoder(model: Autoencoder) -> Summary:
    rows, steps = SEQUENCE_SAMPLE.values()
    device = next(model.parameters()).device
    values = torch.zeros(rows, steps, model.frontend.width, device=device)
    lengths = torch.full((rows,), steps, dtype=torch.int64, device=device)
    output, layers = _watched(model, lambda: model(values, lengths))
    hidden = model.config.hidden_size
    shape = list(output.reconstruction.shape)
    given = {"values": list(values.shape)}
    return Summary(
        "autoencoder", layers, _count(model), [f"decoder h ({hidden})"], hidden, shape, dict(SEQUENCE_SAMPLE), given
    )


def _watched(
    model: nn.Module, run: Callable[[], Any], parts: Mapping[str, nn.Module] | None = None
) -> tuple[Any, list[Layer]]:
    """What ``run`` returns, and what came out of the parts of the model (its children) meanwhile, in eval mode."""
    was_training, handles = model.training, []
    shapes: dict[str, dict[str, list[int]]] = {}
    calls: dict[str, int] = {}

    def watch(name: str, layer: nn.Module) -> None:
        def note(_: nn.Module, __: Any, output: Any) -> None:
            shapes[name] = dict(_shapes("output", output))
            calls[name] = calls.get(name, 0) + 1

        handles.append(layer.register_forward_hook(note))

    children = dict(model.named_children() if parts is None else parts)
    for name, layer in children.items():
        watch(name, layer)
    model.eval()
    try:
        with torch.no_grad():
            output = run()
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return output, [
        Layer(name, type(children[name]).__name__, shapes[name], calls[name], _count(children[name])) for name in shapes
    ]


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
    elif isinstance(output, dict):
        for key, part in output.items():
            yield from _shapes(key, part)
    elif isinstance(output, tuple):
        for field, part in zip(getattr(output, "_fields", map(str, range(len(output)))), output, strict=True):
            if field != "lengths":  # of the rows: beside the steps it says nothing
                yield from _shapes(field, part)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
