import numpy as np
import pytest


@pytest.fixture
def songs() -> list[np.ndarray]:
    """Ten scales on twelve notes, of different lengths."""
    return [np.eye(12, dtype=np.uint8)[np.arange(k, k + 20 + k) % 12] for k in range(10)]


@pytest.fixture
def texts() -> list[str]:
    """Sixty sentences."""
    return ["the cat sat on the mat", "a dog ran", "the dog sat on a cat"] * 20


@pytest.fixture
def walks() -> list[np.ndarray]:
    """Ten random walks of two columns, of different lengths."""
    return [np.cumsum(np.random.default_rng(k).standard_normal((40 + k, 2)), 0) for k in range(10)]


@pytest.fixture
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Ten sequences whose class is the sign of what was read a step before."""
    found = []
    for k in range(10):
        inputs = np.random.default_rng(k).standard_normal((12 + k, 3))
        found.append((inputs, (np.r_[0, inputs[:-1, 0]] > 0).astype(np.int64)))
    return found


@pytest.fixture
def command(request):
    """The command line: `ostinato` is the package here."""
    return request.getfixturevalue("ostinato")
