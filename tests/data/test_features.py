import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harken.config import DataConfig, TokenKind
from harken.data import features
from harken.data.features import BOS, EOS, PAD, UNK, Tokenizer
from harken.data.sources import read_pairs
from harken.errors import BundleError, ConfigError, DataError, UsageError

KINDS = get_args(TokenKind)
TEXTS = ["a rose is a rose", "is a rose", "naïve 🌹\nrose", ""]
AWKWARD = "né\u0301e\r\n\u2028 😀\tx\0y"


def fit(kind: str, texts=TEXTS, size: int = 400, markers: bool = True) -> Tokenizer:
    return Tokenizer.fit(texts, kind, size, markers)


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode([text])[0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_real_texts_come_back(kind, real_files):
    pairs = read_pairs(real_files / "dates" / "date.txt.gz", DataConfig(delimiter="_"))
    texts = [text.strip() for text in pairs.sources[:3000]]
    tokenizer = fit(kind, texts, size=3000, markers=False)
    encoded = tokenizer.encode(texts)
    expected = [" ".join(re.findall(r"\w+|[^\w\s]+", text)) for text in texts] if kind == "wordpunct" else texts
    assert [tokenizer.decode(row) for row in encoded] == expected
    assert [tokenizer.encode([text])[0].tolist() for text in texts[:50]] == [row.tolist() for row in encoded][:50]
    assert int(encoded.values.max()) < tokenizer.vocabulary_size


@pytest.mark.parametrize("kind", ["byte", "bpe"])
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_is_unknown_in_bytes(kind, text):
    tokenizer = ROUND_TRIP[kind]
    assert tokenizer.decode(ids(tokenizer, text)) == text
    assert tokenizer.unknown(text) == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
def test_characters_that_were_fitted_come_back(texts):
    tokenizer = fit("character", texts)
    assert [tokenizer.decode(row) for row in tokenizer.encode(texts)] == texts
    assert tokenizer.encode(texts).lengths.tolist() == list(map(len, texts))


ROUND_TRIP = {kind: fit(kind) for kind in ("byte", "bpe")}


@pytest.mark.parametrize("markers", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_ids_stand_in_the_promised_order(kind, markers):
    tokenizer = fit(kind, markers=markers)
    expected = [PAD, *([] if kind in ("byte", "bpe") else [UNK]), *([BOS, EOS] if markers else [])]
    assert [tokenizer.token(i) for i in range(len(expected))] == expected
    found = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id]
    assert found == [expected.index(name) if name in expected else None for name in (PAD, UNK, BOS, EOS)]
    rest = [tokenizer.token(i) for i in range(len(expected), tokenizer.vocabulary_size)]
    if kind == "character":
        counts = Counter("".join(TEXTS))
        assert rest == sorted(counts, key=lambda c: (-counts[c], c))
    elif kind in ("word", "wordpunct"):
        assert rest == ["rose", "a", "is", "naïve", "🌹"]
    else:
        bytes_ = [bytes([byte]).decode(errors="backslashreplace") for byte in range(256)]
        assert sorted(rest[:256]) == sorted(bytes_)
        assert len(rest) == 256 if kind == "byte" else len(rest) > 256


def test_byte_ids_are_the_bytes():
    tokenizer = fit("byte", markers=False)
    assert tokenizer.vocabulary_size == 257
    assert ids(tokenizer, "é\n") == [1 + byte for byte in "é\n".encode()]
    assert tokenizer.decode([1 + 0xC3, 1 + 0x41]) == b"\xc3\x41".decode(errors="replace")


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_spells_a_marker_is_only_text(kind):
    text = f"{PAD}{UNK}{BOS}{EOS}"
    tokenizer = fit(kind, [*TEXTS, text])
    markers = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id}
    assert not markers & set(ids(tokenizer, text))
    assert tokenizer.decode(ids(tokenizer, text)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_spans_lie_in_the_original_string(kind):
    tokenizer = fit(kind, [AWKWARD])
    spans = tokenizer.spans(AWKWARD)
    assert len(spans) == len(ids(tokenizer, AWKWARD))
    if kind == "character":
        assert spans == [(i, i + 1) for i in range(len(AWKWARD))]
    elif kind == "word":
        assert [AWKWARD[a:b] for a, b in spans] == AWKWARD.split()
    elif kind == "wordpunct":
        assert [AWKWARD[a:b] for a, b in spans] == ["né\u0301e", "😀", "x", "\0", "y"]
    elif kind == "byte":
        assert spans == [(i, i + 1) for i, character in enumerate(AWKWARD) for _ in character.encode()]
    else:
        assert spans[0][0] == 0
        assert spans[-1][1] == len(AWKWARD)
        assert all(a <= c and b <= d and a < b for (a, b), (c, d) in itertools.pairwise(spans))


def test_unknown_pieces_are_named_once_and_decoded_as_replacement():
    characters, words = fit("character"), fit("word")
    assert characters.unknown("roqsez q") == ["q", "z"]
    assert characters.decode(ids(characters, "roqse")) == "ro\N{REPLACEMENT CHARACTER}se"
    assert ids(characters, "qz") == [characters.unk_id] * 2  # neighbours stay two tokens
    assert words.unknown("a red  red rose") == ["red"]
    assert words.decode(ids(words, "a red  rose")) == "a \N{REPLACEMENT CHARACTER} rose"


def test_decode_stops_at_the_first_end_and_skips_what_is_no_text():
    tokenizer = fit("character")
    row = [tokenizer.bos_id, *ids(tokenizer, "ros"), tokenizer.pad_id, tokenizer.eos_id, *ids(tokenizer, "e")]
    assert tokenizer.decode(row) == tokenizer.decode(torch.tensor(row)) == "ros"
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_empty_texts_are_empty_rows(kind):
    assert fit(kind).encode(["", "a", ""]).lengths.tolist() == [0, 1, 0]
    assert len(fit(kind).encode([])) == 0
    assert fit(kind, []).encode([""]).lengths.tolist() == [0]


def test_blocks_do_not_show(monkeypatch):
    texts = [TEXTS[i % 4] for i in range(50)]
    whole = fit("character").encode(texts)
    monkeypatch.setattr(features, "_BLOCK", 20)
    in_blocks = fit("character").encode(texts)
    assert torch.equal(whole.values, in_blocks.values)
    assert torch.equal(whole.offsets, in_blocks.offsets)


def test_the_vocabulary_keeps_the_most_frequent_words():
    tokenizer = fit("word", size=6)
    assert tokenizer.vocabulary_size == 6
    assert tokenizer.unknown("rose a is") == ["is"]
    assert fit("bpe", ["ab" * 50] * 5, size=260).vocabulary_size == 260


@pytest.mark.parametrize(("kind", "size", "least"), [("word", 4, 4), ("bpe", 259, 259)])
def test_vocabularies_without_room(kind, size, least):
    with pytest.raises(ConfigError, match=rf"vocabulary_size \({size}\) must be more than {least}"):
        fit(kind, size=size)
    assert fit(kind, size=size + 1).vocabulary_size == size + 1


def test_texts_that_are_none():
    tokenizer = fit("character")
    for wrong in (lambda: tokenizer.encode(["\ud800"]), lambda: fit("byte", ["\ud800"])):
        with pytest.raises(DataError, match="surrogate"):
            wrong()
    with pytest.raises(UsageError, match="list of strings"):
        tokenizer.encode("rose")
    with pytest.raises(UsageError, match="list of strings"):
        tokenizer.encode([None])


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_is_the_same(kind, tmp_path):
    tokenizer = fit(kind)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    names = ("kind", "vocabulary_size", "pad_id", "unk_id", "bos_id", "eos_id")
    assert [getattr(loaded, name) for name in names] == [getattr(tokenizer, name) for name in names]
    assert [loaded.token(i) for i in range(loaded.vocabulary_size)] == [
        tokenizer.token(i) for i in range(tokenizer.vocabulary_size)
    ]
    assert ids(loaded, AWKWARD) == ids(tokenizer, AWKWARD)
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


def corrupt(change):
    def corrupted(content):
        change(content)
        return json.dumps(content)

    return corrupted


@pytest.mark.parametrize(
    "corrupted",
    [
        lambda content: json.dumps(content)[:-40],
        corrupt(lambda c: c.update(lowercase=1)),
        corrupt(lambda c: c.update(min_count=None)),
        lambda content: "[]",
        lambda content: "\x80",
        corrupt(lambda c: c.pop("kind")),
        corrupt(lambda c: c.update(kind="pickle")),
        corrupt(lambda c: c.update(markers=False)),
        corrupt(lambda c: c.update(markers=1)),
        corrupt(lambda c: c["tokenizer"]["model"]["vocab"].update(new=999)),
        corrupt(lambda c: c["tokenizer"]["model"]["vocab"].update({PAD: 1, BOS: 0})),
        corrupt(lambda c: c["tokenizer"]["model"]["vocab"].pop("a")),
        corrupt(lambda c: c["tokenizer"]["model"].update(merges=[["no", "such"]])),
        corrupt(lambda c: c["tokenizer"]["model"].update(merges=[["a"]])),
        corrupt(lambda c: c.update(format="1")),
    ],
)
def test_files_that_are_no_tokenizer(corrupted, tmp_path):
    path = tmp_path / "tokenizer.json"
    fit("bpe").save(path)
    path.write_text(corrupted(json.loads(path.read_text("utf-8"))), "utf-8")
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer"):
        Tokenizer.load(path)


def test_a_newer_or_missing_file(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(BundleError):
        Tokenizer.load(path)
    fit("word").save(path)
    path.write_text(path.read_text("utf-8").replace('"format": 2', '"format": 3'), "utf-8")
    with pytest.raises(BundleError, match="newer"):
        Tokenizer.load(path)


def test_what_the_file_holds_beside_the_vocabulary_changes_nothing(tmp_path):
    path = tmp_path / "tokenizer.json"
    fit("character").save(path)
    content = json.loads(path.read_text("utf-8"))
    content["tokenizer"]["normalizer"] = {"type": "Lowercase"}
    path.write_text(json.dumps(content), "utf-8")
    assert Tokenizer.load(path).unknown("Rose") == ["R"]


def test_the_same_vocabulary_in_another_process(tmp_path):
    words = " ".join(f"{a}{b}" for a in "abcdefgh" for b in "ijklmnop")  # all as frequent as each other
    script = "import sys; from harken.data.features import Tokenizer\n" + "".join(
        f"Tokenizer.fit([{words!r}] * 3, {kind!r}, 300, True).save(sys.argv[1] + '/{kind}')\n" for kind in KINDS
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True, env=environment)
    for kind in KINDS:
        fit(kind, [words] * 3, size=300).save(tmp_path / "here")
        assert (tmp_path / "here").read_bytes() == (tmp_path / kind).read_bytes()


@given(st.text(st.sampled_from("aZ09_ .,!-'é\t\n…😀")))
def test_wordpunct_is_the_regular_expression(text):
    tokenizer = fit("wordpunct", [text])
    pieces = re.findall(r"\w+|[^\w\s]+", text)
    assert [text[a:b] for a, b in tokenizer.spans(text)] == pieces
    assert [tokenizer.token(id) for id in ids(tokenizer, text)] == pieces


CAPITALS = "İstanbul's ΣΑΣ ǅ ẞ STRASSE ﬃ Å x"


@pytest.mark.parametrize("kind", KINDS)
def test_small_letters(kind):
    tokenizer = Tokenizer.fit([CAPITALS, "Rose rose"], kind, 400, markers=False, lowercase=True)
    assert tokenizer.lowercase
    assert ids(tokenizer, "ROSE") == ids(tokenizer, "rose")
    assert ids(fit(kind, ["ROSE rose"]), "ROSE") != ids(fit(kind, ["ROSE rose"]), "rose")
    assert tokenizer.unknown(CAPITALS) == []
    assert tokenizer.decode(ids(tokenizer, "Rose")).startswith("rose")


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(st.sampled_from("İΣςǅẞﬃÅ\u0307aB .😀"), max_size=12))
def test_spans_of_small_letters_lie_in_the_original_string(kind, text):
    tokenizer = Tokenizer.fit([text, "a"], kind, 400, markers=False, lowercase=True)
    spans = tokenizer.spans(text)
    assert len(spans) == len(ids(tokenizer, text))
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert [a for a, _ in spans] == sorted(a for a, _ in spans)
    if kind == "word":
        assert [text[a:b] for a, b in spans] == text.split()
    elif kind == "byte":  # every character is there, and the bytes of its small letters have its span
        assert [a for a, _ in spans] == [i for i, letter in enumerate(text) for _ in lowered(letter).encode()]


def lowered(letter: str) -> str:
    return "σ" if letter == "Σ" else letter.lower()


@pytest.mark.parametrize(("kind", "kept"), [("word", ["a", "is", "rose"]), ("wordpunct", ["a", "is", "rose"])])
def test_rare_words_are_unknown(kind, kept):
    tokenizer = Tokenizer.fit(["a rose is a Rose", "is it"], kind, 400, False, lowercase=True, min_count=2)
    assert sorted(tokenizer.token(i) for i in range(2, tokenizer.vocabulary_size)) == kept
    assert tokenizer.unknown("It is a ROSE") == ["It"]


def test_rare_characters_and_pairs():
    characters = Tokenizer.fit(["aab", "Ac"], "character", 400, False, lowercase=True, min_count=2)
    assert characters.vocabulary_size == 3
    often, rarely = (Tokenizer.fit(["abab ab"], "bpe", 400, False, min_count=n).vocabulary_size for n in (1, 4))
    assert often > rarely == 257
    with pytest.raises(ConfigError, match="min_count \\(2\\) must be 1 with byte"):
        Tokenizer.fit(["a"], "byte", 400, False, min_count=2)


@pytest.mark.parametrize("kind", KINDS)
def test_lowercase_is_saved(kind, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer = Tokenizer.fit([CAPITALS], kind, 400, markers=True, lowercase=True, min_count=1 if kind == "byte" else 2)
    tokenizer.save(path)
    loaded = Tokenizer.load(path)
    assert (loaded.lowercase, loaded.min_count) == (True, tokenizer.min_count)
    assert ids(loaded, CAPITALS) == ids(tokenizer, CAPITALS)


def test_a_file_from_before_there_was_lowercase(tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer = fit("word", ["Rose rose"])
    tokenizer.save(path)
    content = json.loads(path.read_text("utf-8"))
    content["format"] = 1
    del content["lowercase"], content["min_count"]
    path.write_text(json.dumps(content), "utf-8")
    loaded = Tokenizer.load(path)
    assert not loaded.lowercase
    assert ids(loaded, "Rose rose") == ids(tokenizer, "Rose rose")
