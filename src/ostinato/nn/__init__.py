"""Recurrent layers, output distributions and the model that joins them."""

from typing import TYPE_CHECKING

from ostinato import lazily

if TYPE_CHECKING:
    from ostinato.nn import outputs as outputs
    from ostinato.nn.cells.constraint import ConstrainedLinear as ConstrainedLinear
    from ostinato.nn.cells.ctrnn import CTRNN as CTRNN
    from ostinato.nn.cells.gru import GRU as GRU
    from ostinato.nn.cells.initialization import initialize_recurrent_ as initialize_recurrent_
    from ostinato.nn.cells.initialization import sample_leak as sample_leak
    from ostinato.nn.cells.leaky import RNN as RNN
    from ostinato.nn.cells.lstm import LSTM as LSTM
    from ostinato.nn.cells.regularizer import rate_penalty as rate_penalty
    from ostinato.nn.cells.single import GRUCell as GRUCell
    from ostinato.nn.cells.single import LSTMCell as LSTMCell
    from ostinato.nn.cells.single import RNNCell as RNNCell
    from ostinato.nn.model import SequenceModel as SequenceModel
    from ostinato.nn.scan.recurrence import leaky_scan as leaky_scan

_PLACES = {
    "CTRNN": "cells.ctrnn",
    "ConstrainedLinear": "cells.constraint",
    "GRU": "cells.gru",
    "GRUCell": "cells.single",
    "LSTM": "cells.lstm",
    "LSTMCell": "cells.single",
    "RNN": "cells.leaky",
    "RNNCell": "cells.single",
    "SequenceModel": "model",
    "initialize_recurrent_": "cells.initialization",
    "leaky_scan": "scan.recurrence",
    "outputs": "",
    "rate_penalty": "cells.regularizer",
    "sample_leak": "cells.initialization",
}

__all__ = [*_PLACES]

if not TYPE_CHECKING:  # a type checker knows the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
