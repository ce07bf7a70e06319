"""What a run's numbers depend on besides its settings and its data."""

import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ostinato
from ostinato.errors import UserError, argument
from ostinato.nn.kernels import cpu

_PROCESSORS = Path("/proc/cpuinfo")


def environment(device: torch.device) -> dict[str, str]:
    """The versions, the processor with the kernels' instruction set, and the GPU where there is one in use.

    Sums come in another order with another instruction set, so a seed belongs to one.
    """
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return gpu | {
        "ostinato": ostinato.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": processor(),
        "kernel": cpu.instruction_set(),
    }


# What another one of may round sums in another order.
_ROUNDING = ("ostinato", "torch", "numpy", "machine", "processor", "kernel", "gpu", "threads")


class Surroundings:
    """What a run is computed with, on every machine that it has been on.

    Args:
        device: where it computes now.
        exact: refuse to go on with anything else than before; see `go_on`.
    """

    def __init__(self, device: torch.device, *, exact: bool = False) -> None:
        self._device, self._exact = device, exact
        self._devices = [str(device)]
        self._all = [self._now()]

    def state(self) -> dict[str, Any]:
        """What a checkpoint says of it."""
        return {
            "threads": torch.get_num_threads(),
            "devices": self._devices,
            "environment": environment(self._device),
            "environments": self._all,
        }

    def go_on(self, state: Mapping[str, Any], notice: Callable[[str], None], *, done: bool = False) -> None:
        """Take over from a checkpoint, and say where the run goes on otherwise, so that its bits may differ.

        Args:
            state: the checkpoint's.
            notice: is told.
            done: whether nothing is left to train.

        Raises:
            UserError: it goes on otherwise, and was to be exact.
        """
        devices = state.get("devices", ["cpu"])
        # a run of before there was a list has the last one alone
        before = state.get("environments") or [
            state.get("environment", {}) | {name: state[name] for name in ("threads",) if name in state}
        ]
        changed = [] if done else changes(before[-1], self._now())
        kind = torch.device(devices[-1]).type
        moved = kind != self._device.type and not done
        if self._exact and (changed or moved):
            found = ", ".join(changed) or f"{self._device} (before {devices[-1]})"
            raise UserError(
                f"expected what the run has been trained with, found {found}: with it sums may be rounded in "
                f"another order; go on as before, or without {argument('exact')}"
            )
        self._devices = devices if devices[-1] == str(self._device) else [*devices, str(self._device)]
        self._all = [*before, self._now()] if changed else before
        if moved:
            notice(
                f"the run was trained on {devices[-1]} and goes on on {self._device}: sums are rounded in "
                "another order there, so that it will not end bit for bit as it would have"
            )
        elif changed:
            notice(
                f"the run goes on with {', '.join(changed)}: sums may be rounded in another order, so that "
                "it may not end bit for bit as it would have"
            )

    def _now(self) -> dict[str, Any]:
        return {**environment(self._device), "threads": torch.get_num_threads()}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is other than it was, of what sums depend on, as far as both are known.

    Example:
        >>> changes({"kernel": "avx512", "python": "3.11"}, {"kernel": "avx2", "python": "3.12"})
        ['kernel avx2 (before avx512)']
    """
    return [
        f"{name} {now[name]} (before {before[name]})"
        for name in _ROUNDING
        if name in before and name in now and before[name] != now[name]
    ]


def processor(place: Path = _PROCESSORS) -> str:
    """The processor's name, as far as the system tells it, and on Linux its numbers: names can be alike.

    Args:
        place: the file of Linux that describes the processors.
    """
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {}
    for line in reversed(lines):  # so that the first processor's stay
        name, _, value = line.partition(":")
        facts[name.strip()] = value.strip()
    numbers = [
        f"{name} {facts[key]}" for name, key in (("family", "cpu family"), ("model", "model")) if key in facts
    ]
    return ", ".join([facts.get("model name", platform.machine()), *numbers])
