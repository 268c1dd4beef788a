"""A bundle that classifies, regresses or tags, brought to life: ready to answer rows of its kind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from harken.bundle import Bundle
from harken.config import SequenceRun
from harken.data.batching import SequenceBatch, SequenceLoader
from harken.data.encoding import Encoder
from harken.data.inputs import Inputs
from harken.data.labels import Head
from harken.data.ragged import Ragged, offsets_from_lengths
from harken.errors import BundleError, UsageError
from harken.layers.masks import mask_from_lengths
from harken.layers.spectrogram import LogMelSpectrogram
from harken.models.heads import probabilities
from harken.models.sequence import SequenceModel, SequenceOutput

ANSWERED = {"classify": {"binary", "classes", "multi-label"}, "regress": {"values"}, "tag": {"tags"}}
"""Task → the kinds of its heads."""

BATCH_SIZE = 256  # rows answered at once: no gradients are kept, so more fit than in a training step


class SequencePredictor(NamedTuple):
    """What `fit` and `load` bring; it keeps nothing about what it is asked."""

    bundle: Bundle
    model: SequenceModel  # in eval mode, on the CPU
    encoder: Encoder
    heads: tuple[Head, ...]

    @classmethod
    def from_bundle(cls, bundle: Bundle, backbone: nn.Module | None = None) -> Self:
        """Build the model that a bundle describes.

        Args:
            bundle: as training wrote it.
            backbone: what read the pictures, where the model was trained with one of the user's own: a module of the
                same shape, which is copied; its weights come from the bundle.

        Raises:
            BundleError: it is of another task, or weights or facts do not belong to its configuration.
            UsageError: a backbone is missing, or there is no use for one.
        """
        name = bundle.facts.get("backbone")
        if name is not None and backbone is None:
            raise UsageError(
                f"the model reads pictures with a backbone of your own ({name}): give it, as in "
                "harken.load(path, backbone=module)"
            )
        if name is None and backbone is not None:
            raise UsageError("the model was trained without a backbone of your own: leave it out")
        if backbone is not None and not hasattr(backbone, "output_size"):
            raise UsageError(f"the backbone ({type(backbone).__name__}) must say its channels as output_size: add it")
        config = bundle.config
        if not isinstance(config, SequenceRun):
            raise BundleError(f"the bundle is for the task {config.task!r}: harken.load(path) opens it")
        try:
            heads = tuple(Head.from_json(head) for head in bundle.facts["heads"])
            indicators = bundle.facts.get("indicators", [])
            if not {head.name for head in heads} >= set(indicators):
                raise ValueError(f"indicators={indicators}")
            encoder = Encoder.from_facts(bundle.tokenizers, bundle.facts["encoder"])
            if encoder.kind == "audio" and encoder.rate != config.data.sample_rate:
                raise ValueError(f"sample_rate={config.data.sample_rate}, rate={encoder.rate}")
            if config != config.settled(encoder.kind) or not {head.kind for head in heads} <= ANSWERED[config.task]:
                raise ValueError(f"task={config.task}, input={config.data.input}, {encoder.kind}, not all settled")
            if config.model.num_layers > len(bundle.weights):
                raise ValueError(f"num_layers={config.model.num_layers}")
            with torch.device("meta"):  # sizes alone: a made-up one could exhaust the memory
                model = build_model(config, encoder, heads, backbone)
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise BundleError(
                f"the bundle's facts do not belong to its configuration, it was tampered with: {error}"
            ) from None
        wrong = {name for name, there in model.state_dict().items() if not _fits(bundle.weights.get(name), there)}
        wrong |= bundle.weights.keys() - model.state_dict().keys()
        foreign = {weight for weight in wrong if weight.startswith("frontend.backbone.")}
        if backbone is not None and foreign:
            raise UsageError(
                f"the backbone ({type(backbone).__name__}) does not have the weights of the one that was trained "
                f"({name}), such as {min(foreign)}: build it as it was"
            )
        if wrong:
            raise BundleError(f"the bundle's weights do not fit its configuration, it was tampered with: {min(wrong)}")
        # Of other precision where training had one, such as 64-true: answers are made in float32.
        weights = {n: bundle.weights[n].to(there.dtype, copy=True) for n, there in model.state_dict().items()}
        model.load_state_dict(weights, assign=True)
        return cls(bundle, model.eval(), encoder, heads)

    @property
    def config(self) -> SequenceRun:
        """As it was when the model was trained, every option settled."""
        assert isinstance(self.bundle.config, SequenceRun)
        return self.bundle.config

    @property
    def indicators(self) -> frozenset[str]:
        """The heads whose labels were the columns of a table of 0 and 1."""
        return frozenset(self.bundle.facts.get("indicators", []))

    def head(self, name: str) -> Head:
        """The head of that name.

        Raises:
            UsageError: there is none.
        """
        for head in self.heads:
            if head.name == name:
                return head
        raise UsageError(f"there is no head {name!r}: the model answers {', '.join(h.name for h in self.heads)}")

    def batches(self, inputs: Inputs, batch_size: int = BATCH_SIZE) -> Iterator[SequenceBatch]:
        """Rows of similar length together, without targets; `SequenceBatch.rows` says where each belongs.

        Raises:
            DataError: rows of another kind, or one that is too long.
        """
        yield from SequenceLoader(
            self.encoder.encode(inputs),
            {},
            None,
            batch_size=batch_size,
            shuffle=False,
            bucket=True,
            seed=0,
            batch_steps=self.config.training.batch_steps,
            attention_heads=self.config.attention_heads,
        )

    def answer(self, batch: SequenceBatch) -> SequenceOutput:
        """Logits and weights of one batch."""
        with torch.no_grad():
            output: SequenceOutput = self.model(batch.inputs)
        return output

    def logits(self, inputs: Inputs) -> dict[str, Tensor | Ragged]:
        """Head → logits of every row, in the rows' order: (n, width), or of every step for tags; n may be 0."""
        parts = {head.name: [torch.zeros(0, head.width)] for head in self.heads}
        rows, lengths = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int64)]
        for batch in self.batches(inputs):
            output = self.answer(batch)
            rows.append(batch.rows)
            lengths.append(batch.inputs.lengths)
            for head in self.heads:
                logits = output.logits[head.name]
                if head.kind == "tags":
                    logits = logits[mask_from_lengths(lengths[-1], logits.shape[1])]  # (steps, C)
                parts[head.name].append(logits)
        order = torch.argsort(torch.cat(rows))
        found: dict[str, Tensor | Ragged] = {}
        for head in self.heads:
            together = torch.cat(parts[head.name])
            if head.kind == "tags":
                found[head.name] = Ragged(together, offsets_from_lengths(torch.cat(lengths))).take(order)
            else:
                found[head.name] = together[order]
        return found

    def probabilities(self, inputs: Inputs) -> dict[str, Tensor | Ragged]:
        """Head → `harken.models.heads.probabilities` of every row, or of every step for tags."""
        logits = self.logits(inputs)
        return {head.name: of_steps(probabilities, head, logits[head.name]) for head in self.heads}


