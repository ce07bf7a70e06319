"""Recurrent cells: GRU and LSTM, and what a model asks of any of them."""

from ostinato.nn.cells.gru import GRU
from ostinato.nn.cells.lstm import LSTM
from ostinato.nn.cells.protocol import LinearizedRecurrence, Recurrence
from ostinato.nn.cells.state import State

__all__ = ["GRU", "LSTM", "LinearizedRecurrence", "Recurrence", "State"]
