"""Pictures and recordings: the contract (design.md section 2) through their convolutions, and what training changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.config import SequenceModelConfig, SequenceRun
from harken.data.batching import ModelInputs
from harken.data.labels import Head
from harken.errors import ShapeError, UsageError
from harken.layers.convolution import MaskedConv2d
from harken.layers.spectrogram import LogMelSpectrogram
from harken.models.convolutional import PictureFrontend, SpectrogramFrontend
from harken.models.sequence import SequenceModel
from harken.testing import check_padding

S = 8  # pixels of a side
RATE, WINDOW, HOP, MELS = 400, 0.04, 0.02, 4  # 16 samples a frame, 8 from one to the next
HEADS = (Head("colour", "classes", 3, ("r", "g", "b")), Head("size", "values", 1, (), (1.0,), (2.0,)))
LENGTHS = torch.tensor([30, 0, 41, 1, 16])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def config(kind: str, **options: Any) -> SequenceModelConfig:
    sizes = {"hidden_size": 3, "cnn": 4, "cnn_layers": 2, "dropout": 0.0, "mlp_size": 0}
    return SequenceRun().settled(kind).override(**sizes | options).model


def build(kind: str, dtype: torch.dtype = torch.float64, **options: Any) -> SequenceModel:
    spectrogram = LogMelSpectrogram(RATE, MELS, window=WINDOW, hop=HOP) if kind == "audio" else None
    model = SequenceModel(config(kind, **options), kind, HEADS, width=S, spectrogram=spectrogram).to(dtype)
    with torch.no_grad():
        for k, parameter in enumerate(model.parameters()):  # biases too, and those that begin at 0
            parameter.copy_(0.7 * random(*parameter.shape, seed=100 + k))
    return model.eval()


class Recording(nn.Module):
    """A model of recordings as a function of samples and lengths."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return self.model(ModelInputs(x, lengths, None)).logits


