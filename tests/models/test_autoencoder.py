"""The contract (design.md section 2) of an autoencoder, whatever its options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harken.models.autoencoder as autoencoder
from harken.config import AutoencoderConfig
from harken.errors import ShapeError
from harken.models.autoencoder import Autoencoder, row_errors
from harken.testing import check_padding

LENGTHS = torch.tensor([3, 0, 5, 1])
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "gru, one direction": {"cell": "gru", "bidirectional": False},
    "two layers, from the end": {"num_layers": 2, "reverse_target": True},
    "feed back": {"feed_back": True},
    "feed back, gru, from the end": {"feed_back": True, "cell": "gru", "num_layers": 2, "reverse_target": True},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(width: int, **options: Any) -> Autoencoder:
    model = Autoencoder(AutoencoderConfig(**{"hidden_size": 4, "latent_size": 3, **options}), width).double()
    with torch.no_grad():
        for k, parameter in enumerate(model.parameters()):  # biases too: a zero bias hides mistakes
            parameter.copy_(0.7 * random(*parameter.shape, seed=100 + k))
    model.frontend.standardize(random(width, seed=5), random(width, seed=6).abs() + 0.5)
    return model.eval()


class Judged(nn.Module):
    """With the loss, and as training has it where it is asked to."""

    def __init__(self, model: Autoencoder, teacher: bool) -> None:
        super().__init__()
        self.model, self.teacher = model, teacher

    def forward(self, x: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        output = self.model(x, lengths, teacher=self.teacher)
        return output._asdict() | {"loss": row_errors(output.errors, lengths)}


@every_option
@pytest.mark.parametrize("shape", [(), (2,), (2, 1, 3)], ids=str)
def test_a_row_is_rebuilt_as_if_it_were_alone(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    x = random(4, 6, *shape)
    for teacher in (False, True) if options.get("feed_back") else (False,):
        judged = Judged(build(x[0, 0].numel(), **options), teacher)
        check_padding(judged, x, LENGTHS).raise_if_failed()


def test_check_padding_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "reverse_rows", lambda x, lengths: x.flip(1))
    judged = Judged(build(2, reverse_target=True), False)
    assert not check_padding(judged, random(4, 6, 2), LENGTHS).passed


@every_option
def test_an_empty_row_is_a_vector_and_nothing_else(options: dict[str, Any]) -> None:
    model, x = build(2, **options), random(2, 0, 2)
    output = model(x, torch.zeros(2, dtype=torch.int64), teacher=True)
    assert output.latent.shape == (2, 3)
    assert torch.allclose(output.latent, model.latent.bias.expand(2, 3))  # the initial state is 0
    assert output.reconstruction.shape == model(x, torch.zeros(2, dtype=torch.int64)).reconstruction.shape == (2, 0, 2)
    loss = row_errors(output.errors, torch.zeros(2, dtype=torch.int64))
    assert loss.tolist() == [0, 0]
    loss.sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all((gradient == 0).all() for gradient in gradients)


def test_the_shape_comes_back_and_so_do_the_units() -> None:
    model, x = build(8 * 8 * 3), 50 + 9 * random(2, 4, 8, 8, 3)
    lengths = torch.tensor([4, 2])
    output = model(x, lengths)
    assert output.reconstruction.shape == x.shape
    z = model.standardized(x, lengths)
    units = output.reconstruction.flatten(2)
    errors = ((units - model.frontend.mean) / model.frontend.scale - z).square().mean(-1)
    assert torch.allclose(output.errors[0], errors[0])
    assert torch.allclose(output.errors[1, :2], errors[1, :2])


def test_samples_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"values \(2, 4, 8, 3\) must be \(B, T, …\) with 6 values a step"):
        build(6)(random(2, 4, 8, 3), torch.tensor([4, 2]))


def test_two_requests_do_not_see_each_other() -> None:
    model = build(2, feed_back=True)
    first, second, lengths = random(2, 5, 2, seed=1), random(3, 7, 2, seed=2), torch.tensor([5, 2])
    alone = model(first, lengths).reconstruction
    model(second, torch.tensor([7, 1, 3]))
    assert torch.equal(model(first, lengths).reconstruction, alone)
