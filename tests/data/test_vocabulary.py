from typing import get_args

import pytest
from tokenizers import pre_tokenizers

from harken.config import TokenKind
from harken.data.vocabulary import BOS, EOS, PAD, UNK, byte_alphabet, bytes_of, learned_tokens, markers_of, pipeline


def test_the_byte_alphabet_is_the_librarys():
    assert sorted(byte_alphabet()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert bytes_of("".join(byte_alphabet())) == bytes(range(256))


@pytest.mark.parametrize("kind", get_args(TokenKind))
def test_a_pipeline_knows_what_was_learned(kind):
    texts = ["To be, or not TO be"]
    tokens, merges = learned_tokens(kind, texts, room=300, lowercase=True, min_count=1)
    vocabulary = {token: i for i, token in enumerate([*markers_of(kind, markers=True), *tokens])}
    made = pipeline(kind, vocabulary, merges, lowercase=True)
    ids = made.encode(texts[0]).ids
    assert len(ids) >= 6
    assert ids == made.encode(texts[0].lower()).ids
    assert not {vocabulary[marker] for marker in (PAD, UNK, BOS, EOS) if marker in vocabulary} & set(ids)
