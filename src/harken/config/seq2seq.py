"""A run that rewrites one text into another."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from harken.config.run import RunConfig
from harken.config.section import Fraction, RowsConfig, Section, TokenKind
from harken.config.training import Seq2SeqTraining


class DataConfig(RowsConfig):
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
        description="What separates columns in a CSV file, or source and target in a text file.",
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
    cell: Literal["lstm", "gru"] = Field("lstm", description="Recurrent cell.")
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


class Seq2SeqRun(RunConfig):
    """A whole run that rewrites texts: what `harken train --print-config` prints and `--config` reads."""

    task: Literal["seq2seq"] = Field("seq2seq", description="What is learned: seq2seq rewrites one text into another.")
    data: DataConfig = DataConfig()
    features: FeaturesConfig = FeaturesConfig()
    model: Seq2SeqConfig = Seq2SeqConfig()
    training: Seq2SeqTraining = Seq2SeqTraining()
    decoding: DecodingConfig = DecodingConfig()
