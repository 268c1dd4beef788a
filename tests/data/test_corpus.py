import gzip
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harken.config import TokenKind
from harken.data import corpus, running_text, stored
from harken.data.corpus import Corpus, encode, encode_prompt, fit_tokenizer, start_id
from harken.data.features import EOS, PAD, Tokenizer
from harken.data.running_text import RunningText
from harken.errors import ConfigError, DataError, UsageError

KINDS = get_args(TokenKind)
TEXT = "To be, or  not\tto be\n\n  that is\nthe question 😀"


def texts(*content: str) -> RunningText:
    return RunningText.from_texts(content)


def fitted(kind, *content: str, **options) -> Tokenizer:
    return fit_tokenizer(texts(*content or [TEXT]), kind, 300, **options)


def tokens(text: Corpus, tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.token(id) for id in text.ids.tolist()]


def test_lines_end_with_a_marker_of_words():
    word = fitted("word")
    found = encode(texts(TEXT), word)
    written = "To be, or not to be | | that is | the question 😀 |".replace("|", EOS.replace(" ", "_"))
    assert [token.replace(" ", "_") for token in tokens(found, word)] == written.split()
    assert found.ids.dtype == torch.int32
    assert (found.characters, found.unknown) == (len(TEXT) + 1, 0)
    assert found.start_id == start_id(word) == word.eos_id
    wordpunct = fitted("wordpunct")
    assert tokens(encode(texts(TEXT), wordpunct), wordpunct)[:5] == ["To", "be", ",", "or", "not"]


@pytest.mark.parametrize("kind", ["character", "byte", "bpe"])
def test_lines_end_with_their_line_feed_else(kind):
    tokenizer = fitted(kind)
    found = encode(texts(TEXT), tokenizer)
    assert tokenizer.decode(found.ids) == TEXT
    assert found.characters == len(TEXT)
    assert tokenizer.token(found.start_id) == "\n"
    assert found.ids.tolist().count(found.start_id) == 3
    assert tokenizer.eos_id is None
    if kind == "byte":
        assert len(found.ids) == len(TEXT.encode())


def test_where_the_vocabulary_has_no_line_feed():
    tokenizer = fitted("character", "abc")
    assert start_id(tokenizer) == tokenizer.pad_id
    assert tokenizer.token(encode(texts("ab"), tokenizer).start_id) == PAD


def test_what_was_never_seen_is_counted():
    tokenizer = fitted("word", lowercase=True)
    found = encode(texts("TO be or to have\nor x"), tokenizer)
    assert tokens(found, tokenizer).count(tokenizer.token(tokenizer.unk_id)) == found.unknown == 2
    assert encode(texts("xyz"), fitted("byte")).unknown == 0


@given(st.text(st.sampled_from("ab\n\r\t .é😀"), min_size=1, max_size=60), st.sampled_from(KINDS), st.data())
def test_a_text_has_the_same_ids_however_it_is_read(text, kind, data):
    tokenizer = fitted(kind, TEXT + "ab\taé b.\n a  b\n")
    whole = encode(texts(text), tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "_BLOCK", data.draw(st.sampled_from([1, 2, 9])))
        patch.setattr(running_text, "_BLOCK", data.draw(st.sampled_from([1, 2, 9])))
        patch.setattr(stored, "_IN_MEMORY", data.draw(st.sampled_from([1, 2**26])))
        again = encode(texts(text), tokenizer)
    assert torch.equal(whole.ids, again.ids)
    assert (whole.characters, whole.unknown, whole.fingerprint()) == (
        again.characters,
        again.unknown,
        again.fingerprint(),
    )
    prompt = encode_prompt(text, tokenizer).tolist()
    open_line = tokenizer.eos_id is not None and not text.endswith(("\n", "\r"))
    assert prompt == whole.ids.tolist()[: len(prompt)]
    assert len(whole.ids) - len(prompt) == open_line


blank, piece = st.sampled_from([" ", "  ", "\t", " \t", "\t "]), st.sampled_from(["ab", "cd.", "x1", "é", "long", "'s"])


