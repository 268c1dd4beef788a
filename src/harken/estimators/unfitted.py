"""The error of an estimator that was asked before it was fitted: harken's, and scikit-learn's too.

A file of its own because scikit-learn takes half a second to import, and only who meets the error needs it.
"""

from __future__ import annotations

from sklearn.exceptions import NotFittedError as SklearnNotFittedError

from harken.errors import NotFittedError


class UnfittedError(NotFittedError, SklearnNotFittedError):  # type: ignore[misc]  # scikit-learn has no types
    """Caught as either."""
