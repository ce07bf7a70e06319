# The extension built from native/; see native/module.cpp. Addresses are those of dense CPU tensors.

def instruction_sets() -> list[str]: ...
def thread_pool() -> str: ...
def prefer_huge_pages(memory: int, bytes: int) -> None: ...

_Sizes = tuple[int, ...]  # of length three

class Kernels:
    def __init__(self, instruction_set: str) -> None: ...
    def forward(
        self,
        float64: bool,
        shape: _Sizes,
        drive: int,
        weight: int,
        leak: int,
        h0: int,
        starts: int,
        states: int,
        slopes: int,
        nonlinearity: int,
        threads: int,
    ) -> None: ...
    def adjoint(
        self,
        float64: bool,
        shape: _Sizes,
        grad_states: int,
        slopes: int,
        weight: int,
        leak: int,
        starts: int,
        delta: int,
        grad_h0: int,
        adjoint_states: int,
        threads: int,
    ) -> None: ...
    def tangent(
        self,
        float64: bool,
        shape: _Sizes,
        force: int,
        slopes: int,
        weight: int,
        leak: int,
        h0_tangent: int,
        starts: int,
        tangents: int,
        threads: int,
    ) -> None: ...
    def layer_forward(
        self,
        float64: bool,
        shape: _Sizes,
        inputs: int,
        binary: int,
        real: int,
        weight_ih: int,
        bias: int,
        second_bias: int,
        weight: int,
        leak: int,
        h0: int,
        starts: int,
        states: int,
        last: int,
        slopes: int,
        nonlinearity: int,
        threads: int,
    ) -> bool: ...
    def layer_backward(
        self,
        float64: bool,
        shape: _Sizes,
        inputs: int,
        binary: int,
        real: int,
        sparse: bool,
        grad_states: int,
        slopes: int,
        states: int,
        h0: int,
        weight: int,
        leak: int,
        starts: int,
        delta: int,
        grad_h0: int,
        grad_hh: int,
        grad_ih: int,
        grad_bias: int,
        second_grad_bias: int,
        threads: int,
    ) -> None: ...
    def nade(
        self,
        float64: bool,
        sizes: _Sizes,
        v: int,
        biases: int,
        encoder: int,
        decoder: int,
        weights: int,
        log_prob: int,
        grad_biases: int,
        grad_encoder: int,
        grad_decoder: int,
        threads: int,
    ) -> None: ...
    def nade_sample(
        self,
        float64: bool,
        sizes: _Sizes,
        biases: int,
        encoder: int,
        decoder: int,
        uniform: int,
        fixed: int,
        v: int,
        log_weight: int,
        conditional: int,
        threads: int,
    ) -> None: ...
