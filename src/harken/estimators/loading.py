"""From a folder on the disk to the estimator that was saved there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harken.bundle import Bundle
from harken.config import SequenceRun
from harken.errors import UsageError
from harken.estimators.autoencoder import Autoencoder
from harken.estimators.language_model import LanguageModel
from harken.estimators.seq2seq import Seq2Seq
from harken.estimators.sequence import Classifier, Regressor, Tagger

if TYPE_CHECKING:
    from torch import nn

ESTIMATORS: dict[str, type[Any]] = {
    estimator.task: estimator for estimator in (Seq2Seq, Classifier, Regressor, Tagger, LanguageModel, Autoencoder)
}
"""Task → the estimator of its bundles."""


def load(path: str | os.PathLike[str], *, backbone: nn.Module | None = None) -> Any:
    """The fitted estimator that a run folder, or its ``bundle/``, holds: of the class that its task asks for.

    Runs no code from the folder.

    Args:
        path: of the folder.
        backbone: the module that read the pictures, for a model that was fitted with one: code is not in a bundle.

    Raises:
        BundleError: nothing there that this harken can read.
        UsageError: a backbone is missing, or there is no use for one.
    """
    bundle = Bundle.load(Path(path))
    parts = {} if backbone is None else {"backbone": backbone}
    if parts and not isinstance(bundle.config, SequenceRun):
        raise UsageError(f"a model of {bundle.config.task} reads no pictures: leave backbone out")
    return ESTIMATORS[bundle.config.task].from_bundle(bundle, **parts)
