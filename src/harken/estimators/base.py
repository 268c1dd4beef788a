"""What every estimator is: options by name, and what was fitted or loaded."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from harken.bundle import Bundle
from harken.config import RunConfig
from harken.errors import ConfigError

if TYPE_CHECKING:
    from harken.explain.summary import Summary
    from harken.training.callbacks import Epoch
    from harken.training.run import Trained


class Predicts(Protocol):
    """A bundle brought to life, as the room `predictor` makes them."""

    @property
    def bundle(self) -> Bundle:
        """What it was made from."""

    @property
    def model(self) -> Any:
        """The network, in eval mode."""


P = TypeVar("P", bound=Predicts)


class Estimator(ABC, Generic[P]):
    """Options given by name; `fit` or `harken.load` brings the predictor.

    Args:
        options: any option of the task's runs (see `harken.config`), by its name.

    Raises:
        ConfigError: an unknown option (the nearest is named), one of another task, or a value that it does not take.
    """

    task: ClassVar[str]

    def __init__(self, **options: Any) -> None:
        self.config = self._configured(options)
        self._options = options
        self._predictor: P | None = None

    @classmethod
    def from_config(cls, config: RunConfig) -> Self:
        """An estimator with all options of a run.

        Raises:
            ConfigError: the run is of another task.
        """
        if config.task != cls.task:
            raise ConfigError(f"task ({config.task!r}) is not {cls.__name__}'s, which is {cls.task!r}")
        return cls(**config.changed())

    @classmethod
    def from_bundle(cls, bundle: Bundle, **parts: Any) -> Self:
        """A fitted estimator.

        Args:
            bundle: as `save` wrote it.
            parts: what is not in a bundle, see `harken.load`.

        Raises:
            ConfigError: the bundle is of another task.
            BundleError: weights or facts do not belong to its configuration.
        """
        estimator = cls.from_config(bundle.config)
        estimator._predictor = cls._bring_to_life(bundle, **parts)
        return estimator

    @staticmethod
    @abstractmethod
    def _bring_to_life(bundle: Bundle, **parts: Any) -> P:
        """The predictor that a bundle describes."""

    def _keep(self, trained: Trained, **parts: Any) -> Self:
        """Become what training found; ``parts`` are what is not in a bundle, see `harken.load`."""
        self._predictor = self._bring_to_life(trained.bundle, **parts)
        self.history_: list[Epoch] = trained.epochs
        self.best_epoch_: Epoch | None = trained.best
        self.interrupted_ = trained.interrupted
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Every option by its name: as it was given, else its default."""
        return self._defaults() | self._options

    def set_params(self, **options: Any) -> Self:
        """Give more options: those about reading and answering act at once, what was fitted stays until the next
        `fit`."""
        self.config = self._configured(self._options | options)
        self._options = self._options | options
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bundle: JSON, safetensors and tokenizers, no pickle.

        What was there before is replaced whole or not at all.
        """
        self.predictor.bundle.save(Path(path))

    @property
    def predictor(self) -> P:
        """What was fitted or loaded.

        Raises:
            NotFittedError: nothing was.
        """
        if self._predictor is None:
            from harken.estimators.unfitted import UnfittedError

            raise UnfittedError(
                f"this {type(self).__name__} is not fitted: call fit first, or harken.load(path) for a saved one"
            )
        return self._predictor

    def summary(self) -> Summary:
        """Layers, shapes, parameters, and what the output layer sees."""
        from harken.explain.summary import summarise

        return summarise(self.predictor.model, self.predictor.bundle.config)

    def _seed(self, seed: int | None) -> int:
        return self.config.training.seed if seed is None else seed

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        run = RunConfig.build({"task": cls.task})
        return {name: getattr(getattr(run, section), name) for name, section in run.option_names().items()}

    @classmethod
    def _configured(cls, options: dict[str, Any]) -> Any:
        if options.get("task", cls.task) != cls.task:
            raise ConfigError(f"task ({options['task']!r}) is not {cls.__name__}'s, which is {cls.task!r}")
        return RunConfig.build({"task": cls.task}).override(**options)

    def __repr__(self) -> str:
        defaults = self._defaults()
        given = (
            f"{n}={self._options[n]!r}" for n in defaults if n in self._options and self._options[n] != defaults[n]
        )
        return f"{type(self).__name__}({', '.join(given)})"

    def __sklearn_is_fitted__(self) -> bool:
        return self._predictor is not None
