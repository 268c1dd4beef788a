"""What can go wrong, as a tree.

    HarkenError
    ├── InputError (ValueError)          what the user put in; exit code 1
    │   ├── DataError                        a file, a row, a column, a text
    │   ├── ShapeError                       a tensor that does not fit
    │   └── UsageError                       a wrong option or call; exit code 2
    │       └── ConfigError                      an option's name or value
    ├── BundleError (ValueError)         a saved model that cannot be read
    ├── NotFittedError (ValueError, AttributeError)
    └── MissingExtraError (ImportError)  an optional part that is not installed

Every message is one sentence that names the value, the rule and the way out.
The command line prints the message and exits with the class's ``exit_code``.
"""

from __future__ import annotations


class HarkenError(Exception):
    """Base of everything that harken raises on purpose."""

    exit_code = 1


class InputError(HarkenError, ValueError):
    """The user's input breaks a rule."""


class DataError(InputError):
    """A file, row, column or text that cannot be used."""


class ShapeError(InputError):
    """A tensor whose shape, dtype or device does not fit."""


class UsageError(InputError):
    """A call or command that is wrong whatever the data holds."""

    exit_code = 2


class ConfigError(UsageError):
    """An option that does not exist or a value that it does not take."""


class BundleError(HarkenError, ValueError):
    """A saved model that is truncated, tampered with, of another task or from a newer harken."""


class NotFittedError(HarkenError, ValueError, AttributeError):
    """An estimator that is asked to predict before it was fitted."""


class MissingExtraError(HarkenError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'harken[{extra}]' brings it")
