"""What the estimators that answer rows with labels or values share: `fit`, `predict`, `evaluate`, `explain`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from harken.bundle import Bundle
from harken.config import ExamplesConfig, SequenceRun
from harken.data.inputs import Inputs, as_inputs
from harken.data.labels import Head
from harken.errors import DataError, UsageError
from harken.estimators.answers import HeadAnswers, head_answers, predicted
from harken.estimators.base import Estimator
from harken.models.sequence import SequenceModel
from harken.predictor.sequence import SequencePredictor
from harken.training.rows import Labelled, hold_out, label_rows

if TYPE_CHECKING:
    from torch import nn

    from harken.data.examples import Examples
    from harken.explain.faithfulness import Faithfulness
    from harken.explain.reading import By, Reading
    from harken.training.metrics import Report


class Evaluation(NamedTuple):
    """How good the answers are."""

    metrics: dict[str, float | int]
    reports: list[Report]  # class by class, one for each head


class SequenceEstimator(Estimator[SequencePredictor]):
    """What `Classifier`, `Regressor` and `Tagger` share.

    X may be: texts; sequences of whole numbers; series, each (T,) or (T, D), as a list of arrays, a 3-D array (n, T, D)
    or, with one channel, a 2-D array (n, T); documents as lists of vectors or of sentences; for tagging lists of words;
    a data frame's or Arrow's column of any of them; a `harken.Ragged`. Pictures and recordings are given as
    `pathlib.Path`, or with the option `input` (image, audio, spectrogram) as texts or arrays. The option `input`
    says which, where it cannot be told from the data.
    """

    config: SequenceRun

    @staticmethod
    def _bring_to_life(bundle: Bundle, **parts: Any) -> SequencePredictor:
        return SequencePredictor.from_bundle(bundle, **parts)

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        validation: tuple[Any, Any] | float | None = None,
        sample_weight: Sequence[float] | None = None,
        backbone: nn.Module | None = None,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        show: Callable[[str], None] | None = None,
    ) -> Self:
        """Learn to answer.

        Args:
            X: rows, see the class.
            y: their answers: labels; several of a row as lists, or as a 2-D array of 0 and 1; numbers (`Regressor`); a
                list of tags per row (`Tagger`); a dict or data frame of several columns, each answered by a head of its
                own, where None is missing.
            validation: (X, y) to choose the best epoch on, or the fraction of the rows to hold out, dealt by a hash of
                the row; 0: none, the last epoch is kept. Default: the option `validation`, and if that is none either,
                a tenth, where that is at least 40 rows.
            sample_weight: how much each row counts, in the loss and in the scores of rows that are held out.
            backbone: of pictures: (B, 3, S, S) → (B, C, h, w), a module with its channels C as ``output_size``, that
                reads them in place of harken's own network; a copy of it is trained, and `harken.load` asks for it.
            out: a run folder to write (bundle, metrics, history, curves, resume file); None writes nothing.
            resume: continue the run in `out` as if it had never been interrupted.
            overwrite: replace the run in `out`.
            show: takes a line of text per event (``print`` will do); None is silent.

        Ctrl-C ends training after the step that is running; `fit` then returns with the best model so far, and
        ``interrupted_`` is True.

        Raises:
            DataError: rows or labels that cannot be trained on.
            ConfigError: options that do not fit the rows.
            UsageError: `out` holds a run and neither `resume` nor `overwrite` is given.
        """
        training = label_rows(X, y, sample_weight, self.config.data, self.task)
        reading = self.config.data.model_copy(update={"input": training.inputs.kind})
        how = self.config.data.validation if validation is None else validation
        held_out: Labelled | None
        if isinstance(how, tuple | list) and len(how) == 2:
            held_out = label_rows(*how, None, reading, self.task)
        elif isinstance(how, str):
            from harken.data.examples import read_examples

            held_out = _given(read_examples(how, reading, self.task, require_weights=False))
        else:
            training, held_out = hold_out(training, how, self.task)
        return self._fit(training, held_out, self.config, out, backbone, resume=resume, overwrite=overwrite, show=show)

    def fit_examples(self, examples: Examples, *, validation: Examples | None = None, **arguments: Any) -> Self:
        """`fit` on what `harken.data.examples.read_examples` returns.

        Args:
            examples: rows with their labels.
            validation: rows to choose the best epoch on; None: as the option `validation` says, which is no file then.
            arguments: out, resume, overwrite and show of `fit`.
        """
        training, held_out = _given(examples), None if validation is None else _given(validation)
        if held_out is None:
            how = self.config.data.validation
            if isinstance(how, str):
                raise UsageError(f"validation ({how!r}) names a file: read it too, and give it as validation=")
            training, held_out = hold_out(training, how, self.task)
        config = self.config.model_copy(update={"data": examples.config})
        return self._fit(training, held_out, config, **arguments)

    def _fit(
        self,
        training: Labelled,
        held_out: Labelled | None,
        config: SequenceRun,
        out: str | os.PathLike[str] | None = None,
        backbone: nn.Module | None = None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        show: Callable[[str], None] | None = None,
    ) -> Self:
        from harken.training.sequence import train_sequence

        folder = None if out is None else Path(out)
        run = {"out": folder, "resume": resume, "overwrite": overwrite, "show": show}
        trained = train_sequence(config, training, held_out, backbone=backbone, **run)  # type: ignore[arg-type]
        return self._keep(trained, backbone=backbone)

    def predict(self, X: Any) -> Any:
        """The answer to every row.

        Returns:
            Labels (n,) as an array; a list of lists for several labels of a row or for tags; values (n,) or (n, k);
            with several heads a dict of these by name. Where y was an array of 0 and 1, so is the answer.
        """
        logits, tables = self.predictor.logits(self._inputs(X)), self.predictor.indicators
        return self._by_head(lambda head: predicted(head, logits[head.name], indicator=head.name in tables))

    def answers(self, X: Any) -> dict[str, HeadAnswers]:
        """Head → logits, probabilities and labels of every row."""
        logits = self.predictor.logits(self._inputs(X))
        return {head.name: head_answers(head, logits[head.name]) for head in self.predictor.heads}

    def evaluate(self, X: Any, y: Any, *, sample_weight: Sequence[float] | None = None) -> Evaluation:
        """Scores, and for each head a report class by class.

        Raises:
            DataError: no rows, rows and labels of another number, or a label that training did not have.
        """
        return self._evaluate(label_rows(X, y, sample_weight, self._reading(), self.task))

    def evaluate_examples(self, examples: Examples) -> Evaluation:
        """`evaluate` on what `harken.data.examples.read_examples` returns."""
        return self._evaluate(_given(examples))

    def _evaluate(self, rows: Labelled) -> Evaluation:
        from harken.training.labelled import SequenceObjective
        from harken.training.metrics import report
        from harken.training.sequence import labelled_batches

        predictor = self.predictor
        rows.check("evaluation", "give some with their labels")
        objective = SequenceObjective(predictor.heads)
        for batch in labelled_batches(predictor, rows):
            objective.add(predictor.model, batch)
        metrics = objective.result()
        if "score" not in metrics:
            raise DataError("no row that counts has a label: give some with their labels")
        reports = [report(head, *objective.answered(head)) for head in predictor.heads]
        return Evaluation(metrics | {"rows": len(rows.inputs)}, reports)

    def score(self, X: Any, y: Any, sample_weight: Sequence[float] | None = None) -> float:
        """Accuracy, micro-averaged F1 of several labels, or R² of values; the mean over heads."""
        return float(self.evaluate(X, y, sample_weight=sample_weight).metrics["score"])

    def explain(self, X: Any, *, by: By = "attention", head: str | None = None) -> list[Reading]:
        """What the model looked at in every row.

        Args:
            X: rows, see the class.
            by: "attention", or "gradients": integrated gradients, of pictures Grad-CAM, which every model has.
            head: by gradients, whose answer they explain; default: the first.

        Raises:
            UsageError: the attention of a model whose pooling has none, or no such head.
        """
        from harken.explain.sequence import read_of

        predictor, reading = self.predictor, self._reading()
        inputs, originals = self._inputs(X), None
        if inputs.kind == "text" and reading.strip:
            originals = as_inputs(X, reading.model_copy(update={"strip": False}), self.task).rows
        return read_of(predictor, inputs, by=by, head=head, originals=originals)  # type: ignore[arg-type]  # texts

    def believe(self, X: Any, *, seed: int = 0) -> Faithfulness:
        """Whether what the model looked at is what made the answer: attention against integrated gradients."""
        from harken.explain.faithfulness import believe

        return believe(self.predictor, self._inputs(X), seed=seed)

    @property
    def model(self) -> SequenceModel:
        """The network, in eval mode."""
        return self.predictor.model

    @property
    def heads_(self) -> tuple[Head, ...]:
        """What is answered."""
        return self.predictor.heads

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator: rows may be arrays of 2 or 3 dimensions, lists or texts."""
        from sklearn.utils import InputTags, Tags, TargetTags

        missing = self.config.data.missing != "refuse"
        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=True, multi_output=True),
            input_tags=InputTags(two_d_array=True, three_d_array=True, string=True, allow_nan=missing),
        )

    def _reading(self) -> ExamplesConfig:
        """The limits of today on rows that are read as those in training were."""
        trained = self.predictor.config.data
        return self.config.data.model_copy(
            update={name: getattr(trained, name) for name in ("input", "strip", "missing", "image_size", "sample_rate")}
        )

    def _inputs(self, X: Any) -> Inputs:
        return as_inputs(X, self._reading(), self.task)

    def _by_head(self, make: Callable[[Head], Any]) -> Any:
        """What is made for a single head as it is, for several by name."""
        found = {head.name: make(head) for head in self.predictor.heads}
        return next(iter(found.values())) if len(found) == 1 else found


def _given(examples: Examples) -> Labelled:
    """Rows of a file, which must have labels."""
    if examples.labels is None:
        raise DataError("the rows have no labels: name their column with --label")
    return Labelled(examples.inputs, examples.labels, examples.weights)
