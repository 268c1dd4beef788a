"""Starting from a trained model (`init_from`): its vocabulary and weights, under the heads of a new run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from harken.bundle import Bundle
from harken.config import SequenceRun
from harken.data.inputs import Inputs
from harken.errors import ConfigError
from harken.models.sequence import SequenceModel
from harken.predictor.sequence import SequencePredictor

_LOCAL = ("local", "local_size")  # options whose layer comes before all others: its weights would be other ones
_VECTORS = ("word_vectors", "freeze_vectors")  # of the model to start from: its vectors are among its weights


def open_start(path: str, inputs: Inputs) -> SequencePredictor:
    """The trained model to start from.

    Raises:
        BundleError: nothing there that can be read.
        ConfigError: it is no model for rows of this kind.
    """
    bundle = Bundle.load(Path(path))
    if not isinstance(bundle.config, SequenceRun):
        raise ConfigError(
            f"init_from ({path}) is of the task {bundle.config.task}: name a run that reads the same rows"
        )
    start = SequencePredictor.from_bundle(bundle)
    if start.encoder.kind != inputs.kind:
        raise ConfigError(f"init_from ({path}) reads {start.encoder.kind}, and these rows are {inputs.kind}")
    return start


def options_of(start: SequencePredictor, config: SequenceRun) -> SequenceRun:
    """The new run's options; those about reading and about the model are the old run's where they were left alone.

    Raises:
        ConfigError: an option that asks to read rows in another way than the old run did, or by another local layer.
    """
    before, changed = start.config, config.changed()
    filled: dict[str, Any] = {}
    for name, section in config.option_names().items():
        if section not in ("features", "model") or not config.has_use(name):
            continue
        old = getattr(getattr(before, section), name)
        if name in _VECTORS:
            if name in changed:
                raise ConfigError(
                    f"{name} ({changed[name]!r}) is not for a run that starts from a trained one, which has vectors: "
                    "leave out the option, or init_from"
                )
        elif name not in changed:
            filled[name] = old
        elif (section == "features" or name in _LOCAL) and changed[name] != old:
            raise ConfigError(f"{name} ({changed[name]!r}) was {old!r} in the run of init_from: leave out the option")
    return config.override(**filled)


def take_over(model: SequenceModel, start: SequencePredictor) -> None:
    """Start from trained weights; a head is taken over where it answers the same, else it stays as it was drawn.

    Raises:
        ConfigError: another layer, or one of another size.
    """
    own, theirs = model.state_dict(), start.model.state_dict()
    weights = {name: value for name, value in theirs.items() if not name.startswith("heads.")}
    places = {(h.name, h.kind, h.width, h.classes): place for place, h in enumerate(start.heads)}
    for place, head in enumerate(model.heads.heads):
        before = places.get((head.name, head.kind, head.width, head.classes))
        for part in ("weight", "bias"):
            name = f"heads.linears.{place}.{part}"
            weights[name] = own[name] if before is None else theirs[f"heads.linears.{before}.{part}"]
    wrong = [name for name in own.keys() | weights.keys() if _shape(own, name) != _shape(weights, name)]
    if wrong:
        name = min(wrong)
        raise ConfigError(
            f"{name} is {_shape(own, name) or 'absent'} here and {_shape(weights, name) or 'absent'} in the run of "
            "init_from: leave out the options that change the model"
        )
    model.load_state_dict(weights)


def _shape(weights: dict[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(weights[name].shape) if name in weights else None