class Picture(Recording):
    """The same of pictures: what is real of (B, T, 3 · S) on a canvas of S rows of pixels."""

    def forward(self, x: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        real = torch.arange(x.shape[1]) < lengths[:, None]  # (B, T)
        canvas = F.pad(x.masked_fill(~real.unsqueeze(-1), 0.0), (0, 0, 0, S))[:, :S]
        return self.model(ModelInputs(canvas.unflatten(2, (S, 3)), lengths, None)).logits


POOLINGS = (
    "last",
    "mean",
    "max",
    "attention",
    "query",
    "self-attention",
    "gated",
    "gated-query",
    "self-attention-query",
)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_contract_of_recordings(pooling: str, dtype: torch.dtype) -> None:
    x = random(len(LENGTHS), 43)
    check_padding(Recording(build("audio", pooling=pooling)), x, LENGTHS, dtype=dtype).raise_if_failed()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_contract_of_pictures(pooling: str, dtype: torch.dtype) -> None:
    x, lengths = 100 * random(4, S, 3 * S), torch.tensor([S, 0, S, S - 2])
    check_padding(Picture(build("image", pooling=pooling)), x, lengths, dtype=dtype).raise_if_failed()


@pytest.mark.parametrize("options", [{"num_layers": 0, "pooling": "mean"}, {"cells": False}, {"mlp_size": 4}])
def test_the_contract_of_other_shapes(options: dict[str, Any]) -> None:
    x, lengths = 100 * random(3, S, 3 * S), torch.tensor([S, 0, S])
    check_padding(Picture(build("image", **options)), x, lengths).raise_if_failed()
    if "cells" not in options:
        check_padding(Recording(build("audio", **options)), random(len(LENGTHS), 43), LENGTHS).raise_if_failed()


class OverTheBatch(MaskedConv2d):
    """A norm as BatchNorm's in training."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        y = super().forward(x, lengths)
        return (y - y.mean((0, 1, 2))) * (y != 0)


def test_a_planted_fault_is_found() -> None:
    model = build("audio")
    faulty = OverTheBatch(1, 4).double()
    faulty.load_state_dict(model.frontend.convolutions[0].state_dict())
    model.frontend.convolutions[0] = faulty
    assert not check_padding(Recording(model), random(len(LENGTHS), 43), LENGTHS).passed
    model = build("image")
    model.frontend.backbone.norm = nn.BatchNorm2d(8, track_running_stats=False).double()
    x = 100 * random(3, S, 3 * S)
    assert not check_padding(Picture(model), x, torch.tensor([S, 0, S])).passed


def test_steps_are_cells_and_frames() -> None:
    pixels = torch.randint(256, (3, S, S, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    output = build("image")(ModelInputs(pixels, torch.tensor([S, 0, S]), None))
    assert output.lengths.tolist() == [4, 0, 4]  # two levels: 8 pixels become 2 cells
    assert output.weights.shape == (3, 1, 4)
    assert torch.allclose(output.weights.sum(-1)[:, 0], torch.tensor([1.0, 0, 1], dtype=torch.float64))
    output = build("audio")(ModelInputs(random(5, 43), LENGTHS, None))
    assert output.lengths.tolist() == [2, 0, 4, 1, 1]
    assert output.weights.shape == (5, 1, 4)


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_nothing_in_nothing_out(kind: str) -> None:
    shape = {"image": (0, S, 3), "audio": (0,)}[kind]
    model = build(kind)
    for batch in (0, 2):
        values = torch.zeros(batch, *shape, dtype=torch.uint8 if kind == "image" else torch.float64)
        logits = model(ModelInputs(values, torch.zeros(batch, dtype=torch.int64), None)).logits
        assert logits["colour"].shape == (batch, 3)


# --- training -----------------------------------------------------------------------------------------------------


def picture_of(rows: int = 64) -> ModelInputs:
    values = torch.arange(S * S * 3).view(1, S, S, 3).expand(rows, S, S, 3).to(torch.uint8)
    return ModelInputs(values, torch.full((rows,), S), None)


def test_pictures_are_changed_in_training_alone_and_each_by_itself() -> None:
    for options in ({"flip": True}, {"shift": 0.3}, {"jitter": 0.5}):
        frontend = PictureFrontend(nn.Conv2d(3, 2, 1), 2, **options).double()
        torch.manual_seed(0)
        plain = frontend.eval().embed(picture_of())
        assert bool((plain == plain[0]).all())
        changed = frontend.train().embed(picture_of())
        assert changed.shape == plain.shape
        assert not bool((changed == changed[0]).all()), options
    frontend = PictureFrontend(nn.Conv2d(3, 2, 1), 2).double().train()
    assert torch.equal(frontend.embed(picture_of()), plain)


def test_a_flip_mirrors_and_a_shift_repeats_the_border() -> None:
    from harken.models.convolutional import _moved

    pixels = picture_of(200).values
    torch.manual_seed(0)
    mirrored = _moved(pixels, True, 0.0)
    same, turned = (mirrored == pixels).flatten(1).all(1), (mirrored == pixels.flip(2)).flatten(1).all(1)
    assert bool((same | turned).all())
    assert 60 < int(turned.sum()) < 140
    shifted = _moved(pixels, False, 0.25)  # at most 2 of 8 pixels
    windows = F.pad(pixels[0].permute(2, 0, 1).double(), (2, 2, 2, 2), mode="replicate").permute(1, 2, 0)
    places = {(i, j): windows[i : i + S, j : j + S].to(torch.uint8) for i in range(5) for j in range(5)}
    found = {place for row in shifted for place, window in places.items() if torch.equal(row, window)}
    assert len(found) == 25
    assert all(any(torch.equal(row, window) for window in places.values()) for row in shifted)


def test_spectrograms_are_hidden_in_training_alone() -> None:
    model, inputs = build("audio", spec_augment=True), ModelInputs(random(5, 400), torch.full((5,), 400), None)
    assert torch.equal(model.embed(inputs), model.embed(inputs))
    model.train()
    hidden = model.embed(inputs)
    plain = model.eval().embed(inputs)
    kept = hidden == plain
    assert bool((kept | (hidden == 0)).all())
    assert not bool(kept.all())


# --- the user's own backbone, and errors --------------------------------------------------------------------------


def test_a_backbone_of_the_users_own() -> None:
    backbone = nn.Sequential(nn.Conv2d(3, 5, 2, 2), nn.Tanh())
    frontend = PictureFrontend(backbone, 5)
    steps = frontend(picture_of(2))
    assert steps.x.shape == (2, 16, 5)
    with pytest.raises(UsageError, match=r"output_size \(None\) must be the channels"):
        PictureFrontend(backbone)
    with pytest.raises(ShapeError, match=r"the backbone gives \(2, 5, 4, 4\), and must give \(B, 7, h, w\)"):
        PictureFrontend(backbone, 7)(picture_of(2))


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match=r"cnn_layers \(4\) halve the 8 frequencies so often that none is left: .* 3"):
        build("spectrogram", cnn_layers=4)
    with pytest.raises(ShapeError, match=r"must be \(B, S, S, 3\)"):
        PictureFrontend(nn.Conv2d(3, 2, 1), 2).embed(ModelInputs(torch.zeros(1, 4, 4), torch.tensor([4]), None))
    with pytest.raises(ShapeError, match="the model was built for 8 channels"):
        SpectrogramFrontend(8, [MaskedConv2d(1, 2)]).embed(ModelInputs(torch.zeros(1, 4, 4), torch.tensor([4]), None))
