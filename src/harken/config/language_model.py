"""A run that learns which token comes next in running text."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from harken.config.run import RunConfig
from harken.config.section import Fraction, RowsConfig, Section, TokenKind
from harken.config.training import TrainingConfig

Attends = Literal["none", "dot", "scaled-dot", "general", "additive"]


class CorpusConfig(RowsConfig):
    """Where the text comes from."""

    train: str | None = Field(
        None, description="File of running text, plain or .gz; or a folder of .txt and .txt.gz files."
    )
    validation: Fraction | str = Field(
        0.1, description="Text to validate on: a file or folder, or the fraction of the text to hold out, its end."
    )
    encoding: str = Field("utf-8", description="How a text file spells its characters in bytes.")


class TokensConfig(Section):
    """How text becomes ids."""

    tokens: TokenKind = Field(
        "word",
        description="What one token is; with word and wordpunct every line ends with a token of its own.",
    )
    lowercase: bool = Field(False, description="Read capital letters as small ones.")
    vocabulary_size: int = Field(
        20_000, ge=1, description="Most entries a word or BPE vocabulary may have, markers included."
    )
    min_count: int = Field(1, ge=1, description="Leave out of the vocabulary what occurs less often.")


class LanguageModelConfig(Section):
    """The shape of a language model."""

    cell: Literal["lstm", "gru"] = Field("lstm", description="Recurrent cell.")
    embedding_size: int = Field(256, ge=1, description="Length of a token's vector.")
    hidden_size: int = Field(256, ge=1, description="Units per recurrent layer.")
    num_layers: int = Field(2, ge=1, description="Stacked recurrent layers.")
    tied: bool = Field(
        True, description="The output layer's weights are the tokens' vectors (Inan et al. 2017; Press & Wolf 2017)."
    )
    attention: Attends = Field(
        "dot", description="How a step compares itself with past ones; none: it looks at no other."
    )
    memory_length: int = Field(100, ge=1, description="Past steps that attention sees.")
    include_current: bool = Field(False, description="Let attention see the step itself too; the future it never sees.")
    attend_layers: Literal["last", "all"] = Field(
        "last", description="Attend over the states of the last recurrent layer, or of every layer to its own."
    )
    join: Literal["linear", "mlp"] = Field(
        "linear",
        description="How state and context become what the output layer reads: linearly, or with a tanh after.",
    )
    dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Probability of dropping a unit at all steps of a window, between recurrent layers and before the "
        "output layer.",
    )
    input_dropout: float = Field(
        0.1, ge=0, lt=1, description="Probability of dropping a coordinate of the tokens' vectors at all steps."
    )
    embedding_dropout: float = Field(
        0.05, ge=0, lt=1, description="Probability of dropping a word, all its vectors in a batch."
    )
    weight_dropout: float = Field(
        0.1, ge=0, lt=1, description="Probability of dropping a recurrent weight for a window."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.attention == "none":
            for name, value in (("include_current", False), ("attend_layers", "last")):
                if getattr(self, name) != value:
                    raise ValueError(f"{name} ({getattr(self, name)!r}) needs attention, and attention is none")
        return self


class LanguageModelTraining(TrainingConfig):
    """How the weights are found."""

    epochs: int = Field(10, ge=1, description="Passes over the text, at most.")
    batch_size: int = Field(20, ge=1, description="Places at which the text is read at once.")
    bptt: int = Field(35, ge=1, description="Tokens that gradients reach back over; the state is carried further.")
    vary_bptt: bool = Field(True, description="Draw how far anew for every window (Merity et al. 2018, section 4.1).")
    learning_rate: float = Field(0.003, gt=0, description="Adam's step size, at its peak.")
    clip_norm: float = Field(
        1.0, ge=0, description="Largest norm of the gradient over all parameters; 0 switches clipping off."
    )
    monitor: Literal["loss"] = Field("loss", description="What decides on the best epoch, on the validation text.")
    show_examples: int = Field(1, ge=0, description="Texts that are drawn from the model after each epoch, and shown.")


class GenerationConfig(Section):
    """How text is drawn from the model."""

    temperature: float = Field(1.0, ge=0, description="Logits are divided by this; 0: always the likeliest token.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Draw among the likeliest tokens that together have this probability."
    )
    max_tokens: int = Field(200, ge=1, description="Tokens to draw.")


class LanguageModelRun(RunConfig):
    """A whole run that learns running text: what `harken train --print-config` prints and `--config` reads."""

    task: Literal["language-model"] = Field(
        "language-model", description="What is learned: language-model says which token comes next in running text."
    )
    data: CorpusConfig = CorpusConfig()
    features: TokensConfig = TokensConfig()
    model: LanguageModelConfig = LanguageModelConfig()
    training: LanguageModelTraining = LanguageModelTraining()
    generation: GenerationConfig = GenerationConfig()
