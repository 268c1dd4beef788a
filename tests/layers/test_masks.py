import torch

from harken.engine import rows
from harken.layers import masks
from harken.layers.masks import mask_from_lengths


def test_mask_is_true_on_real_steps():
    found = mask_from_lengths(torch.tensor([2, 0, 3]), 3)
    assert found.dtype == torch.bool
    assert found.tolist() == [[True, True, False], [False] * 3, [True] * 3]


def test_mask_of_nothing():
    assert mask_from_lengths(torch.zeros(0, dtype=torch.int64), 4).shape == (0, 4)
    assert mask_from_lengths(torch.tensor([0, 0]), 0).shape == (2, 0)


def test_rows_are_turned_in_one_place():
    assert masks.reverse_rows is rows.reverse_rows
