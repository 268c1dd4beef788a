"""Recurrent layers over ragged batches: stacked, one or both ways, with exact final states.

A stack is a loop over layers around one engine call each; what makes ragged rows exact
(no step on padding, each direction's state at the row's own end) is the engine's work.
"""

from __future__ import annotations

import functools
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from harken.engine.directions import GATES, Cell, Weights
from harken.engine.op import ragged_layer
from harken.errors import ShapeError, UsageError
from harken.layers.regularization import dropout, locked_dropout
from harken.layers.state import GRUState, LSTMState, State, final_state, split_state
from harken.layers.stepper import Combine, Stepper

__all__ = ["Cell", "Combine", "GRUState", "LSTMState", "Recurrent", "RecurrentOutput", "State"]


class RecurrentOutput(NamedTuple):
    """Outputs (B, T, output_size), exactly 0 on padding, and the state at each row's own end."""

    outputs: Tensor
    state: State


class Recurrent(nn.Module):
    """A stack of LSTMs or GRUs over ragged rows.

    The LSTM of Hochreiter & Schmidhuber 1997 with the forget gates of Gers et al. 2000; the GRU of Cho et al. 2014
    with torch's reset gate, which acts after the recurrent product. Parameters have torch's names and layout.
    Differs from torch: batch-first always; lengths instead of `PackedSequence`; zero-length rows are legal
    and keep their state; `combine` decides what leaves the stack; the initialisation (`reset_parameters`).

    Args:
        input_size: D.
        hidden_size: H, per layer and direction.
        cell: "lstm" or "gru".
        num_layers: layers, each reading the outputs of the one below.
        bidirectional: a second direction reads every row from its own last step to its first.
        dropout: probability of dropping a value between layers, not after the last, when training.
        combine: the outputs of the "last" layer, the "sum" over all layers, or their "concat".
        bias: with the two bias vectors of torch.
        weight_dropout: probability of dropping a value of the recurrent matrices when training: DropConnect
            (Wan et al. 2013), one mask per call for all its rows and steps (Merity et al. 2018, section 2). What the
            engine sees is a function of the parameter, so the gradient of what is kept reaches it.
        locked_dropout: between layers, drop the same units at every step of a row instead of single values
            (Merity et al. 2018, section 4.2). `dropout` is its probability.

    Attributes:
        output_size: H, times 2 when bidirectional, times num_layers for "concat".

    Raises:
        UsageError: an option outside its range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        cell: Cell = "lstm",
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        combine: Combine = "last",
        bias: bool = True,
        weight_dropout: float = 0.0,
        locked_dropout: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
        ):
            if value < 1:
                raise UsageError(f"{name} ({value}) must be at least 1")
        for name, p in (("dropout", dropout), ("weight_dropout", weight_dropout)):
            if not 0 <= p < 1:
                raise UsageError(f"{name} ({p}) must be a probability from 0 up to, not including, 1")
        if cell not in GATES:
            raise UsageError(f"cell ({cell!r}) must be 'lstm' or 'gru'")
        if combine not in ("last", "sum", "concat"):
            raise UsageError(f"combine ({combine!r}) must be 'last', 'sum' or 'concat'")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.cell: Cell = cell
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.num_directions = 2 if bidirectional else 1
        self.dropout = dropout
        self.combine: Combine = combine
        self.bias = bias
        self.weight_dropout = weight_dropout
        self.locked_dropout = locked_dropout
        layer_size = hidden_size * self.num_directions
        self.output_size = layer_size * (num_layers if combine == "concat" else 1)

        rows = GATES[cell] * hidden_size
        for layer in range(num_layers):
            columns = input_size if layer == 0 else layer_size
            for suffix in self._suffixes(layer):
                self.register_parameter(f"weight_ih_{suffix}", nn.Parameter(torch.empty(rows, columns)))
                self.register_parameter(f"weight_hh_{suffix}", nn.Parameter(torch.empty(rows, hidden_size)))
                if bias:
                    self.register_parameter(f"bias_ih_{suffix}", nn.Parameter(torch.empty(rows)))
                    self.register_parameter(f"bias_hh_{suffix}", nn.Parameter(torch.empty(rows)))
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        """Torch's names of a layer's directions."""
        return [f"l{layer}", f"l{layer}_reverse"][: self.num_directions]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new weights, gate by gate.

        Recurrent matrices orthogonal (Saxe et al. 2014), input matrices Glorot uniform (2010, equation 16),
        biases 0, but an LSTM's forget bias 1 (Jozefowicz et al. 2015, section 2.2): a new cell remembers.
        """
        gates = GATES[self.cell]
        for name, parameter in self.named_parameters():
            if name.startswith("bias"):
                parameter.zero_()
                if self.cell == "lstm" and name.startswith("bias_ih"):  # once: the two biases add up
                    parameter[self.hidden_size : 2 * self.hidden_size] = 1.0
            else:
                fill = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
                for gate in parameter.chunk(gates):
                    fill(gate)

    def forward(self, x: Tensor, lengths: Tensor | None = None, state: State | None = None) -> RecurrentOutput:
        """Read every row, from its first to its own last step.

        Args:
            x: (B, T, D), right-padded; what stands in the padding does not matter.
            lengths: (B,) int64, 0 ≤ length ≤ T; default: T each.
            state: where to start, as returned by an earlier call; default: zeros. A sequence fed in pieces,
                each with the state of the one before, equals one pass if there is only the forward direction.

        Returns:
            Outputs (B, T, output_size) and the state; a zero-length row has the state it came with.

        Raises:
            ShapeError: a tensor whose rank, size or dtype does not fit.
        """
        if x.dim() != 3 or x.shape[-1] != self.input_size:
            raise ShapeError(f"x {tuple(x.shape)} must be (B, T, {self.input_size}) for input_size ({self.input_size})")
        if lengths is None:
            lengths = torch.full(x.shape[:1], x.shape[1], dtype=torch.int64, device=x.device)  # (B,)
        shape = (self.num_layers * self.num_directions, x.shape[0], self.hidden_size)

        layers: list[Tensor] = []
        h_n: list[Tensor] = []
        c_n: list[Tensor] = []
        for layer, (h0, c0) in enumerate(split_state(self.cell, state, self.num_layers, shape)):
            if layer > 0:
                drop = locked_dropout if self.locked_dropout else dropout
                x = drop(layers[-1], self.dropout, self.training)
            weights = [self._weights(suffix, self.training) for suffix in self._suffixes(layer)]
            outputs, h, c = ragged_layer(self.cell, x, lengths, weights, h0, c0)
            layers.append(outputs)  # (B, T, directions * H)
            h_n.append(h)
            if c is not None:
                c_n.append(c)
        return RecurrentOutput(self._combine(layers), final_state(h_n, c_n))

    def _combine(self, layers: list[Tensor]) -> Tensor:
        match self.combine:
            case "last":
                return layers[-1]
            case "sum":
                return functools.reduce(torch.add, layers)
            case "concat":
                return torch.cat(layers, -1) if len(layers) > 1 else layers[0]  # (B, T, layers * directions * H)

    def _weights(self, suffix: str, training: bool = False) -> Weights:
        w_ih, w_hh = getattr(self, f"weight_ih_{suffix}"), getattr(self, f"weight_hh_{suffix}")
        if self.weight_dropout:
            w_hh = dropout(w_hh, self.weight_dropout, training)
        if not self.bias:
            return w_ih, w_hh, None, None
        return w_ih, w_hh, getattr(self, f"bias_ih_{suffix}"), getattr(self, f"bias_hh_{suffix}")

    def stepper(self, batch: int = 1) -> Stepper:
        """What streams: one step per call for `batch` rows, in microseconds, with the weights of this moment.

        No gradient and no dropout. Its answers equal those of `forward` over the same steps.

        Raises:
            UsageError: bidirectional (the reverse direction begins at a sequence's end), or batch below 1.
        """
        if self.bidirectional:
            raise UsageError(
                "stepper needs bidirectional=False: the reverse direction begins at a sequence's end, "
                "which a stream has not reached"
            )
        weights = [self._weights(f"l{layer}") for layer in range(self.num_layers)]
        return Stepper(self.cell, weights, combine=self.combine, batch=batch)

    def extra_repr(self) -> str:
        """What `print` shows, as in torch."""
        options = {
            "num_layers": 1,
            "bidirectional": False,
            "dropout": 0.0,
            "combine": "last",
            "bias": True,
            "weight_dropout": 0.0,
            "locked_dropout": False,
        }
        shown = [f"{name}={getattr(self, name)}" for name, default in options.items() if getattr(self, name) != default]
        return ", ".join([f"{self.input_size}, {self.hidden_size}, cell={self.cell}", *shown])

    @classmethod
    def from_torch(cls, source: nn.LSTM | nn.GRU) -> Self:
        """A copy of torch's layer, weights included; `batch_first` is dropped, ours always is.

        Raises:
            UsageError: any other module, or an LSTM with projections.
        """
        if not isinstance(source, nn.LSTM | nn.GRU):
            raise UsageError(f"from_torch takes nn.LSTM or nn.GRU, not {type(source).__name__}")
        if source.proj_size:
            raise UsageError(f"proj_size ({source.proj_size}) must be 0: projected LSTMs are not supported")
        layer = cls(
            source.input_size,
            source.hidden_size,
            cell="lstm" if isinstance(source, nn.LSTM) else "gru",
            num_layers=source.num_layers,
            bidirectional=source.bidirectional,
            dropout=source.dropout,
            bias=source.bias,
        ).to(next(source.parameters()))
        layer.load_state_dict(source.state_dict())
        return layer.train(source.training)

    def to_torch(self) -> nn.LSTM | nn.GRU:
        """A copy as torch's layer with `batch_first=True`, weights included.

        Raises:
            UsageError: several layers and another `combine` than "last", which is all that torch has; or, in training
                mode, `weight_dropout` or `locked_dropout`, which torch has not: in eval mode they are left out.
        """
        for name in ("weight_dropout", "locked_dropout"):
            if self.training and getattr(self, name):
                raise UsageError(
                    f"{name} ({getattr(self, name)}) is nothing that torch's layers can train with: "
                    "call eval() before to_torch() for a copy that answers the same"
                )
        if self.combine != "last" and self.num_layers > 1:
            raise UsageError(f"combine ({self.combine}) must be 'last': torch's stacks return their last layer only")
        kind = nn.LSTM if self.cell == "lstm" else nn.GRU
        # Torch warns about dropout in a single layer; locked, it is another thing than torch's.
        between = self.dropout if self.num_layers > 1 and not self.locked_dropout else 0.0
        layer = kind(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            bias=self.bias,
            batch_first=True,
            dropout=between,
            bidirectional=self.bidirectional,
        ).to(next(self.parameters()))
        layer.load_state_dict(self.state_dict())
        return layer.train(self.training)
