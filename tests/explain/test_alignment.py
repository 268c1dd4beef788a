"""Weights come un-padded, in the order of the text, next to the right tokens."""

from collections.abc import Callable

import pytest
import torch

from harken.errors import DataError, ShapeError, UsageError
from harken.estimators.seq2seq import Seq2Seq
from harken.explain import alignment
from harken.explain.alignment import Attention, attention_of, table
from harken.models.decoding import Decoded, decode
from harken.predictor import seq2seq as predictor

SOURCES = ["27 sept 1994", "x", "", "tuesday, 3 may 2001", "1/2/03 ☃"]
Build = Callable[..., Seq2Seq]


@pytest.mark.parametrize("reverse_source", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"score": "multi-head", "bidirectional": True},
        {"score": "additive", "input_feeding": True, "num_layers": 2, "cell": "gru"},
        {"decoder": "beam", "beam_size": 3, "score": "general"},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "default",
)
def test_equals_one_text_at_a_time(build: Build, options: dict, reverse_source: bool) -> None:
    """The oracle: no batch, no padding, and the order turned around by hand."""
    estimator = build(reverse_source=reverse_source, **options)
    model, target = estimator.model.double(), estimator.target_tokenizer
    explained = attention_of(estimator.predictor, SOURCES)
    assert [attention.source for attention in explained] == SOURCES
    for attention in explained:
        ids = estimator.source_tokenizer.encode([attention.source])[0]
        read = ids.flip(0) if reverse_source else ids
        one = decode(
            model,
            read[None],
            torch.tensor([len(read)]),
            estimator.config.decoding,
            bos_id=target.bos_id,
            eos_id=target.eos_id,
            max_length=estimator.predictor.max_length,
            with_weights=True,
        )
        weights = one.weights[0]
        expected = weights[..., torch.arange(len(ids)).flip(0)] if reverse_source else weights
        torch.testing.assert_close(attention.weights, expected, atol=1e-12, rtol=1e-10)
        assert attention.target == target.decode(one.tokens[0])
        written = [target.decode([token]) for token in one.tokens[0, : one.lengths[0]].tolist()]
        assert attention.target_tokens == written
        assert attention.source_tokens == list(attention.source)
        if len(ids):
            sums = attention.weights.sum(-1)
            torch.testing.assert_close(sums, torch.ones_like(sums))


@pytest.mark.parametrize("reverse_source", [False, True])
@pytest.mark.parametrize("heads", [None, 3])
def test_finds_the_needle(
    build: Build, monkeypatch: pytest.MonkeyPatch, reverse_source: bool, heads: int | None
) -> None:
    """A decoder that looks at the first digit that it reads, wherever padding and order put it."""
    estimator = build(reverse_source=reverse_source)
    needle = estimator.source_tokenizer.encode(["9"])[0]

    def looks_at_needle(
        model: object, source: torch.Tensor, lengths: torch.Tensor, *_: object, **__: object
    ) -> Decoded:
        weights = (source == needle).float()[:, None].expand(-1, 2, -1)  # (B, 2, S)
        weights = weights if heads is None else weights[:, None].expand(-1, heads, -1, -1)
        size = len(source)
        answer = estimator.target_tokenizer.encode(["19"])[0].expand(size, -1)
        return Decoded(answer, torch.full((size,), 2), torch.zeros(size), weights)

    monkeypatch.setattr(predictor, "decode", looks_at_needle)
    texts = ["9", "9 may", "a 9th", "tuesday the 9", "..9....", "no"]
    for attention in attention_of(estimator.predictor, texts):
        expected = torch.tensor([float(character == "9") for character in attention.source])
        shape = (2, len(attention.source)) if heads is None else (heads, 2, len(attention.source))
        assert torch.equal(attention.weights, expected.expand(shape))
        assert attention.target_tokens == ["1", "9"]


def test_more_texts_than_a_batch_keep_their_order(build: Build) -> None:
    estimator = build()
    texts = [SOURCES[i % 5] + "x" * (i % 7) for i in range(2 * alignment.BATCH_SIZE + 3)]
    explained = attention_of(estimator.predictor, texts)
    assert [attention.source for attention in explained] == texts
    assert [attention.target for attention in explained] == estimator.predict(texts)
    assert explained[0].weights.untyped_storage().nbytes() == 4 * explained[0].weights.numel()  # not a whole batch's


