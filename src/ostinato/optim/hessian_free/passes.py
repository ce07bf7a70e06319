"""Forward passes of a module that compute the same function every time.

Within one update the loss is taken at many points and the curvature many times: all of it has to be of one
function, with one set of dropout masks, and must not leave a trace in running statistics.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Passes:
    """Calls a module again and again from one moment on, as it would have been called at that moment.

    Random numbers of PyTorch's generators, and of those that a module holds as attributes, begin where they
    stood, so that masks are the same; buffers, such as the running statistics of a batch normalisation, begin
    as they were, and a repeated pass changes copies of them. `first` is the pass that counts: it moves the
    generators on and changes the buffers, once.

    Args:
        module: the module.

    Example:
        >>> passes = Passes(nn.Dropout(0.5))
        >>> x = torch.ones(100)
        >>> passes.first((x,)).equal(passes.again((x,)))
        True
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._buffers: dict[str, Tensor] | None = None
        self._random: _Random | None = None

    def hold(self) -> None:
        """What is repeated from now on is a pass from this moment."""
        self._buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        self._random = _Random.now(self.module)

    def first(self, inputs: tuple[Any, ...], then: Callable[[Any], Any] = lambda x: x) -> Any:
        """`then` of the module's outputs, from this moment on the one that is repeated."""
        self.hold()
        with _plain_kernels(self.module):
            return then(self.module(*inputs))

    def again(
        self,
        inputs: tuple[Any, ...],
        then: Callable[[Any], Any] = lambda x: x,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Any:
        """The same, but that no one can tell afterwards; with other parameters, by name, if there are any."""
        with self.repeated() as buffers:
            tensors = {**(parameters or {}), **buffers}
            return then(functional_call(self.module, tensors, inputs) if tensors else self.module(*inputs))

    @contextmanager
    def repeated(self) -> Iterator[dict[str, Tensor]]:
        """What a repeated pass runs in; gives the buffers that it may change."""
        if self._random is None or self._buffers is None:
            self.hold()
        assert self._random is not None
        assert self._buffers is not None
        with self._random.back(), _plain_kernels(self.module):
            yield {name: buffer.clone() for name, buffer in self._buffers.items()}

    def moment(self) -> Callable[[], AbstractContextManager[None]]:
        """Where the generators stand now, as a context that begins there and leaves no trace."""
        return _Random.now(self.module).back


class _Random:
    """Where PyTorch's generators stood: that of the CPU, those of a module's devices, and its own ones."""

    def __init__(
        self, cpu: Tensor, others: dict[int, Tensor], own: list[tuple[torch.Generator, Tensor]]
    ) -> None:
        self._cpu, self._others, self._own = cpu, others, own

    @classmethod
    def now(cls, module: nn.Module) -> "_Random":
        places = {x.device for x in [*module.parameters(), *module.buffers()]}
        cuda = sorted({place.index or 0 for place in places if place.type == "cuda"})
        held = (x for part in module.modules() for x in vars(part).values() if isinstance(x, torch.Generator))
        return cls(
            torch.get_rng_state(),
            {index: torch.cuda.get_rng_state(index) for index in cuda},
            [(generator, generator.get_state()) for generator in dict.fromkeys(held)],
        )

    @contextmanager
    def back(self) -> Iterator[None]:
        """They stand there again at the beginning, and afterwards where they did."""
        with torch.random.fork_rng(devices=list(self._others)):
            torch.set_rng_state(self._cpu)
            for index, state in self._others.items():
                torch.cuda.set_rng_state(state, index)
            after = [(generator, generator.get_state()) for generator, _ in self._own]
            try:
                for generator, state in self._own:
                    generator.set_state(state)
                yield
            finally:
                for generator, state in after:
                    generator.set_state(state)


@contextmanager
def _plain_kernels(module: nn.Module) -> Iterator[None]:
    """Kernels that have second derivatives, or forward mode, and take masks from PyTorch's generators.

    Those of fused attention have neither, nor have cuDNN's recurrent layers, which also draw dropout by
    themselves; and encoder layers have a quick path for when no gradient is asked for, whose padded outputs
    are others.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    cudnn, quick = torch.backends.cudnn.enabled, torch.backends.mha.get_fastpath_enabled()
    if recurrent:
        torch.backends.cudnn.enabled = False
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(quick)
        if recurrent:
            torch.backends.cudnn.enabled = cudnn
