import pytest
import torch

from harken.engine import backends, packed, portable
from harken.errors import ConfigError


def test_the_device_chooses(monkeypatch):
    monkeypatch.delenv("HARKEN_ENGINE", raising=False)
    assert backends._backend(torch.device("cpu")) is portable
    assert backends._backend(torch.device("cuda")) is packed


@pytest.mark.parametrize(("name", "module"), [("portable", portable), ("packed", packed)])
def test_the_environment_overrides(monkeypatch, problem, name, module):
    monkeypatch.setenv("HARKEN_ENGINE", name)
    calls = []
    real = module.lstm
    monkeypatch.setattr(module, "lstm", lambda *args: calls.append(name) or real(*args))
    problem("lstm", [2, 1]).run()
    assert calls == [name]


def test_an_unknown_name_is_refused(monkeypatch, problem):
    monkeypatch.setenv("HARKEN_ENGINE", "turbo")
    with pytest.raises(ConfigError, match="HARKEN_ENGINE is 'turbo': it must be one of portable, packed"):
        problem("lstm", [2, 1]).run()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("device_of_lengths", ["cpu", "cuda"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_cuda_equals_cpu(problem, worst, cell, reverse, device_of_lengths, dtype, tolerance):
    case = problem(cell, [5, 0, 3, 1, 7], 9, dtype=dtype)
    expected = case.run(reverse)
    gradients = case.gradients(expected)
    case.x, case.lengths = case.x.detach().cuda().requires_grad_(), case.lengths.to(device_of_lengths)
    case.weights = [tensor.detach().cuda().requires_grad_() for tensor in case.weights]
    case.states = [tensor.detach().cuda().requires_grad_() for tensor in case.states]
    # cuDNN multiplies float32 in TF32 unless told otherwise: 10 bits of mantissa, an error of 1e-3 and not of 1e-5.
    # `enabled` must be said: left out, this context manager turns cuDNN off, and PyTorch's own kernel would be tested.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = case.run(reverse)
        gradients_found = case.gradients(found)
    assert worst([tensor.cpu() for tensor in found], expected) < tolerance
    assert worst([tensor.cpu() for tensor in gradients_found], gradients) < tolerance
