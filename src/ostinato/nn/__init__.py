"""Recurrent layers, output distributions and the model that joins them."""

from ostinato.nn import outputs
from ostinato.nn.cells import GRU, LSTM
from ostinato.nn.initialization import initialize_recurrent_, sample_leak
from ostinato.nn.model import SequenceModel
from ostinato.nn.recurrence import leaky_scan
from ostinato.nn.rnn import RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SequenceModel",
    "initialize_recurrent_",
    "leaky_scan",
    "outputs",
    "sample_leak",
]
