"""The front door of autoencoders: embeddings, reconstructions, and scores of what is normal."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from harken.bundle import Bundle
from harken.config import AutoencoderRun, SamplesConfig
from harken.data.samples import Samples, as_samples, read_normal
from harken.data.splits import split_by_hash
from harken.errors import DataError, UsageError
from harken.estimators.base import Estimator
from harken.models.autoencoder import Autoencoder as AutoencoderModel
from harken.predictor.autoencoder import AutoencoderPredictor

if TYPE_CHECKING:
    from harken.explain.reconstruction import Reconstruction

Floats = npt.NDArray[np.float32]


class Autoencoder(Estimator[AutoencoderPredictor]):
    """Learns to rebuild rows from one short vector each: an embedding, and a measure of what is normal.

    >>> model = Autoencoder(latent_size=16).fit(normal)
    >>> model.transform(rows)         # (n, 16)
    >>> model.score_samples(rows)     # (n,), higher is more normal
    >>> model.errors(rows)[0]         # (T,): where the first row is strange

    X may be: series of any length, each (T,) or (T, D), as a list of arrays, an array (n, T, D) or (n, T), a column of
    lists, a data frame of numbers or a `harken.Ragged`; and rows whose steps have any shape, such as (T, 8, 8, 3). All
    steps of all rows have one shape; `reconstruct` gives it back.

    Args:
        options: any option of `harken.AutoencoderRun`, by its name.

    Raises:
        ConfigError: an unknown option (the nearest is named) or a value that it does not take.
    """

    task: ClassVar[str] = "autoencoder"

    config: AutoencoderRun

    @staticmethod
    def _bring_to_life(bundle: Bundle, **parts: Any) -> AutoencoderPredictor:
        return AutoencoderPredictor.from_bundle(bundle)

    def fit(
        self,
        X: Any,
        y: object = None,
        *,
        validation: Any = None,
        out: str | os.PathLike[str] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        show: Callable[[str], None] | None = None,
    ) -> Self:
        """Learn to rebuild rows, and which scores are normal.

        Args:
            X: rows, see the class: all of them, or, to find outliers later, those that are as they should be.
            y: not looked at; scikit-learn's pipelines hand it over.
            validation: rows to choose the best epoch and the threshold on, or the fraction of the rows to hold out,
                dealt by a hash of the row; 0: none, the last epoch is kept, and training rows make the threshold.
                Default: the option `validation`, and if that is none either, a tenth, where that is at least 40 rows.
            out: a run folder to write (bundle, metrics, history, curves, resume file); None writes nothing.
            resume: continue the run in `out` as if it had never been interrupted.
            overwrite: replace the run in `out`.
            show: takes a line of text per event (``print`` will do); None is silent.

        Ctrl-C ends training after the step that is running; `fit` then returns with the best model so far, and
        ``interrupted_`` is True.

        Raises:
            DataError: rows that cannot be trained on.
            ConfigError: options that do not fit the rows.
            UsageError: `out` holds a run and neither `resume` nor `overwrite` is given.
        """
        training = as_samples(X, self.config.data)
        how = self.config.data.validation if validation is None else validation
        if isinstance(how, str):
            held_out: Samples | None = read_normal(how, self.config.data)
        elif how is None or isinstance(how, int | float):
            training, held_out = _hold_out(training, how)
        else:
            held_out = as_samples(how, self.config.data)
        return self._fit(training, held_out, self.config, out, resume=resume, overwrite=overwrite, show=show)

    def fit_samples(
        self, training: Samples, *, validation: Samples | None, data: SamplesConfig, **arguments: Any
    ) -> Self:
        """`fit` on rows of a file, see `harken.data.samples.normal_samples`.

        Args:
            training: rows.
            validation: rows to choose the best epoch on; None: as the option `validation` says.
            data: what was told about the file, to be kept with the model.
            arguments: out, resume, overwrite and show of `fit`.
        """
        if validation is None:
            how = self.config.data.validation
            if isinstance(how, str):
                raise UsageError(f"validation ({how!r}) names a file: read it too, and give it as validation=")
            training, validation = _hold_out(training, how)
        return self._fit(training, validation, self.config.model_copy(update={"data": data}), **arguments)

    def _fit(
        self,
        training: Samples,
        held_out: Samples | None,
        config: AutoencoderRun,
        out: str | os.PathLike[str] | None = None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        show: Callable[[str], None] | None = None,
    ) -> Self:
        from harken.training.autoencoder import train_autoencoder

        folder = None if out is None else Path(out)
        trained = train_autoencoder(
            config, training, held_out, out=folder, resume=resume, overwrite=overwrite, show=show
        )
        return self._keep(trained)

    def transform(self, X: Any) -> Floats:
        """The latent vector of every row, (n, latent_size); of a row without steps, that of nothing."""
        return self.predictor.latent(self._samples(X).inputs).numpy()

    def fit_transform(self, X: Any, y: object = None, **arguments: Any) -> Floats:
        """`fit`, then `transform` of the same rows."""
        return self.fit(X, y, **arguments).transform(X)

    def reconstruct(self, X: Any) -> list[Floats]:
        """Every row as the model rebuilds it, (T, …), in the shape and the units of the row."""
        samples = self._samples(X)
        return samples.restored(self.predictor.answers(samples.inputs).reconstruction, self.predictor.shape)

    def errors(self, X: Any) -> list[Floats]:
        """How far every step is from what was rebuilt, (T,) for each row: mean squared error, standardised."""
        errors = self.predictor.answers(self._samples(X).inputs).errors
        return [errors[row].numpy() for row in range(len(errors))]

    def score_samples(self, X: Any) -> npt.NDArray[np.float64]:
        """How normal every row is, (n,): minus the mean of its `errors`; 0 of a row without steps."""
        return self.predictor.scores(self._samples(X).inputs).double().numpy()

    def decision_function(self, X: Any) -> npt.NDArray[np.float64]:
        """`score_samples` less the threshold, (n,): below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """1 for every row that is normal, -1 for an outlier: one that scores below the threshold, (n,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_predict(self, X: Any, y: object = None, **arguments: Any) -> npt.NDArray[np.int64]:
        """`fit`, then `predict` of the same rows."""
        return self.fit(X, y, **arguments).predict(X)

    def evaluate(self, X: Any, normal: Sequence[bool] | None = None) -> dict[str, float | int | None]:
        """How well rows are rebuilt, and how well the scores tell normal rows from the rest.

        Args:
            X: rows.
            normal: whether each row is as it should be; None: not known.

        Returns:
            error, the mean over the rows; outliers, the share of rows that score below the threshold; threshold, as an
            error; rows. Where it is known what is normal: roc_auc of the scores (None where all rows are alike),
            false_alarms, the share of normal rows called outliers, and found, the share of the others.

        Raises:
            DataError: no rows, or not as many in ``normal``.
        """
        scores, threshold = self.score_samples(X), self.offset_
        if not len(scores):
            raise DataError("there are no rows to evaluate: give some")
        below = scores < threshold
        metrics: dict[str, float | int | None] = {
            "error": float(-scores.mean()),
            "outliers": float(below.mean()),
            "threshold": -threshold,
            "rows": len(scores),
        }
        if normal is None:
            return metrics
        is_normal = np.asarray(normal, dtype=bool)
        if is_normal.shape != scores.shape:
            raise DataError(f"normal {is_normal.shape} must be ({len(scores)},), a truth value for each row")
        both = bool(is_normal.any() and not is_normal.all())
        from sklearn.metrics import roc_auc_score

        return {
            "roc_auc": float(roc_auc_score(is_normal, scores)) if both else None,
            "false_alarms": float(below[is_normal].mean()) if is_normal.any() else None,
            "found": float(below[~is_normal].mean()) if not is_normal.all() else None,
            **metrics,
        }

    @property
    def offset_(self) -> float:
        """The threshold, as scikit-learn calls it: the option `quantile` of the scores of rows that were held out."""
        return self.predictor.threshold(self.config.detection.quantile)

    def explain(self, X: Any) -> list[Reconstruction]:
        """Every row, what was rebuilt, and each step's error; `harken.explain.reconstruction.write` draws them."""
        from harken.explain.reconstruction import reconstructions

        return reconstructions(self.predictor, self._samples(X), self.offset_)

    @property
    def model(self) -> AutoencoderModel:
        """The network, in eval mode."""
        return self.predictor.model

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator: rows may be arrays of 2 or more dimensions, or lists."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        missing = self.config.data.missing != "refuse"
        return Tags(
            estimator_type="outlier_detector",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float32"]),
            input_tags=InputTags(two_d_array=True, three_d_array=True, allow_nan=missing),
        )

    def _samples(self, X: Any) -> Samples:
        """Rows under today's limits, what is missing filled as in training."""
        predictor = self.predictor
        if isinstance(X, Samples):
            return X
        reading = self.config.data.model_copy(update={"missing": predictor.config.data.missing})
        samples = as_samples(X, reading)
        samples.check_shape(predictor.shape)
        return samples


def _hold_out(rows: Samples, fraction: float | None) -> tuple[Samples, Samples | None]:
    """Deal rows by a hash: those to learn from, and those to validate on.

    Raises:
        DataError: nothing can be held out.
        UsageError: no fraction.
    """
    from harken.training.rows import share_of

    if fraction is not None and not 0 <= fraction < 1:
        raise UsageError(f"validation ({fraction!r}) must be rows, or a fraction of the rows from 0 to below 1")
    share = share_of(fraction, len(rows))
    keys = rows.inputs.keys() if share else []
    if not share or (fraction is None and len(set(keys)) < 2):
        return rows, None
    kept, held = split_by_hash(keys, share)
    return rows.take(kept), rows.take(held)
