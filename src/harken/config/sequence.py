"""A run that answers sequences with labels or values: one a row (classify, regress) or one a step (tag)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harken.config.recipes import KINDS, RECIPES, USED_BY, VALUES, WITHOUT, InputKind
from harken.config.run import RunConfig
from harken.config.section import ByKind, Columns, FractionOrNone, RowsConfig, Section, TokenKind, by_kind
from harken.config.training import SequenceTraining
from harken.errors import ConfigError

_COMPARES = ("self-attention", "self-attention-query")
"""Poolings in which every step of a row looks at every other."""
_ASKS_THE_END = ("last", "query", "gated-query", "self-attention-query")
"""Poolings that need the final state of recurrent layers."""

INPUT_COLUMNS = ("text", "series", "vectors", "words", "image", "audio")
"""Options that name the column of the input; one of them says what a row is."""


class ExamplesConfig(RowsConfig):
    """Where the rows come from."""

    train: str | None = Field(
        None,
        description="File of training rows: CSV, TSV, JSON Lines, Parquet, .ts, .npz or CoNLL, plain or .gz; or a "
        "folder of pictures or recordings, with one folder for each class.",
    )
    input: InputKind | None = Field(
        None,
        description="What a row is: text, ids (whole numbers), series (numbers over time), vectors (a document as "
        "chunk vectors), sentences (a document as sentences), words (for tagging), image, audio, spectrogram; none: "
        "told from the data.",
    )
    text: str | None = Field(None, description="Column of the texts.")
    series: Columns = Field(
        (), description="Columns of the series: one that holds lists, or several that hold numbers; may be repeated."
    )
    vectors: str | None = Field(None, description="Column that holds a list of vectors for each document (Parquet).")
    words: str | None = Field(
        None, description="Column of the words to tag: a column of lists, or in a CoNLL file its name or number from 1."
    )
    image: str | None = Field(None, description="Column of the pictures: their files' paths, from the table's folder.")
    audio: str | None = Field(
        None,
        description="Column of the recordings: paths of WAV files, or of spectrograms (frequencies, steps) in .npy or "
        ".npz files, from the table's folder.",
    )
    root: str | None = Field(
        None, description="Folder that these files may lie in, and that their paths begin at; none: the table's own."
    )
    label: Columns = Field(
        (), description="Columns of the answer; may be repeated: several are several attributes, or several values."
    )
    label_delimiter: str | None = Field(
        None, min_length=1, description="What separates the labels in a cell, where a row may have several of them."
    )
    weight: str | None = Field(None, description="Column that says how much a row counts in training.")
    id: str | None = Field(
        None, description="Column of a file in long form that names the series: rows with one id are one series."
    )
    time: str | None = Field(
        None, description="Column of a file in long form by which the rows of a series are sorted."
    )
    key: str | None = Field(None, description="Column that names a row; answers written to a file carry it.")
    delimiter: str | None = Field(None, min_length=1, description="What separates columns in a CSV file.")
    validation: FractionOrNone | str | None = Field(
        None,
        description="Rows to validate on: a file, the fraction of the training rows to hold out, or 0 for none; "
        "none given: a tenth, if that is at least 40 rows.",
    )
    strip: bool = Field(True, description="Ignore white space around every text.")
    skip_bad_rows: bool = Field(
        False, description="Skip, and count, rows that cannot be read instead of stopping at the first."
    )
    max_characters: int = Field(100_000, ge=1, description="Longest text that is accepted, in characters.")
    header: bool = Field(True, description="The first line of a CSV file names its columns; else they are 1, 2, ….")
    encoding: str = Field("utf-8", description="How a text file spells its characters in bytes.")
    truncate: int | None = Field(None, ge=1, description="Read only so many steps of a row, from its start.")
    max_steps: int = Field(1_000_000, ge=1, description="Longest row that is accepted, in steps.")
    image_size: int = Field(64, ge=1, le=1024, description="Pixels: a picture is read at so many by so many.")
    max_pixels: int = Field(100_000_000, ge=1, description="Largest picture that is accepted, in pixels.")
    sample_rate: int | None = Field(
        None,
        ge=100,
        le=400_000,
        description="Samples a second that recordings are brought to; none: what most training rows have.",
    )
    max_seconds: float = Field(600.0, gt=0, description="Longest recording that is accepted, in seconds.")
    missing: Literal["refuse", "carry", "linear", "mean"] = Field(
        "refuse",
        description="Values that are missing in a series: refuse them, carry the last one on, draw a line between "
        "neighbours, or take the channel's training mean.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = {name: getattr(self, name) for name in INPUT_COLUMNS}
        named = [name for name, column in columns.items() if column]
        if len(named) > 1:
            raise ValueError(
                f"{named[0]} ({columns[named[0]]!r}) and {named[1]} ({columns[named[1]]!r}) both say what a row is: "
                "leave one of them out"
            )
        for name, column in columns.items():
            if shared := {*self.label}.intersection((column,) if isinstance(column, str) else column or ()):
                raise ValueError(f"label and {name} are both {min(shared)!r}: a column cannot be learned from itself")
        if self.time is not None and self.id is None:
            raise ValueError(
                f"time ({self.time!r}) sorts the rows of a series: id must name the column that groups them"
            )
        return self


class ReadingConfig(Section):
    """How rows become numbers."""

    tokens: ByKind[TokenKind] = by_kind("What one step of a text is.")
    lowercase: ByKind[bool] = by_kind("Read capital letters as small ones.")
    vocabulary_size: ByKind[int] = by_kind("Most entries the vocabulary may have.", ge=1)
    min_count: ByKind[int] = by_kind("A word that training rows hold less often than this is unknown.", ge=1)
    characters: ByKind[bool] = by_kind("Read the characters of every word, beside its vector.")
    word_vectors: str | None = Field(
        None,
        description="File of pretrained word vectors to start from, as GloVe and word2vec write them; it says the "
        "embedding_size too.",
    )
    freeze_vectors: bool = Field(False, description="Leave the pretrained word vectors as they are.")
    standardize: ByKind[Literal["channel", "all", "none"]] = by_kind(
        "Give a series mean 0 and variance 1 over the training rows: each channel, all channels together, or neither."
    )
    mels: int = Field(64, ge=1, le=512, description="Frequency bands of a recording's log-mel spectrogram.")
    window: float = Field(0.025, gt=0, le=1, description="Seconds that a frame of the spectrogram covers.")
    hop: float = Field(0.010, gt=0, le=1, description="Seconds from one frame of the spectrogram to the next.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.freeze_vectors and self.word_vectors is None:
            raise ValueError("freeze_vectors needs word_vectors, the file of those that are to stay as they are")
        return self


class SequenceModelConfig(Section):
    """The shape of a model that classifies, regresses or tags."""

    cell: Literal["lstm", "gru"] = Field("lstm", description="Recurrent cell.")
    embedding_size: ByKind[int] = by_kind("Length of a token's vector.", ge=1)
    hidden_size: ByKind[int] = by_kind("Units per recurrent layer and direction.", ge=1)
    num_layers: ByKind[int] = by_kind("Stacked recurrent layers; 0: none, what the front end gives is pooled.", ge=0)
    bidirectional: ByKind[bool] = by_kind("Read a row in both directions.")
    dropout: ByKind[float] = by_kind(
        "Probability of dropping a value before, between and after the recurrent layers.", ge=0, lt=1
    )
    embedding_dropout: ByKind[float] = by_kind(
        "Probability of dropping a channel of the token vectors, the same one at all steps of a row.", ge=0, lt=1
    )
    word_dropout: ByKind[float] = by_kind("Probability that a token is read as unknown in training.", ge=0, lt=1)
    rare_word_dropout: ByKind[float] = by_kind(
        "A token that training rows hold n times is read as unknown with probability this / (this + n).", ge=0
    )
    local: int = Field(
        0,
        ge=0,
        description="Outputs of each place of a first, locally connected layer over a step's values; 0: none.",
    )
    local_size: int = Field(8, ge=1, description="Values that a place of that layer sees; places lie side by side.")
    cnn: int = Field(
        32, ge=2, description="Channels of the first level of the convolutions that read pictures and spectrograms."
    )
    cnn_layers: int = Field(
        3,
        ge=1,
        le=6,
        description="Levels of these convolutions: each halves a picture's sides, or a spectrogram's frequencies.",
    )
    cells: bool = Field(
        True, description="Read a picture's feature map cell by cell, row after row; else its mean, as one step."
    )
    skip: bool = Field(
        True,
        description="Let the pooling see the cells of a picture too, beside what the recurrent layers say of them.",
    )
    flip: bool = Field(True, description="Mirror pictures left to right at random in training.")
    shift: float = Field(
        0.1, ge=0, lt=1, description="Most that pictures are shifted at random in training, as a share of their sides."
    )
    jitter: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Most that brightness, contrast and colour of pictures change at random in training; 0: none.",
    )
    spec_augment: bool = Field(
        False, description="Hide bands of time and of frequency of spectrograms at random in training."
    )
    convolution: ByKind[int] = by_kind(
        "Channels of a convolution over time before the recurrent layers; 0: none.", ge=0
    )
    kernel_size: ByKind[int] = by_kind("Steps that the convolution sees at once, an odd number.", ge=1)
    pooling: ByKind[
        Literal[
            "last",
            "sum",
            "mean",
            "max",
            "attention",
            "attention-linear",
            "query",
            "self-attention",
            "self-attention-query",
            "gated",
            "gated-query",
        ]
    ] = by_kind(
        "How the steps of a row become one vector: last: the final state; sum, mean, max; attention: a weighted mean, "
        "additive with tanh; attention-linear: without tanh; query: the final state asks; self-attention: every step "
        "looks at every step, then attention; self-attention-query: then query; gated: a softmax gate over a step's "
        "features beside them, then attention; gated-query: then query."
    )
    num_heads: int = Field(1, ge=1, description="Heads of attention, attention-linear and either self-attention.")
    mlp_size: ByKind[int] = by_kind("Hidden units between the pooled vector and the answer; 0: none.", ge=0)
    binary: Literal["one-logit", "two-logits"] = Field(
        "one-logit", description="How two classes are told apart: one logit and a sigmoid, or two and a softmax."
    )
    character_size: int = Field(32, ge=1, description="Length of a character's vector, where words have characters.")
    character_hidden: int = Field(64, ge=1, description="Units per direction of the layer that reads characters.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kernel_size is not None and self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size ({self.kernel_size}) must be odd, so that a step stands in the middle: "
                f"{self.kernel_size - 1} or {self.kernel_size + 1}"
            )
        if self.num_layers == 0 and self.pooling in _ASKS_THE_END:
            raise ValueError(
                f"pooling ({self.pooling}) needs a final state, which num_layers (0) leaves out: take attention, "
                "mean or max, or a layer"
            )
        if (
            self.pooling in _COMPARES
            and self.num_layers != 0
            and self.hidden_size is not None
            and self.bidirectional is not None
        ):
            size = self.hidden_size * (2 if self.bidirectional else 1)
            if size % self.num_heads:
                raise ValueError(
                    f"num_heads ({self.num_heads}) must divide the {size} values of a step, "
                    "which are hidden_size times the directions"
                )
        return self


class SequenceRun(RunConfig):
    """A whole run that classifies, regresses or tags: what `harken train --print-config` prints."""

    task: Literal["classify", "regress", "tag"] = Field(
        "classify",
        description="What is learned: classify gives a row a label, regress a value, tag gives every step a label.",
    )
    data: ExamplesConfig = ExamplesConfig()
    features: ReadingConfig = ReadingConfig()
    model: SequenceModelConfig = SequenceModelConfig()
    training: SequenceTraining = SequenceTraining()

    def settled(self, kind: InputKind) -> SequenceRun:
        """The run for one kind of input: what is None takes its value from the kind's recipe.

        Raises:
            ConfigError: what the user set does not go together with the recipe.
        """
        recipe = self._recipe(kind)
        return self.override(input=kind, **{name: value for name, value in recipe.items() if self._value(name) is None})

    def check_used(self, names: Iterable[str]) -> None:
        """Refuse an option that somebody has set and that changes nothing in this run, which is settled.

        One that has the recipe's value is fine: a run that was settled before has them all.

        Args:
            names: of the options that were set, see `changed`.

        Raises:
            ConfigError: one of them makes no difference to this task, this kind of input, or beside another option.
        """
        assert self.data.input is not None
        recipe = self._recipe(self.data.input)
        for name in names:
            value = self._value(name)
            why = "" if name in recipe and value == recipe[name] else self._useless(name, self.data.input)
            if why:
                raise ConfigError(f"{name} ({value!r}) does nothing {why}")

    def has_use(self, name: str) -> bool:
        """Whether an option can make a difference to this task."""
        return self.task in USED_BY.get(name, (self.task,))

    @property
    def attention_heads(self) -> int:
        """How many heads of self-attention compare every step of a row with every other; 0: none does."""
        return self.model.num_heads if self.model.pooling in _COMPARES and self.has_use("pooling") else 0

    def _recipe(self, kind: InputKind) -> dict[str, Any]:
        return RECIPES[kind] | (VALUES.get(kind, {}) if self.task == "regress" else {})

    def _useless(self, name: str, kind: InputKind) -> str:
        """Why an option makes no difference, and the way out; nothing if it does."""
        if not self.has_use(name):
            return f"in task={self.task}: it is for {_listed(USED_BY[name])}, so leave it out"
        if kind not in KINDS.get(name, (kind,)):
            return f"for input={kind}: it is for {_listed(KINDS[name])}, so leave it out"
        other, values = WITHOUT.get(name, ("", ()))
        if values and self._value(other) in values:
            return f"with {other}={str(self._value(other)).lower()}: leave it out, or change {other}"
        return ""

    def _value(self, name: str) -> Any:
        return getattr(getattr(self, self.option_names()[name]), name)


def _listed(names: tuple[str, ...]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
