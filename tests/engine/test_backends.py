from types import SimpleNamespace

import pytest
import torch

from harken.engine import backends, levels, native, packed, portable
from harken.errors import ConfigError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def built(monkeypatch):
    """A kernel that was built and may run, whatever this machine has; nothing calls it."""
    kernel = SimpleNamespace(LEVEL="avx2")
    backends._kernel.cache_clear()
    monkeypatch.delenv("HARKEN_ENGINE", raising=False)
    monkeypatch.setattr(levels, "native_module", lambda: kernel)
    monkeypatch.setattr(levels, "forced_module", lambda name: SimpleNamespace(LEVEL=name))
    yield kernel
    backends._kernel.cache_clear()


def test_dtype_and_device_choose(built):
    assert backends.native_kernel(torch.float32, CPU) is built
    assert backends.native_kernel(torch.float64, CPU) is None
    assert backends.native_kernel(torch.float32, CUDA) is None
    assert backends._in_torch(CPU) is portable
    assert backends._in_torch(CUDA) is packed


def test_without_a_kernel_the_portable_engine_runs(built, monkeypatch):
    monkeypatch.setattr(levels, "native_module", lambda: None)
    assert backends.native_kernel(torch.float32, CPU) is None


@pytest.mark.parametrize("name", ["native", "avx2", "baseline"])
def test_a_level_is_forced_for_float32_on_a_cpu(built, monkeypatch, name):
    monkeypatch.setenv("HARKEN_ENGINE", name)
    assert name == backends.native_kernel(torch.float32, CPU).LEVEL
    assert backends.native_kernel(torch.float64, CPU) is None
    assert backends._in_torch(CPU) is portable
    assert backends._in_torch(CUDA) is packed


@pytest.mark.parametrize(("name", "module"), [("portable", portable), ("packed", packed)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_environment_overrides(monkeypatch, problem, name, module, dtype):
    monkeypatch.setenv("HARKEN_ENGINE", name)
    calls = []
    real = module.lstm
    monkeypatch.setattr(module, "lstm", lambda *args: calls.append(name) or real(*args))
    problem("lstm", [2, 1], dtype=dtype).run()
    assert calls == [name]


def test_an_unknown_name_is_refused(monkeypatch, problem):
    monkeypatch.setenv("HARKEN_ENGINE", "turbo")
    with pytest.raises(
        ConfigError, match="HARKEN_ENGINE is 'turbo': it must be one of portable, packed, native, avx512"
    ):
        problem("lstm", [2, 1]).run()


def test_a_level_that_cannot_run_is_refused_each_time(built, monkeypatch, problem):
    def refuse(name):
        raise ConfigError(f"no {name}")

    monkeypatch.setattr(levels, "forced_module", refuse)
    monkeypatch.setenv("HARKEN_ENGINE", "avx512")
    for _ in range(2):
        with pytest.raises(ConfigError, match="no avx512"):
            problem("lstm", [2, 1], dtype=torch.float32).run()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_default_for_float32_is_native(monkeypatch, problem, cell):
    if levels.native_module() is None:
        pytest.skip(f"no native engine: {levels.reason()}")
    monkeypatch.delenv("HARKEN_ENGINE", raising=False)
    calls, real = [], native.layer
    monkeypatch.setattr(native, "layer", lambda kernel, *args: calls.append(kernel) or real(kernel, *args))
    problem(cell, [2, 1], dtype=torch.float32).run()
    problem(cell, [2, 1], dtype=torch.float64).run()
    assert calls == [levels.native_module()]


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
