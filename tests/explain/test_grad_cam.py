"""Grad-CAM against the paper's equations by finite differences; a picture's map is its own; nothing stays behind."""

from threading import Thread

import pytest
import torch
from torch import Tensor, nn

from harken.config import SequenceRun
from harken.data.batching import ModelInputs
from harken.data.labels import Head
from harken.errors import UsageError
from harken.explain.attribution import chosen
from harken.explain.grad_cam import _feature_maps, grad_cam
from harken.models.sequence import SequenceModel

HEADS = {
    "binary": Head("binary", "binary", 1, ("a", "b")),
    "two logits": Head("two logits", "binary", 2, ("a", "b")),
    "classes": Head("classes", "classes", 4, (1, 2, 3, 4)),
    "multi-label": Head("multi-label", "multi-label", 3, ("x", "y", "z")),
    "values": Head("values", "values", 2, (), (0.0, 1.0), (1.0, 2.0)),
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


class Given(nn.Module):
    """A backbone that gives this map, whatever it reads."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        return self.features


def build(heads: list[Head] | None = None, backbone: nn.Module | None = None, **options: object) -> SequenceModel:
    torch.manual_seed(1)
    run = SequenceRun().override(**{"hidden_size": 4, "cnn": 4, "cnn_layers": 2, **options}).settled("image")
    model = SequenceModel(run.model, "image", heads or list(HEADS.values()), backbone=backbone)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    return model.double().eval()


def pictures(there: tuple[bool, ...] = (True, False, True), size: int = 14) -> ModelInputs:
    torch.manual_seed(2)
    real = torch.tensor(there, dtype=torch.bool)
    pixels = torch.randint(256, (len(there), size, size, 3)) * real[:, None, None, None]
    return ModelInputs(pixels.to(torch.uint8), size * real, None)


@pytest.mark.parametrize("options", [{}, {"cells": False}, {"convolution": 6}, {"pooling": "max"}], ids=str)
def test_the_equations(options: dict) -> None:
    """Equation 1: α is the mean over cells of ∂y/∂A, so the change of y if all cells rise by 1/(h · w)."""
    model, inputs = build(**options), pictures()
    maps = grad_cam(model, inputs, list(HEADS.values()))
    with torch.no_grad():
        x = model.embed(inputs)
        features = model.frontend.feature_map(x)  # (B, C, h, w)
        logits = model.forward_embedded(x, inputs).logits
        assert features.shape == (3, 8, 4, 4)
        step, alphas = 1e-6, {name: torch.zeros(3, 8, dtype=torch.float64) for name in HEADS}
        for channel in range(8):
            moved = []
            for sign in (1, -1):
                there = features.clone()
                there[:, channel] += sign * step
                model.frontend.backbone = Given(there)
                moved.append(model.forward_embedded(x, inputs).logits)
            for name, head in HEADS.items():
                rise = chosen(head, logits[name]) * (moved[0][name] - moved[1][name])
                alphas[name][:, channel] = rise.sum(1) / (2 * step) / 16
    for name, alpha in alphas.items():
        expected = torch.relu(torch.einsum("bc,bchw->bhw", alpha, features))
        torch.testing.assert_close(maps[name], expected, rtol=1e-6, atol=1e-9)
        assert not maps[name][1].any(), "a row without a picture"
    assert sum(bool(cells.any()) for cells in maps.values()) > 1  # where all cells speak against it, all is 0


def test_a_cell_that_decides() -> None:
    """A linear model of the sum of cells: the map is what each cell adds to the logit."""
    head = Head("h", "binary", 1, ("a", "b"))
    features = torch.rand(2, 3, 5, 4, dtype=torch.float64)
    backbone = Given(features)
    backbone.output_size = 3
    model = build([head], backbone, num_layers=0, pooling="sum")
    backbone.features = features
    (weight,), inputs = model.heads.linears[0].weight.detach(), pictures((True, True))
    logits = model(inputs).logits["h"]
    adds = torch.einsum("c,bchw->bhw", weight, features) * logits.sign()[:, :, None].detach()
    torch.testing.assert_close(grad_cam(model, inputs, [head])["h"], torch.relu(adds))


def test_rows_do_not_know_their_batch() -> None:
    model, inputs = build(pooling="self-attention"), pictures((True, False, True, True))
    together = grad_cam(model, inputs, list(HEADS.values()))
    for row in (0, 2, 3):
        alone = grad_cam(model, ModelInputs(inputs.values[[row]], inputs.lengths[[row]], None), list(HEADS.values()))
        for name in HEADS:
            torch.testing.assert_close(together[name][[row]], alone[name], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("pooling", ["last", "mean", "attention", "query", "self-attention", "gated", "gated-query"])
def test_every_pooling_in_eval_mode(pooling: str, cell: str, device: str) -> None:
    model = build(pooling=pooling, cell=cell, num_layers=2, dropout=0.5).to(device)
    maps = grad_cam(model, pictures().to(device), list(HEADS.values()))
    assert {tuple(cells.shape) for cells in maps.values()} == {(3, 4, 4)}
    assert all((cells >= 0).all() for cells in maps.values())
    assert any(cells.any() for cells in maps.values())


def test_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = build(), pictures()
    expected = model(inputs).logits
    grad_cam(model, inputs, list(HEADS.values()))
    assert not model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not model.frontend.backbone._forward_hooks
    assert all(torch.equal(logits, expected[name]) for name, logits in model(inputs).logits.items())

    def fails(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(model, "forward_embedded", fails)
    with pytest.raises(RuntimeError, match="planted"):
        grad_cam(model, inputs, list(HEADS.values()))
    assert not model.frontend.backbone._forward_hooks


def test_another_thread_is_not_heard() -> None:
    backbone, x, said = nn.Conv2d(1, 2, 1), torch.ones(1, 1, 2, 2), []
    with _feature_maps(backbone) as heard:
        thread = Thread(target=lambda: said.append(backbone(x)))
        thread.start()
        thread.join()
        assert heard == []
        assert said[0].grad_fn is not None, "its graph is whole"
        assert backbone(x) is heard[0]
        assert heard[0].is_leaf


def test_no_pictures() -> None:
    for there in ((), (False, False)):
        size = 0 if there else 14
        inputs = ModelInputs(
            torch.zeros(len(there), size, 14, 3, dtype=torch.uint8), torch.zeros(len(there), dtype=torch.int64), None
        )
        maps = grad_cam(build(), inputs, list(HEADS.values()))
        assert all(len(cells) == len(there) and not cells.any() for cells in maps.values())


def test_what_has_no_feature_map() -> None:
    head = HEADS["binary"]
    model = SequenceModel(SequenceRun().settled("series").model, "series", [head], width=2)
    with pytest.raises(UsageError, match="reads series"):
        grad_cam(model, ModelInputs(torch.zeros(1, 3, 2), torch.tensor([3]), None), [head])
