"""harken.layers.cross_entropy: the numbers of F.cross_entropy over F.linear, loss and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from harken.errors import ShapeError
from harken.layers import cross_entropy
from harken.layers.cross_entropy import linear_cross_entropy, token_log_probabilities


def tensors(rows: int, size: int, vocabulary: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(rows + vocabulary)
    x, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64).mul_(2).to(dtype).requires_grad_()
        for shape in ((rows, size), (vocabulary, size), (vocabulary,))
    )
    return x, weight, bias, torch.randint(vocabulary, (rows,), generator=generator)


@pytest.mark.parametrize("held", [1, 60, 1 << 23], ids=["a row at a time", "a few rows", "all rows"])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_loss_and_gradients_are_those_of_two_calls_to_torch(
    held: int, with_bias: bool, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "_HELD", held)
    x, weight, bias, targets = tensors(17, 5, 20, dtype)
    own = bias if with_bias else None
    loss = linear_cross_entropy(x, weight, own, targets)
    expected = F.cross_entropy(F.linear(x, weight, own), targets, reduction="sum")
    wanted = [tensor for tensor in (x, weight, own) if tensor is not None]
    torch.testing.assert_close(loss, expected, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(
        torch.autograd.grad(loss / 7, wanted), torch.autograd.grad(expected / 7, wanted), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        token_log_probabilities(x, weight, own, targets),
        -F.cross_entropy(F.linear(x, weight, own), targets, reduction="none"),
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.parametrize("frozen", [0, 1, 2], ids=["x", "weight", "bias"])
def test_what_wants_no_gradient_gets_none_and_changes_nothing(frozen: int) -> None:
    x, weight, bias, targets = tensors(6, 4, 9)
    whole = torch.autograd.grad(linear_cross_entropy(x, weight, bias, targets), (x, weight, bias))
    parts = [x, weight, bias]
    parts[frozen] = parts[frozen].detach()
    rest = [part for part in parts if part.requires_grad]
    some = torch.autograd.grad(linear_cross_entropy(*parts, targets), rest)
    for ours, theirs in zip(some, [g for place, g in enumerate(whole) if place != frozen], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_graph_that_is_kept_gives_the_same_gradients_again() -> None:
    x, weight, bias, targets = tensors(6, 4, 9, torch.float32)
    loss = linear_cross_entropy(x, weight, bias, targets) / 3
    first = [gradient.clone() for gradient in torch.autograd.grad(loss, (x, weight, bias), retain_graph=True)]
    for ours, theirs in zip(torch.autograd.grad(loss, (x, weight, bias)), first, strict=True):
        assert torch.equal(ours, theirs)


def test_without_autograd_no_gradient_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias, targets = tensors(6, 4, 9)
    truth = linear_cross_entropy(x, weight, bias, targets)
    products = []
    product = cross_entropy._product
    monkeypatch.setattr(cross_entropy, "_product", lambda *given: products.append(given) or product(*given))
    with torch.no_grad():
        loss = linear_cross_entropy(x, weight, bias, targets)
    assert len(products) == 1
    torch.testing.assert_close(loss, truth.detach(), rtol=1e-12, atol=1e-12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = linear_cross_entropy(*(part.float() for part in (x, weight, bias)), targets)
        with torch.no_grad():
            still = linear_cross_entropy(*(part.float() for part in (x, weight, bias)), targets)
    assert still.dtype == mixed.dtype
    torch.testing.assert_close(still, mixed.detach(), rtol=2e-2, atol=0)


def test_logits_that_are_far_apart_lose_nothing() -> None:
    x = torch.tensor([[1.0], [-1.0]])
    weight = torch.tensor([[300.0], [0.0], [-300.0]])
    targets = torch.tensor([2, 1])
    found = token_log_probabilities(x, weight, None, targets)
    torch.testing.assert_close(found, torch.tensor([-600.0, -300.0]))


def test_no_rows_are_legal() -> None:
    x, weight, bias, targets = tensors(0, 4, 9)
    loss = linear_cross_entropy(x, weight, bias, targets)
    loss.backward()
    assert loss == 0
    assert weight.grad is not None
    assert not weight.grad.any()
    assert token_log_probabilities(x, weight, bias, targets).shape == (0,)


def test_under_autocast_products_are_in_bfloat16_and_the_sums_are_not() -> None:
    x, weight, bias, targets = tensors(40, 16, 50, torch.float32)
    full = linear_cross_entropy(x, weight, bias, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = linear_cross_entropy(x, weight, bias, targets)
    assert mixed.dtype == torch.float32
    assert mixed != full
    torch.testing.assert_close(mixed, full, rtol=2e-2, atol=0)
    for ours, theirs in zip(
        torch.autograd.grad(mixed, (x, weight, bias)), torch.autograd.grad(full, (x, weight, bias)), strict=True
    ):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.05 * theirs.norm()


def test_features_in_bfloat16_round_neither_the_loss_nor_the_weights_gradient() -> None:
    """Under autocast the layer before gives bfloat16, and the parameters are float32."""
    x, weight, bias, targets = tensors(40, 16, 50, torch.float32)
    half = x.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = linear_cross_entropy(half, weight, bias, targets)
    gradients = torch.autograd.grad(loss / 7, (half, weight, bias))
    assert loss.dtype == torch.float32
    assert [gradient.dtype for gradient in gradients] == [torch.bfloat16, torch.float32, torch.float32]
    exact = torch.autograd.grad(linear_cross_entropy(half.float(), weight, bias, targets) / 7, (weight, bias))
    for ours, theirs in zip(gradients[1:], exact, strict=True):
        assert (ours - theirs).norm() < 0.03 * theirs.norm()  # the logits themselves have three digits
        assert not torch.equal(ours, ours.bfloat16().float())


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    x, weight, bias, targets = tensors(3, 4, 5)
    scaled = linear_cross_entropy(x, weight, bias, targets) * torch.tensor(2.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(scaled, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_a_compiler_sees_plain_operators() -> None:
    x, weight, bias, targets = tensors(5, 4, 6)
    compiled = torch.compile(linear_cross_entropy, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, weight, bias, targets), linear_cross_entropy(x, weight, bias, targets))


def test_shapes_that_do_not_fit_are_named() -> None:
    x, weight, bias, targets = tensors(3, 4, 5)
    with pytest.raises(ShapeError, match=r"targets \(2,\)"):
        linear_cross_entropy(x, weight, bias, targets[:2])
    with pytest.raises(ShapeError, match=r"weight \(5, 3\)"):
        linear_cross_entropy(x, weight[:, :3], bias, targets)
    with pytest.raises(ShapeError, match=r"bias \(4,\)"):
        token_log_probabilities(x, weight, bias[:4], targets)
