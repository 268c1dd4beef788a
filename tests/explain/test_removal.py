"""What is taken out is gone, and nothing else is."""

import pytest
import torch

from harken.config import SequenceRun
from harken.data.batching import ModelInputs, Pieces
from harken.data.labels import Head
from harken.explain.removal import top, without
from harken.models.sequence import SequenceModel

HEAD = Head("h", "classes", 3, (0, 1, 2))


def build(kind: str) -> SequenceModel:
    run = SequenceRun().override(hidden_size=4, embedding_size=4).settled(kind)
    sizes = {"width": 2} if kind in ("series", "vectors") else {"vocabulary": 30}
    return SequenceModel(run.model, kind, [HEAD], **sizes).double().eval()


def keeps(lengths: list[int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(len(lengths), max(lengths, default=0), generator=generator) < 0.5


@pytest.mark.parametrize("lengths", [[5, 0, 9, 1], [3], [0, 0], []])
@pytest.mark.parametrize("kind", ["text", "vectors"])
def test_steps_are_deleted(kind: str, lengths: list[int]) -> None:
    model, keep, sizes = build(kind), keeps(lengths), torch.tensor(lengths, dtype=torch.int64)
    values = torch.randint(1, 30, keep.shape) if kind == "text" else torch.randn(*keep.shape, 2, dtype=torch.float64)
    left = without(model, ModelInputs(values, sizes, None), keep)
    for row, length in enumerate(lengths):
        expected = values[row, :length][keep[row, :length]]
        assert torch.equal(left.values[row, : int(left.lengths[row])], expected)
        assert not left.values[row, len(expected) :].any()
    assert left.values.shape[1] == int(left.lengths.max()) if lengths else True


def test_sentences_take_their_words_along() -> None:
    index = torch.tensor([[0, 2, 1], [1, 0, 0]])
    pieces = Pieces(torch.tensor([[4, 5], [6, 0], [7, 8]]), torch.tensor([2, 1, 2]), index)
    inputs = ModelInputs(index, torch.tensor([3, 1]), pieces)
    keep = torch.tensor([[True, False, True], [True, True, True]])
    left = without(build("sentences"), inputs, keep)
    assert left.lengths.tolist() == [2, 1]
    assert left.pieces.index.tolist() == [[0, 1], [1, 0]]
    assert torch.equal(left.values, left.pieces.index)
    assert left.pieces.ids is pieces.ids


def test_a_series_is_flattened_to_its_mean() -> None:
    model = build("series")
    model.frontend.standardize(torch.tensor([3.0, -1.0]).double(), torch.tensor([2.0, 5.0]).double())
    inputs = ModelInputs(torch.randn(2, 4, 2, dtype=torch.float64), torch.tensor([4, 2]), None)
    keep = torch.tensor([[True, False, True, False]] * 2)
    left = without(model, inputs, keep)
    assert torch.equal(left.lengths, inputs.lengths)
    assert torch.equal(left.values[keep], inputs.values[keep])
    assert not model.embed(left)[~keep].any()  # the mean is 0 after standardisation


def test_an_answer_does_not_know_what_was_deleted() -> None:
    """Deleted is as if it had never been there, padding and all."""
    model = build("text")
    inputs = ModelInputs(torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]]), torch.tensor([4, 2]), None)
    left = without(model, inputs, torch.tensor([[False, True, True, False], [False, True, True, True]]))
    for row, ids in enumerate([[4, 5], [8]]):
        alone = model(ModelInputs(torch.tensor([ids]), torch.tensor([len(ids)]), None)).logits["h"]
        torch.testing.assert_close(model(left).logits["h"][row : row + 1], alone)


@pytest.mark.parametrize(
    ("length", "percent", "count"),
    [(20, 5, 1), (20, 50, 10), (100, 1, 1), (700, 1, 7), (7, 50, 4), (1, 1, 1), (0, 50, 0), (10, 20, 2)],
)
def test_how_many_are_on_top(length: int, percent: int, count: int) -> None:
    assert int(top(torch.rand(1, 800), torch.tensor([length]), percent).sum()) == count


def test_the_highest_are_on_top() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 99.0], [-3.0, -1.0, -1.0, -2.0]])
    found = top(scores, torch.tensor([3, 4]), 50)
    assert found.tolist() == [[False, True, True, False], [False, True, True, False]]
    assert top(torch.zeros(1, 4), torch.tensor([4]), 20).tolist() == [[True, False, False, False]]  # ties by place
