"""Every option there is: one field = one option = one sentence of help.

A run is described by a `RunConfig`, made of sections: a `Seq2SeqRun`, a `SequenceRun`, a `LanguageModelRun` or an
`AutoencoderRun`, as the task says. The command line, YAML files and keyword arguments are three spellings of the same
fields, so a field's name is unique over all sections of a run. This package imports no torch.
"""

from harken.config.autoencoder import AutoencoderConfig, AutoencoderRun, AutoencoderTraining, SamplesConfig
from harken.config.language_model import (
    CorpusConfig,
    GenerationConfig,
    LanguageModelConfig,
    LanguageModelRun,
    LanguageModelTraining,
    TokensConfig,
)
from harken.config.recipes import RECIPES, VALUES, InputKind
from harken.config.run import TASKS, RunConfig
from harken.config.section import ByKind, Fraction, Section, TokenKind
from harken.config.seq2seq import DataConfig, DecodingConfig, FeaturesConfig, Seq2SeqConfig, Seq2SeqRun
from harken.config.sequence import INPUT_COLUMNS, ExamplesConfig, ReadingConfig, SequenceModelConfig, SequenceRun
from harken.config.training import Seq2SeqTraining, SequenceTraining, TrainingConfig

__all__ = [
    "INPUT_COLUMNS",
    "RECIPES",
    "TASKS",
    "VALUES",
    "AutoencoderConfig",
    "AutoencoderRun",
    "AutoencoderTraining",
    "ByKind",
    "CorpusConfig",
    "DataConfig",
    "DecodingConfig",
    "ExamplesConfig",
    "FeaturesConfig",
    "Fraction",
    "GenerationConfig",
    "InputKind",
    "LanguageModelConfig",
    "LanguageModelRun",
    "LanguageModelTraining",
    "ReadingConfig",
    "RunConfig",
    "SamplesConfig",
    "Section",
    "Seq2SeqConfig",
    "Seq2SeqRun",
    "Seq2SeqTraining",
    "SequenceModelConfig",
    "SequenceRun",
    "SequenceTraining",
    "TokenKind",
    "TokensConfig",
    "TrainingConfig",
]