def test_unknown_characters_are_shown_as_they_stand(build: Build) -> None:
    assert attention_of(build().predictor, ["a☃9"])[0].source_tokens == ["a", "☃", "9"]


@pytest.mark.parametrize("kind", ["character", "word", "byte", "bpe"])
@pytest.mark.parametrize("around", ["", " \t\u2028"])
def test_spans_lead_back_into_the_text(build: Build, kind: str, around: str) -> None:
    """Into the text as it was given, the white space around it too, which no token covers."""
    text = f"{around}été  27 sept 1994 中{around}"
    attention = attention_of(build(source_tokens=kind).predictor, [text])[0]
    assert attention.source == text
    assert len(attention.spans) == len(attention.source_tokens) == attention.weights.shape[-1] > 0
    covered = [text[start:end] for start, end in attention.spans]
    if kind in ("character", "word"):
        assert covered == attention.source_tokens == (list if kind == "character" else str.split)(text.strip())
    elif kind == "byte":
        assert covered == [character for character in text.strip() for _ in character.encode()]
    else:
        # What a token says is what it covers, or the bytes of a character that other tokens share.
        assert any(len(piece) > 1 for piece in covered), "something was merged"
        for piece, token in zip(covered, attention.source_tokens, strict=True):
            assert token == piece or (len(piece) == 1 and "\\x" in token)
        whole = "".join(piece for piece, token in zip(covered, attention.source_tokens, strict=True) if piece == token)
        assert "27 sept 1994" in whole
    spaces = {i for i, character in enumerate(text) if character.isspace()}
    inside = {i for start, end in attention.spans for i in range(start, end)}
    assert inside >= set(range(len(text))) - spaces
    if around:
        assert not inside & {*range(len(around)), *range(len(text) - len(around), len(text))}


@pytest.mark.parametrize("kind", ["plain", "peeky"])
def test_a_model_that_does_not_attend(build: Build, kind: str) -> None:
    with pytest.raises(UsageError, match=f"kind={kind} .*kind=attention"):
        attention_of(build(kind=kind).predictor, ["27 sept 1994"])


def test_one_text_is_no_list_of_texts(build: Build) -> None:
    with pytest.raises(DataError, match="list of texts"):
        attention_of(build().predictor, "27 sept 1994")


def test_no_texts(build: Build) -> None:
    assert attention_of(build().predictor, []) == []


# As data


def make(heads: int | None = None) -> Attention:
    weights = torch.rand(*([] if heads is None else [heads]), 2, 3)
    return Attention("a b", "xy", ["a", " ", "b"], ["x", "y"], [(0, 1), (1, 2), (2, 3)], weights)


def test_rows_name_every_weight() -> None:
    attention = make()
    rows = attention.rows(7)
    assert len(rows) == 6
    assert rows[4] == {
        "row": 7,
        "target_index": 1,
        "target": "y",
        "source_index": 1,
        "source": " ",
        "span": [1, 2],
        "head": None,
        "weight": attention.weights[1, 1].item(),
    }


def test_heads_stay_apart() -> None:
    attention = make(heads=2)
    rows = attention.rows(0)
    assert len(rows) == 12
    for row in rows:
        assert row["weight"] == attention.weights[row["head"], row["target_index"], row["source_index"]].item()


def test_the_table_holds_the_rows() -> None:
    empty = Attention("", "x", [], ["x"], [], torch.zeros(1, 0))
    attentions = [make(), make(heads=2), empty, make()]
    expected = [row for number, a in zip([3, 5, 8, 9], attentions, strict=True) for row in a.rows(number)]
    assert table(attentions, [3, 5, 8, 9]).to_pylist() == expected
    assert table(attentions).column("row").unique().to_pylist() == [0, 1, 3]
    assert table([]).schema == table(attentions).schema


@pytest.mark.parametrize("shape", [(3, 2), (2, 2), (1, 1, 2, 3), (6,)])
def test_weights_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="weights"):
        Attention("a b", "xy", ["a", " ", "b"], ["x", "y"], [(0, 1), (1, 2), (2, 3)], torch.zeros(shape))


def test_spans_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="spans"):
        Attention("ab", "x", ["a", "b"], ["x"], [(0, 1)], torch.zeros(1, 2))
