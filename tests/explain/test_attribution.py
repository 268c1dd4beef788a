"""The shares add up, belong to the right steps, and do not depend on batch, padding or how the work is cut."""

import pytest
import torch
from torch import Tensor

from harken.config import SequenceRun
from harken.data.batching import ModelInputs, Pieces
from harken.data.labels import Head
from harken.explain.attribution import attribute, chosen, integrated_gradients
from harken.layers.spectrogram import LogMelSpectrogram
from harken.models.sequence import SequenceModel

HEADS = {
    "binary": Head("h", "binary", 1, ("a", "b")),
    "two logits": Head("h", "binary", 2, ("a", "b")),
    "classes": Head("h", "classes", 4, (1, 2, 3, 4)),
    "multi-label": Head("h", "multi-label", 3, ("x", "y", "z")),
    "values": Head("h", "values", 2, (), (0.0, 1.0), (1.0, 2.0)),
}
TAGS = Head("h", "tags", 3, ("N", "V", "X"))
MEASURED = ("series", "vectors", "spectrogram")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def build(kind: str, head: Head, **options: object) -> SequenceModel:
    torch.manual_seed(1)
    run = SequenceRun().override(hidden_size=6, embedding_size=5, **options).settled(kind)
    sizes = {"width": 8 if kind == "spectrogram" else 3} if kind in MEASURED else {"vocabulary": 20}
    if kind == "audio":
        sizes = {"spectrogram": LogMelSpectrogram(2000, 8)}
    characters = 9 if kind == "words" and run.features.characters else 0
    model = SequenceModel(run.model, kind, [head], characters=characters, **sizes)
    with torch.no_grad():  # far from linear, so that adding up is no matter of course
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    return model.double().eval()


def inputs_of(kind: str, lengths: list[int] = (4, 0, 7, 1)) -> ModelInputs:
    generator = torch.Generator().manual_seed(3)
    sizes = torch.tensor(lengths, dtype=torch.int64)
    longest = max(lengths, default=0)
    real = torch.arange(longest) < sizes[:, None]
    if kind == "audio":
        sizes *= 40
        real = torch.arange(40 * longest) < sizes[:, None]
        return ModelInputs(torch.randn(real.shape, generator=generator, dtype=torch.float64) * real, sizes, None)
    if kind in MEASURED:
        width = 8 if kind == "spectrogram" else 3
        values = torch.randn(len(lengths), longest, width, generator=generator, dtype=torch.float64)
        return ModelInputs(values * real[..., None], sizes, None)
    ids = torch.randint(1, 9, (len(lengths), longest), generator=generator) * real
    if kind in ("text", "ids"):
        return ModelInputs(ids, sizes, None)
    count, widest = 5, 4  # pieces, fewer than steps: some stand in several places
    widths = torch.tensor([3, 0, 4, 1, 2])
    letters = torch.randint(1, 9, (count, widest), generator=generator) * (torch.arange(widest) < widths[:, None])
    index = torch.randint(0, count, (len(lengths), longest), generator=generator) * real
    return ModelInputs(index if kind == "sentences" else ids, sizes, Pieces(letters, widths, index))


def only(inputs: ModelInputs, row: int) -> ModelInputs:
    """One row without padding."""
    length = int(inputs.lengths[row])
    pieces = inputs.pieces
    if pieces is not None:
        used, index = pieces.index[row : row + 1, :length].unique(return_inverse=True)
        pieces = Pieces(pieces.ids[used], pieces.lengths[used], index)
    return ModelInputs(inputs.values[row : row + 1, :length], inputs.lengths[row : row + 1], pieces)


# The pure function


