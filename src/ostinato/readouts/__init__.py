"""Linear readouts of recurrent networks, fitted in one pass; and reservoirs, untrained networks to read."""

from typing import TYPE_CHECKING

from ostinato import lazily

if TYPE_CHECKING:
    from ostinato.readouts.fitting import fit_readout as fit_readout
    from ostinato.readouts.module import Readout as Readout
    from ostinato.readouts.untrained import reservoir as reservoir

_PLACES = {"Readout": "module", "fit_readout": "fitting", "reservoir": "untrained"}

__all__ = [*_PLACES]

if not TYPE_CHECKING:  # a type checker knows the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
