import numpy as np
import pytest
import torch

from harken.reference import mask_from_lengths, masked_softmax, masked_softmax_backward, sigmoid


def test_sigmoid_is_the_logistic_function_and_never_overflows():
    x = np.array([-1e4, -30.0, -1.0, 0.0, 2.0, 1e4])
    np.testing.assert_allclose(sigmoid(x), torch.sigmoid(torch.tensor(x)).numpy(), rtol=1e-12, atol=1e-16)
    np.testing.assert_array_equal(x[:2], [-1e4, -30.0])  # the input is left alone


def test_masks_mark_the_real_steps():
    mask = mask_from_lengths(np.array([0, 2, 3]), 3)
    np.testing.assert_array_equal(mask, [[0, 0, 0], [1, 1, 0], [1, 1, 1]])


def test_softmax_and_its_gradient_are_torchs(rng, worst):
    scores, dweights = rng.standard_normal((2, 4, 3, 5))
    mask = mask_from_lengths(np.array([5, 1, 3, 4]), 5)[:, None, :]
    theirs = torch.tensor(scores, requires_grad=True)
    weights = theirs.masked_fill(~torch.tensor(mask), -torch.inf).softmax(-1)
    weights.backward(torch.tensor(dweights))
    ours = masked_softmax(scores, mask)
    got = {"weights": ours, "dscores": masked_softmax_backward(ours, dweights)}
    assert worst(got, {"weights": weights.detach().numpy(), "dscores": theirs.grad.numpy()}) < 1e-13


def test_padding_has_weight_exactly_zero_whatever_its_score():
    scores = np.array([[1.0, 2.0, np.nan, np.inf]])
    weights = masked_softmax(scores, np.array([[True, True, False, False]]))
    np.testing.assert_array_equal(weights[0, 2:], 0)
    assert weights.sum() == pytest.approx(1, abs=1e-15)


def test_a_row_without_anything_real_is_zero_and_so_is_its_gradient():
    weights = masked_softmax(np.full((2, 3), 1e300), np.array([[False] * 3, [True] * 3]))
    np.testing.assert_array_equal(weights[0], 0)
    np.testing.assert_allclose(weights[1], 1 / 3)
    np.testing.assert_array_equal(masked_softmax_backward(weights, np.ones((2, 3)))[0], 0)
    assert masked_softmax(np.empty((2, 0))).shape == (2, 0)
