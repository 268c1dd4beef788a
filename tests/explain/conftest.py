"""Estimators with random weights: what they answer is nonsense, where they look is not the less exact."""

from collections.abc import Callable

import pytest
import torch

from harken.bundle import Bundle
from harken.config import RunConfig
from harken.data.features import Tokenizer
from harken.estimators import Seq2Seq
from harken.models.seq2seq import Seq2SeqModel

TEXTS = ["27 sept 1994", "tuesday, 3 may 2001", "été ␣ 中", "1/2/03", "x"]
ANSWERS = ["1994-09-27", "2001-05-03", "fête", "0", "x y z"]


@pytest.fixture
def build() -> Callable[..., Seq2Seq]:
    """A fitted estimator for any options."""

    def make(**options: object) -> Seq2Seq:
        config = RunConfig().override(**{"hidden_size": 8, "embedding_size": 6, "num_heads": 2, **options})
        tokenizers = {
            "source": Tokenizer.fit(TEXTS, config.features.source_tokens, 400, markers=False),
            "target": Tokenizer.fit(ANSWERS, config.features.target_tokens, 400, markers=True),
        }
        torch.manual_seed(0)
        sizes = tokenizers["source"].vocabulary_size, tokenizers["target"].vocabulary_size
        model = Seq2SeqModel(config.model, *sizes)
        with torch.no_grad():  # far from uniform, so that attention is, too
            for parameter in model.parameters():
                parameter.normal_(0, 0.8)
        return Seq2Seq.from_bundle(Bundle(config, tokenizers, model.state_dict(), {"longest_target": 5}))

    return make
