"""Front ends against one row, one word, one sentence at a time, and what is dropped in training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harken.data.batching import ModelInputs, Pieces
from harken.errors import ShapeError, UsageError
from harken.layers.local import LocalLinear
from harken.layers.masks import mask_from_lengths
from harken.layers.pooling import build_pooling, final_vector
from harken.layers.recurrent import Recurrent
from harken.models.frontends import SentenceFrontend, SeriesFrontend, TokenFrontend, WordFrontend
from harken.testing import check_padding

V, E, H = 11, 4, 3
LENGTHS = torch.tensor([3, 0, 5, 1])
INDEX = torch.tensor([[2, 0, 2, 0, 0], [0] * 5, [1, 3, 0, 0, 2], [3, 0, 0, 0, 0]])
MASK = mask_from_lengths(LENGTHS, 5)
PIECE_LENGTHS = torch.tensor([2, 4, 0, 1])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


def scrambled(module: Any) -> Any:
    """All parameters random, biases too, in float64."""
    module = module.double()
    with torch.no_grad():
        for k, parameter in enumerate(module.parameters()):
            parameter.copy_(0.7 * random(*parameter.shape, seed=100 + k))
    return module.eval()


def assert_close(value: Tensor, truth: Tensor, tolerance: float = 1e-10) -> None:
    assert value.shape == truth.shape
    value, truth = value.detach(), truth.detach()
    assert float((value - truth).norm()) <= tolerance * max(float(truth.norm()), 1e-3)


def pieces(seed: int = 1) -> Pieces:
    return Pieces(ids(4, 6, seed=seed), PIECE_LENGTHS, INDEX)  # with garbage in their padding


def words(**options: Any) -> WordFrontend:
    spelling = Recurrent(2, H, bidirectional=True)
    return scrambled(WordFrontend(TokenFrontend(V, E), TokenFrontend(V, 2), spelling, **options))


def sentences(pooling: str = "attention", **options: Any) -> SentenceFrontend:
    reader = Recurrent(E, H, bidirectional=True, num_layers=2)
    return scrambled(SentenceFrontend(TokenFrontend(V, E), reader, build_pooling(pooling, 2 * H, 2), **options))


# --- tokens -------------------------------------------------------------------------------------------------------


class Tokens(nn.Module):
    """A front end as a function of x and lengths."""

    def __init__(self, frontend: nn.Module) -> None:
        super().__init__()
        self.frontend = frontend

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.frontend(ModelInputs(x, lengths, None)).x


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_tokens_and_series_keep_the_contract(dtype: torch.dtype) -> None:
    check_padding(Tokens(scrambled(TokenFrontend(V, E))), ids(4, 6), LENGTHS, dtype=dtype).raise_if_failed()
    series = SeriesFrontend(2)
    series.standardize(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.5]))
    check_padding(Tokens(series), random(4, 6, 2), LENGTHS, dtype=dtype).raise_if_failed()


def test_a_local_layer_sees_each_step_alone_and_leaves_padding_0() -> None:
    local = LocalLinear(4, 3, 2).double()
    frontend = SeriesFrontend(4, local).double()
    frontend.standardize(random(4), random(4).abs() + 0.1)
    x = random(4, 5, 4)
    steps = frontend(ModelInputs(x, LENGTHS, None)).x
    assert steps.shape == (4, 5, frontend.output_size) == (4, 5, 6)
    alone = torch.relu(local((x[0, 2] - frontend.mean) / frontend.scale)).flatten()
    torch.testing.assert_close(steps[0, 2], alone)
    assert not steps[~MASK].any()
    check_padding(Tokens(frontend), x, LENGTHS).raise_if_failed()


def test_a_token_is_its_vector_and_padding_is_0() -> None:
    frontend, values = scrambled(TokenFrontend(V, E)), ids(4, 5)
    x, weights, lengths = frontend(ModelInputs(values, LENGTHS, None))
    assert torch.equal(lengths, LENGTHS)
    assert weights is None
    assert x.shape == (4, 5, frontend.output_size)
    assert torch.equal(x[MASK], frontend.embedding.weight[values[MASK]])
    assert bool((x[~MASK] == 0).all())


def test_rare_words_read_as_unknown_once_they_are_counted_and_are_no_part_of_the_state() -> None:
    frontend = scrambled(TokenFrontend(V, E, rare_word_dropout=1e9))
    before = frontend.state_dict().keys()
    inputs = ModelInputs(torch.full((2, 3), 4), torch.tensor([3, 2]), None)
    whole = frontend.train().embed(inputs)
    assert torch.equal(whole[0, 0], frontend.embedding.weight[4])  # not counted yet
    frontend.count(torch.ones(V, dtype=torch.int64))
    dropped = frontend.embed(inputs)
    assert torch.equal(dropped[0], frontend.embedding.weight[1].expand(3, E))
    assert not dropped[1, 2].any()
    assert torch.equal(frontend.eval().embed(inputs), whole)
    assert frontend.state_dict().keys() == before
    with pytest.raises(ShapeError, match="counts"):
        frontend.count(torch.ones(V + 1))


def test_word_dropout_reads_unknown_in_training_only() -> None:
    torch.manual_seed(0)
    frontend = scrambled(TokenFrontend(V, E, word_dropout=0.5))
    inputs = ModelInputs(torch.full((50, 5), 7), torch.full((50,), 4), None)
    weight = frontend.embedding.weight
    assert torch.equal(frontend(inputs).x[:, :4], weight[7].expand(50, 4, E))
    x = frontend.train()(inputs).x
    unknown = (x[:, :4] == weight[1]).all(-1)
    assert 0.3 < float(unknown.float().mean()) < 0.7
    assert bool((unknown | (x[:, :4] == weight[7]).all(-1)).all())
    assert bool((x[:, 4] == 0).all())  # padding is no unknown word


@pytest.mark.parametrize("frontend", [TokenFrontend(V, 40, embedding_dropout=0.5), words(embedding_dropout=0.5)])
def test_embedding_dropout_takes_whole_channels_in_training_only(frontend: Any) -> None:
    torch.manual_seed(0)
    inputs = ModelInputs(ids(4, 5), torch.full((4,), 5), pieces())
    whole = scrambled(frontend)(inputs).x
    x = frontend.train()(inputs).x
    gone = (x == 0).all(1)  # (B, F)
    assert 0.1 < float(gone.float().mean()) < 0.9
    assert not torch.equal(gone[0], gone[1])
    assert_close(x, whole * 2 * ~gone.unsqueeze(1))


@pytest.mark.parametrize("freeze", [False, True])
def test_pretrained_vectors(freeze: bool) -> None:
    frontend, vectors = TokenFrontend(V, E), random(V, E).float()
    frontend.load_vectors(vectors, freeze=freeze)
    assert torch.equal(frontend.embedding.weight, vectors)
    assert frontend.embedding.weight.requires_grad is not freeze
    with pytest.raises(ShapeError, match=r"vectors \(11, 9\) must be \(11, 4\)"):
        frontend.load_vectors(random(V, 9))


# --- series -------------------------------------------------------------------------------------------------------


def test_a_series_is_standardised_channel_by_channel() -> None:
    frontend = SeriesFrontend(2)
    values = random(4, 5, 2).float()
    values[~MASK] = float("nan")
    inputs = ModelInputs(values, LENGTHS, None)
    assert torch.equal(frontend(inputs).x[MASK], values[MASK])
    frontend.standardize(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.5]))
    x = frontend(inputs).x
    assert torch.allclose(x[MASK], (values[MASK] - torch.tensor([1.0, 2.0])) / torch.tensor([3.0, 0.5]))
    assert bool((x[~MASK] == 0).all())
    assert frontend.double()(inputs).x.dtype == torch.float64
    assert set(frontend.state_dict()) == {"mean", "scale"}


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_must_be_above_0(scale: float) -> None:
    with pytest.raises(UsageError, match=r"scale \((-?[01].0|nan)\) of channel 1 must be above 0"):
        SeriesFrontend(2).standardize(torch.zeros(2), torch.tensor([1.0, scale]))


def test_channels_must_fit() -> None:
    frontend = SeriesFrontend(2)
    with pytest.raises(ShapeError, match=r"mean \(3,\) and scale \(2,\) must be \(2,\)"):
        frontend.standardize(torch.zeros(3), torch.ones(2))
    for values in (random(4, 5, 3), random(4, 5)):
        with pytest.raises(ShapeError, match=r"must be \(B, T, 2\): the model was built for 2 channels"):
            frontend(ModelInputs(values, LENGTHS, None))


# --- words and sentences ------------------------------------------------------------------------------------------


def test_a_word_is_its_vector_and_its_spelling() -> None:
    frontend, values, parts = words(), ids(4, 5, seed=2), pieces()
    x, weights, lengths = frontend(ModelInputs(values, LENGTHS, parts))
    assert torch.equal(lengths, LENGTHS)
    assert weights is None
    assert x.shape == (4, 5, frontend.output_size) == (4, 5, E + 2 * H)
    assert bool((x[~MASK] == 0).all())
    for row, step in MASK.nonzero().tolist():
        piece = int(INDEX[row, step])
        letters = frontend.characters.embedding.weight[parts.ids[piece, : PIECE_LENGTHS[piece]]]
        state = frontend.recurrent(letters.unsqueeze(0)).state  # the word alone, unpadded
        assert_close(x[row, step, :E], frontend.words.embedding.weight[values[row, step]])
        assert_close(x[row, step, E:], state.h.flatten())


def test_words_alone() -> None:
    frontend = WordFrontend(TokenFrontend(V, E))
    assert frontend.output_size == E
    assert frontend(ModelInputs(ids(4, 5), LENGTHS, None)).x.shape == (4, 5, E)


@pytest.mark.parametrize("pooling", ["attention", "last", "max"])
def test_a_sentence_is_read_and_pooled_alone(pooling: str) -> None:
    frontend, parts = sentences(pooling), pieces()
    x, weights, lengths = frontend(ModelInputs(INDEX, LENGTHS, parts))
    assert torch.equal(lengths, LENGTHS)
    assert x.shape == (4, 5, frontend.output_size)
    assert bool((x[~MASK] == 0).all())
    for row, step in MASK.nonzero().tolist():
        piece = int(INDEX[row, step])
        tokens = frontend.tokens.embedding.weight[parts.ids[piece, : PIECE_LENGTHS[piece]]].unsqueeze(0)
        outputs, state = frontend.recurrent(tokens)
        alone = frontend.pooling(outputs, PIECE_LENGTHS[piece : piece + 1], final_vector(state, 2))
        assert_close(x[row, step], alone.vector[0])
        if weights is not None:
            assert_close(weights[piece, :, : PIECE_LENGTHS[piece]], alone.weights[0])
            assert bool((weights[piece, :, PIECE_LENGTHS[piece] :] == 0).all())
    assert (weights is None) == (pooling != "attention")


@pytest.mark.parametrize("build", [words, sentences])
def test_order_and_padding_of_pieces_do_not_matter(build: Any) -> None:
    frontend, parts, values = build(), pieces(), ids(4, 5, seed=2)

    def run(parts: Pieces) -> tuple[Tensor, dict[str, Tensor]]:
        x = frontend(ModelInputs(values, LENGTHS, parts)).x
        frontend.zero_grad()
        (x * random(*x.shape, seed=5)).sum().backward()
        return x, {name: parameter.grad for name, parameter in frontend.named_parameters()}

    wanted, wanted_gradients = run(parts)
    order = torch.tensor([3, 1, 4, 0, 2])  # with a piece that nobody points to
    wide = torch.cat([parts.ids, ids(4, 3, seed=9)], dim=1)
    wide = torch.cat([wide, ids(1, 9, seed=8)])[order]
    lengths = torch.cat([PIECE_LENGTHS, torch.tensor([7])])[order]
    garbage = torch.where(MASK, order.argsort()[INDEX], 4)
    found, gradients = run(Pieces(wide, lengths, garbage))
    assert_close(found, wanted)
    for name, gradient in gradients.items():
        assert_close(gradient, wanted_gradients[name])


@pytest.mark.parametrize("build", [words, sentences])
def test_no_pieces_at_all(build: Any) -> None:
    frontend = build()
    for shape in ((0, 0), (2, 0), (2, 3)):
        none = Pieces(ids(0, 0), torch.zeros(0, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64))
        inputs = ModelInputs(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape[0], dtype=torch.int64), none)
        x = frontend(inputs).x
        assert x.shape == (*shape, frontend.output_size)
        assert bool((x == 0).all())


@pytest.mark.parametrize("build", [words, sentences])
def test_pieces_left_out_are_refused(build: Any) -> None:
    with pytest.raises(ShapeError, match=r"inputs.pieces \(None\) must hold"):
        build()(ModelInputs(INDEX, LENGTHS, None))


def test_sentences_drop_in_training_only() -> None:
    frontend, inputs = sentences(dropout=0.5), ModelInputs(INDEX, LENGTHS, pieces())
    assert torch.equal(frontend(inputs).x, frontend(inputs).x)
    frontend.train()
    assert not torch.equal(frontend(inputs).x, frontend(inputs).x)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TokenFrontend(0, E), "vocabulary (0) must be at least 1"),
        (lambda: TokenFrontend(V, 0), "embedding size (0) must be at least 1"),
        (lambda: SeriesFrontend(0), "width (0) must be at least 1"),
        (lambda: SeriesFrontend(3, LocalLinear(4, 1, 2)), "in_features (4) of the local layer must be 3, the channels"),
        (lambda: WordFrontend(TokenFrontend(V, E), TokenFrontend(V, E)), "characters and recurrent"),
    ],
)
def test_refused_options(make: Any, text: str) -> None:
    with pytest.raises(UsageError) as error:
        make()
    assert text in str(error.value)
