"""The front doors of rows that come in order: `Classifier`, `Regressor`, `Tagger`."""

from __future__ import annotations

from typing import Any, ClassVar

from harken.estimators.answers import HeadAnswers, as_arrays, class_array, decision
from harken.estimators.labelled import Evaluation, SequenceEstimator
from harken.predictor.sequence import of_steps

__all__ = ["Classifier", "Evaluation", "HeadAnswers", "Regressor", "SequenceEstimator", "Tagger"]


class Classifier(SequenceEstimator):
    """Gives every row a label, or several, or one by each of several heads.

    >>> model = Classifier(epochs=5).fit(texts, labels)
    >>> model.predict(["a film to remember"])

    Args:
        options: any option of `harken.SequenceRun`, by its name.

    Raises:
        ConfigError: an unknown option (the nearest is named) or a value that it does not take.
    """

    task: ClassVar[str] = "classify"

    @property
    def classes_(self) -> Any:
        """The labels, in the order of `predict_proba`'s columns; with several heads a dict by name."""
        return self._by_head(class_array)

    def predict_proba(self, X: Any) -> Any:
        """(n, C) probability of every class; of several labels each on its own; with several heads a dict by name."""
        found = self.predictor.probabilities(self._inputs(X))
        return self._by_head(lambda head: as_arrays(found[head.name]))

    def decision_function(self, X: Any) -> Any:
        """Logits (n, C); of two classes (n,), above 0 where the second is likelier; with several heads a dict."""
        logits = self.predictor.logits(self._inputs(X))
        return self._by_head(lambda head: as_arrays(of_steps(decision, head, logits[head.name])))

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags(multi_label=True)
        return tags


class Regressor(SequenceEstimator):
    """Gives every row a value, or several.

    >>> model = Regressor().fit(series, values)

    Args:
        options: any option of `harken.SequenceRun`, by its name.

    Raises:
        ConfigError: an unknown option (the nearest is named) or a value that it does not take.
    """

    task: ClassVar[str] = "regress"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        return tags


class Tagger(SequenceEstimator):
    """Gives every step of a row a label.

    >>> model = Tagger().fit([["dogs", "bark"]], [["NOUN", "VERB"]])

    Args:
        options: any option of `harken.SequenceRun`, by its name.

    Raises:
        ConfigError: an unknown option (the nearest is named) or a value that it does not take.
    """

    task: ClassVar[str] = "tag"

    @property
    def classes_(self) -> Any:
        """The tags, in the order of `predict_proba`'s columns; with several heads a dict by name."""
        return self._by_head(class_array)

    def predict_proba(self, X: Any) -> Any:
        """For every row (T, C), the probability of every tag at every step; with several heads a dict by name."""
        found = self.predictor.probabilities(self._inputs(X))
        return self._by_head(lambda head: as_arrays(found[head.name]))
