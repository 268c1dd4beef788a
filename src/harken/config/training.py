"""How the weights are found: what all tasks share, and what each has of its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harken.config.section import ByKind, Section, by_kind


class TrainingConfig(Section):
    """How the weights are found."""

    epochs: int = Field(10, ge=1, description="Passes over the training rows, at most.")
    batch_size: int = Field(128, ge=1, description="Rows per step.")
    min_steps: int = Field(
        0, ge=0, description="Take at least so many steps: an epoch then passes over a small set several times."
    )
    learning_rate: float = Field(0.005, gt=0, description="Adam's step size, at its peak.")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="Learning rate over the run: constant, or warm-up then cosine to 0."
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="Fraction of all steps over which the cosine schedule warms up.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay; biases are spared.")
    clip_norm: float = Field(
        5.0, ge=0, description="Largest norm of the gradient over all parameters; 0 switches clipping off."
    )
    monitor: str = Field("loss", description="What decides on the best epoch, on validation rows.")
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after this many epochs without a better one on validation rows; none given: never.",
    )
    seed: int = Field(0, ge=0, description="Seed of initialisation, order, dropout and sampling.")
    show_examples: int = Field(
        10,
        ge=0,
        description="Validation rows whose prediction is shown after each epoch; of rows of numbers three at most.",
    )
    accelerator: str = Field("auto", description="Lightning's accelerator: auto, cpu, gpu, mps, …")
    devices: int | str = Field(1, description="Lightning's devices: a number, a list such as 0,1, or auto.")
    precision: str = Field("32-true", description="Lightning's precision: 32-true, 16-mixed, bf16-mixed, 64-true, …")
    logger: Literal["none", "csv", "tensorboard"] = Field("none", description="A Lightning logger beside history.csv.")
    checkpoint_minutes: float = Field(5.0, gt=0, description="Longest time between two savings of resume.ckpt.")


class RowsTraining(TrainingConfig):
    """How the weights are found."""

    batch_steps: int = Field(
        131_072, ge=1, description="Most steps in a batch, padding included (rows × longest); a larger batch is cut."
    )
    bucket: bool = Field(True, description="Batch rows of similar length together.")


class AnswersTraining(RowsTraining):
    """How the weights are found."""

    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the target's probability spread over all that could be answered."
    )


class Seq2SeqTraining(AnswersTraining):
    """How the weights are found."""

    monitor: Literal["exact_match", "loss"] = Field(
        "exact_match",
        description="What decides on the best epoch, on validation rows: the share of answers that are right from "
        "start to end, or the loss.",
    )


class SequenceTraining(AnswersTraining):
    """How the weights are found."""

    epochs: ByKind[int] = by_kind("Passes over the training rows, at most.", ge=1)
    batch_size: ByKind[int] = by_kind("Rows per step.", ge=1)
    min_steps: ByKind[int] = by_kind(
        "Take at least so many steps: an epoch then passes over a small set several times.", ge=0
    )
    learning_rate: ByKind[float] = by_kind("Adam's step size, at its peak.", gt=0)
    weight_decay: ByKind[float] = by_kind("AdamW's decoupled weight decay; biases and token vectors are spared.", ge=0)
    monitor: Literal["score", "loss"] = Field(
        "score",
        description="What decides on the best epoch, on validation rows: the loss, or the score, which is accuracy, of "
        "several labels micro-averaged F1, of values R², and of several heads the mean; without such rows the last "
        "epoch is kept.",
    )
    class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: a class weighs in the loss as much as it is rare."
    )
    init_from: str | None = Field(None, description="A trained run or bundle whose weights training starts from.")
