"""What recurrent cells share: parameters named as in `torch.nn`, layers, directions, dropout, kinds of calls.

Shapes: T time, B streams, I inputs, H hidden, L layers, D directions, P outputs, K blocks of H rows in a
weight matrix.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ostinato.nn.cells import calls, packed, portable, settings
from ostinato.nn.cells.dropping import Dropping, dropped
from ostinato.nn.cells.initialization import initialize_recurrent_
from ostinato.nn.cells.leak import LEARNED, Leaking
from ostinato.nn.cells.state import State, map_state, select
from ostinato.nn.kernels.projection import embed, project, with_biases
from ostinato.recipe.core import DROPOUTS

# What a layer computes of the outputs below it, in one direction: its number, the outputs, its state before.
_Run = Callable[[int, Any, Any], tuple[Any, State]]


class RecurrentStack(Dropping, Leaking):
    """Layers of one kind of cell; a subclass says in `_layer` what one of them computes, in one direction.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size: as in
            `torch.nn.RNNBase`.
        leak: None, a number for all units, or a tensor (H,), each in [0, 1): the share of the old state
            that is kept. A tensor that requires a gradient is learned, and stays in (0, 1). All layers and
            directions share it.
        initialization: of each of the K blocks (H, P) of W_hh; see `initialize_recurrent_`. All else is
            PyTorch's uniform draw.
        spectral_radius: largest absolute eigenvalue of an "echo-state" block.
        token_inputs: whether inputs are token ids only. The first layer's W_ih is then the parameter
            `embedding`, its transpose (I, K H). State dicts with weight_ih_l0 load.
        embedding_size: E; a token is then E numbers, a row of the parameter `embedding` (I, E), which the
            first layer reads by a W_ih (K H, E) of its own. None for none.
        sparse: whether the gradient of the embedding is sparse, only the rows of the tokens that occurred.
            Adam, `DistributedDataParallel` and `torch.nn.utils.clip_grad_norm_` want a dense one.
        input_dropout, output_dropout, recurrent_dropout: see `ostinato.nn.cells.dropping.Dropping`; they act
            with one layer too.
        generator: source of randomness for the weights and for dropout.
        device, dtype: of the parameters.
    """

    cell: ClassVar[str] = "RNN"
    blocks: ClassVar[int] = 1
    state_tensors: ClassVar[tuple[str, ...]] = ("h",)
    projects: ClassVar[bool] = False

    weight_hh_l0: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        leak: float | Tensor | None = None,
        initialization: str = "uniform",
        spectral_radius: float = 1.1,
        token_inputs: bool = False,
        embedding_size: int | None = None,
        sparse: bool = True,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        settings.check_dropout(dropout, num_layers)
        self._register_dropouts(
            input_dropout=input_dropout, output_dropout=output_dropout, recurrent_dropout=recurrent_dropout
        )
        settings.check_flags(bias=bias, batch_first=batch_first)
        settings.check_sizes(input_size, hidden_size, num_layers)
        settings.check_projection(proj_size, hidden_size, initialization, known=self.projects)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bool(bidirectional), proj_size
        self.initialization, self.spectral_radius, self.generator = initialization, spectral_radius, generator
        self.token_inputs, self.sparse = token_inputs, sparse
        self.embedding_size = settings.checked_embedding(embedding_size, token_inputs, bidirectional)
        self._directions = 2 if bidirectional else 1
        self._register_weights({"device": device, "dtype": dtype})
        self._register_leak(leak, self.weight_hh_l0)
        self.reset_parameters()

    @property
    def output_size(self) -> int:
        """P, the size of an output of one direction."""
        return self.proj_size or self.hidden_size

    def _register_weights(self, factory: dict[str, Any]) -> None:
        rows, width = self.blocks * self.hidden_size, self.output_size
        self._weight_names: list[list[str]] = []
        if self.embedding_size is not None:
            rows_of_tokens = torch.empty(self.input_size, self.embedding_size, **factory)
            self.register_parameter("embedding", nn.Parameter(rows_of_tokens))
        for layer in range(self.num_layers):
            fan_in = width * self._directions if layer else self.embedding_size or self.input_size
            for suffix in ("", "_reverse")[: self._directions]:
                names = [
                    f"{kind}_l{layer}{suffix}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                ]
                shapes: list[tuple[int, ...]] = [(rows, fan_in), (rows, width), (rows,), (rows,)]
                if self._reads_tokens(layer * self._directions):
                    names[0], shapes[0] = f"embedding{suffix}", (fan_in, rows)
                if self.proj_size:
                    names.append(f"weight_hr_l{layer}{suffix}")
                    shapes.append((width, self.hidden_size))
                for name, shape in zip(names, shapes, strict=True):
                    if self.bias or len(shape) > 1:
                        self.register_parameter(name, nn.Parameter(torch.empty(shape, **factory)))
                self._weight_names.append(names)

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The weights of each layer and direction, as `torch.nn.RNN` has them."""
        return [
            [getattr(self, name) for name in names if self.bias or not name.startswith("bias")]
            for names in self._weight_names
        ]

    def flatten_parameters(self) -> None:
        """Nothing: no kernel here wants the weights in one piece; `torch.nn.RNN` has it for cuDNN."""

    def reset_parameters(self) -> None:
        """Draw every weight again from the generator; the leak stays."""
        bound = 1 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            if name.startswith("weight_hh"):
                for block in parameter.detach().chunk(self.blocks):
                    initialize_recurrent_(
                        block,
                        self.initialization,
                        generator=self.generator,
                        spectral_radius=self.spectral_radius,
                    )
            elif name != LEARNED:
                with torch.no_grad():
                    parameter.uniform_(-bound, bound, generator=self.generator)

    def _state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        """Of each tensor of the state of `batch` streams: (L D, B, P) for h, (L D, B, H) for any other."""
        count = self.num_layers * self._directions
        return [
            (count, batch, self.output_size if name == "h" else self.hidden_size)
            for name in self.state_tensors
        ]

    def initial_state(self, batch: int) -> State:
        """The state of `batch` streams before a sequence: zeros (L D, B, H) of the weights' type."""
        like = self.weight_hh_l0
        parts = [torch.zeros(s, dtype=like.dtype, device=like.device) for s in self._state_shapes(batch)]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        starts: Tensor | None = None,
        lengths: Any = None,
        all_layers: bool = False,
    ) -> tuple[Any, Any]:
        """Run over a batch of streams, or over one sequence without a stream dimension.

        Args:
            input: (T, B, I), or (B, T, I) with batch_first, or (T, I) unbatched, of the weights' type;
                uint8 or bool for binary frames; token ids as int64 or int32 without the last dimension. Or a
                `PackedSequence` of any of these.
            hx: the state before the first step, (L D, B, H) or (L D, H); zero by default. That of an LSTM is
                a pair (h, c). The reverse direction starts from its own at a sequence's end.
            starts: boolean (T, B), (B, T) or (T,): where a new sequence starts and the state is zero.
            lengths: steps of each stream (B,), in any order, where the rest of the input is padding: outputs
                past a stream's end are zero, and its last state is that at its own end.
            all_layers: whether to return the outputs of every layer, in a list.

        Returns:
            Outputs of the last layer, (T, B, D H), (B, T, D H) or (T, D H), or packed as the input was, or a
            list of every layer's; and the state of all layers after the last step, in the form of `hx`.
        """
        self._begin_dropping()
        if lengths is not None or isinstance(input, PackedSequence):
            portable.refuse_capture()
        if isinstance(input, PackedSequence):
            return self._packed(input, hx, starts, lengths, all_layers)
        below, states, marks, unbatched = calls.standard_form(self, input, hx, starts)
        if lengths is not None:
            return self._padded(below, states, marks, unbatched, lengths, all_layers)
        leak = self.leak
        layer = self._captured if self._is_captured(marks, leak) else self._layer
        if self.num_layers == 1 and not self.bidirectional:  # a short call feels every function between
            out, final = layer(0, self._input(below), states, marks, leak)
            outputs = [self._output(out)]
        else:
            outputs, final = self._stacked(below, states, partial(self._over_steps, layer, marks, leak))
        if unbatched:
            final = map_state(lambda x: x.squeeze(1), final)
        return self._in_form(outputs, unbatched, all_layers), final

    def _in_form(self, outputs: list[Tensor], unbatched: bool, all_layers: bool) -> Any:
        """Outputs (T, B, D H) of all layers in the form that the caller knows."""
        if unbatched:
            outputs = [out.squeeze(1) for out in outputs]
        elif self.batch_first:
            outputs = [out.transpose(0, 1) for out in outputs]
        return outputs if all_layers else outputs[-1]

    def _stacked(self, below: Tensor, states: State | None, run: _Run) -> tuple[list[Tensor], State]:
        """The outputs of all layers, each of which reads those of the one below; and their last states."""
        outputs: list[Tensor] = []
        last: list[State] = []
        count = self.num_layers * self._directions
        below = self._input(below)
        for index in range(count):
            if index > 0 and index % self._directions == 0:
                below = self._dropped(outputs[-1])
            own = states
            if states is not None and count > 1:
                own = map_state(lambda x, i=index: x[i : i + 1], states)
            out, end = run(index, below, own)
            if self.bidirectional and index % 2:
                outputs[-1] = torch.cat((outputs[-1], out), -1)
            else:
                outputs.append(out)
            last.append(end)
        outputs[-1] = self._output(outputs[-1])
        return outputs, last[0] if count == 1 else map_state(lambda *parts: torch.cat(parts), *last)

    def _over_steps(
        self,
        layer: Callable[..., tuple[Tensor, State]],
        starts: Tensor | None,
        leak: Tensor | None,
        index: int,
        below: Tensor,
        state: Any,
    ) -> tuple[Tensor, State]:
        """`layer`, which is `_layer` or does the same, over frames (T, B, I) in its own direction."""
        if not (self.bidirectional and index % 2):
            return layer(index, below, state, starts, leak)
        marks = None
        if starts is not None:  # backwards, a sequence starts where the next one in time ends
            marks = torch.cat((torch.zeros_like(starts[:1]), starts[1:].flip(0)))
        out, end = layer(index, below.flip(0), state, marks, leak)
        return out.flip(0), end

    def check_portable(self) -> None:
        """Raise a UserError unless other programs, such as those that run ONNX, have all its operations."""
        portable.check(self.cell)

    def _is_captured(self, starts: Tensor | None, leak: Tensor | None) -> bool:
        """Whether a trace or an export wants operations that other programs know."""
        return portable.wanted(is_operator=starts is None and leak is None, unrolls=self.blocks > 1)

    def _captured(
        self, index: int, below: Tensor, state: Any, starts: Tensor | None, leak: Tensor | None
    ) -> tuple[Tensor, State]:
        """`_layer`, in such operations."""
        input_weight, weight_hh, bias_ih, bias_hh, *projection = self._weight_names[index]
        weight_ih = self._own(input_weight)
        if self._reads_tokens(index) and self.training and self.input_dropout > 0:
            raise ValueError("input_dropout of tokens is in no trace; call eval() first")
        layer = portable.Captured(
            self.cell,
            weight_ih.T if self._reads_tokens(index) else weight_ih,
            self._recurrent(weight_hh),
            self._own(bias_ih) if self.bias else None,
            self._own(bias_hh) if self.bias else None,
            self._own(projection[0]) if projection else None,
            leak,
            getattr(self, "nonlinearity", "tanh"),
        )
        if state is None:
            state = map_state(lambda x: x[:1], self.initial_state(below.shape[1]))
        parts = (state,) if isinstance(state, Tensor) else state
        out, last = portable.run(layer, below, parts, starts)
        return out, last[0] if len(last) == 1 else last

    def _packed(
        self, input: PackedSequence, hx: State | None, starts: Tensor | None, lengths: Any, all_layers: bool
    ) -> tuple[Any, State]:
        """The call for a packed sequence."""
        if starts is not None or lengths is not None:
            raise ValueError(
                "a PackedSequence has its lengths, and one sequence a stream: no starts, no lengths"
            )
        data, batch_sizes, order, back = input
        calls.check_packed(self, data)
        calls.check_state_dims(self, hx, False)
        streams = int(batch_sizes[0])
        calls.check_state_sizes(self, hx, streams)
        states = self.initial_state(streams) if hx is None else hx
        if hx is not None and order is not None:
            states = select(states, order)
        shapes, leak = packed.rectangles(batch_sizes), self.leak
        in_rows = hx is None and len(shapes) > packed.FEW and self._has_every_state
        rows = [
            packed.Rows.of(batch_sizes, data.device, reverse=reverse)
            for reverse in (False, True)[: self._directions if in_rows else 0]
        ]

        def run(index: int, below: Tensor, state: Any) -> tuple[Tensor, State]:
            reverse = self.bidirectional and index % 2 == 1
            if rows:
                return rows[reverse].run(partial(self._every_state, index, leak), below)

            def layer(part: Tensor, carried: Any) -> tuple[Tensor, State]:
                return self._layer(index, part, carried, None, leak)

            return packed.run(layer, below, shapes, state, reverse=reverse)

        outputs, final = self._stacked(data, states, run)
        made = [PackedSequence(out, batch_sizes, order, back) for out in outputs]
        return made if all_layers else made[-1], final if back is None else select(final, back)

    def _padded(
        self,
        below: Tensor,
        states: State | None,
        starts: Tensor | None,
        unbatched: bool,
        lengths: Any,
        all_layers: bool,
    ) -> tuple[Any, State]:
        """The call for padded frames (T, B, I)."""
        if starts is not None:
            raise ValueError("expected either starts or lengths, got both")
        if unbatched:
            raise ValueError("lengths are of the streams of a batch, got an input without a stream dimension")
        steps, streams = below.shape[:2]
        if streams == 0:
            raise ValueError("lengths are of the streams of a batch, got an input of no streams")
        whole, places = packed.pack(below, packed.checked_lengths(lengths, steps, streams))
        made, final = self._packed(whole, states, None, None, True)
        return self._in_form([packed.pad(out, places, steps) for out in made], False, all_layers), final

    def __prepare_scriptable__(self) -> nn.Module:
        """What `torch.jit.script` compiles in this module's place."""
        for name in DROPOUTS[1:]:
            if getattr(self, name) > 0:
                raise RuntimeError(f"torch.jit.script has no {name}, which is {getattr(self, name)} here")
        names = [name for names in self._weight_names for name in names]
        if not self.bias:
            names = [name for name in names if not name.startswith("bias")]
        kinds = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
        own = {name: getattr(self, name) for name in (*kinds, *self._operator_settings())}
        return portable.scriptable(self, names, own)

    def _operator_settings(self) -> tuple[str, ...]:
        """Further settings of the module of `torch.nn`."""
        return ("proj_size",) if self.projects else ()

    def _layer(
        self, index: int, below: Tensor, state: Any, starts: Tensor | None, leak: Tensor | None
    ) -> tuple[Tensor, State]:
        """Outputs (T, B, P) of one layer in one direction, forwards, and its last state, from the one before.

        Args:
            index: of the layer and direction, in the order of the weights' names.
            below: what it reads, (T, B, I) or tokens (T, B).
            state: tensors (1, B, H); None for zero.
            starts: boolean (T, B), where a sequence starts.
            leak: a, (H,), or None.
        """
        raise NotImplementedError

    @property
    def _has_every_state(self) -> bool:
        """Whether there is `_every_state`."""
        return False

    def _every_state(
        self, index: int, leak: Tensor | None, below: Tensor, starts: Tensor
    ) -> tuple[Tensor, State]:
        """Outputs (T, B, P) of one layer from zero, and the states after all steps, tensors (T, B, H)."""
        out, _ = self._layer(index, below, None, starts, leak)
        return out, out

    def _reads_tokens(self, index: int) -> bool:
        """Whether this layer's input weights are an embedding."""
        return self.token_inputs and self.embedding_size is None and index < self._directions

    def _drive(self, index: int, below: Tensor, bias: Tensor | None, second_bias: Tensor | None) -> Tensor:
        """W_ih x + b for all steps at once, shape (T, B, K H); a second bias is added."""
        name = self._weight_names[index][0]
        if self._reads_tokens(index):
            return self._embedded(name, below, bias, second_bias)
        return project(below, self._own(name), bias, second_bias)

    def _embedded(self, name: str, tokens: Tensor, bias: Tensor | None, second_bias: Tensor | None) -> Tensor:
        """W_ih x + b of tokens (T, B), shape (T, B, K H), from an embedding; a second bias is added."""
        rows = self._own(name)
        # A sparse gradient is for a parameter to take; one that goes further through a graph is dense.
        sparse = self.sparse and rows.is_leaf
        if not self.training or self.input_dropout == 0:
            return embed(tokens, rows, bias, second_bias, sparse=sparse)
        drive = dropped(embed(tokens, rows, None, sparse=sparse), self.input_dropout, self.generator)
        return with_biases(drive, bias, second_bias)

    def _own(self, name: str) -> Any:
        """`getattr(self, name)`, without nn.Module's detour where nothing has replaced the tensor."""
        found: Tensor | None = self._parameters.get(name)
        if found is None:
            found = self._buffers.get(name)
        return getattr(self, name) if found is None else found

    def _dropped(self, below: Tensor) -> Tensor:
        return dropped(below, self.dropout, self.generator) if self.training else below

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool, *rest: Any
    ) -> None:
        if self.token_inputs and self.embedding_size is None:
            for suffix in ("", "_reverse")[: self._directions]:
                if (name := f"{prefix}weight_ih_l0{suffix}") in state_dict:
                    state_dict[f"{prefix}embedding{suffix}"] = state_dict.pop(name).T
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *rest)

    def extra_repr(self) -> str:
        """The settings that differ from the defaults."""
        leak, leaking = self._buffers.get("leak"), 0
        if leak is not None:
            leaking = self.hidden_size if leak.is_meta else int((leak > 0).sum())
        return settings.differing(
            (self.input_size, self.hidden_size),
            (
                ("proj_size", self.proj_size, 0),
                ("num_layers", self.num_layers, 1),
                ("bias", self.bias, True),
                ("batch_first", self.batch_first, False),
                ("dropout", self.dropout, 0),
                ("bidirectional", self.bidirectional, False),
                ("leaky_units", leaking, 0),
                ("learned_leak", self.learned_leak, False),
                ("initialization", self.initialization, "uniform"),
                ("spectral_radius", self.spectral_radius, 1.1),
                ("token_inputs", self.token_inputs, False),
                ("embedding_size", self.embedding_size, None),
                ("sparse", self.sparse, True),
                *((name, getattr(self, name), 0) for name in DROPOUTS[1:]),
            ),
        )
