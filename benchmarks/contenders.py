"""A training step of one recurrent layer over ragged rows, in the ways that people do it.

Every contender gets the same weights, the same right-padded batch (B, T, I), and gives outputs (B, T, directions · H);
a loss on real steps alone sends gradients back to the weights and to the input. `check` sees to it that they agree.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import harken
from benchmarks.harness import ROOT
from benchmarks.turns import compile_library
from benchmarks.work import Ints, Shape

Forward = Callable[[Tensor, Tensor], Tensor]  # x (B, T, I), lengths (B,) → outputs (B, T, directions · H)
Layer = nn.LSTM | nn.GRU

PROTOTYPE = Path(os.environ.get("HARKEN_PROTOTYPE", ROOT.parent / "shared" / "prototype"))
ENGINE = os.environ.get("HARKEN_ENGINE")  # what `harken` runs on; unset, as a user has it: harken's own choice


class Batch(NamedTuple):
    """What is trained on."""

    x: Tensor  # (B, T, I), requires grad
    lengths: Tensor  # (B,)
    dy: Tensor  # (B, T, directions · H), the loss's gradient: 0 on padding


class Contender(NamedTuple):
    """A way to compute a layer's outputs, and the parameters that it trains."""

    forward: Forward
    parameters: list[nn.Parameter]

    def step(self, batch: Batch) -> Tensor:
        """Forward, backward; returns the outputs."""
        for tensor in (batch.x, *self.parameters):
            tensor.grad = None
        outputs = self.forward(batch.x, batch.lengths)
        outputs.backward(batch.dy)
        return outputs


def make_batch(shape: Shape, lengths: Ints, seed: int) -> Batch:
    """Random numbers; `lengths` (B,), up to T."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(lengths)
    time = int(rows.max())  # as a collate function pads
    x = torch.randn(shape.batch, time, shape.input, generator=draw)
    dy = torch.randn(shape.batch, time, shape.directions * shape.hidden, generator=draw)
    real = torch.arange(time) < rows.unsqueeze(1)  # (B, T)
    return Batch(x.requires_grad_(), rows, dy * real.unsqueeze(2))


def make_contenders(cell: str, shape: Shape, folder: Path) -> dict[str, Contender]:
    """All of them, by name; the prototype is built into `folder`, where its source is there."""
    torch.manual_seed(0)
    layer = harken.Recurrent(shape.input, shape.hidden, cell=cell, bidirectional=shape.bidirectional)
    ways: dict[str, tuple[Forward, nn.Module]] = {
        "harken": (_harken(layer, ENGINE), layer),
        "portable": (_harken(layer, "portable"), layer),
    }
    peer = layer.to_torch()
    ways["packed"] = (_packed(peer), peer)
    ways["dense"] = (_dense(peer), peer)
    if shape.bidirectional:
        both = nn.ModuleList(_one_way(peer, suffix) for suffix in ("", "_reverse"))
        ways["dense trick"] = (_dense_both_ways(*both), both)
    else:
        ways["dense trick"] = ways["dense"]
    if cell == "lstm" and (PROTOTYPE / "lstm.cpp").exists():
        ways["prototype"] = (_prototype(peer, folder), peer)
    return {name: Contender(forward, list(module.parameters())) for name, (forward, module) in ways.items()}


def check(contenders: Mapping[str, Contender], batch: Batch) -> None:
    """Let every contender take one step, which also warms it up, and compare outputs and dX with the first one's.

    Raises:
        SystemExit: two differ by more than rounding: the same thing is not being measured.
    """
    expected: tuple[Tensor, Tensor] | None = None
    real = torch.arange(batch.x.shape[1]) < batch.lengths.unsqueeze(1)  # (B, T)
    for name, contender in contenders.items():
        outputs = contender.step(batch).detach()[real]  # (steps, directions · H)
        assert batch.x.grad is not None
        found = outputs, batch.x.grad[real]
        expected = expected or found
        for what, a, b in zip(("outputs", "dX"), found, expected, strict=True):
            apart = float((a - b).norm() / b.norm())
            if not apart < 1e-4:
                raise SystemExit(f"{what} of {name} lie {apart:.1e} from those of {next(iter(contenders))}")


def _harken(layer: harken.Recurrent, engine: str | None) -> Forward:
    def forward(x: Tensor, lengths: Tensor) -> Tensor:
        if engine is None:
            os.environ.pop("HARKEN_ENGINE", None)
        else:
            os.environ["HARKEN_ENGINE"] = engine
        return layer(x, lengths).outputs

    return forward


def _packed(layer: Layer) -> Forward:
    """What PyTorch's documentation says to do: pack, run, pad."""

    def forward(x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=x.shape[1])[0]

    return forward


def _dense(layer: Layer) -> Forward:
    """As if padding were data: right on real steps in the forward direction, and wherever all rows are equally long."""
    return lambda x, lengths: layer(x)[0]


def _dense_both_ways(forwards: Layer, backwards: Layer) -> Forward:
    """Two dense layers; the second reads rows that were turned around, each within its own length, by a gather."""

    def forward(x: Tensor, lengths: Tensor) -> Tensor:
        steps = torch.arange(x.shape[1])  # (T,)
        ends = lengths.unsqueeze(1)  # (B, 1)
        turned = torch.where(steps < ends, ends - 1 - steps, steps).unsqueeze(2)  # (B, T, 1)
        back = backwards(x.gather(1, turned.expand_as(x)))[0]  # (B, T, H)
        return torch.cat([forwards(x)[0], back.gather(1, turned.expand_as(back))], dim=2)

    return forward


def _one_way(layer: Layer, suffix: str) -> Layer:
    """One direction of a bidirectional layer, with its weights."""
    one = type(layer)(layer.input_size, layer.hidden_size, batch_first=True)
    one.load_state_dict({name: getattr(layer, name + suffix).detach() for name in one.state_dict()})
    return one


def _prototype(layer: Layer, folder: Path) -> Forward:
    """The throwaway kernel that showed what is possible: compiled where it stands, nothing of it copied."""
    library = compile_library(PROTOTYPE / "lstm.cpp", folder, "-mprefer-vector-width=512")
    os.environ["FLSTM"] = str(library)
    spec = importlib.util.spec_from_file_location("flstm", PROTOTYPE / "flstm.py")
    assert spec is not None
    assert spec.loader is not None
    flstm: Any = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    spec.loader.exec_module(flstm)
    return lambda x, lengths: flstm.run(x, lengths, layer, torch.get_num_threads())
