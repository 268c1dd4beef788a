import numpy as np
import pytest
import torch

from harken.reference import TimeAffine, TimeEmbedding


@pytest.fixture
def affine(rng):
    return TimeAffine(rng.standard_normal((3, 4)), rng.standard_normal(3))


def _affine_against_torch(affine, x, dy, worst):
    theirs = torch.nn.Linear(4, 3, dtype=torch.float64)
    theirs.weight.data, theirs.bias.data = map(torch.tensor, (affine.params["weight"], affine.params["bias"]))
    x_torch = torch.tensor(x, requires_grad=True)
    y_torch = theirs(x_torch)
    y_torch.backward(torch.tensor(dy))
    wanted = {"y": y_torch, "x": x_torch.grad, "weight": theirs.weight.grad, "bias": theirs.bias.grad}
    got = {"y": affine.forward(x), "x": affine.backward(dy), **affine.grads}
    return worst(got, {name: tensor.detach().numpy() for name, tensor in wanted.items()})


def test_affine_is_torchs(affine, rng, worst):
    assert _affine_against_torch(affine, rng.standard_normal((2, 5, 4)), rng.standard_normal((2, 5, 3)), worst) < 1e-13


def test_affine_agrees_with_finite_differences(affine, rng, numeric_error):
    x, dy = rng.standard_normal((2, 5, 4)), rng.standard_normal((2, 5, 3))
    affine.forward(x)
    grads = {"x": affine.backward(dy), **affine.grads}
    assert numeric_error(lambda: float((affine.forward(x) * dy).sum()), {"x": x, **affine.params}, grads) < 1e-8


def test_a_forgotten_bias_gradient_is_noticed(affine, rng, worst):
    class Forgetful(TimeAffine):
        def backward(self, dy):
            dx = super().backward(dy)
            self.grads["bias"] = np.zeros_like(self.grads["bias"])
            return dx

    affine = Forgetful(**affine.params)
    assert _affine_against_torch(affine, rng.standard_normal((2, 5, 4)), rng.standard_normal((2, 5, 3)), worst) > 0.5


def test_embedding_looks_up_and_sums_the_gradients_of_repeats(rng, worst, numeric_error):
    weight, ids, dvectors = (
        rng.standard_normal((6, 3)),
        np.array([[1, 5, 1], [0, 1, 5]]),
        rng.standard_normal((2, 3, 3)),
    )
    ours, theirs = TimeEmbedding(weight), torch.nn.Embedding(6, 3, _weight=torch.tensor(weight))
    vectors = theirs(torch.tensor(ids))
    vectors.backward(torch.tensor(dvectors))
    got = {"vectors": ours.forward(ids)}
    ours.backward(dvectors)
    got |= ours.grads
    assert worst(got, {"vectors": vectors.detach().numpy(), "weight": theirs.weight.grad.numpy()}) < 1e-13
    loss = lambda: float((ours.forward(ids) * dvectors).sum())  # noqa: E731
    assert numeric_error(loss, ours.params, ours.grads) < 1e-8
