"""The leaky recurrence as one operation with kernels to choose from and derivatives of every order.

    forward    hp_t = 0 where starts_t else h_{t-1}
               h_t  = a * hp_t + (1 - a) * phi(drive_t + hp_t W^T)
    adjoint    g_t  = G_t + m_{t+1} (delta_{t+1} W + a g_{t+1}),   delta_t = d_t g_t
    tangent    s_t  = a m_t s_{t-1} + d_t (m_t s_{t-1} W^T) + force_t

with the slopes d = (1 - a) phi'(z) and m = 0 at a start, 1 elsewhere. The derivative of the scan is an
adjoint, that of an adjoint is a tangent, and that of a tangent is an adjoint: the three are closed under
differentiation, so double backward, `torch.func` transforms and Gauss-Newton products all run on kernels.

Shapes: T time, B streams, H hidden. The leak a is the share of the OLD state that is kept: one minus the
"leak rate" of the echo-state literature.
"""

from torch import Tensor

from ostinato.nn.kernels import definition
from ostinato.nn.kernels.autocast import in_widest_type
from ostinato.nn.scan import functions


@in_widest_type
def leaky_scan(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None = None,
    h0: Tensor | None = None,
    starts: Tensor | None = None,
    nonlinearity: str = "tanh",
    *,
    kernel: str | None = None,
) -> Tensor:
    """Run `h_t = a * h_{t-1} + (1 - a) * phi(W h_{t-1} + drive_t)` over time; return all states.

    Args:
        drive: what the input contributes, `U x_t + b`, shape (T, B, H).
        weight: W, shape (H, H).
        leak: a, shape (H,), each in [0, 1); None is the ordinary RNN (a = 0).
        h0: the state before the first step, shape (B, H); zero by default.
        starts: boolean, shape (T, B): True where a new sequence starts; the state before that step is
            zero and no gradient passes.
        nonlinearity: "tanh", "relu", "sigmoid", "identity", or another one of those in
            `ostinato.nn.kernels.nonlinearities`.
        kernel: "definition", "unrolled" or "cpu"; by default the fastest that applies.

    Returns:
        The states h, shape (T, B, H), of the drive's type. All tensors must have one real floating type, but
        under `torch.autocast`, where all are taken in the widest one among them.

    Raises:
        ValueError: tensors do not go together in shape, type or device.

    Example:
        >>> import torch
        >>> drive = torch.ones(3, 1, 1)
        >>> leaky_scan(drive, torch.zeros(1, 1), torch.tensor([0.5]), nonlinearity="identity").flatten()
        tensor([0.5000, 0.7500, 0.8750])
    """
    if h0 is None:
        h0 = drive.new_zeros(*drive.shape[1:])
    if kernel == "definition":
        return definition.forward(drive, weight, leak, h0, starts, nonlinearity)[0]
    return functions.scan(drive, weight, leak, h0, starts, nonlinearity, kernel or "")[0]
