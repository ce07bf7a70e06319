"""Recurrent networks as dynamical systems: fixed points, Jacobians and their products, Lyapunov exponents.

Each function takes a recurrence of ours (RNN, GRU, LSTM and whatever keeps their contract, of any number of
layers), or a function `f(state, input)` of one's own. The weights' own precision is used: `cell.double()`
finds points to 1e-12.
"""

from typing import TYPE_CHECKING

from ostinato import lazily

if TYPE_CHECKING:
    from ostinato.dynamics.jacobians import jacobian as jacobian
    from ostinato.dynamics.jacobians import jacobian_product as jacobian_product
    from ostinato.dynamics.jacobians import largest_singular_value as largest_singular_value
    from ostinato.dynamics.jacobians import pullback as pullback
    from ostinato.dynamics.jacobians import pushforward as pushforward
    from ostinato.dynamics.jacobians import trajectory_jacobians as trajectory_jacobians
    from ostinato.dynamics.lyapunov import LyapunovExponents as LyapunovExponents
    from ostinato.dynamics.lyapunov import lyapunov_exponents as lyapunov_exponents
    from ostinato.dynamics.maps import StepMap as StepMap
    from ostinato.dynamics.maps import sample_states as sample_states
    from ostinato.dynamics.maps import step_map as step_map
    from ostinato.dynamics.points import FixedPoints as FixedPoints
    from ostinato.dynamics.points import fixed_points as fixed_points

_PLACES = {
    "FixedPoints": "points",
    "LyapunovExponents": "lyapunov",
    "StepMap": "maps",
    "fixed_points": "points",
    "jacobian": "jacobians",
    "jacobian_product": "jacobians",
    "largest_singular_value": "jacobians",
    "lyapunov_exponents": "lyapunov",
    "pullback": "jacobians",
    "pushforward": "jacobians",
    "sample_states": "maps",
    "step_map": "maps",
    "trajectory_jacobians": "jacobians",
}

__all__ = [*_PLACES]

if not TYPE_CHECKING:  # a type checker knows the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
