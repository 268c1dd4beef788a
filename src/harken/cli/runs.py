"""Opening a saved run with the options that were typed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harken.cli.options import OF_THE_DATA
from harken.cli.output import working


def open_run(run: Path, options: Mapping[str, Any], *, numbered: bool = False) -> Any:
    """The fitted estimator of a run folder or its bundle; typed options win over those it was trained with.

    The options of `OF_THE_DATA` are as typed, whatever the training run had.

    Args:
        run: the folder.
        options: that were typed.
        numbered: rows go by their number, and no column names them.

    Raises:
        BundleError: there is no bundle, or not a whole one.
        ConfigError: an option has a value that it does not take.
    """
    with working(f"Opening {run}"):
        from harken.estimators.loading import load

        estimator = load(run)
        known = estimator.config.option_names()
        own = OF_THE_DATA | ({"key": None} if numbered else {})
        fresh = {name: value for name, value in own.items() if name in known}
        estimator.config = estimator.config.override(**(fresh | dict(options)))
    return estimator
