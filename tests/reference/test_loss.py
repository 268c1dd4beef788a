import numpy as np
import pytest
import torch

from harken.reference import TimeSoftmaxWithLoss, mask_from_lengths

B, T, V = 4, 3, 5


@pytest.fixture
def batch(rng):
    return rng.standard_normal((B, T, V)), rng.integers(V, size=(B, T)), mask_from_lengths(np.array([3, 1, 0, 2]), T)


def test_loss_and_gradient_are_torchs(batch, worst):
    logits, targets, mask = batch
    theirs = torch.tensor(logits, requires_grad=True)
    wanted = torch.nn.functional.cross_entropy(theirs[torch.tensor(mask)], torch.tensor(targets)[torch.tensor(mask)])
    wanted.backward()
    layer = TimeSoftmaxWithLoss()
    got = {"loss": np.array(layer.forward(logits, targets, mask)), "dlogits": layer.backward()}
    assert worst(got, {"loss": wanted.detach().numpy(), "dlogits": theirs.grad.numpy()}) < 1e-13


def test_gradient_agrees_with_finite_differences(batch, numeric_error):
    logits, targets, mask = batch
    layer = TimeSoftmaxWithLoss()
    layer.forward(logits, targets, mask)
    grads = {"logits": layer.backward()}
    assert numeric_error(lambda: layer.forward(logits, targets, mask), {"logits": logits}, grads) < 1e-8


def test_padding_has_no_part_in_it_and_a_loss_over_it_is_noticed(batch):
    logits, targets, mask = batch
    layer = TimeSoftmaxWithLoss()
    loss = layer.forward(logits, targets, mask)
    assert not layer.backward()[~mask].any()
    logits[~mask], targets[~mask] = 1e3 * np.arange(V), 0
    assert layer.forward(logits, targets, mask) == loss
    assert abs(layer.forward(logits, targets, np.ones_like(mask)) - loss) > 1


def test_large_logits_do_not_overflow_and_nothing_real_is_no_loss():
    layer, targets = TimeSoftmaxWithLoss(), np.zeros((1, 1), int)
    assert layer.forward(np.array([[[1e4, 0.0]]]), targets, np.ones((1, 1), bool)) == 0
    assert layer.forward(np.array([[[0.0, 1e4]]]), targets, np.ones((1, 1), bool)) == 1e4
    assert layer.forward(np.ones((1, 1, 2)), targets, np.zeros((1, 1), bool)) == 0
    assert not layer.backward().any()
