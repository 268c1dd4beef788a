import torch

from harken.engine.rows import reverse_rows


def test_rows_turn_within_their_own_length():
    x = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    lengths = torch.tensor([3, 0, 4])
    found = reverse_rows(x, lengths)
    assert found.tolist() == [[3, 2, 1, 4], [5, 6, 7, 8], [12, 11, 10, 9]]
    assert torch.equal(reverse_rows(found, lengths), x)


def test_features_stay_together_and_gradients_turn_back():
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([2, 3])
    found = reverse_rows(x, lengths)
    assert torch.equal(found[0], x[0, [1, 0, 2]])
    weight = torch.randn(2, 3, 2, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((found * weight).sum(), x)
    assert torch.equal(gradient, reverse_rows(weight, lengths))
