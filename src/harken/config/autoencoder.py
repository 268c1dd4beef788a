"""A run that learns to rebuild what it reads, through one short vector: embeddings, and scores of what is normal."""

from __future__ import annotations

import copy
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harken.config.run import RunConfig
from harken.config.section import Columns, FractionOrNone, RowsConfig, Section
from harken.config.sequence import ExamplesConfig
from harken.config.training import RowsTraining


def _as_elsewhere(name: str) -> Any:
    """The default, the bounds and the sentence that an option has in the tasks that answer with labels."""
    return copy.copy(ExamplesConfig.model_fields[name])


class SamplesConfig(RowsConfig):
    """Where the rows come from."""

    train: str | None = Field(
        None,
        description="File of training rows: CSV, TSV, JSON Lines, Parquet, .ts or .npz, plain or .gz.",
    )
    series: Columns = _as_elsewhere("series")
    label: Columns = Field((), description="Column that says what a row is, for the option normal.")
    normal: str | None = Field(
        None,
        description="The label of rows that are as they should be: training leaves out all others, and evaluate tells "
        "how well the scores set them apart; none: every row is learned from, and no label is read.",
    )
    id: str | None = _as_elsewhere("id")
    time: str | None = _as_elsewhere("time")
    key: str | None = _as_elsewhere("key")
    delimiter: str | None = _as_elsewhere("delimiter")
    validation: FractionOrNone | str | None = _as_elsewhere("validation")
    skip_bad_rows: bool = _as_elsewhere("skip_bad_rows")
    header: bool = _as_elsewhere("header")
    encoding: str = _as_elsewhere("encoding")
    truncate: int | None = _as_elsewhere("truncate")
    max_steps: int = _as_elsewhere("max_steps")
    missing: Literal["refuse", "carry", "linear", "mean"] = _as_elsewhere("missing")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.reading()
        if len(self.label) > 1:
            raise ValueError(f"label ({', '.join(map(repr, self.label))}) must be one column: name the one of normal")
        if self.label and self.normal is None:
            raise ValueError(
                f"label ({self.label[0]!r}) needs normal, the label of the rows that are as they should be: name it, "
                "or leave label out"
            )
        return self

    def reading(self) -> ExamplesConfig:
        """The same as the readers of files take it, for series."""
        own = {name: getattr(self, name) for name in type(self).model_fields if name not in ("normal", "validation")}
        return ExamplesConfig(input="series", **own)

    def told(self, found: ExamplesConfig) -> Self:
        """With the columns that a reader told from the data filled in: another file is then read in the same way."""
        columns = {name: getattr(found, name) for name in ("series", "id", "time", "key")}
        return self.model_copy(update=columns | ({} if self.normal is None else {"label": found.label[:1]}))


class ScalingConfig(Section):
    """How rows become numbers."""

    standardize: Literal["channel", "all", "none"] = Field(
        "channel",
        description="Give a series mean 0 and variance 1 over the training rows: each channel, all channels together, "
        "or neither.",
    )


class AutoencoderConfig(Section):
    """The shape of an autoencoder."""

    latent_size: int = Field(32, ge=1, description="Length of the vector that a whole row is rebuilt from.")
    cell: Literal["lstm", "gru"] = Field("lstm", description="Recurrent cell.")
    hidden_size: int = Field(64, ge=1, description="Units per recurrent layer and direction.")
    num_layers: int = Field(1, ge=1, description="Stacked recurrent layers, in encoder and decoder.")
    bidirectional: bool = Field(True, description="Read a row in both directions; it is written in one.")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability of dropping a value between stacked layers and before the output layer.",
    )
    feed_back: bool = Field(
        False,
        description="Give each decoder step the step before, beside the latent vector: in training the true one, "
        "afterwards its own (Malhotra et al. 2016); else every step reads the latent vector alone.",
    )
    reverse_target: bool = Field(False, description="Rebuild a row from its end (Srivastava et al. 2015, section 2.1).")


class AutoencoderTraining(RowsTraining):
    """How the weights are found."""

    epochs: int = Field(20, ge=1, description="Passes over the training rows, at most.")
    batch_size: int = Field(32, ge=1, description="Rows per step.")
    min_steps: int = Field(
        2000, ge=0, description="Take at least so many steps: an epoch then passes over a small set several times."
    )
    learning_rate: float = Field(0.003, gt=0, description="Adam's step size, at its peak.")
    monitor: Literal["loss"] = Field("loss", description="What decides on the best epoch, on validation rows.")


class DetectionConfig(Section):
    """What counts as an outlier."""

    quantile: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of normal rows that the threshold calls outliers: it is this quantile of the scores of rows "
        "held out from training or, where none are, of training rows.",
    )


class AutoencoderRun(RunConfig):
    """A whole run that rebuilds rows: what `harken train --print-config` prints and `--config` reads."""

    task: Literal["autoencoder"] = Field(
        "autoencoder", description="What is learned: autoencoder rebuilds every row from one vector."
    )
    data: SamplesConfig = SamplesConfig()
    features: ScalingConfig = ScalingConfig()
    model: AutoencoderConfig = AutoencoderConfig()
    training: AutoencoderTraining = AutoencoderTraining()
    detection: DetectionConfig = DetectionConfig()
