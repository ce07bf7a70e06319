"""Every test of a command has its own cache and working folder."""

import pytest

from ..conftest import QUICK

__all__ = ["QUICK"]


@pytest.fixture(autouse=True)
def _own_place(own_place):
    pass
