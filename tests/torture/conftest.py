"""The harness counts processes and memory by /proc, and protects pages by Linux's own numbers."""

import os
import sys

import pytest
import torch

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    """The harness sets the cache and the threads of its process, which other tests share."""
    monkeypatch.setenv("OSTINATO_CACHE", os.environ.get("OSTINATO_CACHE", ""))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
