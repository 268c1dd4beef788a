"""What a language model looked back at: aligned to the text however it is cut, and as the writer sees it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from harken.bundle import Bundle
from harken.config import LanguageModelRun
from harken.data.corpus import encode_prompt, fit_tokenizer, start_id
from harken.data.running_text import RunningText
from harken.errors import DataError, UsageError
from harken.estimators.language_model import LanguageModel
from harken.explain.heatmap import figure_of
from harken.explain.page import page
from harken.explain.past import MOST_TOKENS
from harken.models.language_model import LanguageModel as Network
from harken.models.writer import Writer

TEXT = "the cat sat on the mat\n  a dog, été and 中 too\n\nwho saw\tthe log ?\n" * 5
KINDS = ("word", "wordpunct", "character", "byte", "bpe")


@pytest.fixture
def build() -> Callable[..., LanguageModel]:
    """A fitted estimator with random weights for any options."""

    def make(**options: object) -> LanguageModel:
        sizes = {"hidden_size": 8, "embedding_size": 6, "memory_length": 7, "vocabulary_size": 300}
        config = LanguageModelRun().override(**{**sizes, **options})
        tokenizer = fit_tokenizer(RunningText.from_texts([TEXT]), config.features.tokens, 300)
        torch.manual_seed(0)
        network = Network(config.model, tokenizer.vocabulary_size)
        with torch.no_grad():  # far from uniform
            for parameter in network.parameters():
                parameter.normal_(0, 0.8)
        return LanguageModel.from_bundle(Bundle(config, {"text": tokenizer}, network.state_dict(), {}))

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_and_spans_are_those_that_were_read(build: Callable[..., LanguageModel], kind: str) -> None:
    model = build(tokens=kind)
    text = "the cat\n  b été\n\n sat\t中 zz"  # cut line by line, so blanks after a line feed are tokens of their own
    [attention] = model.explain([text])
    ids = encode_prompt(text, model.predictor.tokenizer).tolist()
    tokens, spans = attention.target_tokens, attention.spans
    assert len(tokens) == len(ids) == len(spans)
    assert attention.source_tokens == ["\n", *tokens[:-1]]
    assert spans[0] == (0, 0)
    if kind not in ("byte", "bpe"):
        assert [text[start:end] for start, end in spans[1:]] == tokens[:-1]
    covered = "".join(text[start:end] for start, end in dict.fromkeys(spans))  # a character's bytes have one span
    rest = "".join(text.split()).removeprefix("".join(covered.split()))
    assert rest in ("zz", "z"), "all but the last token, in order"


@pytest.mark.parametrize("options", [{}, {"attend_layers": "all"}, {"include_current": True, "attention": "additive"}])
def test_weights_are_those_of_the_writer_step_by_step(build: Callable[..., LanguageModel], options: dict) -> None:
    model = build(tokens="character", **options)
    tokenizer = model.predictor.tokenizer
    text = TEXT[:40]
    [attention] = model.explain([text])
    heads = [weights for _, weights in attention.heads]
    assert len(heads) == (2 if options.get("attend_layers") else 1)
    writer = Writer(model.predictor.model)
    read = [start_id(tokenizer), *encode_prompt(text, tokenizer).tolist()[:-1]]
    for step, token in enumerate(read):
        writer(token)
        for weights, expected in zip(heads, writer.weights, strict=True):
            last = step + bool(options.get("include_current"))  # that it may see
            line = weights[step].numpy()
            np.testing.assert_allclose(line[last - len(expected) : last], expected, rtol=1e-4, atol=1e-6)
            assert not line[last:].any(), "the future"
            assert not line[: last - len(expected)].any(), "beyond its memory"


def test_a_text_longer_than_a_window_is_one_text(build: Callable[..., LanguageModel]) -> None:
    model = build(tokens="character")
    text = (TEXT * 3)[:600]
    whole, beginning = (model.explain([part])[0].weights for part in (text, text[:300]))
    torch.testing.assert_close(whole[:300, :300], beginning, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(whole[1:].sum(-1), torch.ones(599))
    assert not whole.triu().any()


def test_ends_of_lines_are_line_feeds(build: Callable[..., LanguageModel]) -> None:
    for kind in KINDS:
        model = build(tokens=kind)
        [given, plain] = model.explain(["the cat\r\na dog\rsat", "the cat\na dog\nsat"])
        assert (given.source, given.target_tokens, given.spans) == (plain.source, plain.target_tokens, plain.spans)
        assert torch.equal(given.weights, plain.weights)


def test_pictures_say_the_text_once_and_call_things_by_their_names(build: Callable[..., LanguageModel]) -> None:
    [attention] = build(attend_layers="all", num_layers=3).explain(["the cat sat\non the mat"])
    figure = figure_of(attention)
    *maps, _ = figure.axes
    assert figure.texts[0].get_text() == "the cat sat⏎on the mat"
    assert [axes.get_title() for axes in maps] == ["layer 0", "layer 1", "layer 2"]
    assert (maps[0].get_xlabel(), maps[0].get_ylabel()) == ("what was read", "next token")
    assert [label.get_text() for label in maps[0].get_yticklabels()] == ["the", "cat", "sat", "⏎", "on", "the", "mat"]
    assert [label.get_text() for label in maps[0].get_xticklabels()] == ["⏎", "the", "cat", "sat", "⏎", "on", "the"]
    written = page([attention])
    assert "<h2><bdi>the cat sat⏎on the mat</bdi></h2>" in written
    assert "layer 2</caption>" in written


def test_nothing_long_and_no_attention(build: Callable[..., LanguageModel]) -> None:
    model = build(tokens="character")
    [attention] = model.explain([""])
    assert (attention.weights.shape, attention.source_tokens, attention.spans) == ((0, 0), [], [])
    figure_of(attention)
    assert model.explain([]) == []
    with pytest.raises(DataError, match=r"2,001 tokens \('aaa.*' …\) is too long to show: 2,000 at most"):
        model.explain(["a" * (MOST_TOKENS + 1)])
    with pytest.raises(UsageError, match="attention=none does not attend"):
        build(attention="none").explain(["a"])
