"""The autoencoder against the LSTM of `harken.reference`, forward and backward, in float64: outputs and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import harken.models.autoencoder as autoencoder
from harken.config import AutoencoderConfig
from harken.models.autoencoder import Autoencoder, row_errors
from harken.reference import TimeLSTM

B, T, D, H, Z = 5, 7, 3, 4, 2
LENGTHS = torch.tensor([4, 0, 7, 1, 5])
MEAN, SCALE = np.array([1.0, -2.0, 0.5]), np.array([2.0, 0.5, 1.5])
WAYS = {
    "repeat": {},
    "repeat, one direction": {"bidirectional": False},
    "repeat, from the end": {"reverse_target": True},
    "true steps": {"feed_back": True},
    "true steps, from the end": {"feed_back": True, "reverse_target": True},
    "own steps": {"feed_back": True},
    "own steps, from the end": {"feed_back": True, "reverse_target": True},
}
Arrays = dict[str, Any]


def build(way: str) -> Autoencoder:
    model = Autoencoder(AutoencoderConfig(hidden_size=H, latent_size=Z, **WAYS[way]), D).double().eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # biases too
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=random, dtype=torch.float64))
    model.frontend.standardize(torch.from_numpy(MEAN), torch.from_numpy(SCALE))
    return model


@pytest.fixture
def values() -> Tensor:
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)  # garbage behind rows


def found_of(model: Autoencoder, values: Tensor, way: str) -> Arrays:
    output = model(values, LENGTHS, teacher=way.startswith("true"))
    losses = row_errors(output.errors, LENGTHS)
    model.zero_grad()
    losses.sum().backward()
    found = output._asdict() | {"losses": losses} | {f"d {name}": p.grad for name, p in model.named_parameters()}
    return {name: tensor.detach().numpy() for name, tensor in found.items()}


def lstm(weights: Arrays, name: str, suffix: str = "l0") -> TimeLSTM:
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return TimeLSTM(*(weights[f"{name}.{kind}_{suffix}"] for kind in kinds))


def turned(x: Any, reverse: bool) -> Any:
    """Every row turned around within its own length."""
    turned = x.copy()
    for row, length in enumerate(LENGTHS.tolist()):
        turned[row, :length] = x[row, :length][::-1] if reverse else x[row, :length]
    return turned


class Reference:
    """One decoder step after the other, whatever it reads: what the model does in one pass is the same by hand."""

    def __init__(self, model: Autoencoder, way: str) -> None:
        self.w = {name: tensor.detach().numpy() for name, tensor in model.named_parameters()}
        self.config, self.own = model.config, way.startswith("own")
        self.grads = {name: np.zeros_like(value) for name, value in self.w.items()}
        self.mask = np.arange(T) < LENGTHS.numpy()[:, None]  # (B, T)

    def forward(self, values: Any) -> Arrays:
        w, reverse = self.w, self.config.reverse_target
        self.x = np.where(self.mask[..., None], (values - MEAN) / SCALE, 0)  # (B, T, D)
        self.suffixes, zeros = ["l0", "l0_reverse"][: 2 if self.config.bidirectional else 1], np.zeros((B, H))
        self.encoders = [lstm(w, "encoder", suffix) for suffix in self.suffixes]
        ways = [turned(self.x, backwards) for backwards in (False, True)]
        ends = [cell.forward(x, LENGTHS.numpy(), zeros, zeros) for cell, x in zip(self.encoders, ways, strict=False)]
        self.h = np.concatenate([h for _, h, _ in ends], 1)  # (B, H), or of both directions (B, 2H)
        self.latent = self.h @ w["latent.weight"].T + w["latent.bias"]  # (B, Z)
        start = self.latent @ w["bridge.weight"].T + w["bridge.bias"]  # (B, 2H), h then c
        h, c = start[:, :H], start[:, H:]
        target, before = turned(self.x, reverse), np.zeros((B, D))
        self.steps, self.hs, written = [], [], np.zeros((B, T, D))
        for step in range(T):
            read = [self.latent, before] if self.config.feed_back else [self.latent]
            cell = lstm(w, "decoder")
            out, h, c = cell.forward(np.concatenate(read, 1)[:, None], (LENGTHS.numpy() > step).astype(int), h, c)
            written[:, step] = out[:, 0] @ w["output.weight"].T + w["output.bias"]
            before = written[:, step] if self.own else target[:, step]
            self.steps.append(cell)
            self.hs.append(out[:, 0])
        self.rebuilt = turned(written, reverse) * self.mask[..., None]
        errors = ((self.rebuilt - self.x) ** 2).mean(-1)  # (B, T)
        units = (self.rebuilt * SCALE + MEAN) * self.mask[..., None]
        losses = errors.sum(1) / np.maximum(LENGTHS.numpy(), 1)
        return {"latent": self.latent, "reconstruction": units, "errors": errors, "losses": losses}

    def backward(self) -> Arrays:
        share = self.mask / np.maximum(LENGTHS.numpy(), 1)[:, None]  # (B, T)
        dwritten = turned(2 * (self.rebuilt - self.x) * share[..., None] / D, self.config.reverse_target)
        dlatent, dh, dc, dbefore = np.zeros((B, Z)), np.zeros((B, H)), np.zeros((B, H)), np.zeros((B, D))
        for step in reversed(range(T)):
            dy = (dwritten[:, step] + (dbefore if self.own else 0)) * self.mask[:, step, None]
            self._add("output", dy, self.hs[step])
            dx, dh, dc = self.steps[step].backward((dy @ self.w["output.weight"])[:, None], dh, dc)
            self._take("decoder", self.steps[step])
            dlatent += dx[:, 0, :Z]
            dbefore = dx[:, 0, Z:] if self.config.feed_back else dbefore
        dstart = np.concatenate([dh, dc], 1)
        self._add("bridge", dstart, self.latent)
        dlatent += dstart @ self.w["bridge.weight"]
        self._add("latent", dlatent, self.h)
        dh = dlatent @ self.w["latent.weight"]
        for place, (cell, suffix) in enumerate(zip(self.encoders, self.suffixes, strict=True)):
            cell.backward(np.zeros((B, T, H)), dh[:, place * H : (place + 1) * H], np.zeros((B, H)))
            self._take("encoder", cell, suffix)
        return {f"d {name}": grad for name, grad in self.grads.items()}

    def _add(self, name: str, dy: Any, x: Any) -> None:
        self.grads[f"{name}.weight"] += dy.T @ x
        self.grads[f"{name}.bias"] += dy.sum(0)

    def _take(self, name: str, cell: TimeLSTM, suffix: str = "l0") -> None:
        for kind, grad in cell.grads.items():
            self.grads[f"{name}.{kind}_{suffix}"] += grad


def wanted_of(model: Autoencoder, values: Tensor, way: str) -> Arrays:
    reference = Reference(model, way)
    return reference.forward(values.numpy()) | reference.backward()


def worst(found: Arrays, wanted: Arrays) -> float:
    assert found.keys() == wanted.keys()
    pairs = [(found[name], wanted[name]) for name in wanted]
    assert all(a.shape == b.shape for a, b in pairs)
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


@pytest.mark.parametrize("way", WAYS)
def test_the_model_is_the_reference(way: str, values: Tensor) -> None:
    model = build(way)
    assert worst(found_of(model, values, way), wanted_of(model, values, way)) < 1e-10


@pytest.mark.parametrize("engine", ["portable", "packed"])
@pytest.mark.parametrize("way", ["repeat", "own steps, from the end"])
def test_the_engines_agree_with_the_reference(
    way: str, engine: str, values: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(way)
    wanted = wanted_of(model, values, way)
    monkeypatch.setenv("HARKEN_ENGINE", engine)
    assert worst(found_of(model, values, way), wanted) < 1e-10


FAULTS = {  # fault → the way in which it shows
    "padding counts": "repeat",
    "turned around with its padding": "repeat, from the end",
    "the step itself is read": "true steps",
    "true steps in use": "own steps",
    "a bias forgotten": "repeat",
    "h of other rows": "repeat",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault: str, values: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    way = FAULTS[fault]
    model = build(way)
    wanted, decode = wanted_of(model, values, way), model.decode
    match fault:
        case "padding counts":
            monkeypatch.setattr(autoencoder, "mean_steps", lambda errors, mask: errors.mean(1))
        case "turned around with its padding":
            monkeypatch.setattr(autoencoder, "reverse_rows", lambda x, lengths: x.flip(1))
        case "the step itself is read":
            pad = torch.nn.functional.pad
            monkeypatch.setattr(
                autoencoder.nn.functional, "pad", lambda x, sizes: x if sizes == (0, 0, 1, 0) else pad(x, sizes)
            )
        case "true steps in use":
            x = model.standardized(values, LENGTHS)
            monkeypatch.setattr(model, "decode", lambda latent, lengths, steps, _: decode(latent, lengths, steps, x))
        case "a bias forgotten":
            model.bridge.bias.data.zero_()
        case "h of other rows":
            monkeypatch.setattr(autoencoder, "final_vector", lambda state, n: state.h[-n:].reshape(B, -1))
    assert worst(found_of(model, values, way), wanted) > 1e-3
