"""`ostinato doctor`: what this installation runs on, and what it would do better with."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import ostinato
from ostinato.cli.output import print_json
from ostinato.cli.tables import print_table
from ostinato.errors import UserError
from ostinato.evaluation.tables import Column, Table
from ostinato.recipe.extensions import load_extensions


def doctor(*, json: bool = False) -> int:
    """Print versions, the kernel and instruction set in use, threads, data folders and GPU.

    Parameters
    ----------
    json
        Print one JSON object.
    """
    found = diagnosis()
    if json:
        print_json(found)
        return 0
    table = Table([Column("", text=True), Column("", text=True)])
    for name, value in found.items():
        for number, line in enumerate(_lines(value)):
            table.add("" if number else name.replace("_", " "), line)
    print_table(table, piped=sys.maxsize)
    return 0


def diagnosis() -> dict[str, Any]:
    """Everything `doctor` prints, by name."""
    import numpy as np
    import torch

    from ostinato.data.cache import cache_folder
    from ostinato.data.download import DATA_VARIABLE
    from ostinato.nn.kernels import cpu

    native = cpu.available()
    return {
        "ostinato": ostinato.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "kernel": "native" if native else f"PyTorch (slower): {cpu.why_unavailable()}",
        "instruction_set": cpu.instruction_set(),
        "instruction_sets_here": list(cpu.instruction_sets()),
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "thread_pool": (cpu.thread_pool() or "none shared: kernels run on one thread")
        if native
        else "PyTorch's",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none that PyTorch can use",
        "data_folder": os.environ.get(DATA_VARIABLE) or f"{DATA_VARIABLE} is not set",
        "cache_folder": str(cache_folder()),
        "extensions": load_extensions() or "none",
        "data_sets": _data_sets(),
    }


def _data_sets() -> dict[str, str]:
    """Where each data set would be taken from; what is wrong with one is part of the diagnosis."""
    from ostinato.cli.data_tables import origin_in_words
    from ostinato.domains import catalogue

    found = {}
    for name in catalogue.names():
        try:
            found[name] = origin_in_words(catalogue.listed(name))
        except UserError as error:
            found[name] = str(error)
    return found


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}: {item}" for name, item in value.items()]
    if isinstance(value, list):
        return [", ".join(value) or "none"]
    return [str(value)]
