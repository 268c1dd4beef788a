"""Greedy, beam and sampling against what their definitions say."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from harken.config import DecodingConfig, Seq2SeqConfig
from harken.models.decoding import Chance, Decoded, decode
from harken.models.seq2seq import Seq2SeqModel

BOS, EOS, VOCABULARY = 2, 3, 6
GREEDY = DecodingConfig()


def build(seed: int = 0, **options: object) -> Seq2SeqModel:
    torch.manual_seed(seed)
    model = Seq2SeqModel(Seq2SeqConfig(hidden_size=5, embedding_size=4, **options), 7, VOCABULARY)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    return model.double().eval()


def sources() -> tuple[Tensor, Tensor]:
    return torch.randint(1, 7, (5, 6), generator=torch.Generator().manual_seed(4)), torch.tensor([6, 0, 3, 1, 5])


def run(model: Seq2SeqModel, config: DecodingConfig, max_length: int = 4, **more: object) -> Decoded:
    return decode(model, *sources(), config, bos_id=BOS, eos_id=EOS, max_length=max_length, **more)


@torch.no_grad()
def log_probability(model: Seq2SeqModel, row: int, tokens: list[int]) -> float:
    """Of one answer, by teacher forcing."""
    source, lengths = (t[row : row + 1] for t in sources())
    said = [*tokens, EOS]
    target_in = torch.tensor([[BOS, *said][: len(said)]], dtype=torch.int64)
    logits = model(source, lengths, target_in, torch.tensor([len(said)])).logits
    return float(logits.log_softmax(-1)[0].gather(1, torch.tensor(said, dtype=torch.int64)[:, None]).sum())


@pytest.mark.parametrize("kind", ["plain", "peeky", "attention"])
def test_greedy_takes_the_best_token_each_time(kind: str) -> None:
    lengths_seen = set()
    for seed in range(6):
        model = build(seed, kind=kind)
        decoded = run(model, GREEDY)
        for row in range(5):
            said: list[int] = []
            while len(said) < 4:  # max_length
                source, lengths = (t[row : row + 1] for t in sources())
                target_in = torch.tensor([[BOS, *said]])
                logits = model(source, lengths, target_in, torch.tensor([len(said) + 1])).logits[0, -1].detach()
                logits[[0, BOS]] = -torch.inf
                if int(logits.argmax()) == EOS:
                    break
                said.append(int(logits.argmax()))
            n = int(decoded.lengths[row])
            assert decoded.tokens[row, :n].tolist() == said
            assert decoded.tokens[row, n:].eq(0).all()
            assert float(decoded.log_probability[row]) == pytest.approx(log_probability(model, row, said))
            lengths_seen.add(n)
    assert len(lengths_seen) > 1, "rows must end at different steps, or nothing is shown"


@pytest.mark.parametrize("kind", ["plain", "peeky", "attention"])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_is_greedy(kind: str, seed: int) -> None:
    model = build(seed, kind=kind)
    greedy, one = (run(model, c, 7) for c in (GREEDY, DecodingConfig(decoder="beam", beam_size=1)))
    assert torch.equal(greedy.tokens, one.tokens)
    assert torch.equal(greedy.lengths, one.lengths)
    assert torch.allclose(greedy.log_probability, one.log_probability)


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("feeds", [False, True])
def test_a_wide_beam_finds_the_best_answer_there_is(penalty: float, feeds: bool) -> None:
    """Among all answers of up to three tokens (max_length), the one of the highest normalised log-probability."""
    model = build(kind="attention", input_feeding=feeds)
    wide = run(model, DecodingConfig(decoder="beam", beam_size=200, length_penalty=penalty), 3)
    words = [1, 4, 5]
    answers = [list(a) for n in range(4) for a in itertools.product(words, repeat=n)]
    for row in range(5):
        scored = [(log_probability(model, row, a) / (len(a) + 1) ** penalty, a) for a in answers]
        best, tokens = max(scored)
        n = int(wide.lengths[row])
        assert wide.tokens[row, :n].tolist() == tokens
        assert float(wide.log_probability[row]) / (n + 1) ** penalty == pytest.approx(best)


def test_an_answer_does_not_depend_on_batch_mates() -> None:
    model = build(kind="attention")
    for config in (GREEDY, DecodingConfig(decoder="beam", beam_size=3)):
        together = run(model, config)
        for row in range(5):
            source, lengths = (t[row : row + 1] for t in sources())
            alone = decode(model, source[:, : int(lengths[0])], lengths, config, bos_id=BOS, eos_id=EOS, max_length=4)
            n = int(together.lengths[row])
            assert alone.tokens[0].tolist() == together.tokens[row, :n].tolist()
            assert torch.allclose(alone.log_probability[0], together.log_probability[row])


@pytest.mark.parametrize("score", ["dot", "multi-head"])
def test_weights_belong_to_the_step_that_wrote_the_token(score: str) -> None:
    model = build(kind="attention", score=score, num_heads=5)
    decoded = run(model, GREEDY, with_weights=True)
    assert decoded.weights is not None
    memory = model.encode(*sources())
    state, last = model.start(memory), torch.full((5,), BOS)
    for t in range(decoded.tokens.shape[1]):
        _, state, weights = model.step(last, state, memory)
        live = t < decoded.lengths
        assert weights is not None
        assert torch.allclose(decoded.weights[live][..., t, :], weights[live])
        last = decoded.tokens[:, t]


def test_sampling_follows_its_seed_and_its_temperature() -> None:
    model = build(kind="attention")
    config = DecodingConfig(decoder="sample")
    draws = [run(model, config, chance=Chance(s, torch.arange(5))).tokens for s in (1, 1, 2, 3, 4)]
    assert torch.equal(draws[0], draws[1])
    assert any(d.shape != draws[0].shape or not torch.equal(d, draws[0]) for d in draws[2:])
    cold = run(model, DecodingConfig(decoder="sample", temperature=1e-6), chance=Chance(5, torch.arange(5)))
    assert torch.equal(cold.tokens, run(model, GREEDY).tokens)


def test_sampling_draws_from_the_models_distribution() -> None:
    model = build(kind="plain")
    source, lengths = (t[:1].expand(4000, *t.shape[1:]) for t in sources())
    config = DecodingConfig(decoder="sample")
    drawn = decode(
        model, source, lengths, config, bos_id=BOS, eos_id=EOS, max_length=1, chance=Chance(0, torch.arange(4000))
    )
    logits = model(source[:1], lengths[:1], torch.tensor([[BOS]]), torch.tensor([1])).logits[0, 0]
    logits[[0, BOS]] = -torch.inf
    seen = torch.bincount(drawn.tokens[:, 0], minlength=VOCABULARY).double() / 4000
    expected = logits.softmax(-1)
    expected[0] = expected[EOS]  # an ended row writes 0
    expected[EOS] = 0
    assert (seen - expected).abs().max() < 0.04


def test_what_a_row_draws_does_not_depend_on_its_batch() -> None:
    model, config = build(kind="attention"), DecodingConfig(decoder="sample", temperature=2.0)
    together = run(model, config, 80, chance=Chance(7, torch.arange(5)))
    order = torch.tensor([3, 1])
    source, lengths = (t[order] for t in sources())
    chance = Chance(7, order)
    apart = decode(model, source, lengths, config, bos_id=BOS, eos_id=EOS, max_length=80, chance=chance)
    for place, row in enumerate(order.tolist()):
        n = int(apart.lengths[place])
        assert apart.tokens[place, :n].tolist() == together.tokens[row, : int(together.lengths[row])].tolist()


@pytest.mark.parametrize("decoder", ["greedy", "beam", "sample"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_nothing_to_decode(decoder: str, bidirectional: bool) -> None:
    model = build(kind="attention", score="general", bidirectional=bidirectional)
    empty = decode(
        model,
        torch.zeros(0, 3, dtype=torch.int64),
        torch.zeros(0, dtype=torch.int64),
        DecodingConfig(decoder=decoder),
        bos_id=BOS,
        eos_id=EOS,
        max_length=5,
        with_weights=True,
    )
    assert empty.tokens.shape == (0, 0)
    assert empty.log_probability.shape == (0,)