@pytest.mark.parametrize("points", [1, 2, 7])
def test_a_linear_function_is_split_exactly(points: int) -> None:
    x, weight = torch.randn(3, 5, 2, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    values, change = integrated_gradients(lambda z, k: (z * weight).sum((1, 2)) + 3, x, points=points)
    torch.testing.assert_close(values, (x * weight).sum(-1))
    torch.testing.assert_close(values.sum(1), change)


def test_a_quadratic_function_adds_up_exactly() -> None:
    x = torch.randn(3, 5, 2, dtype=torch.float64)
    values, change = integrated_gradients(lambda z, k: z.sum((1, 2)) ** 2, x, points=1)
    torch.testing.assert_close(values.sum(1), change)


def test_a_product_is_shared_by_its_factors() -> None:
    """F = x0 · x1 · x2: by symmetry a third each, whatever their sizes (paper, section 4)."""
    x = torch.tensor([[[2.0], [3.0], [5.0]]], dtype=torch.float64)
    values, _ = integrated_gradients(lambda z, k: z.prod(1).squeeze(1), x, points=1000)
    torch.testing.assert_close(values, torch.full((1, 3), 10.0, dtype=torch.float64), rtol=1e-5, atol=0)


def test_a_step_that_does_not_matter_gets_nothing() -> None:
    x = torch.randn(2, 4, 3)
    values, _ = integrated_gradients(lambda z, k: z[:, 1].tanh().sum(1), x)
    assert torch.equal(values[:, [0, 2, 3]], torch.zeros(2, 3))


@pytest.mark.parametrize("points", [1, 2, 7])
def test_crowded_points_are_as_exact(points: int) -> None:
    x = torch.randn(3, 5, 2, dtype=torch.float64)
    values, change = integrated_gradients(lambda z, k: z.sum((1, 2)) ** 2, x, points=points, crowded=True)
    torch.testing.assert_close(values.sum(1), change)


def test_crowded_points_where_all_happens_near_0() -> None:
    """What a norm does: x / |x| has its whole change at the start of the path."""
    x = torch.randn(3, 5, 2, dtype=torch.float64)

    def function(z: Tensor, copies: int) -> Tensor:
        return (z / (z.square().sum((1, 2), keepdim=True) + 1e-3).sqrt()).sum((1, 2))

    errors = []
    for crowded in (False, True):
        values, change = integrated_gradients(function, x, points=64, crowded=crowded)
        errors.append(float((values.sum(1) - change).abs().max()))
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize("largest", [1, 20, 33, 10_000])
def test_how_the_work_is_cut_does_not_matter(largest: int) -> None:
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    sizes = []

    def function(z: Tensor, copies: int) -> Tensor:
        sizes.append(z.shape[0] * z.shape[1])
        assert z.shape[0] == copies * len(x)
        return z.tanh().sum((1, 2)).exp()

    values, _ = integrated_gradients(function, x, points=9, largest=largest)
    whole, _ = integrated_gradients(lambda z, k: z.tanh().sum((1, 2)).exp(), x, points=9)
    torch.testing.assert_close(values, whole)
    assert max(sizes) <= max(largest, 10)  # memory is bounded, down to the batch at one point


# Models


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
@pytest.mark.parametrize("kind", ["text", "vectors", "sentences"])
def test_a_model_adds_up(kind: str, head: Head) -> None:
    attributed = attribute(build(kind, head), inputs_of(kind), head)
    assert (attributed.error <= 0.01 * attributed.change.abs() + 1e-6).all()
    assert attributed.change.abs().max() > 0.001


@pytest.mark.parametrize("options", [{"convolution": 8}, {"mlp_size": 8}], ids=str)
def test_a_model_with_kinks_adds_up_too(options: dict) -> None:
    """ReLU bends the path: the error falls with 1 / points only."""
    head = HEADS["values"]
    attributed = attribute(build("series", head, **options), inputs_of("series"), head, points=1024)
    assert (attributed.error <= 0.01 * attributed.steps.abs().sum(1) + 1e-9).all()
    assert attributed.change.abs().max() > 0.001


@pytest.mark.parametrize("kind", ["audio", "spectrogram"])
def test_sound_adds_up_too(kind: str) -> None:
    """Maxima, norms and ReLU bend the path: the error falls slowly, and is said."""
    head, inputs = HEADS["values"], inputs_of(kind)
    model = build(kind, head, cnn=4, cnn_layers=2)
    error = {}
    for points in (128, 4096):
        found = attribute(model, inputs, head, points=points)
        error[points] = float((found.error / found.steps.abs().sum(1).clamp(min=1e-9)).max())
        assert found.change.abs().max() > 0.001
    assert error[4096] < 0.01
    assert error[128] < 0.1
    assert found.steps.shape == (4, 7 if kind == "spectrogram" else 1 + (280 - 50) // 20)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("pooling", ["last", "sum", "mean", "max", "attention", "query", "self-attention", "gated"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_every_pooling_in_eval_mode(pooling: str, cell: str, device: str) -> None:
    head = HEADS["classes"]
    model = build("vectors", head, pooling=pooling, cell=cell, num_layers=2, dropout=0.5).to(device)
    assert not model.training
    attributed = attribute(model, inputs_of("vectors").to(device), head, points=128)
    assert (attributed.error <= 0.02 * attributed.steps.abs().sum(1) + 1e-9).all()
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("kind", ["text", "ids", "series", "vectors", "words", "sentences", "audio", "spectrogram"])
def test_rows_do_not_know_their_batch(kind: str) -> None:
    head = TAGS if kind == "words" else HEADS["classes"]
    model, inputs = build(kind, head), inputs_of(kind)
    together = attribute(model, inputs, head, points=5, largest=30)
    for row, length in enumerate(inputs.lengths.tolist()):
        alone = attribute(model, only(inputs, row), head, points=5)
        length = alone.steps.shape[1]  # of a recording its frames
        torch.testing.assert_close(together.steps[row, :length], alone.steps[0])
        torch.testing.assert_close(together.change[row : row + 1], alone.change)
        assert not together.steps[row, length:].any()
        if kind == "sentences" and length:
            words, places = together.words[together.places[row, :length]], alone.words[alone.places[0]]
            torch.testing.assert_close(words[..., : places.shape[-1]], places)


def test_a_sentence_is_the_sum_of_its_words() -> None:
    head = HEADS["classes"]
    inputs = inputs_of("sentences")
    attributed = attribute(build("sentences", head), inputs, head, points=5)
    for row, length in enumerate(inputs.lengths.tolist()):
        for step in range(length):
            words = attributed.words[attributed.places[row, step]]
            torch.testing.assert_close(attributed.steps[row, step], words.sum())
            assert not words[int(inputs.pieces.lengths[inputs.pieces.index[row, step]]) :].any()


def test_the_whole_answer_of_a_tagger() -> None:
    model, inputs = build("words", TAGS), inputs_of("words")
    attributed = attribute(model, inputs, TAGS, points=128)
    logits = model(inputs).logits["h"]
    nothing = model.forward_embedded(torch.zeros_like(model.embed(inputs)), inputs).logits["h"]
    best = logits.argmax(-1, keepdim=True)
    expected = (logits - nothing).gather(-1, best)[..., 0].sum(1)
    torch.testing.assert_close(attributed.change, expected)
    assert (attributed.error <= 0.01 * attributed.change.abs() + 1e-6).all()


def test_no_rows_and_no_steps() -> None:
    head = HEADS["binary"]
    for lengths in ([], [0, 0]):
        attributed = attribute(build("text", head), inputs_of("text", lengths), head)
        assert attributed.steps.shape == (len(lengths), 0)
        assert not attributed.change.any()


def test_what_is_explained() -> None:
    logits = torch.tensor([[0.5, -1.0, 2.0], [-0.5, -1.0, -2.0]])
    assert chosen(HEADS["multi-label"], logits).tolist() == [[1, 0, 1], [1, 0, 0]]
    assert chosen(Head("h", "classes", 3, "abc"), logits).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert chosen(HEADS["binary"], logits[:, :1]).tolist() == [[1], [-1]]
    assert chosen(HEADS["values"], logits[:, :2]).tolist() == [[1, 1], [1, 1]]
