import numpy as np
import pytest
import torch

from harken.reference import Adam, clip_gradients


def test_adam_walks_as_torchs_does(rng):
    params = {"a": rng.standard_normal((3, 2)), "b": rng.standard_normal(4)}
    theirs = {name: torch.tensor(array.copy(), requires_grad=True) for name, array in params.items()}
    ours, torchs = Adam(0.01), torch.optim.Adam(theirs.values(), lr=0.01)
    for step in range(20):
        grads = {name: rng.standard_normal(array.shape) * 10.0 ** -(step % 9) for name, array in params.items()}
        for name, grad in grads.items():
            theirs[name].grad = torch.tensor(grad)
        torchs.step()
        ours.update(params, grads)
    for name, array in params.items():
        np.testing.assert_allclose(array, theirs[name].detach().numpy(), rtol=1e-12)


def test_the_first_step_needs_its_bias_corrections():
    param = {"p": np.zeros(1)}
    Adam(0.1, epsilon=0).update(param, {"p": np.array([1e-3])})
    assert param["p"][0] == pytest.approx(-0.1, rel=1e-12)  # α m̂/√v̂ = α sign(grad); uncorrected it would be 3.2 α


@pytest.mark.parametrize("scale", [0.1, 100.0])
def test_clipping_is_torchs(rng, scale):
    grads = [scale * rng.standard_normal(shape) for shape in ((3, 2), (4,))]
    theirs = [torch.zeros(grad.shape, dtype=torch.float64, requires_grad=True) for grad in grads]
    for parameter, grad in zip(theirs, grads, strict=True):
        parameter.grad = torch.tensor(grad.copy())
    norm = torch.nn.utils.clip_grad_norm_(theirs, 5.0)
    assert clip_gradients(grads, 5.0) == pytest.approx(norm.item(), rel=1e-12)
    for parameter, grad in zip(theirs, grads, strict=True):
        np.testing.assert_allclose(grad, parameter.grad.numpy(), rtol=1e-6)  # torch divides by norm + 1e-6
