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
def test_cuda_equals_cpu(problem, worst, cell, reverse, device_of_lengths):
    case = problem(cell, [5, 0, 3, 1, 7], 9)
    expected = case.run(reverse)
    gradients = case.gradients(expected)
    case.x, case.lengths = case.x.detach().cuda().requires_grad_(), case.lengths.to(device_of_lengths)
    case.weights = [tensor.detach().cuda().requires_grad_() for tensor in case.weights]
    case.states = [tensor.detach().cuda().requires_grad_() for tensor in case.states]
    found = case.run(reverse)
    assert worst([tensor.cpu() for tensor in found], expected) < 1e-10
    assert worst([tensor.cpu() for tensor in case.gradients(found)], gradients) < 1e-10
