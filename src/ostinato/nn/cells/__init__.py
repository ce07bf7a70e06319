"""Recurrent cells: RNN, GRU, LSTM and CTRNN, and what a model asks of any of them."""

from typing import TYPE_CHECKING

from ostinato import lazily

if TYPE_CHECKING:
    from ostinato.nn.cells.ctrnn import CTRNN as CTRNN
    from ostinato.nn.cells.gru import GRU as GRU
    from ostinato.nn.cells.leaky import RNN as RNN
    from ostinato.nn.cells.lstm import LSTM as LSTM
    from ostinato.nn.cells.protocol import LinearizedRecurrence as LinearizedRecurrence
    from ostinato.nn.cells.protocol import Recurrence as Recurrence
    from ostinato.nn.cells.single import GRUCell as GRUCell
    from ostinato.nn.cells.single import LSTMCell as LSTMCell
    from ostinato.nn.cells.single import RNNCell as RNNCell
    from ostinato.nn.cells.state import State as State

_PLACES = {
    "CTRNN": "ctrnn",
    "GRU": "gru",
    "GRUCell": "single",
    "LSTM": "lstm",
    "LSTMCell": "single",
    "LinearizedRecurrence": "protocol",
    "RNN": "leaky",
    "RNNCell": "single",
    "Recurrence": "protocol",
    "State": "state",
}

__all__ = [*_PLACES]

__getattr__, __dir__ = lazily(__name__, _PLACES)
