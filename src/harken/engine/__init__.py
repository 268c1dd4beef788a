"""The fast core behind ``layers/recurrent.py``: an LSTM and a GRU over rows of unequal length."""

from __future__ import annotations

from harken.engine.op import ragged_gru, ragged_layer, ragged_lstm

__all__ = ["ragged_gru", "ragged_layer", "ragged_lstm"]
