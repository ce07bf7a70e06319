import hashlib
import http.server
import threading
from pathlib import Path

import pooch
import pytest

from ostinato.data import cache
from ostinato.data.download import RemoteFile, fetch, locate
from ostinato.errors import UserError

CONTENT = b"the published bytes"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        self.send_response(404 if self.path == "/missing" else 200)
        self.end_headers()
        self.wfile.write(b"<html>please log in</html>" if self.path == "/login" else CONTENT)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.requests = 0
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def remote(server, path="/data"):
    return RemoteFile("data.mat", f"http://127.0.0.1:{server.server_port}{path}", SHA256)


def failure(file):
    with pytest.raises(UserError) as caught:
        fetch(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_downloaded_once_and_verified(server, capfd):
    file = remote(server)
    assert locate(file) is None
    path = fetch(file)
    assert path.read_bytes() == CONTENT
    assert fetch(file) == path == locate(file)
    assert server.requests == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["data.mat"]
    assert capfd.readouterr() == ("", "")


def test_a_damaged_download_is_fetched_again(server):
    path = fetch(remote(server))
    path.write_bytes(b"half")
    assert locate(remote(server)) is None
    assert fetch(remote(server)).read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_not_kept(server):
    message = failure(remote(server, "/login"))
    assert f"expected SHA-256 {SHA256}" in message
    assert hashlib.sha256(b"<html>please log in</html>").hexdigest() in message
    assert "proxy or login page" in message
    assert not [*(cache.cache_folder() / "downloads").iterdir()]


def test_no_such_address(server):
    assert "404" in failure(remote(server, "/missing"))


def test_no_network_is_one_line_that_says_what_to_do():
    message = failure(RemoteFile("data.mat", "http://127.0.0.1:9/data", SHA256))
    assert message.startswith("cannot download http://127.0.0.1:9/data: ")
    assert message.endswith("check the network, or put data.mat in a folder and set OSTINATO_DATA to it")


def test_a_folder_of_ones_own_comes_first(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_DATA", str(tmp_path))
    assert fetch(remote(server)).parent != tmp_path
    (tmp_path / "data.mat").write_bytes(CONTENT)
    assert fetch(remote(server)) == tmp_path / "data.mat"


def test_a_wrong_file_in_ones_own_folder_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_DATA", str(tmp_path))
    (tmp_path / "data.mat").write_bytes(b"another")
    message = failure(remote(server))
    assert str(tmp_path / "data.mat") in message
    assert "(7 bytes)" in message
    assert server.requests == 0


def test_a_folder_that_is_none(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_DATA", str(tmp_path / "nowhere"))
    assert "OSTINATO_DATA is no folder" in failure(remote(server))


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "file" / "cache"))
    assert "set OSTINATO_CACHE to another folder" in failure(remote(server))


def test_the_cache_is_where_earlier_versions_had_it(monkeypatch):
    monkeypatch.delenv("OSTINATO_CACHE", raising=False)
    assert cache.cache_folder() == Path(pooch.os_cache("ostinato"))
