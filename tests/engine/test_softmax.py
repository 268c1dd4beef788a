"""harken.engine.softmax: the kernel's one pass against PyTorch's in float64, at every width and number of threads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harken.engine import levels, softmax
from harken.engine.softmax import log_probabilities, softmax_gradient_, transposed

SIZES = [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 257]
TYPES = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 5e-3)], ids=str
)


@pytest.fixture(params=["best", "portable", "avx2", "baseline"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each level that was built and runs here; `portable` is PyTorch."""
    if request.param in levels.LEVELS and (
        request.param not in levels.runnable() or request.param not in levels.built()
    ):
        pytest.skip(f"{request.param} is not built or does not run here")
    if request.param != "best":
        monkeypatch.setenv("HARKEN_ENGINE", request.param)
    return str(request.param)


def rows(count: int, size: int, dtype: torch.dtype, spread: float = 4.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1000 * count + size)
    logits = torch.randn(count, size, generator=generator, dtype=torch.float64).mul_(spread).to(dtype)
    return logits, torch.randint(size, (count,), generator=generator)


def truth(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (n,) and gradient (n, V), by autograd in float64."""
    leaf = logits.double().clone().requires_grad_()
    chances = leaf.log_softmax(-1).gather(1, targets.unsqueeze(-1)).squeeze(-1)
    (gradient,) = torch.autograd.grad(-chances.sum(), leaf)
    return chances.detach(), gradient


@TYPES
@pytest.mark.parametrize("count", [1, 5, 16, 37])
def test_all_parts_agree_with_autograd(engine: str, dtype: torch.dtype, tolerance: float, count: int) -> None:
    for size in SIZES:
        logits, targets = rows(count, size, dtype)
        chances, gradient = truth(logits, targets)
        precise = min(tolerance, 2e-6)  # sums are float32, whatever the logits are
        before = logits.clone()
        torch.testing.assert_close(
            log_probabilities(logits, targets).double(), chances, rtol=precise, atol=precise * 10
        )
        assert torch.equal(logits, before)
        found = softmax_gradient_(logits, targets, turn=True, add_up=True)
        torch.testing.assert_close(found.log_probabilities.double(), chances, rtol=precise, atol=precise * 10)
        torch.testing.assert_close(logits.double(), gradient, rtol=tolerance, atol=tolerance)
        assert found.turned is not None
        assert torch.equal(found.turned.t(), logits)
        assert found.sums is not None
        torch.testing.assert_close(found.sums.double(), gradient.sum(0), rtol=precise, atol=precise * count)


@TYPES
def test_what_is_not_asked_for_is_not_there(engine: str, dtype: torch.dtype, tolerance: float) -> None:
    logits, targets = rows(4, 20, dtype)
    gradient = truth(logits, targets)[1]
    found = softmax_gradient_(logits, targets, turn=False, add_up=False)
    assert found.turned is None
    assert found.sums is None
    torch.testing.assert_close(logits.double(), gradient, rtol=tolerance, atol=tolerance)


def test_logits_far_apart_and_large_ones(engine: str) -> None:
    logits = torch.tensor([[1000.0, 0.0, -1000.0], [-1e30, -1e30, -1e30]])
    targets = torch.tensor([2, 0])
    found = softmax_gradient_(logits, targets, turn=False, add_up=False)
    torch.testing.assert_close(found.log_probabilities, torch.tensor([-2000.0, -1.0986123]))
    torch.testing.assert_close(logits, torch.tensor([[1.0, 0.0, -1.0], [-2 / 3, 1 / 3, 1 / 3]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_a_model_that_diverged_is_not_hidden(engine: str, dtype: torch.dtype, wrong: float) -> None:
    logits, targets = rows(3, 40, dtype)
    expected = logits.clone()
    expected[1, 17] = logits[1, 17] = wrong
    chances = expected.float().log_softmax(-1).gather(1, targets.unsqueeze(-1)).squeeze(-1)
    found = softmax_gradient_(logits, targets, turn=False, add_up=False)
    torch.testing.assert_close(found.log_probabilities, chances, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert torch.equal(logits.isnan().any(1), expected.float().softmax(-1).isnan().any(1))


def test_threads_change_no_row(engine: str) -> None:
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            logits, targets = rows(70, 50, torch.float32)
            found = softmax_gradient_(logits, targets, turn=True, add_up=True)
            again, _ = rows(70, 50, torch.float32)
            repeated = softmax_gradient_(again, targets, turn=True, add_up=True)
            assert torch.equal(found.sums, repeated.sums)  # type: ignore[arg-type]  # both were asked for
            results.append((logits, found.log_probabilities, found.turned))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert torch.equal(one, two)  # type: ignore[arg-type]


def test_rows_do_not_see_their_mates(engine: str) -> None:
    logits, targets = rows(9, 33, torch.float32)
    alone = logits[4:5].clone()
    softmax_gradient_(logits, targets, turn=False, add_up=False)
    softmax_gradient_(alone, targets[4:5], turn=False, add_up=False)
    torch.testing.assert_close(logits[4:5], alone, rtol=0, atol=1e-7)


@pytest.mark.parametrize("wrong", [-1, 40, 1 << 40])
def test_a_target_beside_the_row_is_refused(engine: str, wrong: int) -> None:
    logits, targets = rows(3, 40, torch.float32)
    targets[1] = wrong
    before = logits.clone()
    with pytest.raises((IndexError, RuntimeError), match=r"out of bounds|out of range"):
        log_probabilities(logits, targets)
    with pytest.raises((IndexError, RuntimeError), match=r"out of bounds|out of range"):
        softmax_gradient_(logits, targets, turn=False, add_up=False)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (16, 16), (5, 40), (33, 17), (64, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_transposed(engine: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randn(*shape).to(dtype)
    found = transposed(matrix)
    assert found.is_contiguous()
    assert torch.equal(found, matrix.t())
    assert torch.equal(transposed(matrix.t()), matrix)


def test_the_kernel_runs_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    if softmax.native_kernel(torch.float32, torch.device("cpu")) is None:
        pytest.skip("there is no kernel here")
    calls = []
    native = softmax._native
    monkeypatch.setattr(softmax, "_native", lambda *given, **options: calls.append(given) or native(*given, **options))
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        log_probabilities(*rows(2, 9, dtype))
    log_probabilities(rows(9, 2, torch.float32)[0].t(), torch.tensor([0, 1]))  # not contiguous
    assert [given[0].dtype for given in calls] == [torch.float32, torch.bfloat16]


def test_who_writes_down_what_runs_sees_operators() -> None:
    class Seen(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    logits, targets = rows(3, 40, torch.float32)
    expected = log_probabilities(logits, targets)
    with Seen() as seen:
        found = log_probabilities(logits, targets)
        softmax_gradient_(logits.clone(), targets, turn=True, add_up=True)
        transposed(logits)
    assert sum("log_softmax" in name for name in seen.names) == 2
    torch.testing.assert_close(found, expected)
