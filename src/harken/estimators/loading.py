"""From a folder on the disk to the estimator that was saved there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harken.bundle import Bundle
from harken.estimators.seq2seq import Seq2Seq
from harken.estimators.sequence import Classifier, Regressor, Tagger

ESTIMATORS: dict[str, type[Any]] = {estimator.task: estimator for estimator in (Seq2Seq, Classifier, Regressor, Tagger)}
"""Task → the estimator of its bundles."""


def load(path: str | os.PathLike[str]) -> Any:
    """The fitted estimator that a run folder, or its ``bundle/``, holds: of the class that its task asks for.

    Runs no code from the folder.

    Raises:
        BundleError: nothing there that this harken can read.
    """
    bundle = Bundle.load(Path(path))
    return ESTIMATORS[bundle.config.task].from_bundle(bundle)