@given(st.lists(st.tuples(blank, piece).map("".join), min_size=1, max_size=30), st.sampled_from(KINDS))
def test_long_lines_are_cut_where_it_makes_no_difference(words, kind):
    text = "".join(words)
    tokenizer = fitted(kind, TEXT + text)
    whole = encode(texts(text), tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_text, "_LINE", 8)
        assert torch.equal(encode(texts(text), tokenizer).ids, whole.ids)


def test_the_vocabulary_is_of_the_training_part_only():
    training, end = texts("a b c\n" * 9 + "x y z\n").split(0.1)
    tokenizer = fit_tokenizer(training, "word", 100)
    assert encode(training, tokenizer).unknown == 0
    assert encode(end, tokenizer).unknown == 3


@pytest.mark.parametrize("kind", ["character", "byte"])
@pytest.mark.parametrize("content", [["aaaa"], ["a", "aaa"[:0]], ["a" * 3000]])
def test_a_vocabulary_of_one(kind, content):
    with pytest.raises(DataError, match="nothing to predict: every token of the text is 'a'"):
        fitted(kind, *content)


def test_a_vocabulary_of_one_marker():
    with pytest.raises(DataError, match="nothing to predict: every token of the text is '< eos >'"):
        fitted("word", "\n \n\n")
    with pytest.raises(DataError, match="every token of the text is '< unk >'"):
        fitted("character", "abc", min_count=2)
    assert fitted("word", "a a a").vocabulary_size == 5  # words and the ends of lines are two


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [[], [""], ["", ""]])
def test_no_text(kind, content):
    with pytest.raises(DataError, match="the text is empty: give a text"):
        fit_tokenizer(texts(*content), kind, 300)
    with pytest.raises(DataError, match="the text is empty: give a text"):
        encode(texts(*content), fitted(kind))
    assert encode_prompt("", fitted(kind)).tolist() == []


def test_empty_files(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"a.txt is empty"):
        fit_tokenizer(RunningText.from_files(tmp_path / "a.txt"), "word", 100)
    with pytest.raises(DataError, match=r"b.txt and what follows it is empty"):
        encode(RunningText.from_files([tmp_path / "b.txt", tmp_path / "a.txt"]), fitted("word"))
    (tmp_path / "b.txt").write_text("one two")  # an empty one among others is no harm
    assert len(encode(RunningText.from_files(tmp_path), fitted("word")).ids) == 3


def test_what_a_tokenizer_refuses():
    with pytest.raises(ConfigError, match="vocabulary_size"):
        fit_tokenizer(texts(TEXT), "word", 4)
    with pytest.raises(DataError, match="half of a surrogate pair"):
        fitted("character", "ab\ud800")
    plain = Tokenizer.fit([TEXT], "word", 100, markers=False)
    with pytest.raises(UsageError, match="word tokens needs markers for running text: use fit_tokenizer"):
        encode(texts(TEXT), plain)


def test_fingerprints_differ():
    tokenizer = fitted("character")
    prints = {encode(texts(text), tokenizer).fingerprint() for text in ("to be", "to be ", "to bt", "be to", "to be")}
    assert len(prints) == 4


def test_much_is_mapped(monkeypatch, tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(TEXT.encode() * 50))
    tokenizer = fitted("character")
    little = encode(RunningText.from_files(path), tokenizer)
    monkeypatch.setattr(stored, "_IN_MEMORY", 100)
    much = encode(RunningText.from_files(path), tokenizer)
    assert torch.equal(little.ids, much.ids)
    assert little.fingerprint() == much.fingerprint()


def test_the_penn_treebank(real_files):
    if not (real_files / "ptb").is_dir():
        pytest.skip("no Penn Treebank")
    training, *others = (
        RunningText.from_files(real_files / f"ptb/ptb.{part}.txt.gz") for part in ("train", "valid", "test")
    )
    tokenizer = fit_tokenizer(training, "word", 20_000)
    assert tokenizer.vocabulary_size == 9_999 + 4  # markers: pad, unk, bos, and eos, the 10,000th type
    found = [encode(text, tokenizer) for text in (training, *others)]
    assert [len(text.ids) for text in found] == [929_589, 73_760, 82_430]
    assert [text.unknown for text in found] == [0, 0, 0]
    assert int((found[1].ids == found[1].start_id).sum()) == 3_370
    assert found[1].characters == 399_782
