"""What a run's numbers depend on besides its settings and its data."""

import platform
from pathlib import Path

import numpy as np
import torch

import ostinato
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
