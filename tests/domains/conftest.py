"""Every test has a cache of its own and no data folder."""

import pytest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("OSTINATO_DATA", raising=False)