def of_steps(function: Callable[[Head, Tensor], Tensor], head: Head, logits: Tensor | Ragged) -> Tensor | Ragged:
    """A function of a head and logits, made of those of rows, or of steps."""
    if isinstance(logits, Ragged):
        return Ragged(function(head, logits.values), logits.offsets)
    return function(head, logits)


def build_model(
    config: SequenceRun, encoder: Encoder, heads: Sequence[Head], backbone: nn.Module | None = None
) -> SequenceModel:
    """The untrained model of a settled run, in the sizes of what was fitted; with a copy of the backbone, if any."""
    characters = encoder.tokenizers.get("characters")
    features, spectrogram = config.features, None
    if encoder.kind == "audio":
        with torch.device("cpu"):  # its buffers follow from the options and are in no bundle
            spectrogram = LogMelSpectrogram(encoder.rate, features.mels, window=features.window, hop=features.hop)
    return SequenceModel(
        config.model,
        encoder.kind,
        heads,
        vocabulary=encoder.vocabulary_size,
        width=encoder.width,
        characters=0 if characters is None else characters.vocabulary_size,
        unknown_id=encoder.unknown_id,
        spectrogram=spectrogram,
        backbone=copy.deepcopy(backbone),
    )


def _fits(weight: Tensor | None, there: Tensor) -> bool:
    return (
        weight is not None and weight.shape == there.shape and weight.is_floating_point() == there.is_floating_point()
    )
