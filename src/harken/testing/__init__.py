"""Checks for models of your own: does an answer depend on padding, on the batch, or on a row's place in it?

    from harken.testing import check_padding
    check_padding(model, x, lengths).raise_if_failed()

Every row is first run alone and without padding: that is the truth. Then the rows come back in batches that differ
in all that must not matter, and outputs and gradients are compared with the truth. `check_estimator_padding` does the
same from outside, by `predict` and `predict_proba`, to any fitted estimator.
"""

from __future__ import annotations

from harken.testing.estimator import check_estimator_padding
from harken.testing.padding import check_padding
from harken.testing.report import PaddingReport, PaddingRow

__all__ = ["PaddingReport", "PaddingRow", "check_estimator_padding", "check_padding"]
