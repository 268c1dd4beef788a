"""Rebuilding a row from one vector: an encoder reads it, a decoder writes it, and what it writes is compared.

    values → standardised → encoder LSTM or GRU → its final state → latent → decoder → output → the values' own shape

Srivastava, Mansimov & Salakhutdinov 2015, "Unsupervised Learning of Video Representations using LSTMs", section 2.1;
for anomaly detection Malhotra et al. 2016, "LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection".
Shapes: B rows, T steps, … the shape of a sample, D its values, H hidden, Z latent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from harken.config import AutoencoderConfig
from harken.data.batching import ModelInputs
from harken.errors import ShapeError
from harken.layers.masks import mask_from_lengths, reverse_rows
from harken.layers.pooling import final_vector, mean_steps
from harken.layers.recurrent import Recurrent
from harken.layers.regularization import dropout
from harken.layers.state import GRUState, LSTMState, State
from harken.models.frontends import SeriesFrontend


class AutoencoderOutput(NamedTuple):
    """What a model made of a batch."""

    latent: Tensor  # (B, Z), what each row was rebuilt from
    reconstruction: Tensor  # (B, T, …) in the units of the values, exactly 0 on padding
    errors: Tensor  # (B, T) squared error of each step in standardised units, its values' mean; 0 on padding


class Autoencoder(nn.Module):
    """Rows of samples of any shape → one vector each → the rows again.

    The latent vector is a linear map of the encoder's final state, and the decoder starts from a linear map of the
    latent vector. With ``config.feed_back`` the decoder reads the step before beside the latent vector: the true one
    where a caller says ``teacher``, else its own. Differs from both papers: they hand the encoder's whole state to the
    decoder, h and c of every layer; here all goes through Z numbers, whatever the layers. Differs from Srivastava et
    al.: the unconditioned decoder reads the latent vector at every step, and theirs nothing.

    Args:
        config: the shape of the model.
        width: D.

    Attributes:
        frontend: what standardises; its mean and scale are part of the saved model.
    """

    def __init__(self, config: AutoencoderConfig, width: int) -> None:
        super().__init__()
        self.config = config
        layers = {"cell": config.cell, "num_layers": config.num_layers, "dropout": config.dropout}
        self.frontend = SeriesFrontend(width)
        self.encoder = Recurrent(width, config.hidden_size, bidirectional=config.bidirectional, **layers)  # type: ignore[arg-type]
        self.latent = nn.Linear(self.encoder.output_size, config.latent_size)
        self.states = 2 if config.cell == "lstm" else 1  # h, and an LSTM's c
        self.bridge = nn.Linear(config.latent_size, self.states * config.num_layers * config.hidden_size)
        read = config.latent_size + (width if config.feed_back else 0)
        self.decoder = Recurrent(read, config.hidden_size, **layers)  # type: ignore[arg-type]
        self.output = nn.Linear(config.hidden_size, width)

    def forward(self, values: Tensor, lengths: Tensor, *, teacher: bool = False) -> AutoencoderOutput:
        """Rebuild every row.

        Args:
            values: (B, T, …), right-padded; a sample's values are D in all.
            lengths: (B,) int64. A row of no steps has the latent vector of the encoder's initial state.
            teacher: with ``feed_back`` the decoder reads the true step before, and not its own: one pass over all
                steps, as training has it.

        Raises:
            ShapeError: samples of another number of values.
        """
        x = self.standardized(values, lengths)  # (B, T, D)
        latent = self.encode(x, lengths)  # (B, Z)
        rebuilt = self.decode(latent, lengths, x.shape[1], x if teacher else None)  # (B, T, D)
        real = mask_from_lengths(lengths.to(x.device), x.shape[1])  # (B, T)
        units = rebuilt * self.frontend.scale + self.frontend.mean  # (B, T, D)
        units = units.masked_fill(~real.unsqueeze(-1), 0.0).view(values.shape)  # (B, T, …)
        return AutoencoderOutput(latent, units, (rebuilt - x).square().mean(-1))

    def standardized(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, …) → (B, T, D), mean 0 and variance 1 where training rows had others; 0 on padding."""
        flat = values.flatten(2) if values.dim() > 2 else values.unsqueeze(-1)  # (B, T, D)
        if flat.dim() != 3 or flat.shape[-1] != self.frontend.width:
            raise ShapeError(
                f"values {tuple(values.shape)} must be (B, T, …) with {self.frontend.width} values a step, as the "
                "model was built"
            )
        return self.frontend.embed(ModelInputs(flat, lengths, None))

    def encode(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Standardised steps (B, T, D) → latent vectors (B, Z)."""
        state = self.encoder(x, lengths).state
        return self.latent(final_vector(state, self.encoder.num_directions))  # type: ignore[no-any-return]

    def decode(self, latent: Tensor, lengths: Tensor, steps: int, teacher: Tensor | None = None) -> Tensor:
        """Latent vectors (B, Z) → standardised steps (B, T, D), 0 on padding.

        Args:
            latent: see `encode`.
            lengths: (B,) int64, of the rows to write.
            steps: T.
            teacher: (B, T, D) the true steps, which a decoder with ``feed_back`` then reads; None: its own.
        """
        state = self._initial(latent)
        repeated = latent.unsqueeze(1).expand(-1, steps, -1)  # (B, T, Z)
        if not self.config.feed_back:
            outputs = self._written(self.decoder(repeated, lengths, state).outputs)
        elif teacher is not None:
            true = reverse_rows(teacher, lengths) if self.config.reverse_target else teacher
            before = nn.functional.pad(true, (0, 0, 1, 0))[:, :steps]  # (B, T, D), the first reads zeros
            outputs = self._written(self.decoder(torch.cat([repeated, before], -1), lengths, state).outputs)
        else:
            outputs = self._fed_back(latent, lengths, steps, state)
        if self.config.reverse_target:
            outputs = reverse_rows(outputs, lengths)
        real = mask_from_lengths(lengths.to(outputs.device), steps).unsqueeze(-1)  # (B, T, 1)
        return outputs.masked_fill(~real, 0.0)

    def _initial(self, latent: Tensor) -> State:
        """(B, Z) → where the decoder starts, each (layers, B, H)."""
        shape = (latent.shape[0], self.states, self.config.num_layers, self.config.hidden_size)
        h, *c = self.bridge(latent).view(shape).permute(1, 2, 0, 3).contiguous()
        return LSTMState(h, c[0]) if c else GRUState(h)

    def _written(self, h: Tensor) -> Tensor:
        """(B, T, H) → (B, T, D)."""
        return self.output(dropout(h, self.config.dropout, self.training))  # type: ignore[no-any-return]

    def _fed_back(self, latent: Tensor, lengths: Tensor, steps: int, state: State) -> Tensor:
        """Step by step, each reading what the one before wrote: (B, T, D)."""
        before = latent.new_zeros(len(latent), self.frontend.width)  # (B, D)
        written = []
        for step in range(steps):
            x = torch.cat([latent, before], -1).unsqueeze(1)  # (B, 1, Z + D)
            outputs, state = self.decoder(x, (lengths > step).long(), state)
            before = self._written(outputs).squeeze(1)
            written.append(before)
        return torch.stack(written, 1) if written else latent.new_zeros(len(latent), 0, self.frontend.width)


def row_errors(errors: Tensor, lengths: Tensor) -> Tensor:
    """Squared errors of steps (B, T) → the mean over each row's own real steps (B,); 0 for a row of none."""
    return mean_steps(errors.unsqueeze(-1), mask_from_lengths(lengths.to(errors.device), errors.shape[1])).squeeze(-1)
