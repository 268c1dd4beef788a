"""Every option there is: one field = one option = one sentence of help.

A run is described by a `RunConfig`, made of sections. The command line, YAML files and keyword arguments
are three spellings of the same fields, so a field's name is unique over all sections. This module imports no torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harken.errors import ConfigError

TokenKind = Literal["character", "word", "byte", "bpe"]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A frozen group of options that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Section):
    """Where the rows come from."""

    train: str | None = Field(
        None, description="File of training rows: text, CSV, TSV, JSON Lines or Parquet, plain or .gz."
    )
    source: str = Field("source", description="Column that holds the input (files with named columns).")
    target: str = Field("target", description="Column that holds the answer (files with named columns).")
    key: str | None = Field(None, description="Column that names a row; answers written to a file carry it.")
    delimiter: str | None = Field(
        None,
        min_length=1,
        description="What separates source and target in a text file, or columns in a CSV file.",
    )
    validation: Fraction | str = Field(
        0.1, description="Rows to validate on: a file, or the fraction of the training rows to hold out."
    )
    strip: bool = Field(True, description="Ignore white space around every text.")
    skip_bad_rows: bool = Field(
        False, description="Skip, and count, rows that cannot be read instead of stopping at the first."
    )
    max_characters: int = Field(100_000, ge=1, description="Longest text that is accepted, in characters.")


class FeaturesConfig(Section):
    """How texts become ids."""

    source_tokens: TokenKind = Field("character", description="What one step of the input is.")
    target_tokens: TokenKind = Field("character", description="What one step of the answer is.")
    vocabulary_size: int = Field(
        8000, ge=1, description="Most entries a word or BPE vocabulary may have, markers included."
    )
    reverse_source: bool = Field(False, description="Read the input from its end (Sutskever et al. 2014, section 3.3).")


class Seq2SeqConfig(Section):
    """The shape of a sequence-to-sequence model."""

    kind: Literal["plain", "peeky", "attention"] = Field(
        "attention",
        description="plain: the decoder starts from the encoder's final state; peeky: it also sees it at every step; "
        "attention: every step looks back at all encoder outputs.",
    )
    cell: Literal["lstm", "gru"] = Field("lstm", description="Recurrent cell of encoder and decoder.")
    embedding_size: int = Field(64, ge=1, description="Length of a token's vector.")
    hidden_size: int = Field(256, ge=1, description="Units per recurrent layer and direction.")
    num_layers: int = Field(1, ge=1, description="Stacked recurrent layers, in encoder and decoder.")
    bidirectional: bool = Field(
        False, description="Read the input in both directions; a linear bridge joins the final states."
    )
    combine: Literal["last", "sum", "concat"] = Field(
        "last", description="What leaves a stack of layers: the top one, their sum, or all."
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability of dropping a value between stacked layers and before the output layer.",
    )
    score: Literal["dot", "scaled-dot", "general", "additive", "multi-head"] = Field(
        "dot", description="How attention compares a decoder state with an encoder output."
    )
    num_heads: int = Field(4, ge=1, description="Heads of multi-head attention.")
    input_feeding: bool = Field(
        False,
        description="Give each decoder step the previous attentional vector (Luong et al. 2015, section 3.3).",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.input_feeding and self.kind != "attention":
            raise ValueError(f"input_feeding needs kind=attention, not kind={self.kind}")
        if self.kind == "attention" and self.bidirectional and self.score in ("dot", "scaled-dot"):
            raise ValueError(
                f"score={self.score} compares vectors of one length, and a bidirectional encoder's are twice as long "
                "as the decoder's: use score=general, additive or multi-head"
            )
        if self.kind == "attention" and self.score == "multi-head" and self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must divide hidden_size ({self.hidden_size})")
        return self


class TrainingConfig(Section):
    """How the weights are found."""

    epochs: int = Field(10, ge=1, description="Passes over the training rows, at most.")
    batch_size: int = Field(128, ge=1, description="Rows per step.")
    bucket: bool = Field(True, description="Batch rows of similar length together.")
    learning_rate: float = Field(0.005, gt=0, description="Adam's step size, at its peak.")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="Learning rate over the run: constant, or warm-up then cosine to 0."
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="Fraction of all steps over which the cosine schedule warms up.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    clip_norm: float = Field(
        5.0, ge=0, description="Largest norm of the gradient over all parameters; 0 switches clipping off."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the target's probability spread over the whole vocabulary."
    )
    monitor: Literal["exact_match", "loss"] = Field(
        "exact_match", description="What decides on the best epoch, on validation rows."
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after this many epochs without a better one; none: never."
    )
    seed: int = Field(0, ge=0, description="Seed of initialisation, order, dropout and sampling.")
    show_examples: int = Field(10, ge=0, description="Validation rows whose prediction is shown after each epoch.")
    accelerator: str = Field("auto", description="Lightning's accelerator: auto, cpu, gpu, mps, …")
    devices: int | str = Field(1, description="Lightning's devices: a number, a list such as 0,1, or auto.")
    precision: str = Field("32-true", description="Lightning's precision: 32-true, 16-mixed, bf16-mixed, 64-true, …")
    logger: Literal["none", "csv", "tensorboard"] = Field("none", description="A Lightning logger beside history.csv.")
    checkpoint_minutes: float = Field(5.0, gt=0, description="Longest time between two savings of resume.ckpt.")


class DecodingConfig(Section):
    """How an answer is read off the model."""

    decoder: Literal["greedy", "beam", "sample"] = Field(
        "greedy", description="Take the best token, search with a beam, or draw."
    )
    beam_size: int = Field(5, ge=1, description="Hypotheses that beam search keeps.")
    length_penalty: float = Field(1.0, ge=0, description="A hypothesis scores log-probability / length ** this.")
    temperature: float = Field(1.0, gt=0, description="Sampling: logits are divided by this.")
    max_length: int | None = Field(
        None, ge=1, description="Longest answer in tokens; none: twice the longest training answer, plus 1."
    )


class RunConfig(Section):
    """A whole run: what `harken train --print-config` prints and `--config` reads."""

    task: Literal["seq2seq"] = Field("seq2seq", description="What is learned: seq2seq rewrites one text into another.")
    data: DataConfig = DataConfig()
    features: FeaturesConfig = FeaturesConfig()
    model: Seq2SeqConfig = Seq2SeqConfig()
    training: TrainingConfig = TrainingConfig()
    decoding: DecodingConfig = DecodingConfig()

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """Name → class of every section, in the order they are printed."""
        return {
            n: f.annotation
            for n, f in cls.model_fields.items()
            if isinstance(f.annotation, type) and issubclass(f.annotation, Section)
        }

    @classmethod
    def option_names(cls) -> dict[str, str]:
        """Flat option name → its section's name; the task itself is not among them."""
        return {field: name for name, section in cls.sections().items() for field in section.model_fields}

    @classmethod
    def build(cls, nested: Mapping[str, Any]) -> Self:
        """Validate nested values (a parsed YAML or JSON file).

        Raises:
            ConfigError: an unknown key (the nearest name is offered) or a value out of range, in one sentence.
        """
        try:
            return cls.model_validate(nested)
        except ValidationError as error:
            raise ConfigError(_one_sentence(error, cls)) from None

    def override(self, assignments: Iterable[str] = (), /, **options: Any) -> Self:
        """A copy with some options replaced, checked together: ``config.override(hidden_size=128, epochs=3)``.

        Args:
            assignments: ``section.option=value`` texts, values as in YAML; flat options win over them.
            options: by their flat names; ``task`` is one too.

        Raises:
            ConfigError: an unknown name (the nearest is offered) or a value that it does not take.
        """
        names, nested = self.option_names(), self.model_dump()
        for assignment in assignments:
            section, name, value = _assignment(assignment)
            if section not in self.sections():
                raise ConfigError(_unknown(section, self.sections()))
            nested[section][name] = value
        for name, value in options.items():
            if name == "task":
                nested["task"] = value
            elif name in names:
                nested[names[name]][name] = value
            else:
                raise ConfigError(_unknown(name, names))
        return self.build(nested)

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read what `to_yaml` writes, or any part of it; the rest keeps its defaults."""
        try:
            nested = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise ConfigError(f"the configuration is not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(nested, dict):
            raise ConfigError(
                "the configuration must be a mapping of sections, as harken train --print-config prints it"
            )
        return cls.build(nested)

    def to_yaml(self) -> str:
        """All options with their help as comments; `from_yaml` gives an equal config back."""
        lines = [_commented("task", self.task, type(self).model_fields["task"].description, "")]
        for name, section in self.sections().items():
            values = getattr(self, name)
            lines.append(f"\n# {section.__doc__}\n{name}:")
            lines += [_commented(n, getattr(values, n), f.description, "  ") for n, f in section.model_fields.items()]
        return "\n".join(lines) + "\n"


def _assignment(text: str) -> tuple[str, str, Any]:
    """``section.option=value`` in its three parts."""
    path, equals, value = text.partition("=")
    section, dot, name = path.partition(".")
    if not equals or not dot:
        raise ConfigError(f"--set {text!r} is not section.option=value, such as model.hidden_size=128")
    try:
        return section, name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {text!r}: the value is not YAML, such as 3 or [a, b]") from None


def _commented(name: str, value: object, description: str | None, indent: str) -> str:
    scalar = yaml.safe_dump(value, allow_unicode=True, width=10_000).removesuffix("\n").removesuffix("\n...")
    return f"{indent}# {description}\n{indent}{name}: {scalar}"


def _unknown(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"{name!r} is not an option: did you mean {near[0]!r}?" if near else f"{name!r} is not an option"


def _one_sentence(error: ValidationError, config: type[RunConfig]) -> str:
    """Pydantic's first complaint in harken's words."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"][:2]]  # what follows names a member of a union
    if first["type"] == "extra_forbidden":
        section = config.sections().get(place[0]) if len(place) > 1 else config
        return _unknown(place[-1], (section or config).model_fields)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return message
    return f"{'.'.join(place)} ({first['input']!r}): {message[0].lower()}{message[1:]}"
